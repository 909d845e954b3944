import { MountError } from "../error.ts";
import type { MountRecord } from "../record.ts";
import { mayRecord } from "../record_directory.ts";
import { report } from "./report.ts";

/** Opens a record of what is mounted, null where that may not or can't be. */
export async function openRecord(): Promise<MountRecord | null> {
  if (!mayRecord()) return null;
  const { MountRecord } = await import("../record.ts");
  try {
    return MountRecord.open();
  } catch (error) {
    if (!(error instanceof MountError)) throw error;
    // It is no reason not to mount.
    report(error);
    return null;
  }
}
