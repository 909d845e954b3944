/**
 * The words that mount(8) knows × the states of a mount × the ways to say them,
 * beside what mount(8) makes of them.
 */
import {
  kernelTest,
  mountsBelow,
  type Needs,
  SCRATCH,
} from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { remountat } from "../../src/mount/remountat.ts";
import { bindat } from "../../src/mount/bindat.ts";
import { applyMounts } from "../../src/mount/apply.ts";
import { MountError } from "../../src/error/error.ts";
import { parseFstab, parseOciMounts } from "../../src/spec/mod.ts";
import { run } from "../file_systems/support.ts";
import { assertEquals, assertGreater, assertThrows } from "@std/assert";

const needs: Needs = {
  permissions: ["run", "read", "write", "env"],
  commands: ["mount", "umount"],
};

/** Those of its tables, linux_flags_map and userspace_opts_map in libmount. */
const ATTRIBUTES =
  "ro rw suid nosuid dev nodev exec noexec symfollow nosymfollow atime noatime relatime norelatime strictatime nostrictatime diratime nodiratime user users owner group"
    .split(" ");

const SUPERBLOCK = "sync async dirsync lazytime nolazytime mand nomand"
  .split(" ");

const PROPAGATION =
  "private shared slave unbindable rprivate rshared rslave runbindable"
    .split(" ");

const WITHOUT_EFFECT =
  "defaults silent loud iversion noiversion auto noauto _netdev nouser nousers noowner nogroup nofail user=me comment=x helper=x uhelper=x x-foo X-foo x-systemd.automount X-mount.nocanonicalize X-mount.nocanonicalize=source X-mount.noloop X-mount.auto-fstypes=ext4"
    .split(" ");

const WORDS = [...ATTRIBUTES, ...SUPERBLOCK, ...PROPAGATION, ...WITHOUT_EFFECT];

const STATES = [
  "",
  "ro",
  "nosuid,nodev,noexec",
  "noatime",
  "nodiratime",
  "strictatime",
  "noatime,nodiratime",
  "strictatime,nodiratime",
  "nosymfollow",
  "sync,dirsync,lazytime",
  "user",
  "ro,noatime,nosuid,lazytime",
];

/** The mount on a name: its options, propagation, and its file system's options. */
function seen(name: string): string[] {
  const line = mountsBelow(`${SCRATCH}/${name}`).at(-1)!.split(" ");
  const end = line.indexOf("-");
  const tags = line.slice(6, end).map((tag) => tag.replace(/\d+/, "N"));
  const superOptions = line.at(-1)!.split(",");
  // Here `ro` makes the mount read-only, and `ro=fs` the file system.
  return [line[5]!, ...tags, superOptions.slice(1).join()];
}

function unmount(name: string): void {
  for (const _ of mountsBelow(`${SCRATCH}/${name}`)) {
    run("umount", `${SCRATCH}/${name}`);
  }
}

function mountState(state: string, name: string): void {
  const options = state === "" ? [] : ["-o", state];
  run("mount", "-t", "tmpfs", ...options, "none", `${SCRATCH}/${name}`);
}

/** What is mounted on `by8` by mount(8), and on `here`; both are gone then. */
function both(by8: () => void, here: () => void): [string[], string[]] {
  try {
    by8();
    here();
    return [seen("by8"), seen("here")];
  } finally {
    unmount("here");
    unmount("by8");
  }
}

function scratch(): Directory {
  const root = Directory.open(SCRATCH);
  for (const name of ["by8", "here", "from"]) root.mkdir(name);
  return root;
}

kernelTest("words of a new mount are as in mount(8)", () => {
  using root = scratch();
  const path = `${SCRATCH}/by8`;
  const spec = { type: "tmpfs", source: "none" };
  const fstab = (at: string, word: string) => `none ${at} tmpfs ${word} 0 0\n`;
  for (const word of WORDS) {
    const mount8 = () => run("mount", "-t", "tmpfs", "-o", word, "none", path);
    const ways: Record<string, [() => void, () => void]> = {
      options: [
        mount8,
        () => root.mount("here", { ...spec, options: word }).keep(),
      ],
      list: [
        mount8,
        () => root.mount("here", { ...spec, options: [word] }).keep(),
      ],
      fstab: [
        () => {
          const table = `${SCRATCH}/fstab`;
          Deno.writeTextFileSync(table, fstab(path, word));
          run("mount", "-T", table, path);
        },
        () => {
          // Only `mount -a` leaves out what has noauto.
          if (word === "noauto") mountState("", "here");
          else applyMounts(root, parseFstab(fstab("/here", word))).keep();
        },
      ],
      oci: [
        mount8,
        () => {
          const mounts = [{ ...spec, destination: "/here", options: [word] }];
          applyMounts(root, parseOciMounts(JSON.stringify({ mounts }))).keep();
        },
      ],
    };
    for (const [way, [by8, here]] of Object.entries(ways)) {
      const [expected, found] = both(by8, here);
      assertEquals(found, expected, `${way} ${word}`);
    }
  }
}, needs);

