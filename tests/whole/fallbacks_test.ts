/**
 * What is done another way where the kernel lacks something, or a seccomp filter
 * hides it: each of these ways is taken here, and must lead to the same.
 */
import {
  kernelTest,
  missingFor,
  type Needs,
  readTest,
  ROOT,
  SCRATCH,
  withoutProc,
} from "../support/testing.ts";
import { missingSince, type Version } from "../support/since.ts";
import {
  namesAt,
  open,
  replacing,
  withCallRefused,
  withoutCall,
  withoutDetachedTargets,
  withReusedIds,
} from "../support/scratch.ts";
import { assert, assertEquals } from "@std/assert";
import { type Fallback, onFallback } from "../../src/sys/error.ts";
import { LITTLE_ENDIAN, MNT_ID_REQ } from "../../src/sys/layout.ts";
import { encodeText } from "../../src/base/text.ts";
import {
  AT_FDCWD,
  CLONE_NEWNS,
  MNT_DETACH,
  O_RDONLY,
  O_RDWR,
  RESOLVE_CACHED,
  STATMOUNT_BY_FD,
  STATMOUNT_MNT_BASIC,
  STATMOUNT_SB_SOURCE,
  STATX_MNT_ID,
} from "../../src/sys/constants.ts";
import { MFD_EXEC } from "../../src/sys/file.ts";
import { unlinkat } from "../../src/sys/names.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { pidfdOpen, setns, unshare, waitid } from "../../src/sys/process.ts";
import { fsconfigSetString, fsopen } from "../../src/sys/fscontext.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { openDirectoryAt } from "../../src/fd/open.ts";
import { Directory } from "../../src/directory.ts";
import { MountTree } from "../../src/mount/tree.ts";
import { creationOf, SINGLE } from "../../src/mount/superblock.ts";
import { endStagingThread } from "../../src/mount/staging.ts";
import {
  idInTable,
  isMounted,
  isTopmostOn,
  mountIdAt,
} from "../../src/kernel/mount_id.ts";
import { pathOfMount, placeOfDescriptor } from "../../src/kernel/place.ts";
import { dispositionsOfChild } from "../../src/kernel/process.ts";
import {
  fileSystemTypeAt,
  superblockAt,
  superblockOf,
} from "../../src/kernel/superblock.ts";
import type * as MountId from "../../src/kernel/mount_id.ts";
import type * as Spawn from "../../src/sys/spawn.ts";
import { watchMounts } from "../../src/list/watch_mounts.ts";
import { thisNamespace, whereabouts } from "../../src/record/store.ts";
import { openInit } from "../../src/run/init.ts";
import { mountOverlay } from "../../src/runner/overlay.ts";
import { endSpawner, spawner } from "../../src/run/spawner.ts";

/** Something that is done, and another way to it. */
interface Way {
  /** Where kernels before this one take the other way by themselves. */
  readonly since?: Version;
  /** True if kernels differ in whether they take the other way. */
  readonly varies?: true;
  /** What stands in the way of the test. */
  readonly missing?: () => string | null;
  /** A module that has to be a new one, for it tries once. */
  readonly module?: string;
  /** Does it in a directory that is empty. */
  // deno-lint-ignore no-explicit-any
  readonly ask: (root: Directory, module: any) => unknown;
  /** Does something as where it is missing. */
  readonly without: (fn: () => void) => void;
}

/** As before Linux 7, the kernel takes no such flag. */
const UNKNOWN = 0x4000_0000;

const TMPFS = { type: "tmpfs", mkdir: true } as const;

function withoutTargets(fn: () => void): void {
  using _ = withoutDetachedTargets();
  fn();
}

/** Makes what commands are started with. */
function startAnew(): void {
  endSpawner();
  spawner();
  endSpawner();
}

const withoutStatmount = (fn: () => void) => withoutCall("statmount", fn);

/** Does something with a descriptor of a new mount's root. */
function inMount<T>(root: Directory, fn: (fd: number) => T): T {
  const mount = root.mount("m", TMPFS);
  try {
    using inside = Directory.open(`${SCRATCH}/m`);
    return fn(inside.fd);
  } finally {
    mount.unmount({ lazy: true });
  }
}

/** Lets a question about a mount be another one. */
function askingStatmount(change: (request: DataView, flags: number) => number) {
  return (fn: () => void) =>
    replacing("statmount", (real) => (number, request, buffer, size, flags) => {
      const view = new DataView(request!.buffer);
      return real(number, request, buffer, size, change(view, flags));
    }, fn);
}

