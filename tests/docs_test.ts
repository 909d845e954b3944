import { assert } from "@std/assert";
import { kernelTest, ROOT, SCRATCH } from "./support.ts";

kernelTest("every example of the documentation runs", () => {
  const { success, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      "--doc",
      "-A",
      "README.md",
      "docs",
      "mod.ts",
      "cli.ts",
      "src",
    ],
    cwd: ROOT,
    // The examples make directories.
    env: { NO_COLOR: "1", TMPDIR: SCRATCH },
  }).outputSync();
  const text = new TextDecoder();
  const output = text.decode(stdout) + text.decode(stderr);
  assert(success, output);
  const [, passed] = /(\d+) passed/.exec(output) ?? [];
  assert(Number(passed) >= 6, output);
}, { permissions: ["run", "read", "write", "env"] });
