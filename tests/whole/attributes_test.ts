/** Attributes and propagation of new mounts and binds, as the kernel has them. */
import {
  AT_FDCWD,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
  MS_PRIVATE,
  MS_SHARED,
} from "../../src/sys/constants.ts";
import type { AttributeOptions } from "../../src/options/attributes.ts";
import { statmount } from "../../src/sys/statmount.ts";
import {
  mountId,
  tableOptions,
  tracedCalls,
  withCallFailing,
} from "../support/scratch.ts";
import {
  gatedTest,
  kernelTest,
  missingFor,
  mountsBelow,
  mountTable,
  SCRATCH,
} from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { kernelTestSince } from "../support/since.ts";
import { MountError } from "../../src/error/error.ts";
import { features } from "../../src/kernel/features.ts";
import { MountTree } from "../../src/mount/tree.ts";
import type { BindOptions, MountOptions } from "../../src/options/spec.ts";
import type { RemountOptions } from "../../src/mount/remountat.ts";
import { mountSetattr } from "../../src/sys/mount.ts";

/** What each word leaves of no attribute at all, and of all of them. */
const ALL_SET = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
  MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW |
  MOUNT_ATTR_NOATIME;

const WITHOUT_ATIME = ALL_SET & ~MOUNT_ATTR_NOATIME;

const WORDS: Record<string, [ofNone: number, ofAll: number]> = {
  ro: [MOUNT_ATTR_RDONLY, ALL_SET],
  rw: [0, ALL_SET & ~MOUNT_ATTR_RDONLY],
  nosuid: [MOUNT_ATTR_NOSUID, ALL_SET],
  suid: [0, ALL_SET & ~MOUNT_ATTR_NOSUID],
  nodev: [MOUNT_ATTR_NODEV, ALL_SET],
  dev: [0, ALL_SET & ~MOUNT_ATTR_NODEV],
  noexec: [MOUNT_ATTR_NOEXEC, ALL_SET],
  exec: [0, ALL_SET & ~MOUNT_ATTR_NOEXEC],
  nodiratime: [MOUNT_ATTR_NODIRATIME, ALL_SET],
  diratime: [0, ALL_SET & ~MOUNT_ATTR_NODIRATIME],
  nosymfollow: [MOUNT_ATTR_NOSYMFOLLOW, ALL_SET],
  symfollow: [0, ALL_SET & ~MOUNT_ATTR_NOSYMFOLLOW],
  noatime: [MOUNT_ATTR_NOATIME, ALL_SET],
  atime: [0, WITHOUT_ATIME],
  strictatime: [
    MOUNT_ATTR_STRICTATIME,
    WITHOUT_ATIME | MOUNT_ATTR_STRICTATIME,
  ],
  nostrictatime: [0, WITHOUT_ATIME],
  relatime: [0, WITHOUT_ATIME],
  norelatime: [0, ALL_SET],
  defaults: [0, ALL_SET],
};

/**
 * What those leave of all attributes: a negation takes away its own alone. Of
 * many mounts at once the kernel can't be asked for that.
 */
const OWN_OF_ALL: Record<string, number> = {
  nostrictatime: ALL_SET,
};

const ALL_WORDS = "ro,nosuid,nodev,noexec,nodiratime,nosymfollow,noatime";

/** The name of each option, and the words that its values stand for. */
const NAMED: [keyof AttributeOptions, Record<string, unknown>][] = [
  ["readonly", { ro: true, rw: false }],
  ["nosuid", { nosuid: true, suid: false }],
  ["nodev", { nodev: true, dev: false }],
  ["noexec", { noexec: true, exec: false }],
  ["nodiratime", { nodiratime: true, diratime: false }],
  ["nosymfollow", { nosymfollow: true, symfollow: false }],
  ["atime", {
    noatime: "noatime",
    strictatime: "strictatime",
    relatime: "relatime",
  }],
];

/** `MOUNT_ATTR_*` of the mount on a name. */
function attributes(name: string): number {
  return Number(statmount(mountId(`${SCRATCH}/${name}`)).mntAttr);
}

