/**
 * Contests with a process that may rename all in a directory, and replaces what
 * is there by what leads elsewhere: see fixtures/attacker.c.
 */
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { compiled } from "./compiled.ts";
import { mountsBelow, numberOf, SCRATCH, timesOf } from "./testing.ts";
import { names } from "./run_root.ts";
import { Directory } from "../../src/directory.ts";
import { MountError } from "../../src/error/error.ts";
import type { Mount } from "../../src/mount/mount.ts";
import { pathOf } from "../../src/fd/open.ts";
import { isMounted, mountIdAt } from "../../src/kernel/mount_id.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { setTracer } from "../../src/sys/call.ts";
import { umount2 } from "../../src/sys/mount.ts";
import { listmount, statmount } from "../../src/sys/statmount.ts";
import {
  LSMT_ROOT,
  MNT_DETACH,
  STATMOUNT_MNT_POINT,
} from "../../src/sys/constants.ts";

/** The attacker's own, in which everything is to stay. */
export const HOSTILE = `${SCRATCH}/root`;

/** Where the attacker moves directories to. */
const LOOT = `${SCRATCH}/loot`;

/** Where the attacker leads to. */
const OUTSIDE = `${SCRATCH}/outside`;

/** Of all contests together. */
const LONG = timesOf("HOSTILE_ATTEMPTS", 1_000_000);

const SEED = numberOf("HOSTILE_SEED") ?? (LONG === undefined ? 1 : Date.now());

/** Something that must stay inside, whatever is renamed meanwhile. */
export interface Way {
  readonly name: string;
  /** One of so many rounds has it; it takes long. */
  readonly rare?: number;
  /** Error codes by which it may lose, beside those that all may. */
  readonly loses?: readonly string[];
  /** Tries it, and may say how it went. */
  readonly once: () => void | Promise<void | string>;
}

/** How one may lose: there is something else, or nothing; or it is moved out. */
const LOST = ["ENOENT", "ELOOP", "ENOTDIR", "EXDEV"];

/** A contest. */
export interface Contest {
  /** What is replaced: `+a` is a directory that is always put back. */
  readonly names: readonly string[];
  /** How many attempts a sample has. */
  readonly sample: number;
  /** Which part of all attempts is this contest's, where it is no sample. */
  readonly share: number;
  /** True if the attacker mounts over directories, too. */
  readonly mounts: boolean;
  /** What loses: each must be led outside once. */
  readonly naive: readonly { name: string; once: () => boolean }[];
  readonly ways: readonly Way[];
}

/** How often a contest is tried. */
export function attemptsOf(
  { sample, share }: Pick<Contest, "sample" | "share">,
): number {
  return LONG === undefined ? sample : Math.ceil(share * LONG);
}

/** Makes what the attacker starts from, in the scratch directory. */
export function makeHostile(): void {
  for (const path of [HOSTILE, LOOT, OUTSIDE]) {
    Deno.mkdirSync(path, { recursive: true });
  }
  Deno.writeTextFileSync(`${OUTSIDE}/file`, "");
}

