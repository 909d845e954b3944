/** Mount namespaces with many mounts. */
import {
  AT_FDCWD,
  CLONE_NEWNS,
  close,
  mount,
  MS_BIND,
  O_CLOEXEC,
  openat2,
  setns,
  unshare,
} from "../../src/sys/mod.ts";
import { SCRATCH } from "../../tests/support/testing.ts";
import type { Absent, Contestant } from "../measure.ts";

/** The numbers of mounts beside the system's own. */
export const CROWDS: readonly number[] = [10, 1_000, 10_000];

/** A mount namespace with many mounts: a copy of this thread's with more. */
export interface Crowd extends Disposable {
  readonly count: number;
  /** Runs a function with this thread in the namespace. */
  inside<T>(body: () => T): T;
}

/** Makes a mount namespace with this number of additional mounts. */
export function crowd(count: number): Crowd {
  const outer = openNamespace();
  unshare(CLONE_NEWNS);
  const inner = openNamespace();
  for (let i = 0; i < count; i++) {
    const path = `${SCRATCH}/crowd/${i}`;
    Deno.mkdirSync(path, { recursive: true });
    mount(SCRATCH, path, null, MS_BIND, null);
  }
  setns(outer, CLONE_NEWNS);
  return {
    count,
    inside(body) {
      setns(inner, CLONE_NEWNS);
      try {
        return body();
      } finally {
        setns(outer, CLONE_NEWNS);
      }
    },
    [Symbol.dispose]() {
      close(inner);
      close(outer);
    },
  };
}

function openNamespace(): number {
  const path = "/proc/thread-self/ns/mnt";
  return openat2(AT_FDCWD, path, { flags: O_CLOEXEC });
}

/** A contestant that does its work in a crowd. */
export function among<T extends Contestant | Absent>(
  { inside }: Crowd,
  contestant: T,
): T {
  if (!("time" in contestant)) return contestant;
  const { time } = contestant;
  return {
    ...contestant,
    inside,
    time: (times: number) => inside(() => time(times)),
  };
}

/** The name of a crowd in the table. */
export function sizeOf({ count }: Crowd): string {
  return `${count.toLocaleString("en")} more`;
}