/** Lets nobody look into file systems: EACCES, as of another user's FUSE. */
function closed(fn: () => void): void {
  // faccessat(2) of a file that is no program is EACCES for everybody.
  const faccessat = Deno.build.arch === "aarch64" ? 48 : 269;
  const file = encodeText("/etc/passwd\0");
  replacing(
    "statx",
    (real) => (number, fd, path, flags, mask, buffer) =>
      (mask & STATX_MNT_ID) === 0
        ? real(number, fd, path, flags, mask, buffer)
        : real(faccessat, AT_FDCWD, file, 1, 0, buffer),
    fn,
  );
}

/** The attributes of a mount that had some, and its access times changed. */
function attributes(root: Directory, change: () => void): string[] {
  const options = "noatime,nosuid";
  using _ = root.mount("from", { ...TMPFS, options });
  change();
  return root.mounts().map(({ target, options }) =>
    `${target} ${options.join()}`
  );
}

/** Mounts an overlay, whose layers have more than 255 bytes. */
function mountLayers(root: Directory): string {
  const layers = Array.from({ length: 20 }, (_, i) => {
    const path = `${SCRATCH}/layer-${"x".repeat(20)}-${i}`;
    root.mkdir(path.slice(SCRATCH.length + 1));
    return path;
  });
  const options = { lowerdir: layers.join(":") };
  using _ = root.mount("m", { type: "overlay", options, mkdir: true });
  return root.mounts().at(-1)!.type;
}

/** True if a parameter is one of the layers of an overlay. */
function isLayer(key: Uint8Array | null): boolean {
  return key !== null &&
    new TextDecoder().decode(key).startsWith("lowerdir+\0");
}

/** A file system that there is one of, and that is mounted nowhere. */
const unmounted = () =>
  SINGLE.find((type) => {
    if (["cgroup2", "devtmpfs"].includes(type)) return false;
    return superblockOf(type) === null;
  });

