import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Arguments, bind } from "../../src/cli/bind.ts";
import { parseWords } from "../../src/cli/command.ts";
import { UsageError } from "../../src/cli/usage_error.ts";
import { MS_SHARED } from "../../src/sys/constants.ts";
import { mount } from "../../src/sys/mount.ts";
import { tableOptions } from "../sys/scratch.ts";
import { mountsBelow, SCRATCH } from "../support.ts";
import { programTest, run } from "./program.ts";

async function parse(args: string[]): Promise<Arguments> {
  return bind.parse(await parseWords(bind.description, args));
}

Deno.test("bind takes a source, a directory and a name", async () => {
  const plain = { recursive: false, options: "", beneath: false };
  const expected: [string[], object][] = [
    [[], {}],
    [["-R"], { recursive: true }],
    [["--recursive", "--read-only"], { recursive: true, readonly: true }],
    [["-o", "rro,nodev", "--make-slave"], { options: "rro,nodev,slave" }],
    [["-m", "--beneath"], { mkdir: 0o755, beneath: true }],
  ];
  for (const [args, options] of expected) {
    assertEquals(await parse([...args, "/usr", "d", "a/./b"]), {
      source: "/usr",
      directory: "d",
      name: "a/b",
      options: { ...plain, ...options },
    });
  }
});

Deno.test("bind throws when its arguments make no sense", async () => {
  const wrong: [string[], string][] = [
    [["d", "n"], "Usage: mountat bind"],
    [["s", "d", "n", "x"], '"x"'],
    [["", "d", "n"], "empty"],
    [["s", "d", "/n"], "relative"],
    [["-o", "size=1m", "s", "d", "n"], '"size"'],
    [["-t", "tmpfs", "s", "d", "n"], '"-t"'],
  ];
  for (const [args, words] of wrong) {
    await assertRejects(() => parse(args), UsageError, words);
  }
});

programTest("bind shows all of a tree, and none of it to write", () => {
  const [source, inner] = [`${SCRATCH}/source`, `${SCRATCH}/source/in`];
  Deno.mkdirSync(source);
  mount("outer", source, "tmpfs", 0, null);
  Deno.mkdirSync(inner);
  mount("inner", inner, "tmpfs", 0, null);
  mount(null, inner, null, MS_SHARED, null);
  const args = ["-R", "-r", "--make-rslave", "--mkdir", source, SCRATCH, "m"];
  assertEquals(run(["bind", ...args]), { code: 0, stdout: "", stderr: "" });
  assertEquals(
    ["m", "m/in"].map((name) =>
      tableOptions(`${SCRATCH}/${name}`).replace(/\d+/, "N")
    ),
    ["ro,relatime", "ro,relatime master:N"],
  );
  assertEquals(run(["umount", "-R", SCRATCH]).code, 0);
  assertEquals(mountsBelow(SCRATCH).length, 1);
});

programTest("bind fails with 32 and leaves nothing", () => {
  const ended = run(["bind", "--mkdir", `${SCRATCH}/nosuch`, SCRATCH, "a/m"]);
  assertEquals([ended.code, ended.stdout], [32, ""]);
  assert(ended.stderr.includes("open_tree: ENOENT"), ended.stderr);
  assertEquals([...Deno.readDirSync(SCRATCH)], []);
});
