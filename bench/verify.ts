/** Checks that contestants do their work. */
import type { Contestant } from "./measure.ts";
import { mountTable } from "../tests/support/testing.ts";
import {
  AT_EMPTY_PATH,
  close,
  fsconfigCreate,
  fsmount,
  fsopen,
  statx,
  STATX_MNT_ID_UNIQUE,
} from "../src/sys/mod.ts";

/**
 * Checks that a contestant makes at least the mounts that it says, and leaves
 * none behind.
 *
 * Each new mount gets the next unique id. So mounts of other processes count,
 * too: the least of some counts is taken, and a higher count is no fault.
 *
 * @throws {Error} If it does not.
 */
export async function verify(contestant: Contestant): Promise<void> {
  const { name, mounts } = contestant;
  const inside = contestant.inside ?? ((body) => body());
  if (mounts === undefined) return;
  const before = inside(mountTable).join("\n");
  let least = Infinity;
  for (let tries = 0; tries < TRIES; tries++) {
    const first = nextMountId();
    await contestant.time(1);
    least = Math.min(least, Number(nextMountId() - first) - 1);
    if (inside(mountTable).join("\n") !== before) {
      throw new Error(`${name} leaves a mount behind`);
    }
  }
  if (least < mounts) {
    throw new Error(`${name} makes ${least} mounts, not ${mounts}`);
  }
}

const TRIES = 5;

/** Makes a detached mount, and returns its unique id. */
function nextMountId(): bigint {
  const context = fsopen("tmpfs");
  fsconfigCreate(context);
  const mount = fsmount(context);
  close(context);
  const { mntId } = statx(mount, "", AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE);
  close(mount);
  return mntId!;
}