const WAYS: Record<Fallback, Way> = {
  "statmount, for attributes": {
    since: "6.8",
    ask: (root) =>
      attributes(root, () => root.remount("from", { options: "atime" })),
    without: withoutStatmount,
  },
  "statmount, for attributes of a source": {
    since: "6.8",
    ask: (root) =>
      attributes(root, () => {
        using from = root.openDirectory("from");
        const options = { options: "atime", mkdir: true };
        root.bind(from, "to", options).unmount();
      }),
    without: withoutStatmount,
  },
  "statmount, for the id in the table": {
    since: "6.8",
    ask: (root) => inMount(root, (fd) => typeof idInTable(mountIdAt(fd))),
    without: withReusedIds,
  },
  "statmount, for the namespace": {
    since: "6.8",
    ask: () => thisNamespace().inode,
    without: withoutStatmount,
  },
  "statmount, for the options of a file system": {
    since: "6.8",
    ask: (root) => {
      const { type, readOnly, options } = inMount(root, superblockAt)!;
      return { type, readOnly, options };
    },
    without: withoutStatmount,
  },
  "statmount, for the path of a mount": {
    since: "6.8",
    ask: (root) => inMount(root, (fd) => pathOfMount(mountIdAt(fd))),
    without: withReusedIds,
  },
  "statmount, for the type of a file system": {
    since: "6.8",
    ask: (root) => inMount(root, fileSystemTypeAt),
    without: withoutStatmount,
  },
  "statmount, for what covers a root": {
    since: "6.8",
    ask: (root) =>
      inMount(root, (fd) => {
        using _ = root.mount("m", TMPFS);
        using top = Directory.open(`${SCRATCH}/m`);
        return placeOfDescriptor(fd).topmost() === mountIdAt(top.fd);
      }),
    without: withReusedIds,
  },
  "statmount, for what is mounted": {
    since: "6.8",
    ask: (root) => inMount(root, (fd) => isMounted(mountIdAt(fd))),
    without: withReusedIds,
  },
  "statmount, for what is topmost": {
    since: "6.8",
    ask: (root) =>
      inMount(root, (fd) => isTopmostOn(mountIdAt(fd), mountIdAt(root.fd))),
    without: withReusedIds,
  },
  "statmount, with STATMOUNT_BY_FD": {
    since: "7.0",
    missing: () => missingSince("6.8", {}),
    module: "kernel/mount_id.ts",
    ask: (root, { statmountAt }: typeof MountId) =>
      inMount(root, (fd) => {
        const { mntId } = statmountAt(fd, STATMOUNT_MNT_BASIC);
        return mntId === mountIdAt(fd);
      }),
    without: askingStatmount((_, flags) =>
      flags === STATMOUNT_BY_FD ? UNKNOWN : flags
    ),
  },
  "statmount, with STATMOUNT_SB_SOURCE": {
    since: "6.13",
    missing: () => missingSince("6.8", {}),
    ask: (root) => root.mounts().map(({ source }) => source),
    without: askingStatmount((request, flags) => {
      const mask = request.getBigUint64(MNT_ID_REQ.param, LITTLE_ENDIAN);
      const less = mask & ~BigInt(STATMOUNT_SB_SOURCE);
      request.setBigUint64(MNT_ID_REQ.param, less, LITTLE_ENDIAN);
      return flags;
    }),
  },
  "statmount, with an id of another namespace": {
    missing: () => missingSince("6.11", {}),
    ask: (root) => {
      // A mount of this namespace, looked for from another one.
      using own = open("/proc/thread-self/ns/mnt", 0);
      using mount = root.mount("m", TMPFS);
      const entry = { id: mount.id, namespace: thisNamespace() };
      unshare(CLONE_NEWNS);
      try {
        type Entry = Parameters<typeof whereabouts>[0];
        return whereabouts(entry as Entry, thisNamespace());
      } finally {
        setns(own.fd, CLONE_NEWNS);
      }
    },
    without: askingStatmount((request, flags) =>
      request.getBigUint64(MNT_ID_REQ.mnt_ns_id, LITTLE_ENDIAN) === 0n
        ? flags
        : UNKNOWN
    ),
  },
  "listmount": {
    since: "6.8",
    ask: (root) => root.mounts().map(({ target }) => target),
    without: (fn) => withoutCall("listmount", fn),
  },
  "listmount, for a unique id": {
    since: "6.8",
    ask: (root) => {
      let told: number | undefined;
      const ask = () => told = idInTable(mountIdAt(root.fd));
      closed(() => withoutCall("name_to_handle_at", ask));
      return told;
    },
    without: withReusedIds,
  },
  "name_to_handle_at, with AT_HANDLE_MNT_ID_UNIQUE": {
    since: "6.12",
    ask: (root) => {
      let told: bigint | undefined;
      closed(() => told = mountIdAt(root.fd));
      return told;
    },
    without: (fn) => withoutCall("name_to_handle_at", fn),
  },
  "openat2, with RESOLVE_CACHED": {
    ask: (root) => openDirectoryAt(root.fd, ".").close(),
    without: (fn) =>
      replacing("openat2", (real) => (number, fd, path, how, size) => {
        // Behind the flags and the mode.
        const resolve = new BigUint64Array(how!.buffer).subarray(2);
        const isCached = (resolve[0]! & BigInt(RESOLVE_CACHED)) !== 0n;
        if (isCached) resolve[0]! |= 1n << 40n;
        return real(number, fd, path, how, size);
      }, fn),
  },
  "memfd_create": {
    ask: () => openInit().close(),
    without: (fn) => withCallRefused("memfd_create", fn),
  },
  "memfd_create, with MFD_EXEC": {
    since: "6.3",
    ask: () => openInit().close(),
    without: (fn) =>
      replacing(
        "memfd_create",
        (real) => (number, name, flags) =>
          real(number, name, flags & MFD_EXEC ? UNKNOWN : flags),
        fn,
      ),
  },
  "fsconfig, with FSCONFIG_CMD_CREATE_EXCL": {
    since: "6.6",
    missing: () =>
      unmounted() === undefined
        ? "needs a file system that is not there"
        : null,
    ask: () => {
      using context = new OwnedFd(fsopen("tmpfs"));
      fsconfigSetString(context.fd, "source", "x");
      const asked = [{ key: "mode", value: "700" }];
      creationOf(unmounted()!, asked).create(context.fd);
    },
    without: (fn) =>
      replacing("fsconfig", (real) => (number, fd, command, ...args) =>
        // No kernel knows this command.
        real(number, fd, command === 8 ? 99 : command, ...args), fn),
  },
  "fsconfig, with FSCONFIG_SET_FD for a layer": {
    since: "6.13",
    ask: (root) => {
      for (const name of ["lower", "upper", "work"]) root.mkdir(name);
      Deno.writeTextFileSync(`${SCRATCH}/lower/file`, "");
      using lower = open(`${SCRATCH}/lower`, O_RDONLY);
      using upper = open(`${SCRATCH}/upper`, O_RDONLY);
      using work = open(`${SCRATCH}/work`, O_RDONLY);
      using overlay = mountOverlay(lower, upper, work);
      unlinkat(overlay.fd, "file");
      return namesAt(`${SCRATCH}/upper`);
    },
    without: (fn) =>
      replacing(
        "fsconfig",
        (real) => (number, fd, command, key, value, aux) =>
          real(number, fd, command, key, value, command === 5 ? -1 : aux),
        fn,
      ),
  },
  "fsconfig, with FSCONFIG_SET_FD for a number": {
    varies: true,
    missing: () => {
      try {
        open("/dev/fuse", O_RDWR).close();
        return null;
      } catch {
        return "needs /dev/fuse";
      }
    },
    ask: (root) => {
      using device = open("/dev/fuse", O_RDWR);
      const options = {
        fd: { fd: device.fd },
        rootmode: "40000",
        user_id: 0,
        group_id: 0,
      };
      using _ = root.mount("m", { type: "fuse", options, mkdir: true });
    },
    without: (fn) =>
      replacing(
        "fsconfig",
        (real) => (number, fd, command, key, value, aux) =>
          real(number, fd, command, key, value, command === 5 ? -1 : aux),
        fn,
      ),
  },
  "fsconfig, of overlay": {
    since: "6.5",
    ask: mountLayers,
    without: (fn) => {
      const layered = new Set<number>();
      replacing(
        "fsconfig",
        (real) => (number, fd, command, key, value, aux) => {
          if (isLayer(key)) {
            layered.add(fd);
            return 0;
          }
          const isMade = command === 6 && layered.delete(fd);
          return real(number, fd, command, key, value, isMade ? 1 : aux);
        },
        fn,
      );
    },
  },
  "fsconfig, with lowerdir+": {
    since: "6.8",
    // Before, overlay looks at no word until it is made.
    missing: () => missingSince("6.5", {}),
    ask: mountLayers,
    without: (fn) =>
      replacing("fsconfig", (real) => (number, fd, command, key, ...args) => {
        const name = isLayer(key) ? encodeText("nosuch\0") : key;
        return real(number, fd, command, name, ...args);
      }, fn),
  },
  "mount_setattr, for propagation": {
    ask: (root) => {
      root.mkdir("from");
      root.mkdir("from/in");
      using _ = root.bind(`${SCRATCH}/from`, "to", { mkdir: true });
      return [...Deno.readDirSync(`${SCRATCH}/to`)].map(({ name }) => name);
    },
    without: (fn) => withoutCall("mount_setattr", fn),
  },
  "open_tree_attr": {
    since: "6.15",
    // Before, a tmpfs takes no id map.
    missing: () => missingSince("6.3", {}),
    ask: (root) => {
      using _from = root.mount("from", TMPFS);
      const ids = [{ inside: 0, outside: 5, length: 1 }];
      using _ = root.bind(`${SCRATCH}/from`, "to", {
        idmap: { uids: ids, gids: ids },
        recursive: true,
        mkdir: true,
      });
      return Deno.statSync(`${SCRATCH}/to`).uid;
    },
    without: (fn) => withoutCall("open_tree_attr", fn),
  },
  "move_mount, into a detached mount": {
    since: "6.15",
    ask: (root) => {
      using tree = MountTree.create({ type: "tmpfs" });
      tree.mount("in", TMPFS);
      try {
        using _ = tree.attach(root);
        return root.mounts().map(({ target }) => target);
      } finally {
        endStagingThread();
      }
    },
    without: withoutTargets,
  },
  "open_tree, of a detached mount": {
    since: "6.15",
    ask: startAnew,
    without: withoutTargets,
  },
  "unshare, with UNSHARE_EMPTY_MNTNS": {
    since: "7.1",
    ask: startAnew,
    without: (fn) => withoutCall("clone3", fn),
  },
  "fanotify_init, with FAN_REPORT_MNT": {
    since: "6.15",
    ask: () => {
      using watch = watchMounts();
      return watch.mounts.length;
    },
    without: (fn) => withoutCall("fanotify_init", fn),
  },
  "makecontext": {
    module: "sys/spawn.ts",
    ask: (_, { cloneSleeping }: typeof Spawn) =>
      waitid(cloneSleeping(0, 0)).status,
    without: (fn) => {
      // deno-lint-ignore mountat/foreign-only-in-sys
      const [name, real] = ["dlopen", Deno.dlopen] as const;
      Deno[name] = ((path, symbols) => {
        if ("makecontext" in symbols) throw new TypeError("no makecontext");
        return real(path, symbols);
      }) as typeof real;
      try {
        fn();
      } finally {
        Deno[name] = real;
      }
    },
  },
  "/proc, for unmounting": {
    ask: (root) => {
      root.mount("m", TMPFS).keep();
      root.unmount("m");
    },
    without: withoutProc,
  },
  "/proc, for the name of a mount point": {
    // Before, there is none but in /proc.
    missing: () => missingSince("6.8", {}),
    ask: (root) => root.mount("m", TMPFS).unmount(),
    without: withoutProc,
  },
  "/proc, for the children of a process": {
    ask: () => {
      using pidfd = new OwnedFd(pidfdOpen(Deno.pid));
      return dispositionsOfChild(pidfd.fd)?.ignores("SIGHUP") ?? false;
    },
    without: (fn) => {
      const path = `/proc/${Deno.pid}/task`;
      mount("none", path, "tmpfs", 0, null);
      try {
        fn();
      } finally {
        umount2(path, MNT_DETACH);
      }
    },
  },
};

