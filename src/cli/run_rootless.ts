import { stopIgnoring } from "../sys/process.ts";
import { UnsupportedError } from "../sys/error.ts";
import { programCommand } from "../program.ts";

/**
 * What gets the rights to mount: the user is root in there, and nobody else. An
 * mqueue shows the IPC namespace.
 */
const UNSHARE = ["--user", "--map-root-user", "--mount", "--ipc"];

/**
 * Runs a command in a user, a mount and an IPC namespace of its own.
 *
 * @param args The arguments of `run`.
 * @returns Its exit status.
 * @throws {UnsupportedError} Where the system lets this user have none.
 */
export async function runRootless(args: readonly string[]): Promise<number> {
  stopIgnoring("SIGCHLD");
  const probe = await new Deno.Command("unshare", {
    args: [...UNSHARE, "true"],
    stdin: "null",
    stdout: "null",
  }).output();
  if (!probe.success) {
    const said = new TextDecoder().decode(probe.stderr).trim();
    throw new UnsupportedError(`This user gets no user namespace: ${said}`);
  }
  // When this process dies, so does that one, and what it runs; where it has died
  // before, that one sees so itself.
  const keep = ["setpriv", "--pdeathsig", "KILL"];
  const inner = ["run", `--child-of=${Deno.pid}`, ...args];
  const child = new Deno.Command("unshare", {
    args: [...UNSHARE, ...keep, ...programCommand(), ...inner],
  }).spawn();
  using _ = forwardTo(child);
  const { code } = await child.status;
  return code;
}

function forwardTo(child: Deno.ChildProcess): Disposable {
  const taken = new DisposableStack();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    const listener = () => {
      // A terminal has sent it to the child, too.
      if (signal !== "SIGINT" || !Deno.stdin.isTerminal()) child.kill(signal);
    };
    Deno.addSignalListener(signal, listener);
    taken.defer(() => Deno.removeSignalListener(signal, listener));
  }
  return taken;
}
