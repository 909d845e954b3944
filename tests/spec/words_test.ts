import {
  type MountSpec,
  parseFstab,
  parseOciMounts,
  SpecSyntaxError,
} from "../../src/spec/mod.ts";
import { assertEquals, assertThrows } from "@std/assert";

/** A configuration with one entry with these options. */
function config(type: string, options: string[]): string {
  const mount = { destination: "/a", type, source: "/b", options };
  return JSON.stringify({ mounts: [mount] });
}

function oci(type: string, options: string[]): MountSpec {
  return parseOciMounts(config(type, options))[0]!;
}

/** The runtime-spec's table of Linux mount options (config.md), but for `bind`. */
const MOUNT_WORDS = `
  atime dev diratime exec noatime nodev nodiratime noexec norelatime
  nostrictatime nosuid nosymfollow private ratime rdev rdiratime relatime rexec
  rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow
  ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow
  runbindable rw shared slave strictatime suid symfollow unbindable`;

const SUPERBLOCK_WORDS = "async dirsync lazytime mand nolazytime nomand sync";

const WORDS_WITHOUT_EFFECT =
  "defaults iversion loud noiversion silent X-mount.noloop X-mount.nocanonicalize X-mount.auto-fstypes=ext4";

function list(words: string): string[] {
  return words.trim().split(/\s+/);
}

Deno.test("parseOciMounts() passes on the words of the mount", () => {
  // The specification's table has not rnodev, its features.md has.
  for (const word of [...list(MOUNT_WORDS), "rnodev", "ro=recursive"]) {
    assertEquals(oci("tmpfs", [word]).options, [word]);
    assertEquals(oci("none", ["bind", word]).options, [word]);
  }
});

Deno.test("parseOciMounts() passes on the flags of a file system, not to a bind", () => {
  for (const word of list(SUPERBLOCK_WORDS)) {
    assertEquals(oci("tmpfs", [word]).options, [word]);
    assertEquals(oci("none", ["bind", word]).options, []);
    assertEquals(oci("none", [word, "rbind"]).options, []);
  }
});

Deno.test("parseOciMounts() drops the words without effect", () => {
  for (const word of list(WORDS_WITHOUT_EFFECT)) {
    assertEquals(oci("tmpfs", ["ro", word]).options, ["ro"]);
    assertEquals(oci("none", ["bind", word]).options, []);
  }
});

Deno.test("parseOciMounts() makes a bind of bind and rbind", () => {
  const recursive = (options: string[]) => {
    const spec = oci("ext4", options);
    assertEquals(spec.type, "bind");
    return "recursive" in spec && spec.recursive;
  };
  assertEquals(recursive(["bind"]), false);
  assertEquals(recursive(["rbind"]), true);
  assertEquals(recursive(["rbind", "bind"]), true);
  assertEquals(recursive(["bind", "rbind"]), true);
});

Deno.test("parseOciMounts() refuses what it can't do", () => {
  for (const word of ["remount", "tmpcopyup", "move", "X-mount.subdir=a"]) {
    const text = config("tmpfs", ["ro", word]);
    const { line, column } = assertThrows(
      () => parseOciMounts(text),
      SpecSyntaxError,
      `: mounts[0].options[1]: No option "${word}" here: `,
    );
    assertEquals([line, column], [1, text.indexOf(`"${word}"`) + 1]);
  }
  for (const word of ["idmap", "ridmap"]) {
    assertThrows(
      () => oci("none", ["bind", word]),
      SpecSyntaxError,
      `No mappings for "${word}"`,
    );
  }
});

Deno.test("parseOciMounts() takes an option apart where the kernel would", () => {
  assertEquals(
    oci("tmpfs", [
      "ro,size=1m",
      "",
      'context="a:b:c1,c2",,x',
      "lowerdir=/a\\,b:/c",
    ]).options,
    ["ro", "size=1m", "context=a:b:c1,c2", "x", "lowerdir=/a\\,b:/c"],
  );
});

