import { OwnedFd } from "../fd/owned_fd.ts";
import { pipe2, read, write } from "../sys/file.ts";
import { O_CLOEXEC, O_NONBLOCK } from "../sys/constants.ts";
import { POLLIN, ppoll } from "../sys/event.ts";

interface Waiter {
  readonly fd: number;
  readonly events: number;
  readonly settle: PromiseWithResolvers<void>;
}

const waiters = new Set<Waiter>();

/** Ends the other thread's waiting, for there is more to wait for. */
let wake: (() => void) | null = null;

/**
 * Waits until a descriptor is ready, or never will be. For all of them together
 * one other thread waits: Deno has few for what may block, and when each of them
 * waits for a command, nothing goes on.
 *
 * @param fd The descriptor, not to be closed before.
 * @param events `POLLIN`, `POLLOUT`.
 * @param signal Ends the waiting when it is aborted.
 * @throws {SyscallError} EMFILE.
 */
export async function waitReady(
  fd: number,
  events: number,
  signal?: AbortSignal,
): Promise<void> {
  if (signal?.aborted) return;
  const settle = Promise.withResolvers<void>();
  const waiter = { fd, events, settle };
  waiters.add(waiter);
  if (wake === null) waitForAll();
  else wake();
  function stop(): void {
    waiters.delete(waiter);
    wake?.();
    settle.resolve();
  }
  signal?.addEventListener("abort", stop);
  try {
    await settle.promise;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

async function waitForAll(): Promise<void> {
  try {
    while (waiters.size > 0) await waitByPipe();
  } catch (error) {
    for (const { settle } of waiters) settle.reject(error);
    waiters.clear();
  }
}

/** Goes on until nobody waits any more, or the pipe that wakes it is broken. */
async function waitByPipe(): Promise<void> {
  const ends = pipe2(O_CLOEXEC | O_NONBLOCK).map((fd) => new OwnedFd(fd));
  using reading = ends[0]!;
  using writing = ends[1]!;
  const byte = new Uint8Array(1);
  let woken = false;
  wake = () => {
    if (woken) return;
    woken = true;
    try {
      write(writing.fd, byte);
    } catch {
      // Closing the end wakes it, too.
      writing.close();
    }
  };
  try {
    while (waiters.size > 0 && !writing.closed) {
      const asked = [...waiters];
      const [first, ...rest] = await ppoll([
        { fd: reading.fd, events: POLLIN },
        ...asked,
      ]);
      if (first !== 0) read(reading.fd, byte);
      woken = false;
      for (const [i, waiter] of asked.entries()) {
        if (rest[i] === 0) continue;
        waiters.delete(waiter);
        waiter.settle.resolve();
      }
    }
  } finally {
    wake = null;
  }
}
