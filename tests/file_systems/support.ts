/** What the tests of single file systems share. */
import type { MountInfo } from "../../src/list/mount_info.ts";
import { Directory } from "../../src/directory.ts";
import { SCRATCH } from "../support/testing.ts";
import { readFile } from "../../src/fd/open.ts";
import { InheritableFd } from "../../src/fd/owned_fd.ts";
import { O_RDWR } from "../../src/sys/constants.ts";
import { mount } from "../../src/sys/mount.ts";
import { compiled } from "../support/compiled.ts";
import { makeDirectory, open } from "../support/scratch.ts";
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

/**
 * What a FUSE file system that can't be looked into is like: its server never
 * answers, or is gone, or lets in its owner alone, who is not root.
 */
export type Unreachable = "silent" | "dead" | "closed";

/** How each is mounted. */
const UNREACHABLE: Readonly<Record<Unreachable, string>> = {
  // The kernel would ask for permissions, too.
  silent: "user_id=0,group_id=0,default_permissions",
  dead: "user_id=0,group_id=0",
  closed: "user_id=1000,group_id=1000",
};

/**
 * Mounts a FUSE file system that can't be looked into, and is unmounted before
 * the end of its block.
 *
 * @returns Its path, and how to learn how often the server was asked, once it is
 * unmounted everywhere.
 */
export function mountUnreachable(
  kind: Unreachable,
  name: string,
): { path: string; asked(): Promise<number> } {
  const path = makeDirectory(name);
  const device = open("/dev/fuse", O_RDWR);
  const options = `fd=${device.fd},rootmode=40000,${UNREACHABLE[kind]}`;
  mount("unreachable", path, "fuse", 0, options);
  if (kind === "dead") {
    device.close();
    return { path, asked: () => Promise.resolve(0) };
  }
  const program = compiled("fuse_server");
  const inherited = new InheritableFd(device.fd);
  const server = new Deno.Command(program, {
    args: [String(inherited.fd), "silent"],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  inherited.close();
  device.close();
  return {
    path,
    async asked() {
      const { stdout } = await server.output();
      const text = new TextDecoder().decode(stdout);
      const [, count] = /^asked (\d+)\n$/.exec(text) ?? [];
      return Number(count);
    },
  };
}

/** Makes an empty file of a size, without blocks. */
export function sparseFile(path: string, size: number): string {
  using file = Deno.openSync(path, { write: true, createNew: true });
  file.truncateSync(size);
  return path;
}
