import { explain } from "./error.ts";
import type { Attempt } from "./hint/hint.ts";
import type { Parameter } from "./mount_options.ts";
import { OwnedFd } from "./owned_fd.ts";
import { SyscallError } from "./sys/error.ts";
import { quote } from "./sys/format.ts";
import {
  fsconfigSetBinary,
  fsconfigSetFd,
  fsconfigSetFlag,
  fsconfigSetString,
} from "./sys/fsconfig.ts";
import { readLog } from "./sys/read_log.ts";

/**
 * Does something in a context of a file system, once its parameters are set.
 *
 * @param open Opens the context, which is closed at the end: fsopen(2), fspick(2).
 * @param parameters The parameters, in order.
 * @param attempted What is attempted, for messages.
 * @param work What is done, with the context's descriptor.
 * @throws {MountError} With what the kernel said on the context.
 * @throws {UnsupportedError} Where the kernel lacks a call.
 */
export function inContext<T>(
  open: () => number,
  parameters: readonly Parameter[],
  attempted: Attempt,
  work: (context: number) => T,
): T {
  let context: OwnedFd | undefined;
  let last: Parameter | undefined;
  try {
    context = new OwnedFd(open(), "context", true);
    for (const parameter of parameters) {
      last = parameter;
      setParameter(context.fd, parameter);
    }
    return work(context.fd);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    throw explain(attempted, error, {
      log: context === undefined
        ? []
        : readLog(context.fd).map(({ message }) => message),
      // Some file systems, overlay for one, say nothing: then this is what
      // the kernel looked at last.
      ...(last === undefined || error.syscall !== "fsconfig" ? {} : {
        detail: `the option set last was ${parameterText(last)}`,
      }),
    });
  } finally {
    context?.close();
  }
}

function setParameter(fd: number, { key, value }: Parameter): void {
  if (value === true) fsconfigSetFlag(fd, key);
  else if (typeof value === "string") fsconfigSetString(fd, key, value);
  else if (value instanceof Uint8Array) fsconfigSetBinary(fd, key, value);
  else fsconfigSetFd(fd, key, value.fd);
}

function parameterText({ key, value }: Parameter): string {
  if (value === true) return quote(key);
  if (typeof value === "string") return quote(`${key}=${value}`);
  return value instanceof Uint8Array
    ? `${quote(key)} of ${value.length} bytes`
    : `${quote(key)} with descriptor ${value.fd}`;
}
