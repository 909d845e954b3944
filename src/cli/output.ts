/** What is printed where it may have to wait, or nobody may read. */
import { OwnedFd } from "../owned_fd.ts";
import { EAGAIN, EPIPE } from "../sys/errno.ts";
import { isErrno, SyscallError } from "../sys/error.ts";
import { pipe2 } from "../sys/pipe2.ts";
import { POLLOUT, ppoll } from "../sys/ppoll.ts";
import { writeElsewhere } from "../sys/write.ts";
import { OutputError } from "./data.ts";

const STDOUT = 1;

/**
 * Prints text and a newline on stdout. Another thread waits until there is room:
 * meanwhile signals are heard.
 *
 * @returns Whether anybody reads.
 * @throws {OutputError} When it can't be written.
 */
export async function print(text: string): Promise<boolean> {
  let rest = new TextEncoder().encode(`${text}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(await writeElsewhere(STDOUT, rest));
    } catch (error) {
      if (isErrno(error, EPIPE)) return false;
      if (!isErrno(error, EAGAIN)) {
        throw error instanceof SyscallError
          ? new OutputError(error.code, error.errno)
          : error;
      }
      // Whoever shares it has set O_NONBLOCK.
      await ppoll([{ fd: STDOUT, events: POLLOUT }]);
    }
  }
  return true;
}

/** Notices when nobody reads stdout any more, until disposed of. */
export class Reader implements AsyncDisposable {
  /** A pipe: closing the end that is written to ends the waiting. */
  readonly #waker: OwnedFd;
  readonly #waited: Promise<void>;

  /** @param gone Is called once nobody reads. */
  constructor(gone: () => void) {
    const [wakes, waker] = pipe2().map((fd) => new OwnedFd(fd));
    this.#waker = waker!;
    // Where it can't be waited for, a write will tell.
    this.#waited = this.#wait(wakes!, gone).catch(() => {});
  }

  async #wait(wakes: OwnedFd, gone: () => void): Promise<void> {
    using end = wakes;
    const [ended] = await ppoll([
      // Errors and a hang-up need not be asked for.
      { fd: STDOUT, events: 0 },
      { fd: end.fd, events: 0 },
    ]);
    if (ended) gone();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#waker.close();
    await this.#waited;
  }
}
