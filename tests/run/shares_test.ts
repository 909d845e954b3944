/** The tables of docs/security.md, cell by cell. */
import { assertEquals } from "@std/assert";
import { makeRoot } from "../support/run_root.ts";
import { commandLine, programTest } from "../support/program.ts";
import { ROOT, SCRATCH } from "../support/testing.ts";
import { asNobody } from "../support/nobody.ts";
import { compileProbe, type Facts, probe } from "../support/probe.ts";

/** What a row of a table says of a command. */
type Row = readonly [name: string, tell: (facts: Facts) => string];

const namespace = (name: string) => (facts: Facts) =>
  facts[name] === facts[`host ${name}`] ? "the host's" : "its own";

const SHARED: readonly Row[] = [
  ["Processes", namespace("pid")],
  ["Mounts", namespace("mnt")],
  ["System V IPC, POSIX message queues", namespace("ipc")],
  ["Host name", namespace("uts")],
  ["Network, sockets of the abstract namespace", namespace("net")],
  ["User and group ids", namespace("user")],
  ["Session keyring", namespace("keyring")],
  ["Control groups", namespace("cgroup")],
  ["Clocks since boot", namespace("time")],
  ["Capabilities", capabilities],
  ["A program that is set-user-ID gets more rights", tellsPrivileges],
];

const CONFINED: readonly Row[] = [
  [
    "First process",
    ({ number }) =>
      number === "1"
        ? "the command"
        : number === "2"
        ? "an init"
        : "the host's",
  ],
  ["PID namespace", namespace("pid")],
  ["IPC namespace", namespace("ipc")],
  ["UTS namespace", namespace("uts")],
  ["Network namespace", namespace("net")],
  ["Session keyring", namespace("keyring")],
  ["`no_new_privs`", ({ no_new_privs }) => no_new_privs === "1" ? "yes" : "no"],
  ["Capabilities", capabilities],
  ["Filter of system calls", ({ seccomp }) => seccomp === "0" ? "no" : "yes"],
  [
    "`:ro` holds",
    ({ "read-only, remounted": remounted }) =>
      remounted === "EROFS" ? "yes" : "no",
  ],
  ["/sys", ({ sys }) => sys!],
  ["/proc/sys", ({ sysctl }) => sysctl!],
  [
    "/proc/keys and the like",
    ({ keys, firmware }) =>
      keys === "empty" && firmware === "empty" ? "covered" : "shown",
  ],
  ["Device nodes that it makes", ({ "in dev": made }) => DEVICES[made!]!],
];

/** What mknod(2), and open(2) where that did it, say of a device. */
const DEVICES: Readonly<Record<string, string>> = {
  done: "work",
  EACCES: "lead nowhere",
  EPERM: "can't be made",
};

function capabilities(facts: Facts): string {
  const effective = Number(facts["capabilities"]);
  if (effective === 0) return "none";
  return effective < Number(facts["host capabilities"])
    ? String(effective)
    : "all";
}

function tellsPrivileges({ no_new_privs }: Facts): string {
  return no_new_privs === "0" ? "yes" : "no";
}

/** A table of the documentation, by its first heading. */
function documented(heading: string): Record<string, string[]> {
  const text = Deno.readTextFileSync(`${ROOT}docs/security.md`);
  const [, body] = text.split(`\n| ${heading}`);
  const lines = body!.split("\n\n")[0]!.split("\n").slice(2);
  return Object.fromEntries(lines.map((line) => {
    const [, name, ...cells] = line.split("|").map((cell) => cell.trim());
    return [name!, cells.slice(0, -1)];
  }));
}

function measured(rows: readonly Row[], columns: Facts[]) {
  return Object.fromEntries(
    rows.map(([name, tell]) => [name, columns.map(tell)]),
  );
}

const COMMANDS = ["busybox", "cc", "unshare", "setpriv"];

/** A root with the probe in it, and what is bound into it. */
function makePlace(): { root: string; program: string; source: string } {
  const root = makeRoot();
  const program = `${root}/probe`;
  compileProbe(program);
  const source = `${SCRATCH}/source`;
  Deno.mkdirSync(source);
  Deno.writeTextFileSync(`${source}/file`, "");
  Deno.chmodSync(`${source}/file`, 0o666);
  Deno.mkdirSync(`${root}/src`);
  return { root, program, source };
}

