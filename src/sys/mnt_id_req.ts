import { int32, uint64 } from "./argument.ts";
import { LSMT_ROOT, MNT_ID_REQ_SIZE_VER0 } from "./constants.ts";
import { LITTLE_ENDIAN, MNT_ID_REQ } from "./layout.ts";
import type { OptionNames } from "./options.ts";

/** Whose mounts are meant, where they are not those of this mount namespace. */
export interface MountNamespaceOptions {
  /**
   * The mount namespace's id, as `mntNsId` gives it; since Linux 6.11.
   *
   * @default {0n}, this mount namespace
   */
  nsId?: bigint;
  /**
   * A descriptor of the mount namespace, from /proc/PID/ns/mnt, instead of
   * `nsId`; since Linux 6.18. The kernel takes 0 for none.
   *
   * @default {0}, this mount namespace
   */
  nsFd?: number;
}

/** The names of {@linkcode MountNamespaceOptions}. */
export const NAMESPACE_NAMES: OptionNames<MountNamespaceOptions> = {
  nsId: true,
  nsFd: true,
};

/** `struct mnt_id_req`, and how it is printed. */
export interface MntIdReq {
  buffer: Uint8Array<ArrayBuffer>;
  /** Prints the struct, `param` as the call prints its own. */
  format: (param: string) => string;
}

const view = new DataView(new ArrayBuffer(MNT_ID_REQ.SIZE));
const buffer = new Uint8Array(view.buffer);

/**
 * Encodes what statmount(2) and listmount(2) are asked. The bytes are valid until
 * the next call: lists ask for thousands of mounts.
 */
export function mntIdReq(
  id: bigint,
  param: bigint,
  options: MountNamespaceOptions,
): MntIdReq {
  const mntId = uint64("id", id);
  const nsId = uint64("nsId", options.nsId ?? 0n);
  const nsFd = int32("nsFd", options.nsFd ?? 0);
  // Linux 6.8 knows the first version alone.
  const size = options.nsId === undefined && options.nsFd === undefined
    ? MNT_ID_REQ_SIZE_VER0
    : MNT_ID_REQ.SIZE;
  view.setUint32(MNT_ID_REQ.size, size, LITTLE_ENDIAN);
  view.setInt32(MNT_ID_REQ.mnt_ns_fd, nsFd, LITTLE_ENDIAN);
  view.setBigUint64(MNT_ID_REQ.mnt_id, mntId, LITTLE_ENDIAN);
  view.setBigUint64(MNT_ID_REQ.param, param, LITTLE_ENDIAN);
  view.setBigUint64(MNT_ID_REQ.mnt_ns_id, nsId, LITTLE_ENDIAN);
  return {
    buffer,
    format: (param) => {
      const fields = [`size=${size}`];
      if (nsFd !== 0) fields.push(`mnt_ns_fd=${nsFd}`);
      fields.push(`mnt_id=${formatId(mntId)}`, `param=${param}`);
      if (nsId !== 0n) fields.push(`mnt_ns_id=${hexadecimal(nsId)}`);
      return `{${fields.join(", ")}}`;
    },
  };
}

function formatId(id: bigint): string {
  return id === LSMT_ROOT ? "LSMT_ROOT" : hexadecimal(id);
}

/** Prints a 64-bit value as strace(1) does. */
export function hexadecimal(value: bigint): string {
  return value === 0n ? "0" : `0x${value.toString(16)}`;
}
