/** The standard streams of a command. */
import { isErrno } from "../sys/error.ts";
import { EAGAIN, EPIPE } from "../sys/errno.ts";
import {
  dup,
  pipe2,
  pipeSize,
  read,
  setNonblocking,
  write,
} from "../sys/file.ts";
import { waitReady } from "./wait_ready.ts";
import { POLLIN, POLLOUT } from "../sys/event.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { O_RDWR } from "../sys/constants.ts";
import { open } from "../fd/open.ts";

/** A command's standard input: the option `stdin` of `run`. */
export type InputOption =
  | "inherit"
  | "null"
  | number
  | Uint8Array
  | ReadableStream<Uint8Array>;

/** A command's standard output or error: the options `stdout` and `stderr` of `run`. */
export type OutputOption =
  | "inherit"
  | "null"
  | "piped"
  | number
  | WritableStream<Uint8Array>;

/** A stream of a command, before and after the command is started. */
export interface Stream {
  /** The descriptor in this process that becomes the command's. */
  readonly fd: number;
  /** True if that is one end of a pipe that was made for the command. */
  readonly isPipe: boolean;
  /** Closes the end that only the command needs, once the command is started. */
  closeTheirs(): void;
  /**
   * Moves bytes between the command and this process, until the end.
   *
   * @returns The output that was collected, or undefined for any other stream.
   */
  readonly moved: () => Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Ends the moving: the command reads no more, or nobody reads what it wrote. */
  stop(): void;
  /** Ends the moving as soon as everything that the command has written is moved. */
  finish(): void;
}

const CHUNK_SIZE = 65536;

/**
 * Checks and opens a command's input.
 *
 * @throws {TypeError | SyscallError}
 */
export function openInput(option: InputOption, owned: DisposableStack): Stream {
  if (!(option instanceof Uint8Array || option instanceof ReadableStream)) {
    return openPlain(option, 0, owned);
  }
  const [ours, theirs] = openPipe(owned, "writing");
  const source = option instanceof Uint8Array
    ? new Blob([option as Uint8Array<ArrayBuffer>]).stream()
    : option;
  const reader = source.getReader();
  const stopping = new AbortController();
  // Nobody waits for the source to react, and its errors do not matter.
  const cancel = () => void reader.cancel().catch(() => {});
  function stop(): void {
    stopping.abort();
    cancel();
  }
  return {
    fd: theirs.fd,
    isPipe: true,
    closeTheirs: () => theirs.close(),
    async moved() {
      try {
        for (;;) {
          const { done, value } = await reader.read();
          if (done || stopping.signal.aborted) return undefined;
          await writeAll(ours.fd, value, stopping.signal);
        }
      } catch (error) {
        // The command does not read the rest.
        if (!isErrno(error, EPIPE)) throw error;
        cancel();
        return undefined;
      } finally {
        ours.close();
      }
    },
    stop,
    finish: stop,
  };
}

async function writeAll(
  fd: number,
  chunk: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  for (let rest = chunk; rest.length > 0 && !signal.aborted;) {
    try {
      rest = rest.subarray(write(fd, rest));
    } catch (error) {
      if (!isErrno(error, EAGAIN)) throw error;
      await waitReady(fd, POLLOUT, signal);
    }
  }
}

/**
 * Checks and opens one of a command's outputs.
 *
 * @param own The descriptor of this process that `"inherit"` means.
 * @throws {TypeError | SyscallError}
 */
export function openOutput(
  option: OutputOption,
  own: number,
  owned: DisposableStack,
): Stream {
  if (option !== "piped" && !(option instanceof WritableStream)) {
    return openPlain(option, own, owned);
  }
  const [ours, theirs] = openPipe(owned, "reading");
  const limit = new ReadLimit();
  return {
    fd: theirs.fd,
    isPipe: true,
    closeTheirs: () => theirs.close(),
    async moved() {
      const source = readable(ours, limit);
      if (option === "piped") {
        return await new Response(source).bytes();
      }
      await source.pipeTo(option);
      return undefined;
    },
    stop: () => limit.set(0),
    // A process that no longer belongs to the command may hold the other end.
    finish: () => limit.set(ours.closed ? 0 : pipeSize(ours.fd)),
  };
}

/** How much more is read, without waiting for it. */
class ReadLimit {
  /** The number of bytes. */
  left = Infinity;
  readonly #reached = new AbortController();

  /** Is aborted once there is a limit. */
  get signal(): AbortSignal {
    return this.#reached.signal;
  }

  /** Sets a limit; the least holds. */
  set(bytes: number): void {
    this.left = Math.min(this.left, bytes);
    this.#reached.abort();
  }
}

function readable(
  pipe: OwnedFd,
  limit: ReadLimit,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const buffer = new Uint8Array(CHUNK_SIZE);
  let waiting = false;
  let cancelled = false;
  return new ReadableStream({
    async pull(controller) {
      while (limit.left > 0) {
        try {
          const count = read(pipe.fd, buffer);
          limit.left -= count;
          if (count > 0) return controller.enqueue(buffer.slice(0, count));
          break;
        } catch (error) {
          if (!isErrno(error, EAGAIN)) throw error;
        }
        if (limit.signal.aborted) break;
        waiting = true;
        await waitReady(pipe.fd, POLLIN, limit.signal);
        waiting = false;
      }
      pipe.close();
      if (!cancelled) controller.close();
    },
    cancel() {
      cancelled = true;
      limit.set(0);
      if (!waiting) pipe.close();
    },
  }, { highWaterMark: 0 });
}

function openPlain(
  option: "inherit" | "null" | number,
  own: number,
  owned: DisposableStack,
): Stream {
  return {
    fd: option === "inherit"
      ? own
      : option === "null"
      ? openNull(owned)
      : owned.use(new OwnedFd(dup(option))).fd,
    isPipe: false,
    closeTheirs: () => {},
    moved: () => Promise.resolve(undefined),
    stop: () => {},
    finish: () => {},
  };
}

/** The descriptor of /dev/null that all `"null"` streams of a command share. */
const nulls = new WeakMap<DisposableStack, number>();

function openNull(owned: DisposableStack): number {
  let fd = nulls.get(owned);
  if (fd === undefined) {
    fd = owned.use(open("/dev/null", O_RDWR)).fd;
    nulls.set(owned, fd);
  }
  return fd;
}

/** Makes a pipe whose one end, ours, does not block. */
function openPipe(
  owned: DisposableStack,
  ours: "reading" | "writing",
): [ours: OwnedFd, theirs: OwnedFd] {
  const ends = pipe2().map((fd) => owned.use(new OwnedFd(fd)));
  const [reading, writing] = ends as [OwnedFd, OwnedFd];
  const [own, theirs] = ours === "reading"
    ? [reading, writing]
    : [writing, reading];
  setNonblocking(own.fd);
  return [own, theirs];
}
