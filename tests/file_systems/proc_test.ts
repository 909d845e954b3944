import { kernelTest, type Needs, SCRATCH } from "../support/testing.ts";
import { mountOn, run } from "./support.ts";
import { Directory } from "../../src/directory.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { readFile } from "../../src/fd/open.ts";
import { kernelTestSince } from "../support/since.ts";
import { hold } from "../support/held.ts";
import { open } from "../support/scratch.ts";

const TARGET = `${SCRATCH}/m`;

const needs: Needs = {
  permissions: ["run", "read", "write", "env"],
  commands: ["setpriv", "unshare"],
};

/** The processes that somebody else sees in the procfs. */
function seenBy(...setpriv: string[]): number[] {
  return run("setpriv", ...setpriv, "ls", TARGET).split("\n")
    .filter((name) => /^\d+$/.test(name)).map(Number);
}

const NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"];

kernelTest("procfs hides the processes of others with hidepid", () => {
  using root = Directory.open(SCRATCH);
  const mountWith = (options: string) =>
    root.mount("m", { type: "proc", options, mkdir: true });
  const { pid } = Deno;
  {
    using _ = mountWith("");
    assert(seenBy(...NOBODY).includes(pid));
  }
  for (const hidepid of ["invisible", "2"]) {
    using _ = mountWith(`hidepid=${hidepid},gid=4711`);
    const { superOptions } = mountOn(TARGET);
    assert(superOptions.includes("hidepid=invisible"), superOptions.join());
    assert(superOptions.includes("gid=4711"), superOptions.join());
    const seen = seenBy(...NOBODY);
    assert(!seen.includes(pid), `${pid} is among ${seen}`);
    // Its own are there, of the group all.
    assert(seen.length >= 1);
    const group = ["--reuid=65534", "--regid=4711", "--clear-groups"];
    assert(seenBy(...group).includes(pid));
  }
  {
    using _ = mountWith("hidepid=noaccess");
    assert(seenBy(...NOBODY).includes(pid));
    assertThrows(
      () => run("setpriv", ...NOBODY, "cat", `${TARGET}/${pid}/cmdline`),
      Error,
      "Operation not permitted",
    );
  }
}, needs);

kernelTest("procfs shows processes alone with subset=pid", () => {
  using root = Directory.open(SCRATCH);
  using _ = root.mount("m", {
    type: "proc",
    options: "subset=pid",
    mkdir: true,
  });
  assert(mountOn(TARGET).superOptions.includes("subset=pid"));
  assert(readFile(`${TARGET}/self/stat`).startsWith(`${Deno.pid} `));
  const names = Array.from(Deno.readDirSync(TARGET), ({ name }) => name);
  const rest = names.filter((name) => !/^\d+$/.test(name));
  assertEquals(rest.sort(), ["self", "thread-self"]);
}, needs);

kernelTestSince(
  "6.18",
  "procfs shows the PID namespace of a descriptor, or of a path",
  async () => {
    const script = "echo ready; exec sleep 1000";
    await using outside = await hold([
      "unshare",
      "--pid",
      "--fork",
      "--kill-child",
      "sh",
      "-c",
      script,
    ]);
    const path = `/proc/${outside.pid}/ns/pid_for_children`;
    using namespace = open(path, 0);
    using root = Directory.open(SCRATCH);
    for (const pidns of [{ fd: namespace.fd }, path]) {
      using _ = root.mount("m", {
        type: "proc",
        options: { pidns, "subset": "pid" },
        mkdir: true,
      });
      const pids = Array.from(Deno.readDirSync(TARGET), ({ name }) => name)
        .filter((name) => /^\d+$/.test(name));
      assertEquals(pids, ["1"]);
    }
  },
  needs,
);