/** What something leads to, and what it found missing. */
interface Taken {
  readonly result: unknown;
  readonly missing: ReadonlySet<Fallback>;
}

async function take(
  { module, ask, without }: Way,
  hidden: boolean,
): Promise<Taken> {
  using root = Directory.open(SCRATCH);
  const url = `../../src/${module}?${crypto.randomUUID()}`;
  const loaded = module === undefined ? null : await import(url);
  const missing = new Set<Fallback>();
  const before = onFallback((what) => missing.add(what));
  try {
    let result: unknown;
    const work = () => result = ask(root, loaded);
    if (hidden) without(work);
    else work();
    return { result, missing };
  } finally {
    onFallback(before);
    for (const { name } of Deno.readDirSync(SCRATCH)) {
      Deno.removeSync(`${SCRATCH}/${name}`, { recursive: true });
    }
  }
}

const needs: Needs = { permissions: ["read", "write"] };

for (const [name, way] of Object.entries(WAYS)) {
  const what = name as Fallback;
  kernelTest(`another way is taken without ${what}`, async () => {
    const plain = await take(way, false);
    const { since, varies } = way;
    if (!varies) {
      const lacks = since !== undefined && missingSince(since, {}) !== null;
      assertEquals(plain.missing.has(what), lacks);
    }
    const other = await take(way, true);
    assert(other.missing.has(what), [...other.missing].join("; "));
    assertEquals(other.result, plain.result);
  }, { ...needs, missing: missingFor(needs) ?? way.missing?.() ?? null });
}

