import { assertEquals, assertThrows } from "@std/assert";
import {
  MountinfoSyntaxError,
  parseMountinfo,
} from "../../src/kernel/mountinfo.ts";

Deno.test("parseMountinfo() takes each field of a line", () => {
  assertEquals(
    parseMountinfo(
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n",
    ),
    [{
      id: 36,
      parentId: 35,
      deviceNumber: "98:0",
      root: "/mnt1",
      mountPoint: "/mnt2",
      options: ["rw", "noatime"],
      master: 1,
      unbindable: false,
      otherTags: [],
      type: "ext3",
      source: "/dev/root",
      superOptions: ["rw", "errors=continue"],
    }],
  );
});

Deno.test("parseMountinfo() takes any number of optional fields", () => {
  const tags = (text: string) => {
    const { shared, master, propagateFrom, unbindable, otherTags } =
      parseMountinfo(`1 0 0:1 / / rw${text} - tmpfs t rw`)[0]!;
    return [shared, master, propagateFrom, unbindable, otherTags];
  };
  const none = undefined;
  assertEquals(tags(""), [none, none, none, false, []]);
  assertEquals(tags(" shared:7"), [7, none, none, false, []]);
  assertEquals(tags(" shared:7 master:8"), [7, 8, none, false, []]);
  assertEquals(tags(" master:8 propagate_from:9"), [none, 8, 9, false, []]);
  assertEquals(tags(" unbindable"), [none, none, none, true, []]);
  assertEquals(
    tags(" colour:red shared:4294967296 frozen"),
    [4294967296, none, none, false, ["colour:red", "frozen"]],
  );
});

Deno.test("parseMountinfo() takes tables without lines or a last newline", () => {
  const line = "1 0 0:1 / / rw - tmpfs t rw";
  assertEquals(parseMountinfo(""), []);
  assertEquals(parseMountinfo(line).length, 1);
  assertEquals(parseMountinfo(`${line}\n${line}\n`).length, 2);
});

Deno.test("parseMountinfo() decodes octal escapes, and nothing else", () => {
  const mountPoint = (text: string) =>
    parseMountinfo(`1 0 0:1 / /${text} rw - tmpfs t rw`)[0]!.mountPoint;
  for (
    const [escaped, decoded] of [
      ["a\\040b", "/a b"],
      ["a\\011b", "/a\tb"],
      ["a\\012b\\012", "/a\nb\n"],
      ["a\\134040b", "/a\\040b"],
      ["a\\134\\134", "/a\\\\"],
      ["a\\043", "/a#"],
      ["\\04", "/\\04"],
      ["\\0", "/\\0"],
      ["\\", "/\\"],
      ["\\400", "/\\400"],
      ["\\089", "/\\089"],
      ["\\x41", "/\\x41"],
      ["a\rb", "/a\rb"],
      ["naïve", "/naïve"],
      // Bytes, escaped or not, that are no UTF-8.
      ["\\377", "/\udcff"],
      ["\udcff\\040", "/\udcff "],
      ["\\303\\251", "/é"],
      ["\\303\udca9", "/é"],
    ] as const
  ) {
    assertEquals(mountPoint(escaped), decoded);
  }
});

Deno.test("parseMountinfo() decodes roots, types and sources", () => {
  const [line] = parseMountinfo(
    "1 0 0:1 /a\\040b//deleted / rw - fuse.a\\043b so\\043u\\040r\\011ce rw\n",
  );
  assertEquals(line!.root, "/a b//deleted");
  assertEquals(line!.type, "fuse.a#b");
  assertEquals(line!.source, "so#u r\tce");
});

Deno.test("parseMountinfo() takes an empty source", () => {
  const [line] = parseMountinfo("1 0 0:1 / / rw - tmpfs  rw,size=4k");
  assertEquals([line!.source, line!.superOptions], ["", ["rw", "size=4k"]]);
});

