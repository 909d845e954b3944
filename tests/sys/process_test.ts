/** Asks the C compiler what the C library's headers say of processes. */
import {
  gatedTest,
  missingCommand,
  missingPermission,
} from "../support/testing.ts";
import { assert, assertEquals } from "@std/assert";
import {
  __WALL,
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
  ACTIONS_SIZE,
  ATTRIBUTES_SIZE,
  CLONE_VM,
  POSIX_SPAWN_SETPGROUP,
  POSIX_SPAWN_SETSID,
  POSIX_SPAWN_SETSIGDEF,
  PR_SET_PDEATHSIG,
} from "../../src/sys/spawn.ts";
import { F_SETFL } from "../../src/sys/file.ts";
import { POLLIN, POLLOUT } from "../../src/sys/event.ts";
import {
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  PR_CAP_AMBIENT_RAISE,
  PR_GET_DUMPABLE,
  PR_SET_DUMPABLE,
} from "../../src/run/spawner.ts";
import { PR_SET_NAME } from "../../src/run/keeper.ts";
import {
  POLLFD,
  RUSAGE,
  SIGINFO,
  SIGNALS,
  UCONTEXT,
} from "../../src/sys/layout.ts";

const missing = missingPermission(["run", "read", "write"]) ??
  missingCommand(["cc"]);

const HEADERS = [
  "fcntl.h",
  "poll.h",
  "sched.h",
  "signal.h",
  "spawn.h",
  "stddef.h",
  "stdio.h",
  "sys/ioctl.h",
  "sys/prctl.h",
  "sys/resource.h",
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
      CLD_EXITED,
      CLONE_VM,
      F_SETFL,
      P_PID,
      POLLIN,
      POLLOUT,
      POSIX_SPAWN_SETPGROUP,
      POSIX_SPAWN_SETSID,
      POSIX_SPAWN_SETSIGDEF,
      PR_CAP_AMBIENT,
      PR_CAP_AMBIENT_CLEAR_ALL,
      PR_CAP_AMBIENT_RAISE,
      PR_GET_DUMPABLE,
      PR_SET_DUMPABLE,
      PR_SET_NAME,
      PR_SET_PDEATHSIG,
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
  const [context, actions, attributes] = ask([
    "sizeof(ucontext_t)",
    "sizeof(posix_spawn_file_actions_t)",
    "sizeof(posix_spawnattr_t)",
  ]);
  assert(context! <= UCONTEXT.SIZE && UCONTEXT.SIZE % 16 === 0);
  assert(actions! <= ACTIONS_SIZE && attributes! <= ATTRIBUTES_SIZE);
});
