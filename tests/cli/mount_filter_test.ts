import { assertEquals } from "@std/assert";
import { matchesOptions, matchesTypes } from "../../src/cli/list_format.ts";
import type { MountInfo } from "../../src/list/mount_info.ts";

Deno.test("matchesTypes() takes a list, and all but a list", () => {
  for (
    const [type, list, expected] of [
      ["ext4", "ext4", true],
      ["ext4", "ext", false],
      ["ext", "ext4", false],
      ["ext4", "proc,ext4", true],
      ["ext4", "noext4", false],
      ["ext4", "noproc", true],
      ["ext4", "noproc,ext4", false],
      ["ext4", "noproc,noext4", false],
      ["ext4", "proc,noext4", false],
      ["fuse.sshfs", "fuse", false],
      ["fuse.sshfs", "fuse.sshfs", true],
      ["ext4", "EXT4", true],
      ["eXt4", "noproc,Ext4", false],
      ["ext4", "NOproc", false],
      // What comes first counts.
      ["ext4", "ext4,noext4", true],
      ["ext4", "proc,", false],
    ] as const
  ) {
    assertEquals(matchesTypes(type, list), expected, `${type} of ${list}`);
  }
});

Deno.test("matchesOptions() wants all, and none of those with no", () => {
  const mount = {
    options: ["rw", "noexec", "relatime"],
    superOptions: ["ro", "size=1m", "huge=never", "noswap"],
  } as unknown as MountInfo;
  for (
    const [list, expected] of [
      ["ro", true],
      ["rw", false],
      ["norw", true],
      ["relatime,size", true],
      ["relatime,nosize", false],
      ["size=1m", true],
      ["size=1", false],
      ["nosize=1", true],
      ["nosize=1m", false],
      ["siz", false],
      // Without exec, which is no option; and noexec itself.
      ["noexec", true],
      ["nosuid", true],
      ["+noexec", true],
      ["+nosuid", false],
      ["+noswap,huge", true],
      ["", true],
      ["ro,", true],
      [",rw", false],
      ["size=", true],
      ["nosize=", false],
      ["siz=", false],
      ["no", true],
      ["+", false],
      ["=", false],
      ["RO", false],
    ] as const
  ) {
    assertEquals(matchesOptions(mount, list), expected, list);
  }
});
