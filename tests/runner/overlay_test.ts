/** A directory that is changed through an overlay is as if it was changed itself. */
import {
  changeThroughOverlay,
  checkOverlays,
} from "../../src/runner/overlay.ts";
import { mergeLayers, OPAQUE } from "../../src/runner/merge.ts";
import { Directory } from "../../src/directory.ts";
import { execute } from "../../src/run/execute.ts";
import { DetachedRoot } from "../../src/run/root_tree.ts";
import { type HasFd, OwnedFd, procPath } from "../../src/fd/owned_fd.ts";
import {
  namesIn,
  readAll,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
} from "../../src/fd/open.ts";
import { openat2, statx } from "../../src/sys/file.ts";
import {
  fchmodat,
  fchownat,
  mkdirat,
  mknodat,
  readlinkat,
  renameat2,
  symlinkat,
  unlinkat,
} from "../../src/sys/names.ts";
import {
  fgetxattr,
  flistxattr,
  fremovexattr,
  fsetxattr,
  llistxattr,
} from "../../src/sys/xattr.ts";
import { CALLS } from "../../src/sys/calls.ts";
import { libc } from "../../src/sys/libc.ts";
import {
  AT_EMPTY_PATH,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_CREAT,
  O_NOFOLLOW,
  O_RDONLY,
  O_RDWR,
  STATX_BASIC_STATS,
} from "../../src/sys/constants.ts";
import { Descent, openToRead } from "../../src/runner/descent.ts";
import { makeRoot, runTest, text } from "../support/run_root.ts";
import { openDescriptors, SCRATCH } from "../support/testing.ts";
import { namesAt, open, S_IFCHR } from "../support/scratch.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";

// stat.h
const S_IFIFO = 0o010000;
const S_IFBLK = 0o060000;
const S_IFSOCK = 0o140000;

/** When all of an input root was made. */
const LONG_AGO = 1_000_000_000;

/**
 * An input root as a worker lays it out.
 *
 * @param place Where.
 * @param put Puts files there: as links into a cache, or copies.
 * @returns It, and the files of the cache.
 */
function layOut(
  place: string,
  put: (from: string, to: string) => void,
): { root: string; cached: string[] } {
  const root = makeRoot(`${place.slice(SCRATCH.length + 1)}/root`);
  const cache = `${place}/cache`;
  Deno.mkdirSync(cache, { recursive: true });
  const cached: string[] = [];
  for (
    const file of ["f", "dir/f", "dir/g", "dir/sub/f", "dir/sub/deep/f", "run"]
  ) {
    const path = `${cache}/${file.replaceAll("/", "-")}`;
    Deno.writeTextFileSync(path, `#!/bin/sh\necho ${file}\n`);
    Deno.chmodSync(path, file === "run" ? 0o555 : 0o444);
    Deno.mkdirSync(`${root}/${file}`.replace(/\/[^/]*$/, ""), {
      recursive: true,
    });
    put(path, `${root}/${file}`);
    cached.push(path);
  }
  // Two of one digest.
  put(cached[0]!, `${root}/same`);
  for (const name of ["empty", "other/inside", "private", "shared"]) {
    Deno.mkdirSync(`${root}/${name}`, { recursive: true });
  }
  Deno.chmodSync(`${root}/private`, 0o700);
  for (const name of ["private", "shared"]) setAcls(`${root}/${name}`, 1000);
  Deno.symlinkSync("dir/f", `${root}/link`);
  Deno.symlinkSync("/bin", `${root}/dir/away`);
  for (const path of [...cached, ...walk(root), root]) {
    if (!Deno.lstatSync(path).isSymlink) {
      Deno.utimeSync(path, LONG_AGO, LONG_AGO);
    }
  }
  return { root, cached };
}

const ACLS = ["system.posix_acl_access", "system.posix_acl_default"];

