import {
  type Check,
  describePropagation,
  type Diagnosis,
  doctor,
  type DoctorArguments,
  FEATURES,
  formatDiagnosis,
  type Report,
  withoutSecrets,
} from "../../src/cli/doctor.ts";
import { injecting } from "../support/strace.ts";
import { parseWords } from "../../src/cli/command.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { UsageError } from "../../src/cli/print.ts";
import {
  commandLine,
  programTest,
  run,
  type RunOptions,
  shellCommand,
} from "../support/program.ts";
import {
  gatedTest,
  missingFor,
  missingPermission,
  ROOT,
  ROOT_URL,
  SCRATCH,
} from "../support/testing.ts";
import { features } from "../../src/kernel/features.ts";
import type { MountInfo } from "../../src/list/mount_info.ts";
import config from "../../deno.json" with { type: "json" };
import { mount, umount2 } from "../../src/sys/mount.ts";
import {
  MS_BIND,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
} from "../../src/sys/constants.ts";

async function parse(args: string[]): Promise<DoctorArguments> {
  return doctor.parse(await parseWords(doctor.description, args));
}

Deno.test("doctor takes a directory, or the current one", async () => {
  const report = false;
  assertEquals(await parse([]), { directory: ".", report });
  assertEquals(await parse(["/srv"]), { directory: "/srv", report });
  assert((await parse(["--report"])).report);
  await assertRejects(() => parse(["a", "b"]), UsageError, '"b"');
});

Deno.test("formatDiagnosis() prints a table, and what to do", () => {
  const checks: Check[] = [
    { name: "one", status: "ok", detail: "there" },
    { name: "the other", status: "missing", detail: "no", advice: "Get it" },
    { name: "third", status: "unknown", detail: "perhaps" },
  ];
  const diagnosis = { works: false, checks, features: null };
  assertEquals(
    formatDiagnosis(diagnosis, (status, text) => `${status[0]}(${text})`),
    `o(ok)       one        there
m(missing)  the other  no
u(unknown)  third      perhaps

What to do:
  the other: Get it`,
  );
});

Deno.test("describePropagation() says what it means for mounts and moves", () => {
  const shared = describePropagation({ propagation: "shared", peerGroup: 7 });
  assert(
    /^shared: .*appears in all of peer group 7.*can't be moved/.test(shared),
  );
  assert(!shared.includes("receives"));
  assert(
    /peer group 7.*receives.*peer group 3/.test(
      describePropagation({ propagation: "shared", peerGroup: 7, master: 3 }),
    ),
  );
  assert(
    /^slave: receives.*peer group 3.*can be moved/.test(
      describePropagation({ propagation: "slave", master: 3 }),
    ),
  );
  for (const propagation of ["private", "unbindable"] as const) {
    const text = describePropagation({ propagation });
    assert(text.startsWith(`${propagation}: `), text);
    assert(text.includes("nowhere else; a mount on it can be moved"), text);
  }
});

/** Asks for JSON, and compares the exit status with what the main job comes to. */
function diagnose(options: RunOptions = {}, directory = SCRATCH): Diagnosis {
  const ended = run(["doctor", "--json", directory], options);
  assertEquals(ended.stderr, "");
  const diagnosis: Diagnosis = JSON.parse(ended.stdout);
  assertEquals(ended.code, diagnosis.works ? 0 : 1);
  const job = run([`${SCRATCH}/root`, "0"], options);
  assertEquals(job.code, ended.code, job.stderr);
  return diagnosis;
}

function find({ checks }: Diagnosis, name: string): Check {
  const check = checks.find((check) => check.name === name);
  assert(check, `${name}: ${JSON.stringify(checks)}`);
  return check;
}

/** What this kernel lacks, whoever asks. */
const LACKING = FEATURES.filter(({ feature }) =>
  missingFor({}) === null && features()[feature] === false
).map(({ name }) => name);

