import { uint32, uint64 } from "./argument.ts";
import { LISTMOUNT_REVERSE } from "./constants.ts";
import { flagNames } from "./format.ts";
import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import {
  hexadecimal,
  mntIdReq,
  type MountNamespaceOptions,
  NAMESPACE_NAMES,
} from "./mnt_id_req.ts";
import { checkOptions, type OptionNames } from "./options.ts";
import { settle } from "./settle.ts";
import { tracer } from "./trace.ts";

/** Options of {@linkcode listmount}. */
export interface ListmountOptions extends MountNamespaceOptions {
  /**
   * The id after which the list starts, in its direction; the mount may be gone.
   *
   * @default {0n}, from the first mount on
   */
  last?: bigint;
  /**
   * List the newest mount first (`LISTMOUNT_REVERSE`); since Linux 6.11.
   *
   * @default {false}
   */
  reverse?: boolean;
  /**
   * The most ids that are wanted, in one call: the kernel gives a million. With
   * 0 it is asked too, for the errors, and the list is empty.
   *
   * @default {undefined}, all: as many calls as it takes
   */
  count?: number;
  /**
   * Flags of the call, beside `LISTMOUNT_REVERSE`.
   *
   * @default {0}
   */
  flags?: number;
}

const LIST_NAMES: OptionNames<ListmountOptions> = {
  ...NAMESPACE_NAMES,
  last: true,
  reverse: true,
  count: true,
  flags: true,
};

/** How many ids a call asks for where all are wanted. */
const PAGE_LENGTH = 1024;

/**
 * Lists the mounts below a mount, without that one itself, by their unique ids:
 * children, their children and so on, as far as this thread's root shows them.
 * `LSMT_ROOT` stands for that root, and the list then has its mount too.
 *
 * `ssize_t listmount(const struct mnt_id_req *req, uint64_t *mnt_ids, size_t nr_mnt_ids, unsigned int flags);`
 *
 * Since Linux 6.8; see listmount(2). Ids grow and are not used again: a mount
 * that stays in the tree between two calls is neither missed nor listed twice.
 *
 * @param id The mount's unique id, or `LSMT_ROOT`.
 * @param options Where to start, which way to go, and how many.
 * @returns The ids, the oldest mount's first unless `reverse` is set.
 * @throws {SyscallError} ENOENT when the mount namespace has no such mount,
 * EINVAL for an `id` or `last` that is no unique one, EOVERFLOW for a `count` of
 * more than a million, EPERM without CAP_SYS_ADMIN for a mount outside this
 * thread's root; for `nsId` and `nsFd` as statmount(2).
 */
export function listmount(
  id: bigint,
  options: ListmountOptions = {},
): bigint[] {
  checkOptions(options, LIST_NAMES);
  const flags = (uint32("flags", options.flags ?? 0) |
    (options.reverse ? LISTMOUNT_REVERSE : 0)) >>> 0;
  let last = uint64("last", options.last ?? 0n);
  if (options.count !== undefined) {
    const count = Number(uint64("count", options.count));
    return ask(id, last, count, flags, options);
  }
  const ids: bigint[] = [];
  while (true) {
    const page = ask(id, last, PAGE_LENGTH, flags, options);
    ids.push(...page);
    if (page.length < PAGE_LENGTH) return ids;
    last = page.at(-1)!;
  }
}

function ask(
  id: bigint,
  last: bigint,
  count: number,
  flags: number,
  namespace: MountNamespaceOptions,
): bigint[] {
  const request = mntIdReq(id, last, namespace);
  const ids = new BigUint64Array(count);
  const buffer = new Uint8Array(ids.buffer);
  const length = libc.listmount(
    NR.listmount,
    request.buffer,
    buffer,
    BigInt(count),
    flags,
  );
  if (length === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (length === -1 || tracer) {
    settle(length, "listmount", [
      request.format(hexadecimal(last)),
      "…",
      String(count),
      flagNames(flags, { LISTMOUNT_REVERSE }),
    ]);
  }
  return Array.from(ids.subarray(0, length));
}
