import { assertEquals } from "@std/assert";
import { spelledAlike } from "../../src/base/check.ts";

const NAMES =
  "sysfs tmpfs bdev proc cgroup cgroup2 devtmpfs ramfs overlay ext3 ext2 ext4 squashfs vfat msdos iso9660 fuseblk fuse fusectl btrfs xfs erofs"
    .split(" ");

Deno.test("spelledAlike() finds the nearest names first", () => {
  const cases: Record<string, string[]> = {
    tmpsf: ["tmpfs"],
    tmpf: ["tmpfs"],
    tpmfs: ["tmpfs"],
    TMPFS: ["tmpfs"],
    procfs: ["proc"],
    sys: ["sysfs"],
    overlayfs: ["overlay"],
    ovrelay: ["overlay"],
    sqaushf: [],
    squahfs: ["squashfs"],
    skwashfs: ["squashfs"],
    ext: ["ext3", "ext2", "ext4"],
    ext5: ["ext3", "ext2", "ext4"],
    cgroup3: ["cgroup", "cgroup2"],
    fuse: ["fuse", "fuseblk", "fusectl"],
    ntfs3: [],
    x: [],
    "": [],
  };
  for (const [word, expected] of Object.entries(cases)) {
    assertEquals(spelledAlike(word, NAMES), expected, word);
  }
});

Deno.test("spelledAlike() names each once, and no more than three", () => {
  assertEquals(spelledAlike("aa", ["aa", "aa", "ab", "ac", "ad"]), [
    "aa",
    "ab",
    "ac",
  ]);
});