/** These and no others of what was looked at, and may be there, are or not. */
function assertStatus(
  diagnosis: Diagnosis,
  status: Check["status"],
  names: string[],
): void {
  const found = diagnosis.checks.filter((check) =>
    check.status === status &&
    !(status === "missing" && LACKING.includes(check.name))
  );
  assertEquals(found.map(({ name }) => name), names);
  if (status !== "missing") return;
  for (const { name, advice } of found) {
    assert(advice !== undefined || name.startsWith("mounting "), name);
  }
}

programTest("doctor finds that all is well for root", () => {
  const diagnosis = diagnose();
  const permission = find(diagnosis, "--allow-ffi");
  assertEquals([diagnosis.works, permission.detail], [
    true,
    "granted as a whole",
  ]);
  assertEquals(find(diagnosis, "Deno").detail, Deno.version.deno);
  assert(find(diagnosis, "C library").detail.startsWith("/"));
  assertEquals(find(diagnosis, "Linux").detail, diagnosis.features!.release);
  for (const name of ["CAP_SYS_ADMIN", "/proc", "mounting proc"]) {
    assertEquals(find(diagnosis, name).status, "ok", name);
  }
  const { code, stdout } = run(["doctor"]);
  assertEquals(code, 0);
  assert(/^ok +fsopen\(2\) +there$/m.test(stdout), stdout);
  assert(stdout.endsWith("\n\nMounting /proc and /sys works here.\n"), stdout);
  assert(!run(["doctor", "--quiet"]).stdout.includes("works here"));
});

programTest("doctor knows a permission for the C library alone", () => {
  const library = find(diagnose(), "C library").detail;
  const permissions = [`--allow-ffi=${library}`];
  const diagnosis = diagnose({ permissions });
  assertEquals(find(diagnosis, "C library").detail, library);
  const { detail } = find(diagnosis, "--allow-ffi");
  assert(detail.startsWith("granted for /"), detail);
});

programTest("doctor says how to grant the permission", () => {
  for (const permissions of [[], ["--allow-read", "--allow-ffi=/nowhere"]]) {
    const diagnosis = diagnose({ permissions });
    assertStatus(diagnosis, "missing", ["--allow-ffi"]);
    assert(find(diagnosis, "--allow-ffi").advice!.includes("--allow-ffi="));
    assertStatus(diagnosis, "unknown", ["all else"]);
    assertEquals(diagnosis.features, null);
  }
  const { stdout } = run(["doctor"], { permissions: [] });
  assert(/^missing +--allow-ffi +not granted$/m.test(stdout), stdout);
});

programTest("doctor says who may mount", () => {
  const wrapper = ["setpriv", "--bounding-set=-sys_admin"];
  const diagnosis = diagnose({ wrapper });
  assertStatus(diagnosis, "missing", [
    "CAP_SYS_ADMIN",
    "mounting proc",
    "mounting sysfs",
  ]);
  const { detail, advice } = find(diagnosis, "CAP_SYS_ADMIN");
  assert(detail.startsWith("not effective"), detail);
  assert(advice!.includes("unshare -Ur"), advice);
  assert(find(diagnosis, "mounting proc").detail.includes("fsopen: EPERM"));
}, { commands: ["setpriv"] });

programTest("doctor tells user namespaces apart", () => {
  const user = ["unshare", "--user", "--map-root-user"];
  const where = ", in a user namespace that is not the initial one";
  const elsewhere = find(diagnose({ wrapper: user }), "CAP_SYS_ADMIN");
  assertEquals(elsewhere.detail, `effective${where}, but mounting is refused`);
  assert(elsewhere.advice!.includes("mount namespace belongs to another"));
  for (const more of [[], ["--pid", "--fork"], ["--pid", "--fork", "--net"]]) {
    const diagnosis = diagnose({ wrapper: [...user, "--mount", ...more] });
    assertEquals(find(diagnosis, "CAP_SYS_ADMIN"), {
      name: "CAP_SYS_ADMIN",
      status: "ok",
      detail: `effective${where}`,
    });
    const { status, detail } = find(diagnosis, "mounting sysfs");
    if (!more.includes("--net")) assertEquals(status, "missing", detail);
  }
}, { commands: ["unshare"] });

