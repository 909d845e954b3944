/** Containers as docs/buildbarn.md has them. */
import {
  Action,
  appears,
  BUILD,
  Client,
  RunnerProcess,
  runnerTest,
  SOCKET,
} from "./support.ts";
import { readTest, ROOT } from "../support/testing.ts";
import { processesWith } from "../support/run_root.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { parse } from "npm:yaml@2.8.1";

// deno-lint-ignore no-explicit-any
type Yaml = any;

function snippets(): [compose: Yaml, pod: Yaml] {
  const text = Deno.readTextFileSync(`${ROOT}docs/buildbarn.md`);
  const all = [...text.matchAll(/^```yaml\n([^]*?)^```$/mg)]
    .map(([, yaml]) => parse(yaml!, { strict: true }));
  assertEquals(all.length, 2);
  return all as [Yaml, Yaml];
}

/** The capabilities of the runner's container, as the documentation has them. */
function capabilities(): string[] {
  const [{ services }, { spec }] = snippets();
  const pod = spec.containers.find(({ name }: Yaml) => name === "runner");
  const { cap_drop, cap_add } = services.runner;
  assertEquals(pod.securityContext.capabilities, {
    drop: cap_drop,
    add: cap_add,
  });
  assertEquals(cap_drop, ["ALL"]);
  return cap_add;
}

readTest("the documentation's containers share what they have to", () => {
  const [{ services }, { spec }] = snippets();
  const volumes = Object.fromEntries(
    ["worker", "runner"].map((name) => [
      name,
      services[name].volumes.find((volume: Yaml) => volume.target),
    ]),
  );
  assertEquals(volumes["worker"].source, volumes["runner"].source);
  assertEquals(volumes["worker"].target, volumes["runner"].target);
  assertEquals(volumes["worker"].bind, { propagation: "rshared" });
  assertEquals(volumes["runner"].bind, { propagation: "rslave" });
  const names = spec.volumes.map(({ name }: Yaml) => name);
  const containers = [...spec.initContainers, ...spec.containers];
  for (const { volumeMounts } of containers) {
    for (const { name } of volumeMounts) assert(names.includes(name), name);
  }
  const propagation = spec.containers.map(({ volumeMounts }: Yaml) =>
    volumeMounts.find(({ name }: Yaml) => name === "worker").mountPropagation
  );
  assertEquals(propagation, ["Bidirectional", "HostToContainer"]);
});

/** Starts a program as root with no other capabilities. */
function withOnly(names: readonly string[]): string[] {
  const all = ["-all", ...names.map((name) => `+${name.toLowerCase()}`)];
  return [
    ...["setpriv", `--bounding-set=${all.join()}`, "--inh-caps=-all"],
  ];
}

/** Does all for which a runner needs a capability; tells what does not work. */
async function tryAll(names: readonly string[]): Promise<string[]> {
  const failed: string[] = [];
  const options = ["--build-directory", BUILD, "--listen", SOCKET];
  for (
    const user of [
      [],
      ["--user", "1234", "--group", "2345", "--groups", "3456"],
      ["--user", "1234", "--protect-inputs", "idmap"],
      ["--protect-inputs", "overlay"],
      ["--user", "1234", "--protect-inputs", "overlay"],
    ]
  ) {
    const what = `${user.join(" ")}: `;
    let runner: RunnerProcess;
    try {
      const all = [...options, ...user];
      runner = await RunnerProcess.start(all, [], withOnly(names));
    } catch (error) {
      failed.push(what + (error as Error).message.split("\n")[1]);
      continue;
    }
    await using _ = runner;
    await using client = new Client();
    using action = new Action("1");
    // As a worker of another user makes them, with its umask.
    for (const path of ["", "root", "root/bin", "tmp", "server_logs"]) {
      Deno.chownSync(`${action.path}/${path}`, 1000, 1000);
      Deno.chmodSync(
        `${action.path}/${path}`,
        !user.includes("--user") ? 0o700 : 0o777,
      );
    }
    const { status, response, message } = await client.run(
      action.shell(
        "id >&2; ps > /dev/null && echo made > out && : > /tmp/x && mkdir d && chmod 2755 d",
      ),
    );
    if (status !== "OK" || response.exitCode !== "0") {
      failed.push(what + (message ?? action.stderr));
    } else if ((Deno.statSync(`${action.root}/d`).mode! & 0o2000) === 0) {
      failed.push(`${what}no set-group-ID bit`);
    }
    const word = `31${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    const going = client.call(
      "run",
      action.shell(`: > /tmp/begun; sleep ${word} & sleep ${word}`, {
        stdoutPath: "1/out2",
        stderrPath: "1/err2",
      }),
    );
    const begun = appears(`${action.path}/tmp/begun`);
    const ended = going.answer.then(({ message }) => message);
    const early = await Promise.race([begun, ended]);
    if (early !== undefined) failed.push(what + early);
    going.cancel();
    await ended;
    await runner.end();
    if (processesWith(word).length > 0) failed.push(`${what}is left`);
  }
  return failed;
}

runnerTest(
  "the documentation's capabilities suffice for a runner",
  async () => {
    assertEquals(await tryAll(capabilities()), []);
  },
);

runnerTest("a capability that id maps need is named", async () => {
  const less = capabilities().filter((name) => name !== "SETFCAP");
  const [first] = await tryAll(less);
  assertMatch(first!, /^: The input files can't be protected: .*CAP_SETFCAP/);
});

runnerTest(
  "in a user namespace commands run, and inputs can't be mapped",
  async () => {
    const wrapper = ["unshare", "--user", "--map-root-user", "--mount"];
    for (const way of ["none", "idmap"]) {
      const options = ["--build-directory", BUILD, "--listen", SOCKET];
      await using _runner = await RunnerProcess.start(
        [...options, "--protect-inputs", way],
        [],
        wrapper,
      );
      await using client = new Client();
      using action = new Action("1");
      const { status, message } = await client.run(action.request(["true"]));
      assertEquals(status, way === "none" ? "OK" : "INTERNAL", message);
      if (way === "idmap") {
        assertMatch(message!, /can't be protected: an id map/);
      }
    }
  },
);
