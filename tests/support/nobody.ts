/** A user who may do nothing, and runs the program. */
import { Directory } from "../../src/directory.ts";
import { denoForAll } from "./program.ts";
import { SCRATCH } from "./testing.ts";

/** Where Deno has its cache. */
export function denoDirectory(): string {
  const { stdout } = new Deno.Command(Deno.execPath(), {
    args: ["info", "--json"],
  }).outputSync();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

/** A user who may do nothing, and who finds what Deno has cached. */
export function asNobody(): Disposable & { wrapper: string[]; deno: string } {
  const shown = `${SCRATCH}/deno`;
  using scratch = Directory.open(SCRATCH);
  scratch.bind(denoDirectory(), "deno", { mkdir: true }).keep();
  return {
    wrapper: [
      "setpriv",
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      "env",
      "HOME=/",
      `DENO_DIR=${shown}`,
    ],
    deno: denoForAll(),
    [Symbol.dispose]() {
      using scratch = Directory.open(SCRATCH);
      scratch.unmount("deno", { lazy: true });
    },
  };
}
