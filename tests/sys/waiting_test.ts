import {
  gatedTest,
  kernelTest,
  missingPermission,
} from "../support/testing.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { pipe2, read } from "../../src/sys/file.ts";
import { NR } from "../../src/sys/libc.ts";
import { setTracer, type TracedCall } from "../../src/sys/call.ts";
import { formatArgument, SyscallError } from "../../src/sys/error.ts";
import { readFile } from "../../src/fd/open.ts";
import {
  closedFd,
  mountTmpfs,
  open,
  tracedCalls,
  withoutCall,
} from "../support/scratch.ts";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { O_NONBLOCK, O_RDONLY } from "../../src/sys/constants.ts";
import {
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLPRI,
  ppoll,
} from "../../src/sys/event.ts";
import { hold } from "../support/held.ts";
import { pidfdOpen } from "../../src/sys/process.ts";

const missing = missingPermission(["ffi"]);

/** The two ends of a pipe. */
function pipe(): [reading: OwnedFd, writing: OwnedFd] {
  const [reading, writing] = pipe2();
  return [new OwnedFd(reading), new OwnedFd(writing)];
}

/** Does something on a kernel without the call, until its promise is settled. */
async function withMissing<T>(act: () => Promise<T>): Promise<T> {
  const numbers: Record<string, number> = NR;
  const real = numbers["ppoll"]!;
  numbers["ppoll"] = 9999;
  try {
    return await act();
  } finally {
    numbers["ppoll"] = real;
  }
}

function print({ syscall, args }: TracedCall): string {
  return `${syscall}(${args.map(formatArgument).join(", ")})`;
}

gatedTest("pipe2() makes a pipe that closes on exec", missing, () => {
  const flagsOf = (fd: number) =>
    parseInt(
      /flags:\s+(\d+)/.exec(readFile(`/proc/self/fdinfo/${fd}`))![1]!,
      8,
    );
  let ends: number[] = [];
  const [call] = tracedCalls(() => {
    ends = pipe2();
  });
  assertEquals(print(call!), `pipe2([${ends.join(", ")}], O_CLOEXEC)`);
  using reading = new OwnedFd(ends[0]!);
  using writing = new OwnedFd(ends[1]!);
  assertEquals([flagsOf(reading.fd), flagsOf(writing.fd)], [
    0o2000000,
    0o2000001,
  ]);
  writing.close();
  assertEquals(read(reading.fd, new Uint8Array(1)), 0);
  const error = assertThrows(() => pipe2(1), SyscallError);
  assertEquals(error.message, "pipe2(…, 0x1): EINVAL (Invalid argument)");
  const [other, another] = pipe2(O_NONBLOCK);
  using _another = new OwnedFd(another);
  using nonblocking = new OwnedFd(other);
  assertEquals(flagsOf(nonblocking.fd) & 0o2000000, 0);
  assertThrows(() => read(other, new Uint8Array(1)), SyscallError, "EAGAIN");
});

gatedTest(
  "ppoll() waits for what happens, while all else goes on",
  missing,
  async () => {
    const [first, firstEnd] = pipe();
    const [second, secondEnd] = pipe();
    using _ = new DisposableStack();
    for (const fd of [first, firstEnd, second, secondEnd]) _.use(fd);
    let done = false;
    const waiting = ppoll([
      { fd: first.fd, events: POLLIN },
      { fd: second.fd, events: 0 },
    ]).finally(() => done = true);
    // Timers go on.
    await new Promise((resolve) => setTimeout(resolve, 0));
    assertEquals(done, false);
    secondEnd.close();
    assertEquals(await waiting, [0, POLLHUP]);
    // What is there already is not waited for.
    assertEquals(await ppoll([{ fd: second.fd, events: POLLIN }]), [POLLHUP]);
    assertEquals(await ppoll([{ fd: firstEnd.fd, events: 4 }]), [4]);
  },
);

gatedTest(
  "ppoll() tells the tracer, and what it failed with",
  missing,
  async () => {
    const [reading, writing] = pipe();
    using _ = reading;
    writing.close();
    const { fd } = reading;
    const calls: TracedCall[] = [];
    const previous = setTracer((call) => calls.push(call));
    try {
      await ppoll([{ fd, events: POLLIN | POLLPRI }]);
    } finally {
      setTracer(previous);
    }
    assertEquals(calls.map((call) => [print(call), call.result]), [
      [`ppoll([{fd=${fd}, events=POLLIN|POLLPRI}], 1, NULL, NULL, 8)`, 1],
    ]);
    // One that is not open is no error of the call.
    const POLLNVAL = 0x20;
    assertEquals(await ppoll([{ fd: closedFd(), events: POLLIN }]), [POLLNVAL]);
    const failing = withMissing(() => ppoll([{ fd, events: POLLIN }]));
    const error = await assertRejects(() => failing, SyscallError);
    assertEquals(
      error.message,
      `ppoll([{fd=${fd}, events=POLLIN}], 1, {tv_sec=0, tv_nsec=0}, NULL, 8): ENOSYS (Function not implemented)`,
    );
    await assertRejects(() => ppoll([{ fd: 1.5, events: 0 }]), RangeError);
  },
);

gatedTest("ppoll() waits on when a signal came", missing, async () => {
  const [reading, writing] = pipe();
  using _ = reading;
  let waiting: Promise<number[]>;
  // As one that a signal ends it fails, is made again without waiting, and when
  // nothing is ready yet waited for again.
  withoutCall("ppoll", () => {
    waiting = ppoll([{ fd: reading.fd, events: POLLIN }]);
  });
  await new Promise((resolve) => setTimeout(resolve, 0));
  writing.close();
  assertEquals(await waiting!, [POLLHUP]);
});

kernelTest("ppoll() tells once that the mount table changed", async () => {
  using table = open("/proc/thread-self/mountinfo", O_RDONLY);
  using _mount = mountTmpfs("a");
  const events = [{ fd: table.fd, events: POLLPRI }];
  assertEquals(await ppoll(events), [POLLPRI | POLLERR]);
  using _other = mountTmpfs("b");
  assertEquals(await ppoll(events), [POLLPRI | POLLERR]);
});

const missingForRun = missingPermission(["ffi", "run"]);

gatedTest(
  "pidfd_open() waits for the end of a process",
  missingForRun,
  async () => {
    const held = await hold(["sh", "-c", "echo; exec sleep 1000"]);
    using process = new OwnedFd(pidfdOpen(held.pid));
    const waiting = ppoll([{ fd: process.fd, events: POLLIN }]);
    await held[Symbol.asyncDispose]();
    assertEquals((await waiting)[0]! & POLLIN, POLLIN);
    const error = assertThrows(() => pidfdOpen(held.pid), SyscallError);
    assertEquals(
      error.message,
      `pidfd_open(${held.pid}, 0): ESRCH (No such process)`,
    );
    assertThrows(() => pidfdOpen(0), SyscallError, "EINVAL");
    assertThrows(() => pidfdOpen(1.5), RangeError);
  },
);