Deno.test("parseMountinfo() splits options before it decodes them", () => {
  const options = (text: string) =>
    parseMountinfo(`1 0 0:1 / / rw - t s ${text}`)[0]!.superOptions;
  assertEquals(options("rw,a=1\\0542,b"), ["rw", "a=1,2", "b"]);
  assertEquals(options("rw,,a,"), ["rw", "a"]);
  assertEquals(options("rw,path=C:\\Program Files\\D;x=y"), [
    "rw",
    "path=C:\\Program Files\\D;x=y",
  ]);
  // SELinux quotes a context that has commas.
  assertEquals(
    options('rw,context="system_u:object_r:x_t:s0:c1,c2",seclabel'),
    ["rw", 'context="system_u:object_r:x_t:s0:c1,c2"', "seclabel"],
  );
  // A quote that is none.
  assertEquals(options("rw,mpol=bind:0,2-3,7,size=1k"), [
    "rw",
    "mpol=bind:0,2-3,7",
    "size=1k",
  ]);
  assertEquals(options('rw,a="b,c'), ["rw", 'a="b', "c"]);
  assertEquals(options('rw,a="b"c,d'), ["rw", 'a="b"c', "d"]);
});

Deno.test("parseMountinfo() names the line that is malformed and why", () => {
  const good = "1 0 0:1 / / rw shared:1 - tmpfs t rw";
  for (
    const [line, what] of [
      ["", "1 of 6 fields before the optional ones"],
      ["1 0 0:1 / /", "5 of 6 fields before the optional ones"],
      ["1 0 0:1 / / rw", 'No "-" ends the optional fields'],
      ["1 0 0:1 / / rw shared:1 tmpfs t rw", 'No "-" ends'],
      // A dash among the fixed fields is none.
      ["1 0 0:1 / - rw tmpfs t rw", 'No "-" ends'],
      ["1 0 0:1 / / rw -", 'After the "-" must be'],
      ["1 0 0:1 / / rw - tmpfs", 'After the "-" must be'],
      ["1 0 0:1 / / rw - tmpfs t", 'After the "-" must be'],
      ["1 0 0:1 / / rw - tmpfs t ", "The super options must not be empty"],
      ["1 0 0:1 / / rw -  t rw", "The type must not be empty"],
      ["1 0 0:1 / /  - tmpfs t rw", "The options must not be empty"],
      ["1 0 0:1  / rw - tmpfs t rw", "The root must not be empty"],
      ["1 0 0:1 /  rw - tmpfs t rw", 'The mount point "" is not absolute'],
      ["1 0 0:1 / x rw - tmpfs t rw", 'The mount point "x" is not absolute'],
      ["x 0 0:1 / / rw - tmpfs t rw", '"x" is no id'],
      [" 0 0:1 / / rw - tmpfs t rw", '"" is no id'],
      ["-1 0 0:1 / / rw - tmpfs t rw", '"-1" is no id'],
      ["1.5 0 0:1 / / rw - tmpfs t rw", '"1.5" is no id'],
      ["0x1 0 0:1 / / rw - tmpfs t rw", '"0x1" is no id'],
      ["99999999999999999 0 0:1 / / rw - tmpfs t rw", "is no id"],
      ["1 y 0:1 / / rw - tmpfs t rw", '"y" is no parent id'],
      ["1 0 0 / / rw - tmpfs t rw", '"0" is no device number'],
      ["1 0 0:1:2 / / rw - tmpfs t rw", '"0:1:2" is no device number'],
      ["1 0 :1 / / rw - tmpfs t rw", '":1" is no device number'],
      ["1 0 a:b / / rw - tmpfs t rw", '"a:b" is no device number'],
      ["1 0 0:1 / / rw  - tmpfs t rw", "An optional field must not be empty"],
      ["1 0 0:1 / / rw shared - tmpfs t rw", '"" is no peer group ("shared")'],
      ["1 0 0:1 / / rw shared:x - tmpfs t rw", '"x" is no peer group'],
      ["1 0 0:1 / / rw master: - tmpfs t rw", '"" is no peer group'],
    ] as const
  ) {
    const error = assertThrows(
      () => parseMountinfo(`${good}\n${good}\n${line}\n${good}\n`),
      MountinfoSyntaxError,
      what,
    );
    assertEquals(error.line, 3, line);
    assertEquals(error.message.startsWith("Line 3 of the mount table: "), true);
  }
});

