/** Asks the C compiler what the C library's headers say of processes. */
import {
  gatedTest,
  missingCommand,
  missingPermission,
} from "../support/testing.ts";
import { assert, assertEquals } from "@std/assert";
import {
  __WALL,
  _LINUX_CAPABILITY_VERSION_3,
  CLD_EXITED,
  P_PID,
  SIG_BLOCK,
  SIG_DFL,
  SIG_IGN,
  SIG_SETMASK,
  TIOCGPGRP,
  TIOCSPGRP,
  WEXITED,
} from "../../src/sys/process.ts";
import {
  CLONE_VFORK,
  CLONE_VM,
  PR_SET_PDEATHSIG,
} from "../../src/sys/spawn.ts";
import {
  F_ADD_SEALS,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  F_SETFL,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
} from "../../src/sys/file.ts";
import {
  AF_UNIX,
  IFF_UP,
  MSG_CMSG_CLOEXEC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SCM_RIGHTS,
  SIOCSIFFLAGS,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_SEQPACKET,
  SOL_SOCKET,
} from "../../src/sys/socket.ts";
import { F_SETFD, FD_CLOEXEC } from "../../src/sys/constants.ts";
import { POLLIN, POLLOUT } from "../../src/sys/event.ts";
import {
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  PR_CAP_AMBIENT_RAISE,
  PR_CAPBSET_DROP,
  PR_SET_NAME,
  PR_SET_NO_NEW_PRIVS,
  PR_SET_SECCOMP,
} from "../../src/run/steps.ts";
import { CAPABILITIES } from "../../src/run/capabilities.ts";
import { SECCOMP_MODE_FILTER } from "../../src/sys/seccomp.ts";
import { KEYCTL_JOIN_SESSION_KEYRING } from "../../src/run/profile.ts";
import { RESOURCES } from "../../src/run/limits.ts";
import {
  CMSGHDR,
  IFREQ,
  IOVEC,
  MSGHDR,
  POLLFD,
  RUSAGE,
  SIGINFO,
  signalName,
  SIGNALS,
  UCONTEXT,
} from "../../src/sys/layout.ts";

const missing = missingPermission(["run", "read", "write"]) ??
  missingCommand(["cc"]);

const HEADERS = [
  "fcntl.h",
  "linux/capability.h",
  "linux/keyctl.h",
  "linux/seccomp.h",
  "linux/sockios.h",
  "net/if.h",
  "poll.h",
  "sched.h",
  "signal.h",
  "stddef.h",
  "stdio.h",
  "sys/ioctl.h",
  "sys/mman.h",
  "sys/prctl.h",
  "sys/resource.h",
  "sys/socket.h",
  "sys/wait.h",
  "termios.h",
  "ucontext.h",
];

