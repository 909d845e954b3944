import { readTest } from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { run } from "../../src/run/run.ts";
import { MountError } from "../../src/error/error.ts";
import { parseElfInterpreter } from "../../src/run/elf.ts";
import type { RunOptions } from "../../src/run/options.ts";
import { keepers, makeRoot, runTest, text } from "../support/run_root.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";

/** Writes a program that says its path. */
function writeProgram(path: string, mode = 0o755): void {
  const directory = path.slice(0, path.lastIndexOf("/"));
  Deno.mkdirSync(directory, { recursive: true });
  Deno.writeTextFileSync(path, "#!/bin/sh\necho $0\n", { mode });
  Deno.chmodSync(path, mode);
}

async function output(
  root: Directory,
  command: string[],
  options: RunOptions = {},
): Promise<string> {
  const { stdout } = await run(root, command, { stdout: "piped", ...options });
  return text.decode(stdout);
}

runTest("run() goes on where execvp(3) does", async () => {
  const path = makeRoot();
  writeProgram(`${path}/others/prog`, 0o700);
  writeProgram(`${path}/unsearchable/prog`);
  Deno.chmodSync(`${path}/unsearchable`, 0o700);
  writeProgram(`${path}/plain/prog`, 0o644);
  Deno.mkdirSync(`${path}/directory/prog`, { recursive: true });
  Deno.writeTextFileSync(`${path}/lost`, "#!/nowhere\n", { mode: 0o755 });
  Deno.mkdirSync(`${path}/script`);
  Deno.renameSync(`${path}/lost`, `${path}/script/prog`);
  writeProgram(`${path}/noexec/prog`);
  writeProgram(`${path}/last/prog`);
  using root = Directory.open(path);
  const env = (...directories: string[]) => ({
    PATH: [...directories, "last", "bin"].map((name) => `/${name}`).join(":"),
  });
  const noexec = {
    type: "bind",
    source: `${path}/noexec`,
    target: "noexec",
    options: "noexec",
  } as const;
  const options = { uid: 1000, mounts: [noexec] };
  for (
    const name of [
      "others",
      "unsearchable",
      "plain",
      "directory",
      "script",
      "noexec",
      "nosuch",
    ]
  ) {
    const out = await output(root, ["prog"], { ...options, env: env(name) });
    assertEquals(out, "/last/prog\n", name);
  }
  const all = env("noexec", "script", "others", "unsearchable", "directory");
  const out = await output(root, ["prog"], { ...options, env: all });
  assertEquals(out, "/last/prog\n");
});

runTest(
  "run() sets PWD to the working directory, where there is one",
  async () => {
    const path = makeRoot();
    Deno.mkdirSync(`${path}/work`);
    using root = Directory.open(path);
    const pwd = async (options: RunOptions) => {
      const out = await output(root, ["/bin/busybox", "env"], {
        cwd: "/work",
        ...options,
      });
      return out.split("\n").filter((line) => line.startsWith("PWD="));
    };
    const before = Deno.env.get("PWD");
    Deno.env.set("PWD", "/caller");
    try {
      assertEquals(await pwd({}), ["PWD=/work"]);
      assertEquals(await pwd({ env: { PWD: "/own" } }), ["PWD=/own"]);
      assertEquals(await pwd({ clearEnv: true }), []);
    } finally {
      if (before === undefined) Deno.env.delete("PWD");
      else Deno.env.set("PWD", before);
    }
  },
);