/** Lets one more user into a directory, and into what will be made there. */
function setAcls(path: string, user: number): void {
  // linux/posix_acl_xattr.h: a version; of each entry its tag, rights and id.
  const nobody = 0xffff_ffff;
  const entries = [
    [0x01, 7, nobody],
    [0x02, 7, user],
    [0x04, 5, nobody],
    [0x10, 7, nobody],
    [0x20, 5, nobody],
  ] as const;
  const acl = new DataView(new ArrayBuffer(4 + entries.length * 8));
  acl.setUint32(0, 2, true);
  for (const [index, [tag, rights, id]] of entries.entries()) {
    acl.setUint16(4 + index * 8, tag, true);
    acl.setUint16(6 + index * 8, rights, true);
    acl.setUint32(8 + index * 8, id, true);
  }
  using directory = open(path, O_RDONLY);
  for (const name of ACLS) {
    fsetxattr(directory.fd, name, new Uint8Array(acl.buffer));
  }
}

function runHost(command: string, ...args: string[]): void {
  const { success } = new Deno.Command(command, { args }).outputSync();
  assert(success, command);
}

function walk(path: string): string[] {
  return [...Deno.readDirSync(path)].flatMap(({ name, isDirectory }) => {
    const inside = `${path}/${name}`;
    return isDirectory ? [...walk(inside), inside] : [inside];
  });
}

/**
 * All that is known of a directory and what is in it, but for recent times.
 *
 * @param cached Files whose other names do not matter.
 */
function snapshot(path: string, cached: string[]): Record<string, unknown> {
  const inodes = cached.map((path) => BigInt(Deno.statSync(path).ino!));
  const found: Record<string, unknown> = {};
  const names = new Map<bigint, string>();
  const look = (dirfd: number, name: string, path: string) => {
    const at = statx(dirfd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS);
    const type = at.mode! & S_IFMT;
    if (type === S_IFDIR || inodes.includes(at.ino!)) names.delete(at.ino!);
    if (!names.has(at.ino!)) names.set(at.ino!, path);
    const { mode, uid, gid, rdevMajor, rdevMinor } = at;
    const { sec } = at.mtime!;
    const about = {
      ...{ mode: mode!.toString(8), uid, gid, rdevMajor, rdevMinor },
      mtime: sec < LONG_AGO + 1000 ? sec : "lately",
      link: names.get(at.ino!),
    };
    if (type === S_IFDIR || type === S_IFREG) {
      const flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC;
      using file = new OwnedFd(openat2(dirfd, name, { flags }));
      const xattrs = flistxattr(file.fd).sort()
        .map((name) => [name, fgetxattr(file.fd, name).join()]);
      const content = type === S_IFREG ? readAll(file.fd) : null;
      found[path] = { ...about, xattrs, content };
      if (type === S_IFREG) return;
      for (const name of namesIn(file.fd).sort()) {
        look(file.fd, name, `${path}/${name}`);
      }
    } else {
      const xattrs = llistxattr(`${procPath(dirfd)}/${name}`);
      const target = type === S_IFLNK ? readlinkat(dirfd, name) : null;
      found[path] = { ...about, xattrs, target };
    }
  };
  using directory = Directory.open(path);
  look(directory.fd, ".", ".");
  return found;
}

/** All that is known of a file of the cache, but for when it was read. */
function stateOf(path: string): unknown {
  const { ino, mode, uid, gid, size, mtime } = Deno.lstatSync(path);
  const text = Deno.readTextFileSync(path);
  return { ino, mode, uid, gid, size, mtime, text };
}

async function apply(
  root: HasFd | DetachedRoot,
  change: Change,
): Promise<void> {
  if (typeof change !== "string") return change(root);
  const { code, stderr } = await execute(root, ["sh", "-ec", change], {
    env: { PATH: "/bin" },
    stderr: "piped",
  });
  assertEquals([code, text.decode(stderr)], [0, ""]);
}

/** What a command may do: a script, or calls in its root. */
type Change = string | ((root: HasFd) => void);