/** Shows that the naive are led outside, and that these ways are not. */
export async function contest(
  { names: replaced, mounts, naive, ways, ...extent }: Contest,
): Promise<void> {
  const kept = replaced.flatMap((name) =>
    name.startsWith("+") ? name.slice(1) : []
  );
  const ends = kept.map((path) => path.slice(path.lastIndexOf("/") + 1));
  for (const path of [...kept, ...ends]) {
    Deno.mkdirSync(`${OUTSIDE}/${path}`, { recursive: true });
  }
  const beaten: Record<string, number> = {};
  {
    await using _ = await attack(replaced, false);
    for (const { name, once } of naive) {
      let tries = 1;
      while (!once()) {
        assertLess(tries++, 100_000, `${name} is not led outside`);
      }
      beaten[name] = tries;
    }
  }
  const table = mountsBelow(SCRATCH);
  const leaves = [...new Set([...kept, ...ends])].filter((path) =>
    !kept.some((other) => other.startsWith(`${path}/`))
  );
  const victims = new Victims(leaves);
  const before = stateOutside();
  const outcomes = new Map<string, Record<string, number>>(
    ways.map(({ name }) => [name, {}]),
  );
  const most = attemptsOf(extent);
  await using attacker = await attack(replaced, mounts);
  {
    using watched = watchMoves();
    for (let round = 0, attempts = 0; attempts < most; round++) {
      for (const way of ways) {
        if (round % (way.rare ?? 1) !== 0) continue;
        const counts = outcomes.get(way.name)!;
        const outcome = await outcomeOf(way);
        counts[outcome] = (counts[outcome] ?? 0) + 1;
        attempts++;
        assertEquals(watched.misled, [], way.name);
      }
      if (round % 64 === 0) victims.check();
    }
  }
  const swaps = await attacker.end();
  victims.check();
  assertEquals(stateOutside(), before);
  victims.unmount();
  unmountEach(() => mountsBelow(SCRATCH).find(isAttackers));
  assertEquals(mountsBelow(SCRATCH), table);
  const told = [
    `seed ${SEED}, ${swaps} swaps; led outside at the try ${
      JSON.stringify(beaten)
    }`,
    ...[...outcomes].map(([name, counts]) =>
      `${name}: ${JSON.stringify(counts)}`
    ),
  ].join("\n");
  if (LONG !== undefined) console.log(told);
  // All win some, and lose some: else it was no contest.
  for (const { name, rare = 1 } of ways) {
    const { done = 0, ...lost } = outcomes.get(name)!;
    if (most / ways.length / rare < 100) continue;
    assert(done > 0 && Object.keys(lost).length > 0, told);
  }
}