/** The specification that runc makes, with the same root, program and bind. */
function runc(root: string, source: string): string[] {
  new Deno.Command("runc", { args: ["spec"], cwd: SCRATCH }).outputSync();
  const file = `${SCRATCH}/config.json`;
  const config = JSON.parse(Deno.readTextFileSync(file));
  Object.assign(config.process, { args: ["/probe"], terminal: false });
  config.root = { path: root, readonly: false };
  const [type, destination] = ["bind", "/src"];
  config.mounts.push({ type, source, destination, options: ["bind", "ro"] });
  Deno.writeTextFileSync(file, JSON.stringify(config));
  return ["runc", "run", "--bundle", SCRATCH, `mountat-${crypto.randomUUID()}`];
}

programTest("run shares with the host what docs/security.md says", () => {
  const { root, program, source } = makePlace();
  using nobody = asNobody();
  const bind = `--bind=${source}:/src:ro`;
  const permissions = ["--allow-ffi", "--allow-run"];
  const columns = [
    { options: [], how: {} },
    { options: ["--uid=1000"], how: {} },
    { options: ["--rootless"], how: { ...nobody, permissions } },
  ].map(({ options, how }) =>
    probe(program, commandLine(["run", bind, ...options, root, "/probe"], how))
  );
  assertEquals(measured(SHARED, columns), documented("The command's"));
  // It can use what it has got.
  assertEquals(
    columns.map((facts) => [facts["host name"], facts["null"]]),
    [["done", "done"], ["EPERM", "done"], ["done", "done"]],
  );
}, { commands: COMMANDS });

programTest("run --no-network leaves a loopback device alone", () => {
  const { root, program } = makePlace();
  using nobody = asNobody();
  const permissions = ["--allow-ffi", "--allow-run"];
  for (
    const { options, how } of [
      { options: [], how: {} },
      { options: ["--uid=1000"], how: {} },
      { options: ["--strict", "--as-pid-1"], how: {} },
      { options: ["--rootless"], how: { ...nobody, permissions } },
      { options: ["--rootless", "--strict"], how: { ...nobody, permissions } },
    ]
  ) {
    const words = ["run", "--no-network", ...options, root];
    const facts = probe(program, commandLine([...words, "/probe"], how));
    assertEquals(
      [namespace("net")(facts), facts["loopback"]],
      ["its own", "up"],
    );
    const list = commandLine([...words, "ls", "/sys/class/net"], how);
    const { stdout } = new Deno.Command(list[0]!, { args: list.slice(1) })
      .outputSync();
    assertEquals(new TextDecoder().decode(stdout), "lo\n");
  }
}, { commands: COMMANDS });

programTest(
  "run confines as docs/security.md says, beside bwrap and runc",
  () => {
    const { root, program, source } = makePlace();
    using nobody = asNobody();
    const bind = `--bind=${source}:/src:ro`;
    const permissions = ["--allow-ffi", "--allow-run"];
    const ours = [[], ["--strict"]].map((options) =>
      probe(program, commandLine(["run", bind, ...options, root, "/probe"]))
    );
    const rootless = [[], ["--strict"]].map((options) =>
      probe(
        program,
        commandLine(
          ["run", "--rootless", bind, ...options, root, "/probe"],
          { ...nobody, permissions },
        ),
      )
    );
    const columns = [
      ...ours,
      ...rootless,
      ...[[], nobody.wrapper].map((wrapper) =>
        probe(program, [
          ...wrapper,
          ...["bwrap", "--bind", root, "/", "--dev", "/dev", "--proc", "/proc"],
          ...["--ro-bind", "/sys", "/sys", "--ro-bind", source, "/src"],
          "/probe",
        ])
      ),
      probe(program, runc(root, source)),
    ];
    assertEquals(measured(CONFINED, columns), documented("Confined by"));
  },
  { commands: [...COMMANDS, "bwrap", "runc"] },
);
