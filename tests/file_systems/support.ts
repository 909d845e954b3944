/** What the tests of single file systems share. */
import type { MountInfo } from "../../src/list/mount_info.ts";
import { Directory } from "../../src/directory.ts";
import { SCRATCH } from "../support/testing.ts";
import { readFile } from "../../src/fd/open.ts";
import { isErrno } from "../../src/sys/error.ts";
import { ENOENT } from "../../src/sys/errno.ts";

/** Runs a program to its end, and returns what it printed. */
export function run(command: string, ...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(command, {
    args,
    stdin: "null",
  }).outputSync();
  const text = new TextDecoder();
  if (!success) throw new Error(`${command}: ${text.decode(stderr)}`);
  return text.decode(stdout);
}

/** What the mount table says of the topmost mount on a path. */
export function mountOn(path: string): MountInfo {
  using root = Directory.open(SCRATCH);
  return root.mounts().findLast(({ target }) => target === path)!;
}

/** The numbers of the loop devices that show a file. */
export function loopsOf(image: string): string[] {
  return [...Deno.readDirSync("/sys/block")].map(({ name }) => name)
    .filter((name) => backingFile(name) === image);
}

/** What sysfs says of a loop device: `autoclear`, `offset`, `sizelimit`. */
export function loopAttribute(name: string, attribute: string): string {
  return readFile(`/sys/block/${name}/loop/${attribute}`).trimEnd();
}

function backingFile(name: string): string | null {
  try {
    return loopAttribute(name, "backing_file");
  } catch (error) {
    // It is no loop device, or has no file.
    if (isErrno(error, ENOENT)) return null;
    throw error;
  }
}

/** Makes an empty file of a size, without blocks. */
export function sparseFile(path: string, size: number): string {
  using file = Deno.openSync(path, { write: true, createNew: true });
  file.truncateSync(size);
  return path;
}
