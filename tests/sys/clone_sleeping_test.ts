import { readlinkat } from "../../src/sys/names.ts";
import {
  AT_FDCWD,
  CLONE_FS,
  CLONE_NEWNS,
  CLONE_NEWUSER,
} from "../../src/sys/constants.ts";
import { kernelTest, ROOT, SCRATCH } from "../support/testing.ts";
import { cloneSleeping } from "../../src/sys/spawn.ts";
import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { readFile } from "../../src/fd/open.ts";
import { kill, pidfdOpen, SIGKILL, waitid } from "../../src/sys/process.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { hold } from "../support/held.ts";
import { NR } from "../../src/sys/libc.ts";
import { waitReady } from "../../src/run/wait_ready.ts";
import { POLLIN } from "../../src/sys/event.ts";
import { tracedCalls } from "../support/scratch.ts";

function namespace(pid: number | string, name: string): string {
  return readlinkat(AT_FDCWD, `/proc/${pid}/ns/${name}`);
}

kernelTest("cloneSleeping() makes a child in a namespace of its own", () => {
  const child = cloneSleeping(CLONE_NEWUSER, 60);
  try {
    assert(namespace(child, "user") !== namespace("self", "user"));
    assertEquals(namespace(child, "pid"), namespace("self", "pid"));
    assertEquals(readFile(`/proc/${child}/uid_map`), "");
    const status = readFile(`/proc/${child}/status`);
    assert(status.includes(`\nPPid:\t${Deno.pid}\n`), status);
    // A copy of this thread alone.
    assert(status.includes("\nThreads:\t1\n"), status);
  } finally {
    kill(child, SIGKILL);
    waitid(child);
  }
  assertThrows(() => kill(child, 0), SyscallError, `kill(${child}, 0): ESRCH`);
  assertThrows(
    () => waitid(child),
    SyscallError,
    `waitid(P_PID, ${child}, …, WEXITED|__WALL, …): ECHILD`,
  );
});

kernelTest("cloneSleeping()'s child ends by itself", () => {
  const child = cloneSleeping(CLONE_NEWNS, 0);
  waitid(child);
  assertThrows(() => kill(child, 0), SyscallError, "ESRCH");
});

kernelTest(
  "cloneSleeping()'s child ends when this process is killed",
  async () => {
    const fixture = `${ROOT}tests/fixtures/sleeping.ts`;
    const path = `${SCRATCH}/child`;
    let child: OwnedFd;
    {
      const command = [Deno.execPath(), "run", "--allow-ffi", "--allow-write"];
      await using _parent = await hold([...command, fixture, path]);
      const pid = readFile(path);
      child = new OwnedFd(pidfdOpen(Number(pid)));
      const sleeping = `${NR.ppoll} `;
      while (!readFile(`/proc/${pid}/syscall`).startsWith(sleeping));
    }
    using _ = child;
    const killed = performance.now();
    await waitReady(child.fd, POLLIN);
    // It would have slept for a minute.
    assertLess(performance.now() - killed, 30_000);
  },
  { permissions: ["run", "read", "write", "env"] },
);

kernelTest("cloneSleeping() passes on what the kernel refuses", () => {
  assertThrows(
    () => cloneSleeping(CLONE_NEWUSER | CLONE_FS, 1),
    SyscallError,
    "clone(CLONE_NEWUSER|0x200): EINVAL (Invalid argument)",
  );
});

kernelTest("cloneSleeping(), kill() and waitid() tell a tracer", () => {
  let child = 0;
  const calls = tracedCalls(() => {
    child = cloneSleeping(CLONE_NEWUSER, 9);
    kill(child, SIGKILL);
    waitid(child);
  });
  assertEquals(
    calls.map(({ syscall, args, result }) => [syscall, args, result]),
    [
      ["clone", ["CLONE_NEWUSER"], child],
      ["kill", [String(child), "9"], 0],
      [
        "waitid",
        ["P_PID", String(child), "…", "WEXITED|__WALL", "…"],
        0,
      ],
    ],
  );
});

Deno.test("cloneSleeping(), kill() and waitid() refuse what can't be passed on", () => {
  assertThrows(() => cloneSleeping("1" as unknown as number, 1), TypeError);
  assertThrows(() => cloneSleeping(1, -1), RangeError);
  assertThrows(() => kill(0.5, 0), RangeError);
  assertThrows(() => kill(0, "9" as unknown as number), TypeError);
  assertThrows(() => waitid(2 ** 31), RangeError);
});
