/** What `--json` prints is what docs/schema.json says, no more and no less. */
import { SCRATCH } from "../support/testing.ts";
import { Ajv2020 } from "npm:ajv@8.17.1/dist/2020.js";
import { assert, assertEquals } from "@std/assert";
import {
  commandLine,
  programTest,
  run,
  type RunOptions,
} from "../support/program.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { MS_PRIVATE, MS_SHARED } from "../../src/sys/constants.ts";
import {
  leaveMounts,
  RECORDS,
  recordText,
  writeRecord,
} from "../support/records.ts";
import { mountId } from "../support/scratch.ts";
import { makeRoot } from "../support/run_root.ts";
import SCHEMA from "../../docs/schema.json" with { type: "json" };

/** The schema without leave for what it does not know. */
function closed(schema: unknown): unknown {
  if (typeof schema !== "object" || schema === null) return schema;
  if (Array.isArray(schema)) return schema.map(closed);
  const entries = Object.entries(schema).map(([key, value]) => [
    key,
    closed(value),
  ]);
  if ("required" in schema) entries.push(["additionalProperties", false]);
  return Object.fromEntries(entries);
}

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });

ajv.addSchema({ ...(closed(SCHEMA) as object), $id: "closed" });

/** Checks data, and returns it. */
// deno-lint-ignore no-explicit-any
function check(name: string, stdout: string): any {
  const data = JSON.parse(stdout);
  const validate = ajv.getSchema(`closed#/$defs/${name}`)!;
  assert(validate(data), ajv.errorsText(validate.errors) + stdout);
  assert(ajv.validate("closed", data), stdout);
  return data;
}

/** Runs a subcommand, and checks what it prints. */
// deno-lint-ignore no-explicit-any
function json(args: string[], code = 0, options: RunOptions = {}): any {
  const permissions = ["--allow-ffi", "--allow-write=/run/mountat"];
  const ended = run(["--json", ...args], { permissions, ...options });
  assertEquals(ended.code, code, ended.stderr);
  return check(args[0]!, ended.stdout);
}

