import { stopIgnoring } from "../sys/process.ts";
import { hasProc } from "../kernel/probe.ts";
import { UnsupportedError } from "../sys/error.ts";
import { programCommand } from "../program.ts";
import { FROM_TERMINAL } from "../run/signals.ts";
import type { SignalName } from "../sys/layout.ts";

/** The options of unshare(1) that give the rights to mount: the user becomes root. */
const UNSHARE = ["--user", "--map-root-user", "--mount"];

/** As before, with further ids from /etc/subuid and /etc/subgid. */
const SEVERAL_IDS = [...UNSHARE, "--map-auto"];

/**
 * Runs a command in a user and a mount namespace of its own.
 *
 * @param args The arguments of `run`.
 * @param option The option that takes another id, null for none.
 * @param forwarded The signals that go to it.
 * @returns Its exit status.
 * @throws {UnsupportedError} Where the system lets this user have none, or no
 * other ids, and where /proc is missing.
 */
export async function runRootless(
  args: readonly string[],
  option: string | null,
  forwarded: readonly SignalName[],
): Promise<number> {
  if (!hasProc()) {
    throw new UnsupportedError(
      "Cannot make a user namespace: this needs /proc, which is not mounted here",
    );
  }
  stopIgnoring("SIGCHLD");
  const several = await refusalOf(SEVERAL_IDS);
  if (several !== null && option !== null) {
    throw new UnsupportedError(
      `The user namespace has no other user: leave out --${option}: ${several}`,
    );
  }
  const single = several === null ? null : await refusalOf(UNSHARE);
  if (single !== null) {
    throw new UnsupportedError(
      `This user can't make a user namespace: ${single}`,
    );
  }
  const unshare = several === null ? SEVERAL_IDS : UNSHARE;
  // When this process dies, so does that one, and what it runs; where it has died
  // before, that one sees so itself.
  const keep = ["setpriv", "--pdeathsig", "KILL"];
  const inner = ["run", `--child-of=${Deno.pid}`, ...args];
  const child = new Deno.Command("unshare", {
    args: [...unshare, ...keep, ...programCommand(), ...inner],
  }).spawn();
  using _ = forwardTo(child, forwarded);
  const { code } = await child.status;
  return code;
}

/** Why unshare(1) can't do this, null where it can. */
async function refusalOf(options: readonly string[]): Promise<string | null> {
  const { success, stderr } = await new Deno.Command("unshare", {
    args: [...options, "true"],
    stdin: "null",
    stdout: "null",
  }).output();
  return success ? null : new TextDecoder().decode(stderr).trim();
}

function forwardTo(
  child: Deno.ChildProcess,
  signals: readonly SignalName[],
): Disposable {
  const taken = new DisposableStack();
  for (const signal of signals) {
    const listener = () => {
      // A terminal has sent it to the child, too.
      if (FROM_TERMINAL.includes(signal) && Deno.stdin.isTerminal()) return;
      try {
        child.kill(signal);
      } catch (error) {
        // It has ended.
        if (!(error instanceof TypeError)) throw error;
      }
    };
    Deno.addSignalListener(signal, listener);
    taken.defer(() => Deno.removeSignalListener(signal, listener));
  }
  return taken;
}
