/** How a call fails: the statuses of gRPC that this server answers with. */
import { status } from "@grpc/grpc-js";

export { status };

/** The name of a status: "INVALID_ARGUMENT". */
export type StatusName = keyof typeof status;

/** A call that fails with a status of gRPC. */
export class StatusError extends Error {
  override readonly name = "StatusError";
  /** The status. */
  readonly status: StatusName;

  constructor(name: StatusName, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.status = name;
  }
}

/**
 * The status of whatever was thrown.
 *
 * @param error What was thrown; what is no {@linkcode StatusError} is INTERNAL.
 */
export function statusOf(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new StatusError("INTERNAL", message, { cause: error });
}