async function outcomeOf({ name, once, loses = [] }: Way): Promise<string> {
  try {
    return await once() ?? "done";
  } catch (error) {
    const expected = [...LOST, ...loses];
    // Not all could be undone: that is told beside the reason.
    const undoing = error instanceof SuppressedError && codeOf(error.error);
    if (undoing && expected.includes(undoing)) {
      await takeLeft();
      return `${undoing}, told`;
    }
    const code = codeOf(error) ?? codeOf((error as Error).cause);
    if (code === undefined || !expected.includes(code)) {
      throw new Error(`${name}: ${Deno.inspect(error)}`, { cause: error });
    }
    // What the attacker covered, or holds, could not be unmounted.
    if (["EBUSY", "EINVAL"].includes(code)) await takeLeft();
    return code;
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof MountError || error instanceof SyscallError
    ? error.code
    : undefined;
}

/** Starts the attacker. */
async function attack(
  names: readonly string[],
  mounts: boolean,
): Promise<AsyncDisposable & { end(): Promise<number> }> {
  const child = new Deno.Command(compiled("attacker"), {
    args: [`${SEED}`, OUTSIDE, LOOT, mounts ? "1" : "0", ...names],
    cwd: HOSTILE,
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  await reader.read();
  let ended = false;
  async function end(): Promise<number> {
    ended = true;
    child.kill("SIGTERM");
    const { value } = await reader.read();
    await reader.cancel();
    assert((await child.status).success);
    return Number(value);
  }
  return {
    end,
    async [Symbol.asyncDispose]() {
      if (!ended) await end();
    },
  };
}

/** Mounts outside, which must stay as they are, and alone. */
class Victims {
  readonly #mounts: Mount[];
  readonly #lines: string[];

  constructor(targets: readonly string[]) {
    using outside = Directory.open(OUTSIDE);
    this.#mounts = targets.map((target) =>
      outside.mount(target, { type: "tmpfs" })
    );
    // Whoever finds that they are not what they were must not unmount them.
    for (const mount of this.#mounts) mount.keep();
    this.#lines = linesOutside();
    assertGreater(this.#lines.length, 0);
  }

  check(): void {
    assertEquals(linesOutside(), this.#lines);
  }

  /** Unmounts them when all is well. */
  unmount(): void {
    for (const mount of this.#mounts) mount.unmount();
  }
}

/** What is mounted outside. */
export function linesOutside(): string[] {
  return mountsBelow(OUTSIDE);
}

/** All that is known of the files outside, but for when they were read. */
export function stateOutside(path = OUTSIDE): string[] {
  const stat = Deno.lstatSync(path);
  const { mode, uid, gid, ino, size, mtime, ctime, nlink } = stat;
  // The attacker makes hard links to it.
  const isFile = path === `${OUTSIDE}/file`;
  const state = JSON.stringify(
    isFile
      ? { mode, uid, gid, ino, size, mtime }
      : { mode, uid, gid, ino, size, mtime, ctime, nlink },
  );
  const below = stat.isDirectory
    ? names(path).flatMap((name) => stateOutside(`${path}/${name}`))
    : [];
  return [`${path} ${state}`, ...below];
}

/**
 * Looks, after each mount that this thread puts somewhere, where the newest are:
 * they may be gone when they are next looked for.
 */
function watchMoves(): Disposable & { readonly misled: string[] } {
  const newest = () => listmount(LSMT_ROOT).slice(-2);
  const misled: string[] = [];
  const last = newest().at(-1);
  let looking = false;
  const previous = setTracer(({ syscall, result }) => {
    if (looking || syscall !== "move_mount" || result !== 0) return;
    looking = true;
    try {
      for (const id of newest()) {
        const place = id > last! ? placeOf(id) : null;
        if (place !== null && !isInside(place)) misled.push(place);
      }
    } finally {
      looking = false;
    }
  });
  return { misled, [Symbol.dispose]: () => void setTracer(previous) };
}

/** The path that a mount is on, null for one that is gone. */
function placeOf(id: bigint): string | null {
  try {
    return statmount(id, STATMOUNT_MNT_POINT).mntPoint!;
  } catch (error) {
    if (!(error instanceof SyscallError && error.code === "ENOENT")) {
      throw error;
    }
    return null;
  }
}

/** True if a path is in the attacker's hands. */
export function isInside(path: string): boolean {
  return [HOSTILE, LOOT].some((own) => `${path}/`.startsWith(`${own}/`));
}

/**
 * Throws if a descriptor is of something outside. What was in a mount that the
 * attacker has detached meanwhile has a path there alone.
 */
export function assertInside(fd: number): void {
  const path = pathOf(fd);
  const inside = isInside(path) || isMounted(mountIdAt(fd)) === false;
  assert(inside, path);
}

/** Does what may fail, as there is something else now. */
export function ignoringLoss(work: () => void): void {
  try {
    work();
  } catch (error) {
    const systems = error instanceof SyscallError ||
      error instanceof Deno.errors.NotFound ||
      error instanceof Error && "code" in error;
    if (!systems) throw error;
  }
}

/**
 * Unmounts for as long as there is a line of the mount table: the path that it
 * names may lead elsewhere now.
 */
export function unmountEach(next: () => string | undefined): void {
  for (let line = next(); line !== undefined; line = next()) {
    const path = line.split(" ")[4]!;
    ignoringLoss(() => umount2(path, MNT_DETACH));
  }
}

/** True if a line of the mount table is of a mount of the attacker's. */
function isAttackers(line: string): boolean {
  return line.includes(" - tmpfs attacker ");
}

/**
 * Takes away what could not be, as it was busy, and was told to be left; and its
 * handles, which go with the process elsewhere.
 */
export async function takeLeft(): Promise<void> {
  unmountEach(() =>
    mountsBelow(SCRATCH).find((line) => {
      return isInside(line.split(" ")[4]!) && !isAttackers(line);
    })
  );
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  await new Promise((resolve) => setTimeout(resolve));
}