runTest("run() names the interpreter that a root lacks", async () => {
  const path = makeRoot();
  const loaded = Deno.readFileSync("/usr/bin/env");
  const loader = parseElfInterpreter(loaded)!;
  const write = (name: string, content: string) =>
    Deno.writeTextFileSync(`${path}/bin/${name}`, content, { mode: 0o755 });
  Deno.writeFileSync(`${path}/bin/loaded`, loaded, { mode: 0o755 });
  write("python", "#!/usr/bin/python3 -u\n");
  write("crlf", "#! /bin/sh\r\necho\r\n");
  write("second", "#!/bin/loaded\n");
  using root = Directory.open(path);
  for (
    const [name, expected] of [
      [
        "python",
        'The interpreter of "/bin/python", "/usr/bin/python3", is not in the root',
      ],
      [
        "crlf",
        'The interpreter of "/bin/crlf", "/bin/sh\\r", is not in the root',
      ],
      [
        "loaded",
        `The loader of "/bin/loaded", "${loader}", is not in the root`,
      ],
      [
        "second",
        `The loader of "/bin/loaded", "${loader}", is not in the root`,
      ],
      [
        "nosuch",
        "The root lacks the program, or the interpreter that the program names",
      ],
    ] as const
  ) {
    const { code, hint } = await assertRejects(
      () => run(root, [name], { env: { PATH: "/bin" } }),
      MountError,
    );
    assertEquals([code, hint], ["ENOENT", expected]);
  }
  // What was mounted might have had it.
  const { hint } = await assertRejects(
    () =>
      run(root, ["/bin/python"], {
        mounts: [{ type: "tmpfs", target: "usr" }],
      }),
    MountError,
  );
  assertEquals(
    hint,
    'The interpreter of "/bin/python", "/usr/bin/python3", must be in the root, too',
  );
  assertEquals(keepers(), 0);
});

runTest("run() says what keeps a user from a program", async () => {
  const path = makeRoot();
  writeProgram(`${path}/opt/prog`, 0o750);
  using root = Directory.open(path);
  const hintOf = async (options: RunOptions) => {
    const { code, hint } = await assertRejects(
      () => run(root, ["/opt/prog"], options),
      MountError,
    );
    assertEquals(code, "EACCES");
    return hint;
  };
  const program = 'The program "/opt/prog": user 1000 may not';
  assertEquals(
    await hintOf({ uid: 1000 }),
    `${program} execute "/opt/prog", which has mode 0750 and owner 0`,
  );
  Deno.chmodSync(`${path}/opt`, 0o700);
  assertEquals(
    await hintOf({ uid: 1000 }),
    `${program} search "/opt", which has mode 0700 and owner 0`,
  );
  Deno.chmodSync(path, 0o700);
  assertEquals(
    await hintOf({ uid: 1000, gid: 0 }),
    `${program} search the root, which has mode 0700 and owner 0`,
  );
});

runTest("run() says what nobody can execute", async () => {
  const path = makeRoot();
  writeProgram(`${path}/opt/plain`, 0o644);
  Deno.writeTextFileSync(`${path}/opt/script`, "#!/opt\n", { mode: 0o755 });
  using root = Directory.open(path);
  for (
    const [program, expected] of [
      [
        "/opt/plain",
        'The program "/opt/plain": nobody may execute it: chmod +x lets everybody',
      ],
      ["/opt", `The program "/opt": a directory can't be executed`],
      [
        "/opt/script",
        `The interpreter of "/opt/script", "/opt": a directory can't be executed`,
      ],
    ] as const
  ) {
    const { code, hint } = await assertRejects(
      () => run(root, [program]),
      MountError,
    );
    assertEquals([code, hint], ["EACCES", expected]);
  }
});

runTest("run() says that a file is no working directory", async () => {
  const path = makeRoot();
  using root = Directory.open(path);
  for (
    const [cwd, code, expected] of [
      [
        "/bin/busybox",
        "ENOTDIR",
        /^The working directory, or a part of its path, is a file/,
      ],
      [
        "/bin/busybox/x",
        "ENOTDIR",
        /^The working directory, or a part of its path, is a file/,
      ],
      ["/nosuch", "ENOENT", /^The root has no such directory$/],
      ["/proc/self/root", "ELOOP", /a link of \/proc that leads out of any/],
    ] as const
  ) {
    const error = await assertRejects(
      () => run(root, ["true"], { cwd }),
      MountError,
      `Cannot start in "${cwd}": `,
    );
    assertEquals(error.code, code);
    assertMatch(error.hint!, expected);
  }
});

readTest("parseElfInterpreter() takes no other file for a program", () => {
  const elf = Deno.readFileSync("/usr/bin/env");
  assert(Deno.statSync(parseElfInterpreter(elf)!).isFile);
  for (let length = 0; length < 2000; length++) {
    const found = parseElfInterpreter(elf.subarray(0, length));
    assert(found === null || found === parseElfInterpreter(elf));
  }
  for (const other of ["", "#!/bin/sh\n", "\x7fELF\x03", "\x7fELF\x02\x01"]) {
    assertEquals(parseElfInterpreter(new TextEncoder().encode(other)), null);
  }
});