for (
  const [call, name] of [
    ["fsopen", "fsopen(2)"],
    ["fsmount", "fsmount(2)"],
    ["move_mount", "move_mount(2)"],
    ["openat2", "openat2(2)"],
    ["statx", "mount ids"],
    ["umount2", "umount2(2)"],
  ] as const
) {
  programTest(`doctor finds that there is no ${call}`, () => {
    // What can't be unmounted goes with its mount namespace.
    const wrapper = ["unshare", "--mount", "strace", "-f", "-o", "/dev/null"];
    wrapper.push(...injecting(call, "error=ENOSYS"));
    const diagnosis = diagnose({ wrapper });
    const { status, advice } = find(diagnosis, name);
    assertEquals(status, "missing");
    assert(/^Linux [25]\.\d has it.*Without it, /.test(advice!), advice);
    assert(!diagnosis.works);
    assertEquals(find(diagnosis, "/proc").status, "ok");
    const details = diagnosis.checks.map(({ detail }) => detail);
    assert(!details.includes("can't be tried without /proc"));
  }, { commands: ["strace", "unshare"] });
}

programTest("doctor works where /proc is missing, and says so", () => {
  const hide = 'mount -t tmpfs none /proc && exec "$@"';
  const wrapper = ["unshare", "--mount", "sh", "-c", hide, "sh"];
  const diagnosis = diagnose({ wrapper });
  assertStatus(diagnosis, "missing", ["/proc"]);
  assertStatus(diagnosis, "unknown", ["seccomp filter", "pidns of procfs"]);
  assert(diagnosis.works);
}, { commands: ["unshare", "mount", "sh"] });

programTest("doctor tells how mounts propagate from a directory", () => {
  const path = `${SCRATCH}/a "b"`;
  const other = `${SCRATCH}/other`;
  Deno.mkdirSync(path);
  Deno.mkdirSync(other);
  mount("none", path, "tmpfs", 0, null);
  Deno.mkdirSync(`${path}/inside`);
  for (
    const [name, flag] of Object.entries({
      shared: MS_SHARED,
      private: MS_PRIVATE,
      unbindable: MS_UNBINDABLE,
    })
  ) {
    mount(null, path, null, flag, null);
    const { status, detail } = find(
      diagnose({}, `${path}/inside`),
      "propagation",
    );
    const place = path.replaceAll('"', '\\"');
    const start =
      `"${place}/inside" lies in the mount on "${place}", ${name}: `;
    assertEquals([status, detail.slice(0, start.length)], ["ok", start]);
  }
  mount(null, path, null, MS_SHARED, null);
  mount(path, other, null, MS_BIND, null);
  mount(null, other, null, MS_SLAVE, null);
  const { detail } = find(diagnose({}, other), "propagation");
  assert(detail.includes("slave: receives"), detail);
  umount2(other);
  umount2(path);
});

programTest("doctor tells of a directory that can't be opened", () => {
  const missing = find(diagnose({}, `${SCRATCH}/none`), "propagation");
  assertEquals(missing.status, "unknown");
  Deno.writeTextFileSync(`${SCRATCH}/file`, "");
  const { code, stdout } = run(["doctor", `${SCRATCH}/file`]);
  assertEquals(code, 1);
  assert(/^missing +propagation .*ENOTDIR/m.test(stdout), stdout);
});

Deno.test("withoutSecrets() leaves only what is known to be harmless", () => {
  const mount: MountInfo = {
    id: 1n,
    parentId: 2n,
    tableId: 1,
    parentTableId: 2,
    target: "/srv",
    root: "/home/me",
    type: "cifs",
    source: "//me:pass@server/share",
    options: ["rw", "nosuid"],
    superOptions: [
      "rw",
      "size=1m",
      "uid=7",
      "username=me",
      "pa ss",
      "mode=a,b",
    ],
    propagation: "private",
    deviceNumber: "0:1",
  };
  assertEquals(withoutSecrets(mount), {
    ...mount,
    root: "…",
    source: "…",
    superOptions: ["rw", "size=1m", "uid=7", "username=…", "…", "mode=…"],
  });
  for (const source of ["/dev/sda1", "/dev/nvme0n1p2", "cifs", "none", ""]) {
    assertEquals(withoutSecrets({ ...mount, source }).source, source);
  }
  for (const source of ["/dev/mapper/me", "/dev/../me", "tmpfs"]) {
    assertEquals(withoutSecrets({ ...mount, source }).source, "…");
  }
});