/** What a C program prints of expressions. */
function ask(expressions: string[]): number[] {
  const directory = Deno.makeTempDirSync();
  try {
    const source = [
      "#define _GNU_SOURCE",
      ...HEADERS.map((header) => `#include <${header}>`),
      "int main(void) {",
      ...expressions.map((expression) =>
        `printf("%ld\\n", (long)(${expression}));`
      ),
      "}",
    ];
    Deno.writeTextFileSync(`${directory}/program.c`, source.join("\n") + "\n");
    const compiled = new Deno.Command("cc", {
      args: ["-o", `${directory}/program`, `${directory}/program.c`],
    }).outputSync();
    assert(compiled.success, new TextDecoder().decode(compiled.stderr));
    const { stdout } = new Deno.Command(`${directory}/program`).outputSync();
    return JSON.parse(
      `[${new TextDecoder().decode(stdout).trim().replaceAll("\n", ",")}]`,
    );
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

gatedTest(
  "constants of processes equal the C library's headers",
  missing,
  () => {
    const ours: Record<string, number> = {
      AF_UNIX,
      CLD_EXITED,
      CLONE_VFORK,
      CLONE_VM,
      FD_CLOEXEC,
      F_ADD_SEALS,
      F_SEAL_GROW,
      F_SEAL_SEAL,
      F_SEAL_SHRINK,
      F_SEAL_WRITE,
      F_SETFD,
      F_SETFL,
      IFF_UP,
      KEYCTL_JOIN_SESSION_KEYRING,
      MFD_ALLOW_SEALING,
      MFD_CLOEXEC,
      MSG_CMSG_CLOEXEC,
      MSG_DONTWAIT,
      MSG_NOSIGNAL,
      P_PID,
      POLLIN,
      POLLOUT,
      PR_CAPBSET_DROP,
      PR_CAP_AMBIENT,
      PR_CAP_AMBIENT_CLEAR_ALL,
      PR_CAP_AMBIENT_RAISE,
      PR_SET_NAME,
      PR_SET_NO_NEW_PRIVS,
      PR_SET_SECCOMP,
      PR_SET_PDEATHSIG,
      SCM_RIGHTS,
      SECCOMP_MODE_FILTER,
      SIOCSIFFLAGS,
      SOCK_CLOEXEC,
      SOCK_DGRAM,
      SOCK_SEQPACKET,
      SOL_SOCKET,
      _LINUX_CAPABILITY_VERSION_3,
      ...Object.fromEntries(CAPABILITIES.map((name, i) => [name, i])),
      ...Object.fromEntries(
        Object.entries(RESOURCES).map((
          [name, number],
        ) => [`RLIMIT_${name.toUpperCase()}`, number]),
      ),
      SIG_BLOCK,
      SIG_DFL: Number(SIG_DFL),
      SIG_IGN: Number(SIG_IGN),
      SIG_SETMASK,
      TIOCGPGRP,
      TIOCSPGRP,
      WEXITED,
      __WALL,
      ...SIGNALS,
    };
    const names = Object.keys(ours);
    const theirs = ask(names);
    assertEquals(
      Object.fromEntries(names.map((name, i) => [name, theirs[i]])),
      ours,
    );
  },
);

gatedTest("structs of processes equal the C library's", missing, () => {
  const structs = {
    "struct rusage": RUSAGE,
    "struct cmsghdr": CMSGHDR,
    "struct ifreq": IFREQ,
    "struct iovec": IOVEC,
    "struct msghdr": MSGHDR,
    "struct pollfd": POLLFD,
    siginfo_t: SIGINFO,
  };
  const ours = Object.entries(structs).flatMap(([struct, fields]) =>
    Object.entries(fields).map(([field, at]) =>
      [
        field === "SIZE"
          ? `sizeof(${struct})`
          : `offsetof(${struct}, ${field})`,
        at,
      ] as const
    )
  );
  ours.push(
    ["offsetof(ucontext_t, uc_link)", UCONTEXT.uc_link],
    ["offsetof(ucontext_t, uc_stack.ss_sp)", UCONTEXT.ss_sp],
    ["offsetof(ucontext_t, uc_stack.ss_size)", UCONTEXT.ss_size],
  );
  assertEquals(
    ask(ours.map(([name]) => name)),
    ours.map(([, value]) => value),
  );
  const [context] = ask(["sizeof(ucontext_t)"]);
  assert(context! <= UCONTEXT.SIZE && UCONTEXT.SIZE % 16 === 0);
});

gatedTest(
  "signalName() has the names of bash's kill -l",
  missingCommand(["bash"]),
  () => {
    const { stdout } = new Deno.Command("bash", {
      args: ["-c", "for i in {1..64}; do kill -l $i; done"],
    }).outputSync();
    const names = new TextDecoder().decode(stdout).trimEnd().split("\n");
    const numbers = Array.from({ length: 64 }, (_, i) => i + 1)
      .filter((number) => number !== 32 && number !== 33);
    assertEquals(
      numbers.map(signalName),
      // Of the two it prints empty lines, or none.
      names.filter((name) => name !== "").map((name) => `SIG${name}`),
    );
    assertEquals([32, 33].map(signalName), ["SIG32", "SIG33"]);
  },
);
