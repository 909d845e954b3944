/** The child process of an `in_child` step: its argument says what to do. */
import { decodeTask } from "./in_child.ts";
import * as sys from "../../../src/sys/mod.ts";
import { runSteps } from "./driver.ts";
import { Scope } from "./scope.ts";

const task = decodeTask(Deno.args[0]!);

if (task.chroot) waitForRoot();

if (task.unshare) sys.unshare(sys.CLONE_NEWNS);

runSteps(task.steps, new Scope(task.scratch, task.workshop, task.variables));

/** Lets the parent change the root directory: from here on nothing is loaded. */
function waitForRoot(): void {
  Deno.stdout.writeSync(new TextEncoder().encode("ready\n"));
  const end = Deno.stdin.readSync(new Uint8Array(1));
  if (end !== null) throw new Error("The parent has something to say");
}
