import { type Arguments, mount } from "../../src/cli/mount.ts";
import { parseWords } from "../../src/cli/command.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { UsageError } from "../../src/cli/print.ts";
import { programTest, run } from "../support/program.ts";
import { mountsBelow, SCRATCH } from "../support/testing.ts";
import { tableOptions } from "../support/scratch.ts";
import { has } from "../support/since.ts";

async function parse(args: string[]): Promise<Arguments> {
  return mount.parse(await parseWords(mount.description, args));
}

const TMPFS = { type: "tmpfs", options: "", beneath: false };

Deno.test("mount takes a type, a source, a directory and a name", async () => {
  assertEquals(await parse(["-t", "tmpfs", "d", "./a//b"]), {
    directory: "d",
    name: "a/b",
    options: TMPFS,
  });
  assertEquals(await parse(["--types", "tmpfs", "007", "d", "."]), {
    directory: "d",
    name: ".",
    options: { ...TMPFS, source: "007" },
  });
});

Deno.test("mount takes mount(8)'s options", async () => {
  const expected: [string[], object][] = [
    [["-o", "ro,size=1m", "-onoexec"], { options: "ro,size=1m,noexec" }],
    [["--options=ro"], { options: "ro" }],
    [["-r"], { readonly: true }],
    [["--read-only"], { readonly: true }],
    [["--mkdir"], { mkdir: 0o755 }],
    [["-m"], { mkdir: 0o755 }],
    [["--mkdir=0700"], { mkdir: 0o700 }],
    // So mount(8) spells it.
    [["-o", "ro,X-mount.mkdir"], { options: ["ro"], mkdir: 0o755 }],
    [["-o", "x-mount.mkdir=700"], { options: [], mkdir: 0o700 }],
    [["-o", "X-mount.mkdir", "-m0711"], { options: [], mkdir: 0o711 }],
    [["--make-rprivate", "-o", "ro"], { options: "ro,rprivate" }],
    [["--make-unbindable"], { options: "unbindable" }],
    [["--beneath"], { beneath: true }],
  ];
  for (const [args, options] of expected) {
    const parsed = await parse(["-t", "tmpfs", ...args, "d", "n"]);
    assertEquals(parsed.options, { ...TMPFS, ...options });
  }
});

Deno.test("mount throws when its arguments make no sense", async () => {
  const tmpfs = ["-t", "tmpfs"];
  const wrong: [string[], string][] = [
    [[], "Usage: mountat mount -t <type>"],
    [["d"], "Usage: mountat mount"],
    [["d", "n"], "--types (-t) is missing"],
    [[...tmpfs, "", "n"], "empty"],
    [[...tmpfs, "a", "b", "c", "d"], '"d"'],
    [[...tmpfs, "d", "/n"], "relative"],
    [[...tmpfs, "-o", "ro=1", "d", "n"], '"ro"'],
    [[...tmpfs, "-o", `a=${"x".repeat(4096)}`, "d", "n"], "4096 bytes"],
    [[...tmpfs, "--mkdir=0999", "d", "n"], "octal"],
    [[...tmpfs, "-o", "X-mount.mkdir=9", "d", "n"], "octal"],
    [[...tmpfs, "-o", "X-mount.mode=700", "d", "n"], "mount(8): use chmod"],
    [[...tmpfs, "-o", "X-mount.owner=a", "d", "n"], "mount(8): use chown"],
    [[...tmpfs, "-o", "X-mount.group=a", "d", "n"], "mount(8): use chown"],
    [[...tmpfs, "-o", "X-mount.subdir=a", "d", "n"], "only for mount(8)"],
    [[...tmpfs, "--beneath", "d", "."], "must end in a name"],
    [
      [...tmpfs, "--make-shared", "--make-rslave", "d", "n"],
      "Only one of --make-shared, --make-rslave",
    ],
    [["-o", "bind", "a", "d", "n"], "there is mountat bind"],
    [["-o", "ro,rbind", "a", "d", "n"], "there is mountat bind --recursive"],
    [["-o", "remount,ro", "d", "n"], "there is mountat remount"],
    [["--bind", "a", "d", "n"], '"--bind"'],
  ];
  for (const [args, words] of wrong) {
    await assertRejects(() => parse(args), UsageError, words);
  }
});

programTest("mount mounts, and leaves it there", () => {
  const call = ["mount", "-t", "tmpfs", "-o", "nodev,size=64k", "--mkdir=0700"];
  const quiet = run([...call, "-r", "src", SCRATCH, "a/b"]);
  assertEquals(quiet, { code: 0, stdout: "", stderr: "" });
  assertEquals(tableOptions(`${SCRATCH}/a/b`), "ro,nodev,relatime");
  const line = mountsBelow(`${SCRATCH}/a/b`)[0]!;
  assert(line.endsWith("- tmpfs src rw,size=64k"), line);
  assertEquals(Deno.statSync(`${SCRATCH}/a`).mode! & 0o777, 0o700);
  assertEquals(run(["umount", SCRATCH, "a/b"]).code, 0);
});

programTest("mount --beneath mounts beneath what is there", () => {
  const call = ["mount", "-t", "tmpfs", "-o", "nodev", "--mkdir"];
  assertEquals(run([...call, "-r", SCRATCH, "a/b"]).code, 0);
  const json = run([...call, "--beneath", "--json", SCRATCH, "a/b"]);
  if (!has("mountBeneath")) {
    assertEquals(json.code, 32);
    assert(json.stderr.includes("hint: This kernel puts no"), json.stderr);
    assertEquals(run(["umount", SCRATCH, "a/b"]).code, 0);
    return;
  }
  assertEquals(json.code, 0, json.stderr);
  const { id, ...place } = JSON.parse(json.stdout);
  assertEquals(place, { directory: SCRATCH, name: "a/b" });
  assert(Number.isInteger(id));
  assertEquals(
    mountsBelow(`${SCRATCH}/a/b`).map((line) => line.split(" ")[5]),
    ["ro,nodev,relatime", "rw,nodev,relatime"],
  );
  assertEquals(run(["umount", "--all", SCRATCH, "a/b"]).code, 0);
});

programTest("mount fails with 32, and with 1 for wrong usage", () => {
  const refused = run(["mount", "-t", "tmpfs", "-o", "nosuch", SCRATCH, "."]);
  assertEquals([refused.code, refused.stdout], [32, ""]);
  assertEquals(
    refused.stderr,
    `mountat: Cannot mount tmpfs on ".": fsconfig: EINVAL (Invalid argument): tmpfs: Unknown parameter 'nosuch'\n`,
  );
  const missing = run(["mount", "-t", "tmpfs", SCRATCH, "nosuch"]);
  assertEquals(missing.code, 32);
  assert(missing.stderr.includes("ENOENT"), missing.stderr);
  const usage = run(["mount", SCRATCH, "."]);
  assertEquals(usage.code, 1);
});