/** Mounts a tmpfs with another inside it, both with these options. */
function mountTwo(root: Directory, name: string, options: string): Disposable {
  const stack = new DisposableStack();
  const tmpfs = { type: "tmpfs", mkdir: true };
  const outer = stack.use(root.mount(name, tmpfs));
  stack.use(root.mount(`${name}/in`, { ...tmpfs, options }));
  root.remount(name, { options: options || "rw" });
  assert(outer.mounted);
  return stack;
}

kernelTestSince("6.8", "a mount has what each word says", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  for (const [word, [ofNone, ofAll]] of Object.entries(WORDS)) {
    for (const form of forms(word)) {
      using _ = root.mount("m", { type: "tmpfs", options: form });
      assertEquals(attributes("m"), ofNone, form);
    }
    const options = `${ALL_WORDS},${word}`;
    using _ = root.mount("m", { type: "tmpfs", options });
    assertEquals(attributes("m"), OWN_OF_ALL[word] ?? ofAll, options);
  }
});

/** The ways to spell a word, the plain one first. */
function forms(word: string): string[] {
  return word === "defaults" ? [word] : [word, `r${word}`, `${word}=recursive`];
}

for (const recursive of [false, true]) {
  kernelTestSince(
    "6.8",
    `a ${recursive ? "recursive " : ""}bind has what each word says`,
    () => {
      using root = Directory.open(SCRATCH);
      using _none = mountTwo(root, "none", "");
      using _all = mountTwo(root, "all", ALL_WORDS);
      root.mkdir("m");
      for (const [word, expected] of Object.entries(WORDS)) {
        for (const [i, source] of ["none", "all"].entries()) {
          for (const [form, options] of forms(word).entries()) {
            const mount = root.bind(`${SCRATCH}/${source}`, "m", {
              options,
              recursive,
            });
            const own = form === 0 && i === 1 ? OWN_OF_ALL[word] : undefined;
            assertEquals(
              attributes("m"),
              own ?? expected[i],
              `${source} ${options}`,
            );
            if (recursive) {
              const below = [0, ALL_SET][i];
              const inner = form === 0 ? below : expected[i];
              assertEquals(attributes("m/in"), inner, `${source} ${options}`);
            }
            mount.unmount({ lazy: true });
          }
        }
      }
    },
  );
}

kernelTestSince("6.8", "a mount is remounted with what each word says", () => {
  using root = Directory.open(SCRATCH);
  using _mounts = mountTwo(root, "m", "");
  const states: [string, number][] = [
    ["rrw,rsuid,rdev,rexec,rdiratime,rsymfollow,rrelatime", 0],
    [ALL_WORDS.replaceAll(/\w+/g, "r$&"), ALL_SET],
  ];
  for (const [word, expected] of Object.entries(WORDS)) {
    // They change nothing by themselves.
    if (word === "defaults" || word === "norelatime") continue;
    for (const [i, [words, before]] of states.entries()) {
      for (const [form, options] of forms(word).entries()) {
        root.remount("m", { options: words });
        root.remount("m", { options });
        const own = form === 0 && i === 1 ? OWN_OF_ALL[word] : undefined;
        assertEquals(attributes("m"), own ?? expected[i], options);
        const inner = form === 0 ? before : expected[i];
        assertEquals(attributes("m/in"), inner, options);
      }
    }
  }
});

kernelTestSince("6.8", "an option with a name is one of the words", () => {
  using root = Directory.open(SCRATCH);
  using _none = mountTwo(root, "none", "");
  using _all = mountTwo(root, "all", ALL_WORDS);
  root.mkdir("m");
  for (const [name, values] of NAMED) {
    for (const [word, value] of Object.entries(values)) {
      const [ofNone, ofAll] = WORDS[word]!;
      {
        using _ = root.mount("m", { type: "tmpfs", [name]: value });
        assertEquals(attributes("m"), ofNone, word);
      }
      for (const recursive of [false, true]) {
        const mount = root.bind(`${SCRATCH}/all`, "m", {
          [name]: value,
          recursive,
        });
        assertEquals(attributes("m"), ofAll, word);
        if (recursive) assertEquals(attributes("m/in"), ofAll, word);
        mount.unmount({ lazy: true });
      }
      const mount = root.bind(`${SCRATCH}/none`, "m", {
        [name]: value,
        recursive: true,
        // The name holds over it.
        options: "ro",
      });
      const own = name === "readonly" ? ofNone : ofNone | MOUNT_ATTR_RDONLY;
      assertEquals(attributes("m"), own, word);
      assertEquals(attributes("m/in"), ofNone, word);
      mount.unmount({ lazy: true });
    }
  }
});

