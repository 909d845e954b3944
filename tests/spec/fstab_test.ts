import {
  type FileSystemSpec,
  type MountSpec,
  parseFstab,
  SpecSyntaxError,
} from "../../src/spec/mod.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { randomText } from "./random_text.ts";
import {
  gatedTest,
  kernelTest,
  missingCommand,
  missingPermission,
  mountsBelow,
  readTest,
  SCRATCH,
} from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { mountat } from "../../src/mount/mountat.ts";

/** The file of a server. */
function serverText(): string {
  return Deno.readTextFileSync(
    new URL("../testdata/fstab/server", import.meta.url),
  );
}

readTest("parseFstab() reads the file of a server", () => {
  const server = serverText();
  const expected: MountSpec[] = [
    {
      type: "vfat",
      source: "/dev/disk/by-uuid/A40D-85E7",
      target: "boot/efi",
      options: ["umask=0077"],
      place: "line 13",
    },
    {
      type: "ext4",
      source: "/dev/disk/by-label/t-home2",
      target: "home",
      options: ["auto_da_alloc"],
      place: "line 17",
    },
    {
      type: "xfs",
      source: "/dev/disk/by-partlabel/srv",
      target: "srv",
      options: ["rw", "nosuid", "lazytime"],
      place: "line 18",
    },
    {
      type: "tmpfs",
      source: "tmpfs",
      target: "tmp",
      options: [
        "rw",
        "nosuid",
        "nodev",
        "size=50%",
        "nr_inodes=1m",
        "mode=1777",
      ],
      place: "line 19",
    },
    {
      type: "bind",
      source: "/home/build",
      recursive: false,
      target: "srv/build",
      options: [],
      optional: true,
      place: "line 20",
    },
    {
      type: "bind",
      source: "/mnt/my music",
      recursive: true,
      target: "srv/music box",
      options: ["ro=recursive", "rslave"],
      mkdir: 0o700,
      place: "line 21",
    },
    {
      type: "nfs4",
      source: "nas.example.org:/export",
      target: "net/nas",
      options: ["noatime", "noexec", "nosuid", "nodev", "exec", "vers=4.2"],
      place: "line 22",
    },
    {
      type: "tmpfs",
      source: "tmpfs",
      target: "run/c",
      options: ["context=system_u:object_r:tmp_t:s0:c127,c456", "noexec"],
      place: "line 23",
    },
  ];
  assertEquals(parseFstab(server), expected);
  assertEquals(parseFstab(server.replaceAll("\n", "\r\n")), expected);
});

Deno.test("parseFstab() leaves out what mount -a leaves out", () => {
  const leftOut = `
# a comment
  # another
/dev/sda1 / ext4 remount,X-mount.subdir=a 0 1
/dev/sda2 none swap sw 0 0
/dev/sda3 /a auto ro,noauto
/dev/sda4 relative auto noauto,remount
`;
  assertEquals(parseFstab(leftOut), []);
  assertEquals(parseFstab(""), []);
});

Deno.test("parseFstab() decodes escapes", () => {
  const [spec] = parseFstab(
    "a\\040b\\134c /d\\011e\\012/\\303\\251\\377 t\\057x a=\\054b,\\042c,d\\042\\9",
  );
  assertEquals(spec, {
    type: "t/x",
    source: "a b\\c",
    target: "d\te\n/é\udcff",
    options: ["a=", "b", "c,d\\9"],
    place: "line 1",
  });
});

Deno.test("parseFstab() finds devices as udev names them", () => {
  const source = (field: string) => parseFstab(`${field} /a ext4`)[0]!.source;
  const cases = {
    "UUID=3e6be9de-8139": "/dev/disk/by-uuid/3e6be9de-8139",
    'LABEL="a"': "/dev/disk/by-label/a",
    "LABEL=a/../b": "/dev/disk/by-label/a\\x2f..\\x2fb",
    "LABEL=\\040\\134\\012é\\377$":
      "/dev/disk/by-label/\\x20\\x5c\\x0aé\\xff\\x24",
    "PARTUUID=1-2": "/dev/disk/by-partuuid/1-2",
    "PARTLABEL=EFI\\040system": "/dev/disk/by-partlabel/EFI\\x20system",
    "ID=ata-x_1:2+3=4@5": "/dev/disk/by-id/ata-x_1:2+3=4@5",
    "label=a": "label=a",
    "/dev/LABEL=a": "/dev/LABEL=a",
  };
  for (const [field, expected] of Object.entries(cases)) {
    assertEquals(source(field), expected, field);
  }
});