/** Starts a subcommand that goes on until a signal comes. */
function start(args: string[]) {
  const [command, ...rest] = commandLine(["--json", ...args]);
  const process = new Deno.Command(command!, {
    args: rest,
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = process.stdout.pipeThrough(new TextDecoderStream())
    .getReader();
  return {
    process,
    /** What it prints until this comes. */
    async read(end: string): Promise<string> {
      for (let text = "";;) {
        const { value, done } = await reader.read();
        assert(!done, text);
        text += value;
        if (text.includes(end)) return text;
      }
    },
    async [Symbol.asyncDispose]() {
      await reader.cancel();
      await process[Symbol.asyncDispose]();
    },
  };
}

Deno.test("docs/schema.json is a schema, and refuses other data", () => {
  const validate = new Ajv2020({ strict: true, allowUnionTypes: true })
    .compile(SCHEMA);
  assert(validate({ id: 1, directory: "a", name: "b", more: true }));
  assert(!validate({ id: -1, directory: "a", name: "b" }));
  assert(!validate({ id: 1, directory: "a" }));
  assert(validate({ target: "/a", action: null }));
  assert(!validate({ target: 1 }));
  assert(!validate({}));
});

programTest("--json prints what docs/schema.json says", () => {
  const root = `${SCRATCH}/root`;
  for (const name of ["old/sub", "new/sub", "a", "file"]) {
    Deno.mkdirSync(`${root}/${name}`, { recursive: true });
  }
  json(["mount", "-t", "tmpfs", root, "a"]);
  json(["bind", `${root}/a`, `${root}/old`, "sub"]);
  const moved = json(["move", `${root}/old`, `${root}/new`, "sub"]);
  assertEquals(moved.made, "moved");
  mount(null, SCRATCH, null, MS_SHARED, null);
  const cloned = json(["move", `${root}/new`, `${root}/old`, "sub"]);
  assertEquals(cloned.made, "cloned");
  mount(null, SCRATCH, null, MS_PRIVATE, null);

  const { filesystems } = json(["list", root]);
  assertEquals(filesystems.length, 2);
  json(["list", "--output-all"]);
  assert("children" in json(["list", "--tree"]).filesystems[0]);

  using held = Deno.openSync(`${root}/a`);
  const busy = json(["umount", "--recursive", root], 64);
  assertEquals(busy.unmounted, ["old/sub"]);
  assertEquals(busy.failed[0].code, "EBUSY");
  assert("hint" in busy.failed[0]);
  held.close();
  json(["umount", root, "a"]);
  assertEquals(json(["umount", root, "a"], 32).unmounted, []);

  assertEquals(json(["relative-unmount", "77", "x"], 1).code, "EBADF");
});

/** A call of each subcommand that fails, but for those that can't. */
const FAILURES: readonly (readonly [args: string[], code: number])[] = [
  [["bb_mounter_at", "file/d", "0"], 1],
  [["bb_mounter", "file/d"], 32],
  [["relative-mount", "none", "a"], 32],
  [["relative-unmount", "x", "a"], 2],
  [["mount", "-t", "tmpfs", ".", "none"], 32],
  [["bind", "none", ".", "a"], 32],
  [["remount", "-o", "ro", ".", "none"], 32],
  [["apply", "--fstab", "fstab", "."], 32],
  [["move", "none", "."], 32],
  [["list", "none"], 1],
  [["umount", "none", "a"], 32],
  [["sweep", "--lzay"], 1],
  [["doctor", "--lzay"], 1],
  [["completions", "fihs"], 1],
  [["help", "umuont"], 1],
];

programTest("--json prints an object for a failure of any subcommand", () => {
  Deno.writeTextFileSync(`${SCRATCH}/file`, "");
  Deno.writeTextFileSync(`${SCRATCH}/fstab`, "none /none tmpfs\n");
  const fails = (args: string[], code: number) => {
    const ended = run(args, { cwd: SCRATCH });
    assertEquals(ended.code, code, ended.stderr);
    const { error } = check("error", ended.stdout);
    assert(ended.stderr.includes(error.message), ended.stderr);
    return error;
  };
  for (const [[word, ...args], code] of FAILURES) {
    fails(["--json", word!, ...args], code);
    fails([word!, "--json", ...args], code);
    fails([word!, "--json", "--nope"], 1);
  }
  assertEquals(fails(["list", "--json", "none"], 1).code, "ENOENT");
  fails(["--json", "file/d", "0"], 1);
  fails(["--json", "lst", "0"], 1);
  // Stdout is the command's, and its arguments are its own.
  for (
    const args of [["run", "--json", "none", "x"], ["run", "--json", "--nope"]]
  ) {
    const { code, stdout, stderr } = run(args, { cwd: SCRATCH });
    assertEquals([code, stdout], [125, ""]);
    check("error", stderr.split("\n").find((line) => line.startsWith("{"))!);
  }
  const plain = run(["run", "none", "x", "--json"], { cwd: SCRATCH });
  assert(!plain.stderr.includes("{"), plain.stderr);
});

programTest("apply --json prints what docs/schema.json says", async () => {
  const root = `${SCRATCH}/root`;
  const fstab = `${SCRATCH}/fstab`;
  Deno.mkdirSync(`${root}/tmp`, { recursive: true });
  Deno.writeTextFileSync(
    fstab,
    "none /tmp tmpfs\nnone /tmp/no tmpfs nofail\n",
  );
  const applied = json(["apply", "--fstab", fstab, root]);
  assertEquals(applied.mounted.length, 1);
  assertEquals(applied.passedOver.length, 1);
  umount2(`${root}/tmp`, 0);

  await using child = start(["apply", "--hold", "--fstab", fstab, root]);
  assert("tree" in check("apply", await child.read("\n}\n")));
  child.process.kill("SIGTERM");
  assertEquals((await child.process.status).code, 143);
});

programTest(
  "list --watch --json prints what docs/schema.json says",
  async () => {
    await using child = start(["list", "--watch", "--output-all", SCRATCH]);
    const read = child.read("\n");
    let done = false;
    read.finally(() => done = true);
    Deno.mkdirSync(`${SCRATCH}/a`);
    while (!done) {
      mount("none", `${SCRATCH}/a`, "tmpfs", 0, null);
      umount2(`${SCRATCH}/a`, 0);
      // What it prints, comes meanwhile.
      await new Promise((resolve) => setTimeout(resolve));
    }
    const [line] = (await read).split("\n");
    assertEquals(check("list-watch", line!).action, "mount");
    child.process.kill("SIGINT");
    assertEquals((await child.process.status).code, 130);
  },
);

programTest("run --json prints what docs/schema.json says", () => {
  const command = ["run", "--json", makeRoot(), "sh", "-c", "echo out; exit 3"];
  const { code, stdout, stderr } = run(command);
  assertEquals([code, stdout], [3, "out\n"]);
  const { signal, timedOut } = check("run", stderr);
  assertEquals([signal, timedOut], [null, false]);
}, { commands: ["busybox"] });

programTest("doctor --json prints what docs/schema.json says", () => {
  assertEquals(json(["doctor"]).works, true);
  const blind = json(["doctor"], 1, { permissions: [] });
  assertEquals(blind.features, null);
  const report = json(["doctor", "--report"]);
  assertEquals(typeof report.versions.linux, "string");
  assert(report.mounts.length > 0);
  const none = json(["doctor", "--report"], 1, { permissions: [] });
  assertEquals([none.versions.linux, none.mounts], [null, null]);
});

programTest("sweep --json prints what docs/schema.json says", async () => {
  Deno.mkdirSync(`${SCRATCH}/a`);
  Deno.mkdirSync(`${SCRATCH}/b`);
  mount("none", `${SCRATCH}/a`, "tmpfs", 0, null);
  mount("none", `${SCRATCH}/b`, "tmpfs", 0, null);
  writeRecord(recordText([mountId(`${SCRATCH}/a`), mountId(`${SCRATCH}/b`)]));
  const ignored = writeRecord("no record\n");
  using held = Deno.openSync(`${SCRATCH}/b`);
  const swept = json(["sweep"], 64);
  assertEquals(swept.unmounted.length, 1);
  assertEquals(swept.left[0].reason, "failed");
  assertEquals(swept.ignored[0].path, ignored);
  held.close();
  umount2(`${SCRATCH}/b`, 0);
  Deno.removeSync(RECORDS, { recursive: true });
  await leaveMounts(SCRATCH, ["a"]);
  assertEquals(json(["sweep", "--dry-run"]).unmounted.length, 1);
  json(["sweep"]);
});
