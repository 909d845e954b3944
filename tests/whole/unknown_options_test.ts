import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { tracedCalls } from "../support/scratch.ts";
import { recordTest } from "../support/records.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import {
  applyMounts,
  bindat,
  type BindSpec,
  Directory,
  type FileSystemSpec,
  listMounts,
  mountat,
  MountRecord,
  MountTree,
  moveat,
  remountat,
  run,
  sweep,
  unmountat,
  watchMounts,
} from "../../mod.ts";
import { parseFstab, parseOciMounts } from "../../src/spec/mod.ts";
import {
  dup,
  listmount,
  LSMT_ROOT,
  mountSetattr,
  openat2,
  openTreeAttr,
  statmount,
} from "../../src/sys/mod.ts";

/** Options as plain JavaScript gives them. */
// deno-lint-ignore no-explicit-any
function plain(options: Record<string, unknown>): any {
  return options;
}

/** The call must be refused with these words before any system call. */
function assertRefused(call: () => unknown, words: string): void {
  assertEquals(tracedCalls(() => assertThrows(call, TypeError, words)), []);
}

kernelTest("an unknown option is refused wherever one is taken", async () => {
  using root = Directory.open(SCRATCH);
  using tree = MountTree.create({ type: "tmpfs" });
  using applied = applyMounts(root, []);
  const type = "tmpfs";
  const mkdir = true;
  const maps = { uids: [{ inside: 0, outside: 0, length: 1 }] };
  const none = plain({ lasy: true });
  {
    using mount = mountat(root, "m", { type, mkdir });
    const cases: [string, () => unknown][] = [
      ["readOnly", () => mountat(root, "x", plain({ type, readOnly: true }))],
      ["noSuid", () => root.mount("x", plain({ type, noSuid: true }))],
      [
        "uid",
        () => mountat(root, "x", { type, idmap: plain({ ...maps, uid: [] }) }),
      ],
      ["hostID", () =>
        bindat(root, "x", "/", {
          idmap: {
            gids: [],
            uids: [plain({ inside: 0, hostID: 0, length: 1 })],
          },
        })],
      ["recusive", () => bindat(root, "x", "/", plain({ recusive: true }))],
      ["ReadOnly", () => root.bind("/", "x", plain({ ReadOnly: true }))],
      [
        "makeprivate",
        () => moveat(root, "m", root, "x", plain({ makeprivate: true })),
      ],
      ["mkdirs", () => root.move("m", root, "x", plain({ mkdirs: true }))],
      ["noExec", () => remountat(root, "m", plain({ noExec: true }))],
      ["idmap", () => root.remount("m", plain({ readonly: true, idmap: 1 }))],
      ["lasy", () => unmountat(root, "m", none)],
      ["lasy", () => root.unmount("m", none)],
      ["lasy", () => root.unmountAll(none)],
      ["lasy", () => mount.unmount(none)],
      ["lasy", () => applied.unmount(none)],
      ["recurse", () => root.mkdir("x", plain({ recurse: true }))],
      ["recurse", () => MountTree.from(root, plain({ recurse: true }))],
      ["read_only", () => MountTree.create(plain({ type, read_only: true }))],
      ["readOnly", () => tree.mount("x", plain({ type, readOnly: true }))],
      ["readOnly", () => tree.bind("/", "x", plain({ readOnly: true }))],
      ["Mode", () => tree.mkdir("x", plain({ Mode: 0o700 }))],
      ["belov", () => listMounts(plain({ belov: SCRATCH }))],
      ["belov", () => watchMounts(plain({ belov: SCRATCH }))],
      ["dryrun", () => sweep(plain({ dryrun: true }))],
      ["bundel", () => parseOciMounts("{}", plain({ bundel: "/" }))],
      ["attr_set", () => mountSetattr(root.fd, "m", 0, plain({ attr_set: 1 }))],
      ["attrset", () => openTreeAttr(root.fd, "m", 0, plain({ attrset: 1 }))],
      ["resolv", () => openat2(root.fd, "m", plain({ flags: 0, resolv: 8 }))],
      ["cloExec", () => dup(root.fd, plain({ cloExec: false }))],
      ["nsid", () => statmount(mount.id, 0, plain({ nsid: 1n }))],
      ["nsid", () => listmount(LSMT_ROOT, plain({ nsid: 1n }))],
    ];
    for (const [name, call] of cases) {
      assertRefused(call, `Unknown option "${name}"`);
    }
  }
  for (
    const [options, words] of [
      [{ clearenv: true }, '"clearenv"; did you mean "clearEnv"?'],
      [
        { mounts: [{ target: "x", type, nosuids: true }] },
        'mounts[0]: Unknown option "nosuids"; did you mean "nosuid"?',
      ],
    ] as const
  ) {
    const running = () => run(root, ["true"], plain(options));
    await assertRejects(running, TypeError, words);
  }
});

recordTest("MountRecord.add() refuses an unknown option", () => {
  using root = Directory.open(SCRATCH);
  using record = MountRecord.open()!;
  using mount = mountat(root, "m", { type: "tmpfs", mkdir: true });
  assertRefused(
    () => record.add(mount.id, "m", plain({ hole: true })),
    'Unknown option "hole"',
  );
}, { permissions: ["write"] });

kernelTest("an entry with an unknown option is refused by its place", () => {
  using root = Directory.open(SCRATCH);
  const good = { target: "x", type: "tmpfs", mkdir: true };
  for (
    const [spec, words] of [
      [{ readOnly: true }, 'specs[1]: Unknown option "readOnly"'],
      [{ place: "line 7", optionnal: true }, 'line 7: Unknown option "option'],
      [
        { type: "bind", source: "/", recursiv: true },
        'specs[1]: Unknown option "recursiv"; did you mean "recursive"?',
      ],
    ] as const
  ) {
    const specs = [good, { ...good, ...spec }];
    assertRefused(() => applyMounts(root, specs), words);
  }
});

kernelTest("mountat() and bindat() take an entry whole", () => {
  using root = Directory.open(SCRATCH);
  const [tmpfs, bind] = parseFstab(
    "none /a tmpfs nofail,X-mount.mkdir\n/ /b none bind,nofail,X-mount.mkdir",
  ) as [FileSystemSpec, BindSpec];
  using a = mountat(root, tmpfs.target, tmpfs);
  using b = bindat(root, bind.target, bind.source, bind);
  assertEquals([a.mounted, b.mounted], [true, true]);
});