const CHANGES: Record<string, Change> = {
  "nothing": "true",
  "new files":
    "echo a > new; mkdir -p n/o/p; echo b > n/o/p/new; echo c > dir/sub/new",
  "changed files": "echo a >> f; echo b > dir/f; : > dir/sub/deep/f",
  "one of two names": "echo a >> same",
  "attributes":
    "chmod 600 f; chown 5:6 dir/f; touch dir/g; touch -d @1000000500 dir/sub/f",
  "attributes of directories":
    "chmod 2750 dir; chown 5:6 dir/sub; touch -d @1000000700 empty; chmod 1777 .; touch -d @1000000600 .",
  "removed files": "rm f dir/f; rm -r dir/sub; rmdir empty; rm link dir/away",
  "all removed": "rm -rf dir other private empty f same link run",
  "renamed files":
    "mv f dir/new; mv dir/g g; mv link dir/link; mv dir/f dir/sub/f",
  "renamed directories":
    "mv dir moved; mv other/inside moved/sub/; mv empty dir",
  "renamed twice":
    "mv dir a; mv a b; mv b dir; mv dir/sub dir/sub2; mv dir/sub2 dir/sub",
  "exchanged directories": "mv dir x; mv other dir; mv x other",
  "replaced directories":
    "rm -r dir; mkdir dir; echo new > dir/new; mkdir dir/sub; rm -r other/inside; mkdir other/inside",
  "a file for a directory":
    "rm -r dir other/inside; echo a > dir; ln -s nowhere other/inside",
  "a directory for a file":
    "rm f link; mkdir f; mkdir -p link/sub; echo a > f/a; rm dir/f; mkdir dir/f",
  "removed and made again":
    "rm f; cp run f; rm dir/f; mkdir dir/f; rmdir dir/f; echo a > dir/f; mkdir x; rmdir x; echo a > x",
  "hard links":
    "echo a > a; ln a b; ln a dir/sub/c; mkdir n; ln a n/d; ln f g; ln dir/g other/g; echo x >> g",
  "inputs into new directories":
    "mkdir -p n/m; mv link n/m/; mv dir/away n/; mv f n/m/f; cp -p dir/f n/m/g; ln same n/m/h; mv dir/sub/f n/; rm n/m/h",
  "other kinds": ({ fd }) => {
    for (const name of ["socket", "dir/socket", "dir/f"]) {
      if (name === "dir/f") unlinkat(fd, name);
      mknodat(fd, name, S_IFSOCK | 0o700, 0);
    }
    mknodat(fd, "fifo", S_IFIFO | 0o600, 0);
    mknodat(fd, "null", S_IFCHR | 0o640, 0x103);
    mknodat(fd, "other/disk", S_IFBLK | 0o600, 0x700);
    unlinkat(fd, "link");
    symlinkat("else/where", fd, "link");
    symlinkat("x".repeat(1023), fd, "dir/long");
  },
  "names":
    "echo a > \"$(printf 'a\\377\\n b')\"; mkdir \"$(printf 'd\\200')\"; echo b > \"$(printf 'd\\200/\\300')\"; echo c > -f; echo d > 'a\"b\\'; echo e > '#1'; echo f > 0; mkdir upper work discarded; rm -r dir; echo g > dir; echo h > ünï",
  "closed directories":
    "chmod 000 dir; mkdir -m 0 none; mkdir -m 500 n; echo a > n/a; chmod 0 private",
  "set-user-ID":
    "cp run suid; chmod 6755 suid; chown 7:8 suid; chmod 6755 suid",
  "extended attributes": ({ fd }) => {
    const set = (name: string, key: string) => {
      const flags = O_RDONLY | O_CLOEXEC;
      using file = new OwnedFd(openat2(fd, name, { flags }));
      fsetxattr(file.fd, key, new TextEncoder().encode("value"));
    };
    set("f", "trusted.a");
    set("dir", "trusted.b");
    set(".", "trusted.c");
    set("dir/sub", "trusted.d");
    set("run", "trusted.overlayed");
  },
  "access control lists": ({ fd }) => {
    const at = procPath(fd);
    setAcls(`${at}/dir`, 0xfeed);
    setAcls(`${at}/shared`, 0xbeef);
    using directory = openToRead(fd, "private");
    for (const name of ACLS) fremovexattr(directory.fd, name);
  },
  "deep": ({ fd }) => {
    const parts = Array.from({ length: 100 }, () => "x".repeat(70));
    using bottom = makeDeep(fd, parts);
    renameat2(fd, "f", bottom.fd, "f");
    renameat2(fd, "dir/f", bottom.fd, "g");
    mkdirat(bottom.fd, "empty", 0o700);
  },
};