/** The files below a directory. */
function filesBelow(path: string): string[] {
  return [...Deno.readDirSync(path)].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesBelow(`${path}/${name}`) : [`${path}/${name}`]
  );
}

/** Whoever asks these asks whether the kernel has something. */
const PROBES = ["kernel/features.ts", "kernel/probe.ts"];

/** What kernels answer differently, and all are asked in the same way. */
const DIFFERENCES = [
  "Before Linux 6.8 this id is the id in the mount table.",
];

readTest("nothing is done in another way that has no name", () => {
  const unnamed: string[] = [];
  let code = "";
  for (const path of filesBelow(`${ROOT}src`)) {
    const file = path.slice(`${ROOT}src/`.length);
    if (!file.endsWith(".ts") || PROBES.includes(file)) continue;
    const text = Deno.readTextFileSync(path);
    if (file !== "sys/error.ts") code += text;
    if (file.startsWith("sys/")) continue;
    const body = text.replace(/^import [^]*? from ".*";$/gm, "")
      .replace(/^ *\/?\*.*$/gm, "");
    // An error that says so is asked for by name.
    for (const [use] of body.matchAll(/\w+\([^()]*\bENOSYS\b/g)) {
      if (!use.startsWith("lacks(")) unnamed.push(`${file}: ${use}`);
    }
    const lines = body.split("\n");
    for (const [i, line] of lines.entries()) {
      const comment = /^ *\/\/ (.*Linux \d.*)$/.exec(line)?.[1];
      if (comment === undefined || DIFFERENCES.includes(comment)) continue;
      const after = lines.slice(i, i + 7).join("\n");
      if (!/\b(lacks|fallBack)\(/.test(after)) {
        unnamed.push(`${file}: ${comment}`);
      }
    }
  }
  assertEquals(unnamed, []);
  const unused = Object.keys(WAYS).filter((name) =>
    !code.includes(JSON.stringify(name))
  );
  assertEquals(unused, []);
});
