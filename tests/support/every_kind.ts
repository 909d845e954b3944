/** Mounts of every kind, for tests of what lists them. */
import { mountTable, SCRATCH } from "./testing.ts";
import { openat2 } from "../../src/sys/file.ts";
import { mkdirat, unlinkat } from "../../src/sys/names.ts";
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  MS_BIND,
  MS_MOVE,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_RDONLY,
  MS_REMOUNT,
  MS_SHARED,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
  O_CLOEXEC,
  O_CREAT,
  O_RDWR,
} from "../../src/sys/constants.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { mount } from "../../src/sys/mount.ts";

/** Makes a directory in the scratch directory, or in another; gives its path. */
export function makeDirectory(name: string, base: string = SCRATCH): string {
  const path = `${base}/${name}`;
  mkdirat(AT_FDCWD, path, 0o755);
  return path;
}

/** Makes a file in the scratch directory, or in another; gives its path. */
export function makeFile(name: string, base: string = SCRATCH): string {
  const path = `${base}/${name}`;
  const flags = O_CREAT | O_RDWR | O_CLOEXEC;
  new OwnedFd(openat2(AT_FDCWD, path, { flags, mode: 0o644 })).close();
  return path;
}

/** Mounts a small tmpfs; gives its path. */
export function mountTmpfs(
  path: string,
  flags = 0,
  source = "scratch",
): string {
  mount(source, path, "tmpfs", flags, "size=64k");
  return path;
}

/** Mounts a directory or file at a second place. */
export function bind(from: string, to: string, flags = 0): void {
  mount(from, to, null, MS_BIND | flags, null);
}

/** Mounts of every kind that needs no device, in a directory. */
export function mountEveryKind(base: string = SCRATCH): void {
  const directory = (name: string) => makeDirectory(name, base);
  const file = (name: string) => makeFile(name, base);
  const source = directory("source");
  mkdirat(AT_FDCWD, `${source}/sub`, 0o755);
  const flagSets = [
    0,
    MS_RDONLY,
    MS_NOSUID | MS_NODEV | MS_NOEXEC,
    MS_NOATIME,
    MS_NOATIME | MS_NODIRATIME,
    MS_NODIRATIME,
    MS_STRICTATIME,
    MS_STRICTATIME | MS_NODIRATIME,
    MS_NOSYMFOLLOW,
    MS_SYNCHRONOUS,
    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME |
    MS_NOSYMFOLLOW,
  ];
  for (const [i, flags] of flagSets.entries()) {
    mountTmpfs(directory(`flags${i}`), flags);
    const path = directory(`bind${i}`);
    bind(source, path);
    mount(null, path, null, MS_REMOUNT | MS_BIND | flags, null);
  }
  const names = [
    "a b",
    "tab\there",
    "line\nbreak",
    "back\\slash",
    "\\040",
    "num#ber",
    "ünï😀",
    "\udcff\udc80",
    "esc\x1b[31m",
    'quo"te',
    "com,ma",
    "x".repeat(255),
  ];
  for (const [i, name] of names.entries()) {
    mountTmpfs(directory(name), 0, name);
    const odd = directory(`source/${name}`);
    bind(odd, directory(`odd${i}`));
    const short = name.slice(0, 200);
    bind(file(`file ${short}`), file(`on ${short}`));
  }
  mountTmpfs(directory("no source"), 0, "");
  for (let i = 0; i < 20; i++) mountTmpfs(`${base}/odd0`);
  // Options that have to be escaped.
  const layers = ["a,b", "c:d", "e\\f"].map((name) => directory(name));
  const literal = (path: string) =>
    path.replace(/\\/g, "\\\\").replace(/[,:]/g, "\\$&");
  for (const name of ["upper", "work", "merged"]) directory(name);
  mount(
    "an overlay",
    `${base}/merged`,
    "overlay",
    0,
    `lowerdir=${layers.map(literal).join(":")},` +
      `upperdir=${base}/upper,workdir=${base}/work`,
  );
  mount("p", directory("proc"), "proc", MS_RDONLY, "hidepid=2");
  mount("s", directory("sys"), "sysfs", 0, null);
  mount("d", directory("pts"), "devpts", 0, "newinstance,mode=620");
  mount("m", directory("mqueue"), "mqueue", 0, null);
  bind("/proc/self/ns/net", file("ns"));
  // A root that is gone.
  const gone = directory("gone");
  bind(gone, directory("of gone"));
  unlinkat(AT_FDCWD, gone, AT_REMOVEDIR);
  mountPropagations(base);
  // Moved: it is older than what it is now in.
  const moved = mountTmpfs(directory("moved"));
  mkdirat(AT_FDCWD, `${moved}/in`, 0o755);
  mountTmpfs(`${moved}/in`);
  const newer = mountTmpfs(directory("newer"));
  mkdirat(AT_FDCWD, `${newer}/to`, 0o755);
  mount(moved, `${newer}/to`, null, MS_MOVE, null);
  // Covered.
  mountTmpfs(newer);
}

function mountPropagations(base: string): void {
  const directory = (name: string) => makeDirectory(name, base);
  const shared = mountTmpfs(directory("shared"));
  mount(null, shared, null, MS_SHARED, null);
  for (const name of ["in", "deep"]) mkdirat(AT_FDCWD, `${shared}/${name}`, 0);
  const peer = directory("peer");
  bind(shared, peer);
  const slave = directory("slave");
  bind(shared, slave);
  mount(null, slave, null, MS_SLAVE, null);
  const both = directory("slave and shared");
  bind(shared, both);
  mount(null, both, null, MS_SLAVE, null);
  mount(null, both, null, MS_SHARED, null);
  const unbindable = directory("unbindable");
  mountTmpfs(unbindable);
  mount(null, unbindable, null, MS_UNBINDABLE, null);
  // Made once, this is there four times.
  mountTmpfs(`${shared}/in`);
}

/**
 * Mounts of every kind in a directory of their own, again and again until there
 * are so many; gives the directory, a mount with which all are gone.
 */
export function mountManyOfEveryKind(count: number): string {
  const many = mountTmpfs(makeDirectory("many"));
  mount(null, many, "tmpfs", MS_REMOUNT, "size=64m,nr_inodes=100000");
  const before = mountTable().length;
  const again = () => mountEveryKind(makeDirectory(String(done++), many));
  let done = 0;
  again();
  const each = mountTable().length - before;
  while (before + done * each < count) again();
  return many;
}