programTest("doctor --report tells of the mounts around a directory", () => {
  const [around, elsewhere] = [`${SCRATCH}/around`, `${SCRATCH}/elsewhere`];
  for (const path of [around, elsewhere]) {
    Deno.mkdirSync(path);
    mount("secret", path, "tmpfs", 0, "size=1m");
  }
  Deno.mkdirSync(`${around}/a/b`, { recursive: true });
  mount(around, `${around}/a/b`, null, MS_BIND, null);
  const { code, stdout } = run(["doctor", "--json", "--report", `${around}/a`]);
  assertEquals(code, 0);
  const { mounts, versions }: Report = JSON.parse(stdout);
  const targets = mounts!.map(({ target }) => target);
  assertEquals(targets[0], "/");
  assertEquals(targets.slice(-2), [around, `${around}/a/b`]);
  assert(targets.includes(SCRATCH));
  assert(!targets.includes(elsewhere));
  assert(String(mounts!.at(-1)!["options"]).includes("size=1024k"));
  assertEquals(versions["mountat"], config.version);
  assertEquals(versions["linux"], features().release);
  const text = run(["doctor", "--report", `${around}/a`]).stdout;
  assert(/^mountat +\d/m.test(text), text);
  assert(/^ok +fsopen\(2\) +there$/m.test(text), text);
  assert(
    text.split("\n").some((line) =>
      line.includes(`${around}/a/b `) && line.includes("  tmpfs  ")
    ),
    text,
  );
  for (const output of [text, stdout]) assert(!output.includes("secret"));
  for (const path of [`${around}/a/b`, around, elsewhere]) umount2(path);
});

programTest("doctor --report tells what it can of a missing directory", () => {
  const calls: [string[], string][] = [[[], "."], [["-A"], "/none"]];
  for (const [permissions, path] of calls) {
    const { stdout } = run(["doctor", "--report", path], { permissions });
    assert(stdout.includes(`\ndeno       ${Deno.version.deno}\n`), stdout);
    assert(
      stdout.endsWith("\nThe mounts around the directory can't be told.\n"),
    );
  }
});

programTest("doctor uses colours on a terminal, never with NO_COLOR", () => {
  const command = shellCommand(commandLine(["doctor"]));
  const onTerminal = (...env: string[]) => {
    const { stdout } = new Deno.Command("env", {
      args: ["-u", "NO_COLOR", ...env, "script", "-qec", command, "/dev/null"],
      stdin: "null",
    }).outputSync();
    return new TextDecoder().decode(stdout);
  };
  assert(onTerminal("TERM=xterm").includes("\x1b[32mok\x1b["));
  const plain = onTerminal("TERM=xterm", "NO_COLOR=1");
  assert(/^ok +Deno/m.test(plain), plain);
  assert(!plain.includes("\x1b["), plain);
}, { commands: ["script", "env"] });

gatedTest(
  "doctor says that it takes Linux",
  missingPermission(["run", "read", "write", "env"]),
  () => {
    const script = `
      const build = { ...Deno.build, os: "darwin" };
      const fake = Object.create(Deno, { build: { value: build } });
      Object.defineProperty(globalThis, "Deno", { value: fake });
      const { main } = await import("${ROOT_URL}cli.ts");
      console.log(await main(["doctor"]));
    `;
    const path = Deno.makeTempFileSync({ suffix: ".ts" });
    Deno.writeTextFileSync(path, script);
    const { stdout } = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--config", `${ROOT}deno.json`, path],
      env: { NO_COLOR: "1" },
    }).outputSync();
    Deno.removeSync(path);
    const text = new TextDecoder().decode(stdout);
    assert(/^missing +Linux +Mounts by descriptor need/m.test(text), text);
    assert(text.endsWith("\n1\n"), text);
  },
);
