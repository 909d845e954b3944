import { close } from "../sys/close.ts";
import { O_CLOEXEC, O_NONBLOCK } from "../sys/constants.ts";
import { pipe2 } from "../sys/pipe2.ts";
import { POLLIN, ppoll } from "../sys/ppoll.ts";
import { read } from "../sys/read.ts";
import { write } from "../sys/write.ts";

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
 * @throws {SyscallError} EMFILE.
 */
export async function waitReady(fd: number, events: number): Promise<void> {
  const settle = Promise.withResolvers<void>();
  waiters.add({ fd, events, settle });
  if (wake === null) waitForAll();
  else wake();
  await settle.promise;
}

async function waitForAll(): Promise<void> {
  try {
    const [reading, writing] = pipe2(O_CLOEXEC | O_NONBLOCK);
    const byte = new Uint8Array(1);
    let woken = false;
    wake = () => {
      if (!woken) write(writing, byte);
      woken = true;
    };
    try {
      while (waiters.size > 0) {
        const asked = [...waiters];
        const [first, ...rest] = await ppoll([
          { fd: reading, events: POLLIN },
          ...asked,
        ]);
        if (first !== 0) read(reading, byte);
        woken = false;
        for (const [i, waiter] of asked.entries()) {
          if (rest[i] === 0) continue;
          waiters.delete(waiter);
          waiter.settle.resolve();
        }
      }
    } finally {
      wake = null;
      close(reading);
      close(writing);
    }
  } catch (error) {
    for (const { settle } of waiters) settle.reject(error);
    waiters.clear();
  }
}