/** Makes directories in each other, and opens the last. */
function makeDeep(top: number, parts: readonly string[]): Descent {
  return goDown(top, parts, (dirfd, part) => mkdirat(dirfd, part, 0o755));
}

function goDown(
  top: number,
  parts: readonly string[],
  before: (dirfd: number, part: string) => void = () => {},
): Descent {
  const way = new Descent();
  way.enter(openToRead(top, "."));
  for (const part of parts) {
    before(way.fd, part);
    way.enter(openToRead(way.fd, part));
  }
  return way;
}

/** Lets one of two input roots be changed through an overlay, and compares. */
async function compare(place: string, change: Change): Promise<void> {
  const plain = layOut(`${place}/plain`, Deno.copyFileSync);
  const merged = layOut(`${place}/merged`, Deno.linkSync);
  const shots = () =>
    [plain, merged].map(({ root, cached }) => snapshot(root, cached));
  const [one, other] = shots();
  assertEquals(one, other);
  const before = merged.cached.map(stateOf);
  {
    using root = Directory.open(plain.root);
    await apply(root, change);
  }
  {
    using root = Directory.open(merged.root);
    using holder = Directory.open(`${place}/merged`);
    await changeThroughOverlay(
      root,
      holder,
      (overlay) => apply(new DetachedRoot(overlay), change),
    );
  }
  const [expected, actual] = shots();
  assertEquals(actual, expected);
  assertEquals(merged.cached.map(stateOf), before);
  assertEquals(
    [...Deno.readDirSync(`${place}/merged`)].map(({ name }) => name).sort(),
    ["cache", "root"],
  );
}

for (const [name, change] of Object.entries(CHANGES)) {
  runTest(
    `what a command changes is merged: ${name}`,
    () => compare(SCRATCH, change),
  );
}

for (const type of ["ext4", "xfs", "btrfs"] as const) {
  const mkfs = `mkfs.${type}`;
  runTest(`what a command changes is merged on ${type}`, async () => {
    const disk = `${SCRATCH}/disk`;
    Deno.mkdirSync(disk);
    Deno.writeTextFileSync(`${disk}.img`, "");
    Deno.truncateSync(`${disk}.img`, 512 << 20);
    runHost(mkfs, "-q", `${disk}.img`);
    using scratch = Directory.open(SCRATCH);
    using _disk = scratch.mount("disk", {
      type,
      source: `${disk}.img`,
      options: "loop",
    });
    await checkOverlays(disk);
    assertEquals(namesAt(disk).filter((name) => name !== "lost+found"), []);
    for (const [name, change] of Object.entries(CHANGES)) {
      await compare(`${disk}/${name.replaceAll(" ", "-")}`, change);
    }
  }, { commands: [mkfs] });
}

runTest("a whiteout that hides nothing is not merged", () => {
  const layers = ["upper", "lower", "discarded"].map((name) => {
    Deno.mkdirSync(`${SCRATCH}/${name}`);
    return open(`${SCRATCH}/${name}`, O_RDONLY);
  });
  using owned = new DisposableStack();
  for (const layer of layers) owned.use(layer);
  const [upper, lower, discarded] = layers as [OwnedFd, OwnedFd, OwnedFd];
  // A new directory, one that hides what is there, and one in place of a file.
  for (const name of ["new", "old", "file"]) {
    mkdirat(upper.fd, name, 0o700);
    mknodat(upper.fd, `${name}/whiteout`, S_IFCHR, 0);
    mkdirat(upper.fd, `${name}/inside`, 0o700);
  }
  mknodat(upper.fd, "gone", S_IFCHR, 0);
  mknodat(upper.fd, "never", S_IFCHR, 0);
  using old = openToRead(upper.fd, "old");
  fsetxattr(old.fd, OPAQUE, new TextEncoder().encode("y"));
  Deno.mkdirSync(`${SCRATCH}/lower/old`);
  for (const name of ["old/whiteout", "old/other", "file", "gone"]) {
    Deno.writeTextFileSync(`${SCRATCH}/lower/${name}`, "");
  }
  for (const _ of mergeLayers(upper, lower, discarded));
  assertEquals(
    walk(`${SCRATCH}/lower`).map((path) =>
      path.slice(`${SCRATCH}/lower/`.length)
    )
      .sort(),
    ["file", "file/inside", "new", "new/inside", "old", "old/inside"],
  );
});

