/** Tests of what not every kernel has: gated by what this one does. */
import { listmount, statmount } from "../../src/sys/statmount.ts";
import {
  AT_FDCWD,
  AT_HANDLE_FID,
  AT_HANDLE_MNT_ID_UNIQUE,
  LSMT_ROOT,
  STATMOUNT_SB_SOURCE,
  STATMOUNT_SUPPORTED_MASK,
} from "../../src/sys/constants.ts";
import { memfdCreate, MFD_EXEC } from "../../src/sys/file.ts";
import { nameToHandleAt } from "../../src/sys/names.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { openTreeAttr } from "../../src/sys/mount.ts";
import { type Features, features } from "../../src/kernel/features.ts";
import { gatedTest, kernelTest, missingFor, type Needs } from "./testing.ts";
import { SyscallError } from "../../src/sys/error.ts";

/** Whether the kernel does what came with a version. */
const PROBES = {
  // The file systems in memory take id maps since then, too.
  "6.3": () =>
    answers(() => new OwnedFd(memfdCreate("6.3", MFD_EXEC)).close()) ===
      undefined,
  "6.5": () =>
    answers(() => nameToHandleAt(AT_FDCWD, "/", AT_HANDLE_FID)) !== "EINVAL",
  "6.6": () => features().createExclusive === true,
  "6.8": () => answers(() => statmount(0n)) !== "ENOSYS",
  "6.11": () => answers(() => listmount(LSMT_ROOT, { nsId: 1n })) === "ENOENT",
  "6.12": () =>
    answers(() =>
      nameToHandleAt(AT_FDCWD, "/", AT_HANDLE_FID | AT_HANDLE_MNT_ID_UNIQUE)
    ) !== "EINVAL",
  "6.13": () => knows(STATMOUNT_SB_SOURCE),
  "6.15": () =>
    knows(STATMOUNT_SUPPORTED_MASK) &&
    answers(() => openTreeAttr(AT_FDCWD, "", 0)) !== "ENOSYS",
  "6.18": () =>
    // Linux 6.11 takes descriptors of namespaces already, and says so nowhere.
    answers(() => listmount(LSMT_ROOT, { nsFd: -1 })) === "EBADF" &&
    features().procPidns === true,
  "7.0": () => features().openTreeNamespace === true,
  "7.1": () => features().emptyMountNamespace === true,
};

/** A Linux version that a test may need. */
export type Version = keyof typeof PROBES;

/** What the kernels of CI may lack: `deno task test:kernels` boots one that has it. */
const NEWEST: readonly Version[] = ["7.0", "7.1"];

const known: Partial<Record<Version, boolean>> = {};

/** What stands in the way of a test of what came with a version. */
export function missingSince(version: Version, needs: Needs): string | null {
  const missing = missingFor(needs);
  if (missing !== null) return missing;
  known[version] ??= PROBES[version]();
  return known[version] ? null : `needs Linux ${version}`;
}

/** Registers a test that mounts, as `kernelTest` does, for kernels since a version. */
export function kernelTestSince(
  version: Version,
  name: string,
  fn: () => void | Promise<void>,
  needs: Needs = {},
): void {
  const missing = missingSince(version, needs);
  if (missing === null) kernelTest(name, fn, needs);
  else if (NEWEST.includes(version)) {
    Deno.test({ name: `${name} (ignored: ${missing})`, ignore: true, fn() {} });
  } else gatedTest(name, missing, fn);
}

function answers(fn: () => unknown): string | undefined {
  try {
    fn();
    return undefined;
  } catch (error) {
    if (error instanceof SyscallError) return error.code;
    throw error;
  }
}

/** Whether statmount gives, of the oldest mount, what a bit of the mask asks for. */
function knows(bit: number): boolean {
  if (!PROBES["6.8"]()) return false;
  const [id] = listmount(LSMT_ROOT, { count: 1 });
  return statmount(id!, bit).mask === BigInt(bit);
}

/** Whether the kernel has a feature; false where tests that mount can't run. */
export function has(feature: keyof Features): boolean {
  return missingFor({}) === null && features()[feature] === true;
}
