import { assert } from "@std/assert";
import { kernelTest } from "./support.ts";

const ROOT = new URL("../", import.meta.url).pathname;

kernelTest("every example of the documentation runs", () => {
  const { success, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["test", "--doc", "-A", "README.md", "mod.ts", "cli.ts", "src"],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).outputSync();
  const text = new TextDecoder();
  const output = text.decode(stdout) + text.decode(stderr);
  assert(success, output);
  const [, passed] = /(\d+) passed/.exec(output) ?? [];
  assert(Number(passed) >= 6, output);
}, { permissions: ["run", "read", "write", "env"] });