for (
  const [xattr, value] of [
    ["trusted.overlay.redirect", "/other"],
    ["trusted.overlay.opaque", "x"],
  ] as const
) {
  runTest(`an upper layer with ${xattr}=${value} is refused`, () => {
    for (const name of ["upper/dir", "lower/dir", "discarded"]) {
      Deno.mkdirSync(`${SCRATCH}/${name}`, { recursive: true });
    }
    using upper = open(`${SCRATCH}/upper`, O_RDONLY);
    using lower = open(`${SCRATCH}/lower`, O_RDONLY);
    using discarded = open(`${SCRATCH}/discarded`, O_RDONLY);
    using directory = openToRead(upper.fd, "dir");
    fsetxattr(directory.fd, xattr, new TextEncoder().encode(value));
    assertThrows(
      () => [...mergeLayers(upper, lower, discarded)],
      Error,
      `A directory of the upper layer has ${xattr}`,
    );
  });
}

runTest("a worker that empties the directory ends no check of it", async () => {
  const place = `${SCRATCH}/build`;
  Deno.mkdirSync(place);
  const real = libc.fsetxattr;
  let times = 0;
  Object.defineProperty(libc, "fsetxattr", {
    configurable: true,
    value: (...args: Parameters<typeof real>) => {
      if (times++ === 0) {
        for (const name of namesAt(place)) {
          Deno.removeSync(`${place}/${name}`, { recursive: true });
        }
      }
      return real(...args);
    },
  });
  try {
    await checkOverlays(place);
  } finally {
    Object.defineProperty(libc, "fsetxattr", {
      configurable: true,
      value: real,
    });
  }
  assert(times > 1);
  assertEquals(namesAt(place), []);
});

/** What a merge has to do with each kind of change. */
function changeAllKinds({ fd }: HasFd): void {
  const write = (name: string) =>
    new OwnedFd(
      openat2(fd, name, { flags: O_RDWR | O_CREAT | O_CLOEXEC, mode: 0o600 }),
    )
      .close();
  for (const name of ["dir/f", "dir/link"]) unlinkat(fd, name);
  write("dir/g");
  mkdirat(fd, "dir/f", 0o700);
  mkdirat(fd, "new", 0o700);
  renameat2(fd, "link", fd, "new/link");
  unlinkat(fd, "old/f");
  unlinkat(fd, "old", AT_REMOVEDIR);
  mkdirat(fd, "old", 0o711);
  write("old/new");
  unlinkat(fd, "removed/f");
  unlinkat(fd, "removed", AT_REMOVEDIR);
  using directory = openToRead(fd, "dir");
  fsetxattr(directory.fd, "trusted.a", new Uint8Array(3));
  fremovexattr(directory.fd, "trusted.b");
  fchownat(directory.fd, "", 5, 6, AT_EMPTY_PATH);
  fchmodat(fd, "dir", 0o750);
}

const NAMES = ["dir-f", "dir-g", "old-f", "removed-f"];