kernelTest("a bind without options is made a slave, and nothing more", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("source");
  const calls = tracedCalls(() => {
    using _ = root.bind(`${SCRATCH}/source`, "m", { mkdir: true });
  });
  assertEquals(
    calls.filter(({ syscall }) => /attr/.test(syscall)).map(({ args }) =>
      args[3]
    ),
    ["{attr_set=0, attr_clr=0, propagation=MS_SLAVE, userns_fd=0}"],
  );
});

kernelTest("no mount is attached before it has its attributes", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("source");
  root.mkdir("m");
  const all = {
    options: "rnodev,nosuid",
    readonly: true,
    propagation: "private",
    recursive: true,
  } as const;
  const calls = tracedCalls(() => {
    using _ = root.bind(`${SCRATCH}/source`, "m", all);
  });
  const names = calls.map(({ syscall }) => syscall)
    .filter((name) => /open_tree|setattr|move_mount/.test(name));
  assertEquals(names, [
    "open_tree",
    "mount_setattr",
    "mount_setattr",
    "move_mount",
    // The propagation once more.
    "mount_setattr",
  ]);
});

kernelTest("nothing stays of a bind whose attributes are refused", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("source");
  const options = {
    options: "ro,rnodev",
    propagation: "private",
    mkdir: true,
  } as const;
  // Recursive, its own, and those once it is attached.
  for (const nth of [1, 2, 3]) {
    const before = mountTable();
    withCallFailing("mount_setattr", nth, () => {
      const error = assertThrows(
        () => root.bind(`${SCRATCH}/source`, "a/m", options),
        MountError,
        `Cannot bind "${SCRATCH}/source" to "a/m": mount_setattr`,
      );
      assertEquals(error.code, "EBADF");
    });
    assertEquals(mountTable(), before);
    assertThrows(() => root.openDirectory("a"), MountError, "ENOENT");
  }
});

kernelTest("nothing stays of a mount whose propagation is refused", () => {
  using root = Directory.open(SCRATCH);
  for (const nth of [1, 2]) {
    const before = mountTable();
    withCallFailing("mount_setattr", nth, () =>
      assertThrows(
        () =>
          root.mount("a/m", {
            type: "tmpfs",
            propagation: "unbindable",
            mkdir: true,
          }),
        MountError,
        `Cannot mount tmpfs on "a/m": mount_setattr`,
      ));
    assertEquals(mountTable(), before);
    assertThrows(() => root.openDirectory("a"), MountError, "ENOENT");
  }
});

/** The tags of the mount on a name: the number of its group is replaced. */
function tags(name: string): string {
  return tableOptions(`${SCRATCH}/${name}`).split(" ").slice(1).join(" ")
    .replace(/\d+/g, "N");
}

/** A shared parent with a peer at another place. */
function sharedParent(root: Directory): Disposable {
  const stack = new DisposableStack();
  const tmpfs = { type: "tmpfs", mkdir: true };
  stack.use(root.mount("parent", { ...tmpfs, propagation: "shared" }));
  stack.use(
    root.bind(`${SCRATCH}/parent`, "peer", {
      propagation: "shared",
      mkdir: true,
    }),
  );
  return stack;
}

/** What is left of each propagation of a mount of its own. */
const PROPAGATIONS = {
  private: "",
  shared: "shared:N",
  // There is no master.
  slave: "",
  unbindable: "unbindable",
} as const;

