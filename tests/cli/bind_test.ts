import { type Arguments, bind } from "../../src/cli/bind.ts";
import { parseWords } from "../../src/cli/command.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { UsageError } from "../../src/cli/print.ts";
import { mountsBelow, SCRATCH } from "../support/testing.ts";
import { programTest, run } from "../support/program.ts";
import { createUserNamespace } from "../../src/mount/idmap.ts";
import { mount } from "../../src/sys/mount.ts";
import { MS_SHARED } from "../../src/sys/constants.ts";
import { tableOptions } from "../support/scratch.ts";

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

Deno.test("bind takes an id map out of its options", async () => {
  const { options } = await parse(
    ["-o", 'ro,"X-mount.idmap=u:0:1:2 g:3:4:5",noexec', "s", "d", "n"],
  );
  assertEquals(options.options, ["ro", "noexec"]);
  assertEquals(options.idmap, {
    uids: [{ inside: 0, outside: 1, length: 2 }],
    gids: [{ inside: 3, outside: 4, length: 5 }],
  });
  const wrong: [string, string][] = [
    ["X-mount.idmap", "needs the path"],
    ["X-mount.idmap=u:0:1:1", "maps no group ids"],
    ["X-mount.idmap=0:1:4294967296", '"length" of an id range'],
    ["X-mount.idmap=ns/user", "needs the path"],
  ];
  for (const [word, words] of wrong) {
    const parsing = () => parse(["-o", word, "s", "d", "n"]);
    await assertRejects(parsing, UsageError, words);
  }
});

/** The owner of what is at a path in the scratch directory. */
function owner(path: string): (number | null)[] {
  const { uid, gid } = Deno.statSync(`${SCRATCH}/${path}`);
  return [uid, gid];
}

programTest("mount, bind and apply show other owners by X-mount.idmap", () => {
  for (const [i, path] of ["own", "own/in", "view", "again"].entries()) {
    Deno.mkdirSync(`${SCRATCH}/${path}`);
    Deno.chownSync(`${SCRATCH}/${path}`, i, i + 10);
  }
  const done = { code: 0, stdout: "", stderr: "" };
  const bound = ["-o", "X-mount.idmap=u:1:1001:1 g:11:1011:1"];
  const source = `${SCRATCH}/own`;
  // The child that a user namespace takes is waited for even there.
  const wrapper = ["env", "--ignore-signal=CHLD"];
  const view = run(["bind", ...bound, source, SCRATCH, "view"], { wrapper });
  assertEquals(view, done);
  assertEquals([owner("own/in"), owner("view/in")], [[1, 11], [1001, 1011]]);
  // What is in no range is nobody's.
  assertEquals(owner("view"), [65534, 65534]);

  using namespace = createUserNamespace({
    uids: [{ inside: 1, outside: 2001, length: 1 }],
    gids: [{ inside: 11, outside: 2011, length: 1 }],
  });
  const path = `/proc/${Deno.pid}/fd/${namespace.fd}`;
  const again = ["-o", `X-mount.idmap=${path}`, source, SCRATCH, "again"];
  assertEquals(run(["bind", ...again]), done);
  assertEquals(owner("again/in"), [2001, 2011]);

  const tmpfs = ["-m", "-t", "tmpfs", "-o", "X-mount.idmap=0:7:1,mode=0711"];
  assertEquals(run(["mount", ...tmpfs, SCRATCH, "new"]), done);
  assertEquals(owner("new"), [7, 7]);

  Deno.writeTextFileSync(
    `${SCRATCH}/fstab`,
    `${source} /listed none bind,X-mount.mkdir,X-mount.idmap=u:1:8:1\\040g:11:9:1\n`,
  );
  const fstab = ["--quiet", "apply", "--fstab", `${SCRATCH}/fstab`, SCRATCH];
  assertEquals(run(fstab), done);
  assertEquals(owner("listed/in"), [8, 9]);

  const before = mountsBelow(SCRATCH);
  for (const path of ["/proc/self/ns/mnt", "/proc/0/ns/user"]) {
    const args = ["-o", `X-mount.idmap=${path}`, source, SCRATCH, "own/in"];
    assertEquals(run(["bind", ...args]).code, 32, path);
  }
  const remount = ["remount", "-o", "X-mount.idmap=0:1:1", SCRATCH, "new"];
  const { code, stderr } = run(remount);
  assertEquals(code, 1);
  assert(stderr.includes("X-mount.idmap is for a new mount"), stderr);
  assertEquals(mountsBelow(SCRATCH), before);
  assertEquals(run(["umount", "-qR", SCRATCH]).code, 0);
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
