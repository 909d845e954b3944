import {
  gatedTest,
  missingPermission,
  ROOT,
  ROOT_URL,
} from "../support/testing.ts";
import { assert, assertEquals } from "@std/assert";

/** Runs a module given as text, without permissions. */
function runModule(source: string): string {
  const path = Deno.makeTempFileSync({ suffix: ".ts" });
  try {
    Deno.writeTextFileSync(path, source);
    const { stdout, stderr } = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--config", `${ROOT}deno.json`, path],
      env: { NO_COLOR: "1" },
    }).outputSync();
    const text = new TextDecoder();
    return text.decode(stdout) + text.decode(stderr);
  } finally {
    Deno.removeSync(path);
  }
}

const missing = missingPermission(["run", "read", "write", "env"]);

gatedTest("importing opens nothing and needs no permission", missing, () => {
  const output = runModule(`
    const library = await import("${ROOT_URL}mod.ts");
    const sys = await import("${ROOT_URL}src/sys/mod.ts");
    await import("${ROOT_URL}cli.ts");
    console.log(Object.keys(library).sort().join(" "));
    console.log(sys.MOVE_MOUNT_F_EMPTY_PATH, typeof sys.fsopen);
    try {
      library.Directory.open("/");
    } catch (error) {
      console.log(error instanceof Deno.errors.NotCapable);
    }
  `);
  assertEquals(
    output,
    "AppliedMounts Directory InheritableFd Mount MountError MountRecord MountTree SpecSyntaxError SyscallError UnmountAllError UnsupportedError applyMounts bindat features listMounts mountat moveat remountat run sweep trace unmountat watchMounts\n" +
      "4 function\ntrue\n",
  );
});

gatedTest("specs are parsed where there is no Deno", missing, () => {
  const output = runModule(`
    const { log } = console;
    Object.defineProperty(globalThis, "Deno", { value: undefined });
    const { parseFstab, parseOciMounts } = await import(
      "${ROOT_URL}src/spec/mod.ts"
    );
    log(parseFstab("a /b tmpfs ro")[0].target);
    const mount = { destination: "/c", source: "d", options: ["bind"] };
    const bundle = new URL("file:///e");
    log(parseOciMounts(JSON.stringify({ mounts: [mount] }), { bundle })[0].source);
  `);
  assertEquals(output, "b\n/e/d\n");
});

for (
  const [what, fake] of [
    ["there is no Deno", "undefined"],
    ["it is not Linux", '{ build: { os: "darwin", arch: "aarch64" } }'],
    ["it is Windows", '{ build: { os: "windows", arch: "x86_64" } }'],
  ]
) {
  gatedTest(
    `the first call throws UnsupportedError when ${what}`,
    missing,
    () => {
      const output = runModule(`
      Object.defineProperty(globalThis, "Deno", { value: ${fake} });
      const { Directory, UnsupportedError } = await import("${ROOT_URL}mod.ts");
      await import("${ROOT_URL}cli.ts");
      try {
        Directory.open("/");
      } catch (error) {
        console.log(error instanceof UnsupportedError, error.message);
      }
    `);
      assertEquals(output, "true Mounts by descriptor need Deno on Linux\n");
    },
  );
}

gatedTest("the first call names a processor that is not known", missing, () => {
  const output = runModule(`
    const build = { os: "linux", arch: "riscv64" };
    Object.defineProperty(globalThis, "Deno", { value: { build } });
    const { Directory } = await import("${ROOT_URL}mod.ts");
    try {
      Directory.open("/");
    } catch (error) {
      console.log(error.name, error.message);
    }
  `);
  assert(output.startsWith("UnsupportedError "), output);
  assert(output.includes("riscv64"), output);
  assert(output.includes("x86_64 and aarch64"), output);
});