for (const holder of ["private", "shared"]) {
  kernelTest(
    `the propagation is as asked for on a ${holder} mount`,
    () => {
      using root = Directory.open(SCRATCH);
      using _parent = sharedParent(root);
      if (holder === "private") {
        root.remount("parent", { propagation: "private" });
      }
      root.mkdir("source");
      root.mkdir("parent/m");
      for (const [propagation, expected] of Object.entries(PROPAGATIONS)) {
        const options = { propagation } as AttributeOptions;
        const kinds = [
          () => root.mount("parent/m", { type: "tmpfs", ...options }),
          () => root.mount("parent/m", { type: "tmpfs", options: propagation }),
          () => root.bind(`${SCRATCH}/source`, "parent/m", options),
          () =>
            root.bind(`${SCRATCH}/source`, "parent/m", {
              options: `r${propagation}`,
            }),
        ];
        for (const make of kinds) {
          using _mount = make();
          // A slave that was in a group with its copy receives from that.
          const slave = propagation === "slave" && holder === "shared";
          assertEquals(tags("parent/m"), slave ? "master:N" : expected);
          const copies = mountsBelow(`${SCRATCH}/peer`).length - 1;
          assertEquals(copies, holder === "shared" ? 1 : 0);
        }
        assertEquals(mountsBelow(`${SCRATCH}/peer`).length, 1);
      }
    },
  );
}

const missing = missingFor({}) ??
  (features().attachToDetached ? null : "needs Linux 6.15");

const treeTest = missing === null
  ? kernelTest
  : (name: string, fn: () => void) => gatedTest(name, missing, fn);

treeTest("a tree's mounts have their propagation once it is attached", () => {
  using root = Directory.open(SCRATCH);
  using _parent = root.mount("parent", {
    type: "tmpfs",
    propagation: "shared",
    mkdir: true,
  });
  root.mkdir("parent/m");
  using tree = MountTree.create({ type: "tmpfs", propagation: "private" });
  for (const propagation of ["private", "shared", "unbindable"] as const) {
    tree.mount(propagation, { type: "tmpfs", propagation, mkdir: true });
  }
  tree.bind(SCRATCH, "plain", { readonly: true, mkdir: true });
  assertThrows(
    () => tree.mount("nosuch", { type: "tmpfs", propagation: "private" }),
    MountError,
    "ENOENT",
  );
  using _mount = tree.attach(root, "parent/m");
  assertEquals(
    ["", "/private", "/shared", "/unbindable", "/plain"].map((name) =>
      tags(`parent/m${name}`)
    ),
    ["", "", "shared:N", "unbindable", "shared:N"],
  );
  assertEquals(attributes("parent/m/plain"), MOUNT_ATTR_RDONLY);
});

treeTest("nothing stays of a tree whose propagation is refused", () => {
  using root = Directory.open(SCRATCH);
  using _parent = sharedParent(root);
  root.mkdir("parent/m");
  const before = mountTable();
  using tree = MountTree.create({ type: "tmpfs" });
  tree.mount("m", { type: "tmpfs", propagation: "private", mkdir: true });
  withCallFailing("mount_setattr", 1, () =>
    assertThrows(
      () => tree.attach(root, "parent/m"),
      MountError,
      "Cannot attach the mount tree",
    ));
  assertEquals(mountTable(), before);
});

kernelTest("a mount whose propagation can't be set goes from all peers", () => {
  using root = Directory.open(SCRATCH);
  using _parent = sharedParent(root);
  const before = mountTable();
  withCallFailing("mount_setattr", 2, () =>
    assertThrows(
      () =>
        root.mount("parent/m", {
          type: "tmpfs",
          propagation: "private",
          mkdir: true,
        }),
      MountError,
      "EBADF",
    ));
  assertEquals(mountTable(), before);
});