Deno.test("parseFstab() throws nothing but SpecSyntaxError at any text", () => {
  const pieces = [
    ...' \t\n\r#,="\\/.0a',
    "/dev/x ",
    " /a",
    " ext4",
    " none",
    " bind",
    "remount",
    "X-mount.mkdir=",
    "UUID=",
    "\\040",
    "\\000",
    "\\377",
    "\\054",
    "\\042",
    "..",
    "\0",
    "é",
    "\ud800",
    "\udcff",
    "\u2028",
    "😀",
  ];
  let parsed = 0;
  for (let seed = 1; seed <= 50_000; seed++) {
    const text = randomText(seed, pieces, 24);
    try {
      parsed += parseFstab(text).length;
    } catch (error) {
      if (!(error instanceof SpecSyntaxError)) throw error;
      const line = text.split("\n")[error.line - 1];
      assert(line !== undefined, text);
      assert(error.column >= 1 && error.column <= line.length + 1, text);
    }
  }
  assert(parsed > 100, `${parsed}`);
});

gatedTest(
  "parseFstab() reads fields as findmnt does",
  missingPermission(["run", "read", "write", "env"]) ??
    missingCommand(["findmnt"]),
  () => {
    const text = `${serverText()}
/dev/b /m\\040x ext4 a=b,c 0
/dev/h\t/h\\999\\0401 ext4 ro 1 2
  /d\\303\\251 /j\\134\\043 ext4
/dev/f /f ext4 ro 0 1 #junk
`;
    const path = Deno.makeTempFileSync();
    try {
      Deno.writeTextFileSync(path, text);
      const { stdout, stderr } = new Deno.Command("findmnt", {
        args: ["--json", "-o", "TARGET,FSTYPE", "--tab-file", path],
      }).outputSync();
      const decoder = new TextDecoder();
      assertEquals(decoder.decode(stderr), "");
      const { filesystems } = JSON.parse(decoder.decode(stdout));
      const mounts = parseFstab(text);
      const seen = (filesystems as { target: string; fstype: string }[])
        .filter(({ target, fstype }) =>
          target !== "/" && fstype !== "swap" && fstype !== "udf,iso9660"
        );
      assertEquals(
        mounts.map(({ target }) => `/${target}`),
        seen.map(({ target }) => target),
      );
      assertEquals(
        mounts.map(({ type }) => type === "bind" ? "none" : type),
        seen.map(({ fstype }) => fstype),
      );
    } finally {
      Deno.removeSync(path);
    }
  },
);

kernelTest(
  "parseFstab() gives a mount the attributes that mount(8) gives it",
  () => {
    using root = Directory.open(SCRATCH);
    root.mkdir("a");
    for (
      const options of [
        "defaults",
        "ro,nosuid,defaults",
        "user",
        "users,exec",
        "exec,user",
        "owner,suid",
        "group,ro",
        "_netdev,nofail,x-systemd.automount,noatime",
        "nodiratime,strictatime,silent,loud,iversion,noiversion",
        "sync,dirsync,lazytime,nodev",
        "auto,nouser,comment=a,size=1m,mode=0700",
      ]
    ) {
      const line = `x ${SCRATCH}/a tmpfs ${options}`;
      Deno.writeTextFileSync(`${SCRATCH}/fstab`, line);
      const { success, stderr } = new Deno.Command("mount", {
        args: ["--no-mtab", "--all", "--fstab", `${SCRATCH}/fstab`],
      }).outputSync();
      assert(success, new TextDecoder().decode(stderr));
      const expected = attributes();
      root.unmount("a");
      const [spec] = parseFstab(line.replace(SCRATCH, ""));
      using _mount = mountat(root, spec!.target, spec as FileSystemSpec);
      assertEquals(attributes(), expected, options);
    }
    Deno.removeSync(`${SCRATCH}/fstab`);
  },
  { permissions: ["run", "read", "write", "env"], commands: ["mount"] },
);

