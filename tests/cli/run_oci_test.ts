import { programTest, run } from "../support/program.ts";
import { makeRoot } from "../support/run_root.ts";
import { SCRATCH } from "../support/testing.ts";
import { assertEquals } from "@std/assert";

/** What a command says of its mounts, by how it is run. */
const SCRIPT =
  "cat /etc/resolv.conf /var/run/secrets/a /lib/modules/b; cut -d' ' -f5 /proc/self/mountinfo | grep -v ^/dev";

programTest(
  "run --oci mounts through the symlinks of a root as runc does",
  () => {
    const root = makeRoot("bundle/rootfs");
    for (
      const name of ["proc", "dev", "sys", "etc", "var", "usr/lib"]
    ) {
      Deno.mkdirSync(`${root}/${name}`, { recursive: true });
    }
    // Two of them lead nowhere yet.
    Deno.symlinkSync("/run", `${root}/var/run`);
    Deno.symlinkSync("../run/resolve/stub.conf", `${root}/etc/resolv.conf`);
    Deno.symlinkSync("usr/lib", `${root}/lib`);
    Deno.writeTextFileSync(`${SCRATCH}/file`, "content\n");
    const bundle = `${SCRATCH}/bundle`;
    const bind = (destination: string) => ({
      destination,
      type: null,
      source: `${SCRATCH}/file`,
      options: ["rbind", "rprivate"],
    });
    const { stdout: spec } = new Deno.Command("runc", {
      args: ["spec"],
      cwd: bundle,
    }).outputSync();
    assertEquals(spec.length, 0);
    const config = JSON.parse(Deno.readTextFileSync(`${bundle}/config.json`));
    config.process.terminal = false;
    config.process.args = ["/bin/sh", "-c", SCRIPT];
    config.process.env = ["PATH=/bin"];
    config.root.readonly = false;
    delete config.linux.resources;
    delete config.linux.maskedPaths;
    delete config.linux.readonlyPaths;
    config.linux.uidMappings = null;
    config.mounts = [
      { destination: "/proc", type: "proc", source: "proc", options: null },
      { destination: "/mnt/new", type: "tmpfs", source: null, options: null },
      bind("/etc/resolv.conf"),
      bind("/var/run/secrets/a"),
      bind("/lib/modules/b"),
    ];
    Deno.writeTextFileSync(`${bundle}/config.json`, JSON.stringify(config));
    const ours = run(
      [
        "run",
        "--no-dev",
        "--no-sys",
        "--env=PATH=/bin",
        `--oci=${bundle}/config.json`,
        root,
        "/bin/sh",
        "-c",
        SCRIPT,
      ],
      { permissions: ["-A"] },
    );
    assertEquals([ours.code, ours.stderr], [0, ""]);
    const { code, stdout, stderr } = new Deno.Command("runc", {
      args: ["--root", `${SCRATCH}/runc`, "run", `mountat-${Deno.pid}`],
      cwd: bundle,
      stdin: "null",
    }).outputSync();
    const text = new TextDecoder();
    assertEquals([code, text.decode(stderr)], [0, ""]);
    const lines = (out: string) => out.trimEnd().split("\n").sort();
    assertEquals(lines(ours.stdout), lines(text.decode(stdout)));
    // That is what each made, or had there.
    assertEquals(
      lines(ours.stdout).filter((line) => line === "content").length,
      3,
    );
  },
  { commands: ["runc", "busybox"] },
);
