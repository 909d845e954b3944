import { type Arguments, remount } from "../../src/cli/remount.ts";
import { parseWords } from "../../src/cli/command.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { UsageError } from "../../src/cli/print.ts";
import { programTest, run } from "../support/program.ts";
import {
  attach,
  makeDetached,
  mountTmpfs,
  tableOptions,
} from "../support/scratch.ts";
import { mountsBelow, SCRATCH } from "../support/testing.ts";

async function parse(args: string[]): Promise<Arguments> {
  return remount.parse(await parseWords(remount.description, args));
}

Deno.test("remount takes options, a directory and a name", async () => {
  assertEquals(await parse(["-o", "ro", "-o", "size=1m", "d", "n"]), {
    directory: "d",
    name: "n",
    options: { recursive: false, options: "ro,size=1m" },
  });
  assertEquals((await parse(["-Rr", "d", "n"])).options, {
    recursive: true,
    options: "",
    readonly: true,
  });
  assertEquals((await parse(["--make-rshared", "d", "."])).options, {
    recursive: false,
    options: "rshared",
  });
});

Deno.test("remount throws when its arguments make no sense", async () => {
  const wrong: [string[], string][] = [
    [[], "Usage: mountat remount"],
    [["d", "n"], "At least one option must say what to change"],
    [["-R", "d", "n"], "At least one option must say what to change"],
    [["-o", "rro,size=1m", "d", "n"], "remount twice"],
    [["-r", "d", "/n"], "relative"],
    [["-r", "d", "n", "x"], '"x"'],
    [["-r", "--mkdir", "d", "n"], '"--mkdir"'],
  ];
  for (const [args, words] of wrong) {
    await assertRejects(() => parse(args), UsageError, words);
  }
});

programTest("remount changes the mount and its file system, or neither", () => {
  using _mount = mountTmpfs("m");
  const options = ["-o", "nodev,noatime,size=1m", "--make-private"];
  const done = run(["remount", ...options, SCRATCH, "m"]);
  assertEquals(done, { code: 0, stdout: "", stderr: "" });
  const line = () => mountsBelow(`${SCRATCH}/m`)[0]!.split(" ").slice(5);
  const after = ["rw,nodev,noatime", "-", "tmpfs", "scratch", "rw,size=1024k"];
  assertEquals(line(), after);
  Deno.writeFileSync(`${SCRATCH}/m/file`, new Uint8Array(1 << 19));
  const refused = run(["remount", "-o", "ro,dev,size=4k", SCRATCH, "m"]);
  assertEquals([refused.code, refused.stdout], [32, ""]);
  assertEquals(
    refused.stderr,
    'mountat: Cannot remount "m": fsconfig: EINVAL (Invalid argument): tmpfs: Too small a size for current use\n',
  );
  assertEquals(line(), after);
  assertEquals(run(["remount", "-r", SCRATCH, "m"]).code, 0);
  assertEquals(tableOptions(`${SCRATCH}/m`), "ro,nodev,noatime");
});

programTest("remount keeps what a devpts would forget", () => {
  const words = ["gid=5", "mode=620", "ptmxmode=666"];
  using made = makeDetached(
    "devpts",
    words.map((word) => word.split("=") as [string, string]),
  );
  using pts = attach(made, "m");
  const shown = () => mountsBelow(pts.path)[0]!.split(" ").at(-1);
  for (const [option, state] of [["ro=fs", "ro"], ["rw", "rw"]]) {
    const done = run(["remount", "-o", option!, SCRATCH, "m"]);
    assertEquals(done, { code: 0, stdout: "", stderr: "" });
    assertEquals(shown(), [state, ...words].join());
  }
});

programTest("remount says where nothing is mounted", () => {
  Deno.mkdirSync(`${SCRATCH}/plain`);
  const { code, stderr } = run(["remount", "-r", SCRATCH, "plain"]);
  assertEquals(code, 32);
  assert(stderr.includes("hint: Nothing is mounted there"), stderr);
});
