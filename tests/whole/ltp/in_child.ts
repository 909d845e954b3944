import type { Scope, Value } from "./scope.ts";
import type { Step, StepOf } from "./cases.ts";
import { helperIn, run } from "./commands.ts";

/** What a child process is to do. */
export interface Task {
  scratch: string;
  workshop: string;
  variables: [string, Value][];
  /** Whether to wait until the root directory was changed. */
  chroot: boolean;
  /** Whether to run in a new mount namespace. */
  unshare: boolean;
  steps: Step[];
}

/**
 * Runs steps in a process of their own, which inherits this thread's mount
 * namespace and the variables.
 *
 * @throws {Error} When they fail, with what the child said.
 */
export function runInChild(step: StepOf<"in_child">, scope: Scope): void {
  const task: Task = {
    scratch: scope.scratch,
    workshop: scope.workshop,
    variables: [...scope.variables],
    chroot: step.chroot !== undefined,
    unshare: step.unshare !== undefined,
    steps: step.steps,
  };
  const [command, ...args] = [
    ...rootCommand(step, scope),
    ...credentialsCommand(step),
    ...denoCommand(),
    encodeTask(task),
  ];
  run(command!, args, {
    cwd: scope.scratch,
    env: {
      DENO_DIR: cacheIn(scope.workshop),
      DENO_NO_UPDATE_CHECK: "1",
    },
  });
}

function rootCommand(step: StepOf<"in_child">, scope: Scope): string[] {
  if (step.chroot === undefined) return [];
  return [helperIn(scope.workshop), "chroot", scope.text(step.chroot)];
}

function credentialsCommand({ uid, caps_drop }: StepOf<"in_child">): string[] {
  if (uid !== undefined) {
    return [
      "setpriv",
      `--reuid=${uid}`,
      `--regid=${uid}`,
      "--clear-groups",
      // This module may lie in a directory that is not for everybody.
      "--inh-caps=+dac_read_search",
      "--ambient-caps=+dac_read_search",
    ];
  }
  if (caps_drop !== undefined) {
    const dropped = caps_drop
      .map((name) => "-" + name.toLowerCase().replace(/^cap_/, ""))
      .join(",");
    return ["setpriv", `--inh-caps=${dropped}`, `--bounding-set=${dropped}`];
  }
  return [];
}

function denoCommand(): string[] {
  const child = new URL("child.ts", import.meta.url).href;
  return [Deno.execPath(), "run", "-A", "--no-config", "--no-lock", child];
}

/** A cache that every user may write. */
function cacheIn(workshop: string): string {
  const path = `${workshop}/cache`;
  Deno.mkdirSync(path, { recursive: true });
  Deno.chmodSync(path, 0o777);
  return path;
}

/** JSON, a bigint as `{ "bigint": "…" }`. */
function encodeTask(task: Task): string {
  return JSON.stringify(
    task,
    (_, value) => typeof value === "bigint" ? { bigint: String(value) } : value,
  );
}

/** Decodes what {@linkcode encodeTask} encoded. */
export function decodeTask(json: string): Task {
  return JSON.parse(
    json,
    (_, value) =>
      typeof value?.bigint === "string" ? BigInt(value.bigint) : value,
  );
}