/** What tables look like elsewhere, and what of them is to be seen. */
const CAPTURES: Record<string, { table: string; seen: unknown[][] }> = {
  "a machine run by systemd": {
    table: `
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro
23 22 0:21 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
24 23 0:6 / /sys/kernel/security rw,nosuid,nodev,noexec,relatime shared:8 - securityfs securityfs rw
26 23 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
38 25 0:33 / /proc/sys/fs/binfmt_misc rw,relatime shared:15 - autofs systemd-1 rw,fd=29,pgrp=1,timeout=0,minproto=5,maxproto=5,direct,pipe_ino=17641
92 22 0:44 / /run/credentials/systemd-sysctl.service ro,nosuid,nodev,noexec,relatime,nosymfollow shared:49 - tmpfs none rw,size=1024k,nr_inodes=1024,mode=700,inode64,noswap
611 29 0:4 mnt:[4026532623] /run/snapd/ns/lxd.mnt rw - nsfs nsfs rw
702 22 7:3 / /snap/core\\04020/2318 ro,nodev,relatime shared:60 - squashfs /dev/loop3 ro,errors=continue,threads=single
`,
    seen: [
      ["/", "/", "ext4", "/dev/mapper/vg-root", 1],
      ["/sys", "/", "sysfs", "sysfs", 7],
      ["/sys/kernel/security", "/", "securityfs", "securityfs", 8],
      ["/sys/fs/cgroup", "/", "cgroup2", "cgroup2", 9],
      ["/proc/sys/fs/binfmt_misc", "/", "autofs", "systemd-1", 15],
      ["/run/credentials/systemd-sysctl.service", "/", "tmpfs", "none", 49],
      ["/run/snapd/ns/lxd.mnt", "mnt:[4026532623]", "nsfs", "nsfs", undefined],
      ["/snap/core 20/2318", "/", "squashfs", "/dev/loop3", 60],
    ],
  },
  "a container with an overlay and binds of files": {
    table: `
1531 1219 0:338 / / rw,relatime master:410 - overlay overlay rw,lowerdir=${
      Array.from(
        { length: 100 },
        (_, i) => `/var/lib/docker/overlay2/l/${"A".repeat(25)}${i}`,
      ).join(":")
    },upperdir=/var/lib/docker/overlay2/5f/diff,workdir=/var/lib/docker/overlay2/5f/work,nouserxattr
1532 1531 0:341 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
1536 1531 8:1 /var/lib/docker/containers/5f/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/sda1 rw,discard
1220 1532 0:341 /sysrq-trigger /proc/sysrq-trigger ro,nosuid,nodev,noexec,relatime - proc proc rw
1221 1532 0:342 /null /proc/kcore rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755,inode64
1222 1531 8:1 /home/me/my\\040docs//deleted /mnt/docs rw - ext4 /dev/sda1 rw
1223 1531 0:50 / /host rw,noatime - 9p C:\\134Program\\040Files\\134Docker rw,dirsync,aname=drvfs;path=C:\\Program Files\\Docker;symlinkroot=/mnt/,mmap,access=client,msize=262144,trans=virtio
`,
    seen: [
      ["/", "/", "overlay", "overlay", undefined],
      ["/proc", "/", "proc", "proc", undefined],
      [
        "/etc/resolv.conf",
        "/var/lib/docker/containers/5f/resolv.conf",
        "ext4",
        "/dev/sda1",
        undefined,
      ],
      ["/proc/sysrq-trigger", "/sysrq-trigger", "proc", "proc", undefined],
      ["/proc/kcore", "/null", "tmpfs", "tmpfs", undefined],
      [
        "/mnt/docs",
        "/home/me/my docs//deleted",
        "ext4",
        "/dev/sda1",
        undefined,
      ],
      ["/host", "/", "9p", "C:\\Program Files\\Docker", undefined],
    ],
  },
  "a telephone": {
    table: `
29 1 254:5 / / ro,nodev,noatime shared:1 - erofs /dev/block/dm-5 ro,seclabel,user_xattr,acl,cache_strategy=readaround
48 29 0:26 / /apex rw,nosuid,nodev,noexec,relatime shared:20 - tmpfs tmpfs rw,seclabel,size=3871272k,mode=755
61 48 7:88 / /apex/com.android.art@341810000 ro,nodev,noatime shared:32 - ext4 /dev/block/loop11 ro,dirsync,seclabel
150 29 254:49 /media /data/media rw,nosuid,nodev,noatime master:27 - f2fs /dev/block/dm-49 rw,lazytime,seclabel,background_gc=on,gc_merge,discard,no_heap,user_xattr,inline_xattr,acl,inline_data,inline_dentry,flush_merge,fsync_mode=nobarrier
191 29 0:110 / /storage/emulated rw,nosuid,nodev,noexec,noatime shared:131 master:27 - fuse /dev/fuse rw,lazytime,user_id=0,group_id=0,allow_other
`,
    seen: [
      ["/", "/", "erofs", "/dev/block/dm-5", 1],
      ["/apex", "/", "tmpfs", "tmpfs", 20],
      ["/apex/com.android.art@341810000", "/", "ext4", "/dev/block/loop11", 32],
      ["/data/media", "/media", "f2fs", "/dev/block/dm-49", undefined],
      ["/storage/emulated", "/", "fuse", "/dev/fuse", 131],
    ],
  },
  "a small virtual machine, control groups of version 1 and stacks in it": {
    table: `
22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw,size=12334460k,nr_inodes=3083615,mode=755
25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=24684084k
26 24 0:24 / /dev/pts rw,relatime - devpts devpts rw,mode=600,ptmxmode=000
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resv_strict,resuid=65534,resgid=65534
29 26 0:26 / /dev/pts rw,relatime - devpts devpts rw,mode=600,ptmxmode=000
30 25 0:27 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=24684084k
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`,
    seen: [
      ["/proc", "/", "proc", "proc", undefined],
      ["/sys", "/", "sysfs", "sysfs", undefined],
      ["/dev", "/", "devtmpfs", "devtmpfs", undefined],
      ["/dev/shm", "/", "tmpfs", "tmpfs", undefined],
      ["/dev/pts", "/", "devpts", "devpts", undefined],
      ["/", "/", "ext4", "/dev/vda", undefined],
      ["/dev/pts", "/", "devpts", "devpts", undefined],
      ["/dev/shm", "/", "tmpfs", "tmpfs", undefined],
      ["/sys/fs/cgroup", "/", "tmpfs", "tmpfs", undefined],
      ["/sys/fs/cgroup/cpu", "/", "cgroup", "cgroup", undefined],
      ["/sys/fs/cgroup/systemd", "/", "cgroup", "cgroup", undefined],
      ["/sys/fs/cgroup/unified", "/", "cgroup2", "cgroup2", undefined],
    ],
  },
  "subvolumes of btrfs, and a network": {
    table: `
27 0 0:23 /@ / rw,noatime,compress=zstd:1 shared:1 - btrfs /dev/nvme0n1p2 rw,ssd,discard=async,space_cache=v2,subvolid=256,subvol=/@
60 27 0:23 /@home /home rw,noatime shared:30 - btrfs /dev/nvme0n1p2 rw,ssd,space_cache=v2,subvolid=257,subvol=/@home
61 27 0:23 /@home/me/a\\040\\134\\012b /srv/a\\011b rw shared:30 - btrfs /dev/nvme0n1p2 rw,subvolid=257,subvol=/@home
72 60 0:51 / /home/me/remote rw,nosuid,nodev,relatime shared:31 - fuse.sshfs me@host:/home/me rw,user_id=1000,group_id=1000
73 27 0:52 / /net/nas rw,relatime shared:32 - nfs4 nas:/export/a\\040b rw,vers=4.2,rsize=1048576,addr=192.0.2.7
74 27 0:53 / /net/win rw,relatime shared:33 - cifs //win/share\\0431 rw,vers=3.1.1,username=me,uid=1000
`,
    seen: [
      ["/", "/@", "btrfs", "/dev/nvme0n1p2", 1],
      ["/home", "/@home", "btrfs", "/dev/nvme0n1p2", 30],
      ["/srv/a\tb", "/@home/me/a \\\nb", "btrfs", "/dev/nvme0n1p2", 30],
      ["/home/me/remote", "/", "fuse.sshfs", "me@host:/home/me", 31],
      ["/net/nas", "/", "nfs4", "nas:/export/a b", 32],
      ["/net/win", "/", "cifs", "//win/share#1", 33],
    ],
  },
};

for (const [where, { table, seen }] of Object.entries(CAPTURES)) {
  Deno.test(`parseMountinfo() reads the table of ${where}`, () => {
    const lines = parseMountinfo(table.slice(1));
    assertEquals(
      lines.map(({ mountPoint, root, type, source, shared }) => [
        mountPoint,
        root,
        type,
        source,
        shared,
      ]),
      seen,
    );
    for (const { options, superOptions } of lines) {
      for (const [access] of [options, superOptions]) {
        assertEquals(["ro", "rw"].includes(access!), true);
      }
    }
  });
}

Deno.test("parseMountinfo() keeps options that are longer than a page", () => {
  const [overlay] = parseMountinfo(
    CAPTURES["a container with an overlay and binds of files"]!.table.slice(1),
  );
  const [access, lowerdir, ...rest] = overlay!.superOptions;
  assertEquals([access, lowerdir!.split(":").length, rest.length], [
    "rw",
    100,
    3,
  ]);
});