kernelTest(
  "a bind of a shared mount is its slave, unless said otherwise",
  () => {
    using root = Directory.open(SCRATCH);
    using _source = root.mount("source", {
      type: "tmpfs",
      propagation: "shared",
      mkdir: true,
    });
    root.mkdir("source/in");
    root.mkdir("m");
    const group = () => tableOptions(`${SCRATCH}/source`);
    const expected: [BindOptions, string, number][] = [
      [{}, "master:N", 1],
      [{ propagation: "shared" }, "shared:N", 1],
      [{ propagation: "slave" }, "master:N", 1],
      [{ propagation: "private" }, "", 0],
      [{ propagation: "unbindable" }, "unbindable", 0],
    ];
    for (const [options, tag, received] of expected) {
      using _bind = root.bind(`${SCRATCH}/source`, "m", options);
      assertEquals(tags("m"), tag);
      if (tag === "shared:N") {
        assertEquals(
          tableOptions(`${SCRATCH}/m`),
          group(),
        );
      }
      using _in = root.mount("source/in", { type: "tmpfs" });
      assertEquals(mountsBelow(`${SCRATCH}/m/in`).length, received);
    }
  },
);

kernelTest("a recursive bind's propagation is that of all of it", () => {
  using root = Directory.open(SCRATCH);
  using _mounts = mountTwo(root, "source", "");
  root.remount("source", { propagation: "shared", recursive: true });
  root.mkdir("m");
  const tagsWith = (options: BindOptions) => {
    const mount = root.bind(`${SCRATCH}/source`, "m", {
      ...options,
      recursive: true,
    });
    const found = [tags("m"), tags("m/in")];
    // As a peer it would take what is inside the source along.
    root.remount("m", { propagation: "private", recursive: true });
    mount.unmount({ lazy: true });
    return found;
  };
  assertEquals(tagsWith({}), ["master:N", "master:N"]);
  assertEquals(tagsWith({ propagation: "shared" }), ["shared:N", "shared:N"]);
  assertEquals(tagsWith({ propagation: "private" }), ["", ""]);
  assertEquals(tagsWith({ options: "private" }), ["", "master:N"]);
  assertEquals(tagsWith({ options: "rprivate,slave" }), ["", ""]);
  assertEquals(tagsWith({ options: "rslave" }), ["master:N", "master:N"]);
});

Deno.test("a bind takes no option of a file system", () => {
  // Nothing is done: it is no directory.
  const bind = (options: BindOptions["options"] & string) =>
    root.bind("/", "m", { options });
  const root = Object.create(Directory.prototype, {
    fd: { value: 0 },
  }) as Directory;
  assertThrows(() => bind("ro,size=1m"), TypeError, '"size"');
  assertThrows(() => bind("ro=fs"), TypeError, '"ro"');
  assertThrows(() => bind("loop"), TypeError, '"loop"');
});

Deno.test("an option with a name takes none but its values", () => {
  const root = Object.create(Directory.prototype, {
    fd: { value: 0 },
  }) as Directory;
  const wrong: [unknown, string][] = [
    [{ readonly: 1 }, '"readonly" must be true or false: received 1'],
    [{ nosuid: null }, '"nosuid" must be true or false'],
    [{ atime: "never" }, '"atime" must be one of relatime, noatime, strict'],
    [{ atime: "toString" }, '"atime" must be one of'],
    [{ propagation: "rprivate" }, '"propagation" must be one of private'],
    [{ propagation: true }, '"propagation" must be one of'],
  ];
  for (const [options, words] of wrong) {
    for (
      const make of [
        () =>
          root.mount(
            "m",
            { type: "tmpfs", ...options as object } as
              & MountOptions
              & object,
          ),
        () => root.bind("/", "m", options as BindOptions),
        () => root.remount("m", options as RemountOptions),
      ]
    ) {
      assertThrows(make, TypeError, words);
    }
  }
});

kernelTest("a mount is private on a private one where nothing is said", () => {
  using root = Directory.open(SCRATCH);
  using _ = root.mount("m", { type: "tmpfs", mkdir: true });
  assertEquals(tags("m"), "");
  mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation: MS_SHARED });
  using _shared = root.mount("n", { type: "tmpfs", mkdir: true });
  assertEquals(tags("n"), "shared:N");
  mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation: MS_PRIVATE });
});
