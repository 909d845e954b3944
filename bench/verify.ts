/** Whether contestants do what they are measured for. */
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
 * Looks whether a contestant makes no fewer mounts than it says, and leaves none.
 *
 * Each mount gets the next unique id, whoever makes it: those of other processes
 * count, too. So the least of some counts is taken, and more are no fault.
 *
 * @throws {Error} When it does not.
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

/** The unique id of a mount that is made now and attached nowhere. */
function nextMountId(): bigint {
  const context = fsopen("tmpfs");
  fsconfigCreate(context);
  const mount = fsmount(context);
  close(context);
  const { mntId } = statx(mount, "", AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE);
  close(mount);
  return mntId!;
}
