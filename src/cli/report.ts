import { MountError } from "../error.ts";
import { UnsupportedError } from "../sys/error.ts";
import { printMessage } from "./message.ts";
import { UsageError } from "./usage_error.ts";

/** The exit status when some of several mounts or unmounts failed: mount(8). */
export const SOME_FAILED = 64;

/**
 * Says on stderr what went wrong, and what to do about it.
 *
 * @param error What went wrong.
 * @param status The exit status of a mount or unmount that failed.
 * @param subcommand The subcommand whose help would tell how it is used.
 * @returns The exit status: 1 for wrong usage or a missing permission.
 * @throws What is no failure of the caller or the system, but a mistake in this
 * program.
 */
export function report(
  error: unknown,
  status = 1,
  subcommand = "",
): number {
  // Who reads may stop early.
  if (error instanceof Deno.errors.BrokenPipe) return 0;
  if (error instanceof SuppressedError) {
    // What failed first, then what failed while that was undone.
    return Math.max(
      report(error.suppressed, status, subcommand),
      report(error.error, status, subcommand),
    );
  }
  if (error instanceof UsageError) {
    printMessage(`mountat: ${error.message}`);
    const words = ["mountat", subcommand, "--help"].filter((word) => word);
    printMessage(`Try '${words.join(" ")}'.`);
  } else if (error instanceof MountError) {
    printMessage(`mountat: ${error.message}`);
    if (error.hint !== undefined) printMessage(`  hint: ${error.hint}`);
    return error.code === "EPERM" ? 1 : status;
  } else if (
    error instanceof UnsupportedError ||
    error instanceof Deno.errors.NotCapable
  ) {
    printMessage(`mountat: ${error.message}`);
    return error instanceof UnsupportedError ? status : 1;
  } else if (isSystemError(error)) {
    printMessage(`mountat: ${error.message}`);
  } else {
    throw error;
  }
  return 1;
}

/** Whether an error is one that Deno has from the system, of a full disk, say. */
function isSystemError(error: unknown): error is Error {
  return error instanceof Error && "code" in error &&
    typeof error.code === "string";
}
