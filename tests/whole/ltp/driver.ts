/** Runs the steps of a case. */
import type { Ops, Scope, Value } from "./scope.ts";
import { calls } from "./calls.ts";
import { setup } from "./setup.ts";
import { assertions } from "./assertions.ts";
import { runInChild } from "./in_child.ts";
import type { Step } from "./cases.ts";
import { outcome } from "./commands.ts";
import * as sys from "../../../src/sys/mod.ts";

const OPS: Ops = {
  ...calls,
  ...setup,
  ...assertions,

  in_child: runInChild,

  repeat(step, scope) {
    for (let i = 0; i < step.times; i++) {
      scope.variables.set("i", BigInt(i));
      runSteps(step.steps, scope);
    }
  },
};

/**
 * Runs steps in this thread's mount namespace and working directory.
 *
 * @throws {Error} When a step does not end as it says.
 */
export function runSteps(steps: readonly Step[], scope: Scope): void {
  steps.forEach((step, index) => {
    try {
      runStep(step, scope);
    } catch (error) {
      const shown = JSON.stringify(step).slice(0, 400);
      throw new Error(`Step ${index + 1}, ${shown}: ${error}`, {
        cause: error,
      });
    }
  });
}

function runStep(step: Step, scope: Scope): void {
  // Each step goes to the function of its own op.
  const op = OPS[step.op] as (step: Step, scope: Scope) => Value | void;
  const call = () => keep(op(step, scope), step.as, scope);
  const expected = step.expect?.errno;
  if (expected === undefined) return call();
  const code = outcome(call);
  if (code !== expected) throw new Error(`${code} instead of ${expected}`);
}

/** Stores a step's result, or closes the descriptor that nobody asked for. */
function keep(
  result: Value | void,
  name: string | undefined,
  scope: Scope,
): void {
  if (typeof result === "number") scope.own(result);
  if (name !== undefined) scope.variables.set(name, result ?? undefined);
  else if (typeof result === "number") scope.close(result);
}

/**
 * Runs a case in a fresh private mount namespace, an empty tmpfs as its working
 * directory; afterwards this thread is where it was, and nothing is left open.
 *
 * @throws {Error} When a step does not end as it says.
 */
export function runCase(steps: readonly Step[], scope: Scope): void {
  const namespace = openPath("/proc/thread-self/ns/mnt", sys.O_RDONLY);
  const directory = openPath(".", sys.O_PATH);
  try {
    enterScratch(scope.scratch);
    runSteps(steps, scope);
  } finally {
    scope.closeAll();
    // Deno may have started a thread, which shares what must not be shared.
    sys.unshare(sys.CLONE_FS);
    sys.setns(namespace, sys.CLONE_NEWNS);
    sys.fchdir(directory);
    sys.close(directory);
    sys.close(namespace);
  }
}

function enterScratch(path: string): void {
  sys.unshare(sys.CLONE_NEWNS);
  sys.mount(null, "/", null, sys.MS_REC | sys.MS_PRIVATE, null);
  sys.mkdirat(sys.AT_FDCWD, path, 0o755);
  sys.mount("scratch", path, "tmpfs", 0, "mode=0755");
  const directory = openPath(path, sys.O_PATH | sys.O_DIRECTORY);
  sys.fchdir(directory);
  sys.close(directory);
}

function openPath(path: string, flags: number): number {
  return sys.openat2(sys.AT_FDCWD, path, { flags: flags | sys.O_CLOEXEC });
}
