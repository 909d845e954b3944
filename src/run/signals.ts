import { readFile } from "../read_file.ts";
import { type SignalName, SIGNALS } from "../sys/signals.ts";

/** What a process does about signals: proc_pid_status(5). */
export interface Dispositions {
  ignores(name: SignalName): boolean;
  catches(name: SignalName): boolean;
}

/**
 * Asks /proc what a process does about signals.
 *
 * @throws {SyscallError} ENOENT when there is no such process.
 */
export function dispositions(pid: number | "self"): Dispositions {
  const status = readFile(`/proc/${pid}/status`);
  const has = (field: string) => {
    const mask = new RegExp(`^${field}:\\s*(\\w+)$`, "m").exec(status)![1]!;
    return (name: SignalName) =>
      (BigInt(`0x${mask}`) >> BigInt(SIGNALS[name] - 1) & 1n) !== 0n;
  };
  return { ignores: has("SigIgn"), catches: has("SigCgt") };
}

/**
 * Takes signals that this process would end by, for as long as it is not
 * disposed of. What it ignores, under nohup(1) say, it goes on ignoring.
 */
export function takeSignals(
  names: readonly SignalName[],
  take: (name: SignalName) => void,
): Disposable {
  const taken = new DisposableStack();
  if (names.length === 0) return taken;
  const { ignores } = dispositions("self");
  for (const name of names) {
    if (ignores(name)) continue;
    const listener = () => take(name);
    Deno.addSignalListener(name, listener);
    taken.defer(() => Deno.removeSignalListener(name, listener));
  }
  return taken;
}