Deno.test("parseOciMounts() takes mount(8)'s words that the specification lacks", () => {
  const spec = oci("tmpfs", [
    "nofail",
    "noauto",
    "X-mount.mkdir=0700",
    "x-systemd.automount",
    "user",
  ]);
  assertEquals(spec.options, ["noexec", "nosuid", "nodev"]);
  assertEquals([spec.optional, spec.mkdir], [true, 0o700]);
});

function fstab(options: string): MountSpec {
  return parseFstab(`/b /a ext4 ${options}`)[0]!;
}

Deno.test("parseFstab() reads id maps as mount(8) does", () => {
  const range = (inside: number, outside: number, length: number) => ({
    inside,
    outside,
    length,
  });
  const cases: [string, MountSpec["idmap"]][] = [
    ["=0:1000:1", { uids: [range(0, 1000, 1)], gids: [range(0, 1000, 1)] }],
    ["=b:5:6:7", { uids: [range(5, 6, 7)], gids: [range(5, 6, 7)] }],
    ["=u:1000:0:1\\040\\040g:1001:1:2\\0405000:1000:2", {
      uids: [range(1000, 0, 1), range(5000, 1000, 2)],
      gids: [range(1001, 1, 2), range(5000, 1000, 2)],
    }],
    ["=/proc/7/ns/user", "/proc/7/ns/user"],
  ];
  for (const [value, idmap] of cases) {
    const spec = fstab(`ro,X-mount.idmap${value},noexec`);
    assertEquals([spec.idmap, spec.options], [idmap, ["ro", "noexec"]]);
  }
  assertEquals(fstab("X-mount.idmap=0:1:1,X-mount.idmap=/ns").idmap, "/ns");
  const { idmap, options } = parseOciMounts(
    '{"mounts": [{"destination": "/a", "type": "tmpfs", "options": ["X-mount.idmap=/ns"]}]}',
  )[0]!;
  assertEquals([idmap, options], ["/ns", []]);
  assertThrows(
    () =>
      parseOciMounts(
        '{"mounts": [{"destination": "/a", "source": "/b", "options": ["bind", "idmap", "X-mount.idmap=/ns"]}]}',
      ),
    SpecSyntaxError,
    `"X-mount.idmap=/ns" can't go with other mappings`,
  );
});

Deno.test("parseFstab() drops what speaks to userspace", () => {
  for (
    const word of [
      "auto",
      "_netdev",
      "nouser",
      "nousers",
      "noowner",
      "nogroup",
      "comment=systemd.mount",
      "uhelper=udisks2",
      "x-gvfs-show",
      "x-systemd.device-timeout=5",
      "X-anything",
    ]
  ) {
    assertEquals(fstab(`ro,${word},size=1`).options, ["ro", "size=1"], word);
    assertEquals(fstab(`bind,${word}`).options, [], word);
  }
});

Deno.test("parseFstab() makes safe what users may mount", () => {
  const three = ["noexec", "nosuid", "nodev"];
  assertEquals(fstab("user").options, three);
  assertEquals(fstab("ro,users,exec").options, ["ro", ...three, "exec"]);
  assertEquals(fstab("owner,dev").options, ["nosuid", "nodev", "dev"]);
  assertEquals(fstab("group").options, ["nosuid", "nodev"]);
  // What cifs calls so is its own.
  assertEquals(fstab("user=me,group=g").options, ["user=me", "group=g"]);
});

Deno.test("parseFstab() makes mount points where that is asked for", () => {
  assertEquals("mkdir" in fstab("ro"), false);
  assertEquals(fstab("X-mount.mkdir").mkdir, true);
  assertEquals(fstab("x-mount.mkdir=0750").mkdir, 0o750);
  assertEquals(fstab('X-mount.mkdir="700"').mkdir, 0o700);
});

Deno.test("the nodes of mpol are one word in both formats", () => {
  const options = ["mpol=bind:0,0", "size=1m"];
  assertEquals(fstab("mpol=bind:0,0,size=1m").options, options);
  assertEquals(oci("tmpfs", ["mpol=bind:0,0,size=1m"]).options, options);
  assertEquals(oci("tmpfs", options).options, options);
});

Deno.test("parseFstab() makes optional what may fail", () => {
  assertEquals("optional" in fstab("ro"), false);
  assertEquals(fstab("nofail").optional, true);
});