/**
 * The options of the mount on `a`, and those of its file system, but for `ro`:
 * that mount(8) sets on both.
 */
function attributes(): [string, string] {
  const [line] = mountsBelow(`${SCRATCH}/a`);
  const fields = line!.split(" ");
  return [fields[5]!, fields.at(-1)!.replace(/^r[ow]/, "")];
}

/** Of these mount(8) takes the first for entries; the others it warns of. */
const MIXED = `tmpfs /a tmpfs size=1m 0 0
two fields
tmpfs /b tmpfs size=1m 0 last
tmpfs /c tmpfs size=1m first
tmpfs /d tmpfs size=1m
`;

Deno.test("parseFstab() leaves out what is no entry, with a warning", () => {
  const faults: string[] = [];
  const warn = ({ message }: Error) => faults.push(message);
  const targets = parseFstab(MIXED, { warn }).map(({ target }) => target);
  assertEquals(targets, ["a", "d"]);
  assertEquals(faults, [
    "Line 2, column 11: An entry must have a source, a mount point and a type",
    'Line 3, column 26: "last" is no number',
    'Line 4, column 24: "first" is no number',
  ]);
  assertThrows(() => parseFstab(MIXED), SpecSyntaxError, "Line 2");
});

Deno.test("parseFstab() leaves out what can't be done here, and has nofail", () => {
  const faults: string[] = [];
  const text = `UUID=1 /a auto defaults,nofail 0 2
/dev/sdb /b ext4,xfs nofail
tmpfs /c tmpfs size=1m,nofail,X-mount.owner=root
LABEL= /d ext4 nofail
tmpfs /e tmpfs nofail
`;
  const targets = parseFstab(text, {
    warn: ({ message }) => faults.push(message),
  }).map(({ target }) => target);
  assertEquals(targets, ["e"]);
  assertEquals(faults.map((fault) => fault.split(":")[0]), [
    "Line 1, column 11",
    "Line 2, column 13",
    "Line 3, column 31",
    "Line 4, column 1",
  ]);
  // Nobody has to listen.
  assertEquals(parseFstab(text).length, 1);
  assertThrows(
    () => parseFstab(text.replace(",nofail 0", " 0")),
    SpecSyntaxError,
    "Line 1, column 11",
  );
});

kernelTest(
  "parseFstab() warns of the lines that mount(8) warns of",
  () => {
    for (const name of ["a", "b", "c", "d"]) {
      Deno.mkdirSync(`${SCRATCH}/${name}`);
    }
    Deno.writeTextFileSync(
      `${SCRATCH}/fstab`,
      MIXED.replaceAll(" /", ` ${SCRATCH}/`),
    );
    const { stderr } = new Deno.Command("mount", {
      args: ["--no-mtab", "--all", "--fstab", `${SCRATCH}/fstab`],
    }).outputSync();
    const told = new TextDecoder().decode(stderr).match(/line \d+/g);
    assertEquals(told, ["line 2", "line 3", "line 4"]);
    using root = Directory.open(SCRATCH);
    assertEquals(
      mountsBelow(SCRATCH).slice(1).map((line) => line.split(" ")[4]),
      [`${SCRATCH}/a`, `${SCRATCH}/d`],
    );
    root.unmountAll();
  },
  { permissions: ["run", "read", "write", "env"], commands: ["mount"] },
);

Deno.test("parseFstab() throws when the text is none", () => {
  for (const text of [undefined, null, 1, ["a"]]) {
    assertThrows(
      () => parseFstab(text as unknown as string),
      TypeError,
      "The text must be a string",
    );
  }
});