/** A small input root in which that can be done. */
function layOutSmall(place: string): { root: string; cached: string[] } {
  const root = `${place}/root`;
  for (const name of ["dir", "old", "removed"]) {
    Deno.mkdirSync(`${root}/${name}`, { recursive: true });
  }
  using directory = open(`${root}/dir`, O_RDONLY);
  fsetxattr(directory.fd, "trusted.b", new Uint8Array(3));
  const cached = NAMES.map((name) => {
    const path = `${place}/${name}`;
    Deno.writeTextFileSync(path, name);
    Deno.linkSync(path, `${root}/${name.replace("-", "/")}`);
    return path;
  });
  Deno.symlinkSync("x", `${root}/link`);
  Deno.symlinkSync("x", `${root}/dir/link`);
  return { root, cached };
}

/** This process's system calls, of which one may fail as if the kernel had it not. */
class FailingCalls implements Disposable {
  /** How many there were. */
  count = 0;
  counts = true;
  readonly #owned = new DisposableStack();

  /** @param nth Which of them fails, counted from 1. */
  constructor(nth: number) {
    for (const [name, description] of Object.entries(CALLS)) {
      // Linux closes whatever it answers.
      if (!("parameters" in description) || name === "close") continue;
      const real = Reflect.get(libc, name);
      const value = (number: number, ...args: unknown[]) => {
        const fails = this.counts && ++this.count === nth;
        return real(fails ? 9999 : number, ...args);
      };
      Object.defineProperty(libc, name, { configurable: true, value });
      this.#owned.defer(() =>
        Object.defineProperty(libc, name, { configurable: true, value: real })
      );
    }
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

runTest(
  "whatever call fails, there is an error and nothing is left",
  async () => {
    const place = `${SCRATCH}/all`;
    const { root, cached } = layOutSmall(place);
    const descriptors = openDescriptors();
    const change = async (nth: number) => {
      using opened = Directory.open(root);
      using holder = Directory.open(place);
      using calls = new FailingCalls(nth);
      await changeThroughOverlay(opened, holder, (tree) => {
        calls.counts = false;
        changeAllKinds(tree);
        calls.counts = true;
      });
      return calls.count;
    };
    await change(0);
    const expected = snapshot(root, cached);
    let failed = 0;
    for (let nth = 1, count = nth; nth <= count; nth++) {
      Deno.removeSync(place, { recursive: true });
      layOutSmall(place);
      const before = cached.map(stateOf);
      const done = await change(nth).catch(() => null);
      // What tidies up is done again.
      if (done !== null) assertEquals(snapshot(root, cached), expected);
      else failed++;
      count = done ?? nth + 1;
      assertEquals(namesAt(place), [...NAMES, "root"]);
      assertEquals(cached.map(stateOf), before);
      assertEquals(openDescriptors(), descriptors);
    }
    assert(failed > 50, String(failed));
  },
);

runTest("no depth takes descriptors, or ends a merge", async () => {
  const { root } = layOutSmall(`${SCRATCH}/all`);
  const parts = Array.from({ length: 5000 }, () => "d");
  using holder = Directory.open(`${SCRATCH}/all`);
  using opened = Directory.open(root);
  let most = 0;
  const real = libc.openat2;
  Object.defineProperty(libc, "openat2", {
    configurable: true,
    value: (...args: Parameters<typeof real>) => {
      const fd = real(...args);
      most = Math.max(most, fd);
      return fd;
    },
  });
  try {
    // A directory that goes there itself, then one that is there already.
    await changeThroughOverlay(opened, holder, (tree) => {
      using bottom = makeDeep(tree.fd, parts);
      renameat2(tree.fd, "link", bottom.fd, "link");
    });
    await changeThroughOverlay(opened, holder, (tree) => {
      using bottom = goDown(tree.fd, parts);
      mkdirat(bottom.fd, "more", 0o700);
    });
  } finally {
    Object.defineProperty(libc, "openat2", { configurable: true, value: real });
  }
  using bottom = goDown(opened.fd, parts);
  assertEquals(namesIn(bottom.fd).sort(), ["link", "more"]);
  assertEquals(llistxattr(`${procPath(bottom.fd)}/link`), []);
  assertEquals(namesAt(`${SCRATCH}/all`), [...NAMES, "root"]);
  assert(most < 200, String(most));
});
