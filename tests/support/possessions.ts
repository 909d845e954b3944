/** What a process has of the machine, and that it does not grow with its work. */
import { assert, assertEquals, assertLess } from "@std/assert";

/** What a process has. */
export interface Possessions {
  readonly descriptors: number;
  /** In its mount table. */
  readonly mounts: number;
  readonly threads: number;
  /** Its children that run. */
  readonly children: number;
  /** Its children that have ended, and that nobody has waited for. */
  readonly zombies: number;
  /** Its anonymous memory, in KiB. */
  readonly memory: number;
}

/** Looks at a process: at this one, unless another is named. */
export function possessionsOf(pid = Deno.pid): Possessions {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const number = (name: string) =>
    Number(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(status)![1]);
  const states = statesOfChildren(pid);
  return {
    descriptors: [...Deno.readDirSync(`/proc/${pid}/fd`)]
      .filter(({ name }) => !isCache(`/proc/${pid}/fd/${name}`)).length,
    mounts:
      Deno.readTextFileSync(`/proc/${pid}/mountinfo`).trimEnd().split("\n")
        .length,
    threads: number("Threads"),
    children: states.filter((state) => state !== "Z").length,
    zombies: states.filter((state) => state === "Z").length,
    memory: number("RssAnon"),
  };
}

/** True if a descriptor is of a database in which Deno caches, which it opens late. */
function isCache(descriptor: string): boolean {
  try {
    return /_cache_v\d+(-\w+)?$/.test(Deno.readLinkSync(descriptor));
  } catch {
    // It was that of the listing.
    return false;
  }
}

function statesOfChildren(parent: number): string[] {
  const states: string[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
      const [state, ppid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (Number(ppid) === parent) states.push(state!);
    } catch {
      // It has ended.
    }
  }
  return states;
}

/**
 * Looks at this process when what is garbage is gone: a handle that was dropped
 * is closed after its collection. Needs `--v8-flags=--expose-gc`.
 */
export async function collectedPossessions(): Promise<Possessions> {
  await collectGarbage();
  return possessionsOf();
}

/**
 * Deno itself starts a thread with a pair of sockets in the first two seconds of
 * a process: what is counted before lacks those. In milliseconds.
 */
export const DENO_SETTLED = 3000;

/** Collects this thread's garbage, and lets what waits for that happen. */
export async function collectGarbage(): Promise<void> {
  for (let i = 0; i < 4; i++) {
    (globalThis as unknown as { gc(): void }).gc();
    await new Promise((resolve) => setTimeout(resolve));
  }
}

/**
 * Throws if a process has more at the end of its work than at the end of the
 * first tenth: by then, everything has happened that happens once.
 *
 * @param tenths What it had after each tenth.
 * @param memory How many KiB more it may have.
 */
export function assertFlat(
  tenths: readonly Possessions[],
  memory: number,
): void {
  assertEquals(tenths.length, 10);
  const [first, last] = [tenths[0]!, tenths.at(-1)!];
  const told = JSON.stringify(tenths);
  for (const name of COUNTED) assert(last[name] <= first[name], told);
  assert(last.threads <= first.threads + POOL, told);
  assertEquals(last.zombies, 0, told);
  assertLess(last.memory - first.memory, memory, told);
}

const COUNTED = ["descriptors", "mounts", "children"] as const;

/** So many threads that wait for calls come and go as Deno likes. */
const POOL = 32;