/**
 * What mount(8) changes in a remount though it is not named, or does not change
 * though it is (util-linux 2.38): it says all flags again, and the kernel takes
 * one of access times before another, none for what there is, and nodiratime for
 * one of them.
 */
function isOddRemount(state: string, word: string): boolean {
  const has = (name: string) => state.split(",").includes(name);
  return has("strictatime") &&
      (has("nodiratime") || ["nodiratime", "nostrictatime"].includes(word)) ||
    has("noatime") && ["atime", "relatime"].includes(word);
}

kernelTest("words of a remount are as in mount(8), from every state", () => {
  using root = scratch();
  let compared = 0;
  for (const [state, word] of REMOUNTS) {
    if (isOddRemount(state, word)) continue;
    const [expected, found] = both(
      () => {
        mountState(state, "by8");
        run("mount", "-o", `remount,${word}`, `${SCRATCH}/by8`);
      },
      () => {
        mountState(state, "here");
        remountat(root, "here", { options: word });
      },
    );
    assertEquals(found, expected, `${word} on ${state}`);
    compared++;
  }
  assertGreater(compared, 350);
}, needs);

/** Words without effect are tried only from the first state and the last. */
const REMOUNTS = STATES.flatMap((state, at) =>
  WORDS.filter((word) =>
    at === 0 || at === STATES.length - 1 || !WITHOUT_EFFECT.includes(word)
  ).map((word) => [state, word] as const)
);

kernelTest("a remount does what is named, where mount(8) does not", () => {
  using root = scratch();
  const cases: [string, string, string][] = [
    ["noatime", "atime", "rw,relatime"],
    ["noatime", "relatime", "rw,relatime"],
    ["noatime", "nostrictatime", "rw,noatime"],
    ["noatime,nodiratime", "atime", "rw,nodiratime,relatime"],
    ["strictatime", "atime", "rw"],
    ["strictatime", "nostrictatime", "rw,relatime"],
    ["strictatime", "nodiratime", "rw,nodiratime"],
    ["strictatime,nodiratime", "nosuid", "rw,nosuid,nodiratime"],
    ["strictatime", "atime,nostrictatime", "rw,relatime"],
  ];
  for (const [state, word, options] of cases) {
    mountState(state, "here");
    remountat(root, "here", { options: word });
    assertEquals(seen("here")[0], options, `${word} on ${state}`);
    unmount("here");
    mountState(state, "from");
    {
      using _ = bindat(root, "here", `${SCRATCH}/from`, { options: word });
      assertEquals(seen("here")[0], options, `bind ${word} of ${state}`);
    }
    unmount("from");
  }
}, needs);

kernelTest("words of a bind are as in mount(8)", () => {
  using root = scratch();
  const compare = (state: string, word: string) => {
    mountState(state, "from");
    const from = `${SCRATCH}/from`;
    const [expected, found] = both(
      () => run("mount", "--bind", "-o", word, from, `${SCRATCH}/by8`),
      () => bindat(root, "here", from, { options: word }).keep(),
    );
    unmount("from");
    assertEquals(found, expected, `${word} of ${state}`);
  };
  for (const state of STATES) {
    // Of the others it takes what the source has and is not named.
    for (const word of [...SUPERBLOCK, ...WITHOUT_EFFECT]) compare(state, word);
  }
  // Which it takes for none.
  for (const word of [...ATTRIBUTES, ...PROPAGATION]) {
    if (word !== "strictatime") compare("", word);
  }
}, needs);

kernelTest("a word without effect takes a mount all the same", () => {
  using root = scratch();
  for (const options of ["silent", "defaults", "norelatime", "x-foo"]) {
    const error = assertThrows(
      () => remountat(root, "here", { options }),
      MountError,
    );
    assertEquals([error.syscall, error.code], ["fspick", "EINVAL"], options);
  }
  assertThrows(
    () => root.mount("here", { type: "tmpfs", options: "X-mount.mkdir" }),
    TypeError,
    "X-mount.mkdir",
  );
}, needs);
