/** Values of JavaScript that no argument takes, for every argument there is. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  applyMounts,
  bindat,
  Directory,
  listMounts,
  mountat,
  MountTree,
  moveat,
  remountat,
  run,
  sweep,
  unmountat,
  watchMounts,
} from "../../mod.ts";
import { mountsBelow, SCRATCH } from "../support/testing.ts";
import { runTest } from "../support/run_root.ts";
import { parseFstab, parseOciMounts } from "../../src/spec/mod.ts";

/** Nothing takes one of these, nor an object that has one of them as a member. */
const ODD: readonly unknown[] = [
  Symbol("x"),
  Object.create(null),
  undefined,
  null,
  1n,
  () => {},
  NaN,
  new Proxy({}, {}),
  revoked({}),
  revoked([]),
  [undefined],
  [Symbol("x")],
  { nosuch: 1 },
];

function revoked<T extends object>(value: T): T {
  const { proxy, revoke } = Proxy.revocable(value, {});
  revoke();
  return proxy;
}

/** Options of some function, each given such values in turn. */
const OPTIONS = [
  ...["options", "source", "mkdir", "beneath", "idmap", "propagation"],
  ...["readonly", "strategy", "lazy", "below", "namespace", "mounts", "env"],
  ...["cwd", "stdin", "stdout", "uid", "timeout", "symlinks", "recursive"],
  ...["record", "groups", "fds", "signal", "stderr", "capabilities", "dryRun"],
  ...["warn", "bundle", "type", "network", "limits", "user", "mountPoints"],
];

/** Objects with such a value inside. */
const NESTED: readonly [option: string, value: unknown][] = [
  ["options", new Array(1)],
  ["options", { ro: Symbol("x") }],
  ["options", { nosuid: Object.create(null) }],
  ["options", { x: Symbol("x") }],
  ["idmap", { uids: new Array(1), gids: new Array(1) }],
  ["mounts", new Array(1)],
  ["mounts", [{ type: "tmpfs", target: "x", place: Symbol("x") }]],
  ["groups", new Array(1)],
  ["groups", [Symbol("x")]],
  ["fds", new Array(1)],
  ["capabilities", new Array(1)],
  ["capabilities", [Object.create(null)]],
  ["forwardSignals", new Array(1)],
  ["forwardSignals", [Object.create(null)]],
  ["limits", { core: Symbol("x") }],
];

/** What takes no options, too, and so an object without any. */
const NEEDING_NONE = ["unmountAll", "parseFstab", "parseOciMounts", "MountTree"]
  .concat("listMounts", "sweep").map((name) => `${name} options`);

/** What the engine says of a mistake of ours. */
const ENGINE =
  /Cannot (read|convert|destructure|set|perform)|is not (a function|iterable|defined)|\[object/;

// deno-lint-ignore no-explicit-any
type Odd = any;

runTest("no odd value comes as far as the engine", async () => {
  // The gRPC library reads the environment as soon as it is loaded.
  const { serve } = await import("../../runner.ts");
  using root = Directory.open(SCRATCH);
  const calls: Record<string, (odd: Odd) => unknown> = {
    "mountat dirfd": (odd) => mountat(odd, "x", { type: "tmpfs" }),
    "mountat target": (odd) => mountat(root, odd, { type: "tmpfs" }),
    "mountat options": (odd) =>
      mountat(root, "x", isObject(odd) ? { type: "tmpfs", ...odd } : odd),
    "bindat source": (odd) => bindat(root, "x", odd),
    "bindat options": (odd) => bindat(root, "x", "/nowhere", odd ?? NaN),
    "moveat target": (odd) => moveat(root, odd, root, "y"),
    "moveat directory": (odd) => moveat(root, "x", odd, "y"),
    "moveat options": (odd) => moveat(root, "x", root, "y", odd ?? NaN),
    "remountat options": (odd) => remountat(root, "x", odd),
    "unmountat target": (odd) => unmountat(root, odd),
    "unmountat options": (odd) => unmountat(root, "x", odd ?? NaN),
    "Directory.open": (odd) => Directory.open(odd),
    "Directory.fromFd": (odd) => Directory.fromFd(odd),
    "openDirectory": (odd) => root.openDirectory(odd),
    "mkdir": (odd) => root.mkdir(odd),
    "mkdir options": (odd) => root.mkdir("x/y/z", odd ?? NaN),
    "MountTree.from": (odd) => MountTree.from(odd),
    "MountTree.create": (odd) => MountTree.create(odd),
    "applyMounts root": (odd) => applyMounts(odd, []),
    "applyMounts specs": (odd) => applyMounts(root, odd),
    "applyMounts spec": (odd) => applyMounts(root, [odd]),
    "run root": (odd) => run(odd, ["/nowhere"]),
    "run command": (odd) => run(root, odd),
    "run options": (odd) => run(root, ["/nowhere"], odd ?? NaN),
    "parseFstab": (odd) => parseFstab(odd),
    "parseOciMounts": (odd) => parseOciMounts(odd),
    "unmountAll options": (odd) => root.unmountAll(odd ?? NaN),
    "parseFstab options": (odd) =>
      parseFstab("none / tmpfs nofail", odd ?? NaN),
    "parseOciMounts options": (odd) => parseOciMounts("{}", odd ?? NaN),
    "MountTree options": (odd) => MountTree.from(root, odd ?? NaN),
    "applyMounts options": (odd) =>
      applyMounts(root, [{ type: "tmpfs", target: "no/such" }], odd ?? NaN),
    "listMounts options": (odd) => listMounts(odd ?? NaN),
    "sweep options": (odd) =>
      sweep(isObject(odd) ? { dryRun: true, ...odd } : odd ?? NaN),
    "serve options": (odd) =>
      serve(
        isObject(odd)
          ? { buildDirectory: SCRATCH, listenPaths: ["/nowhere/x"], ...odd }
          : odd ?? NaN,
      ),
  };
  for (const [option, value] of NESTED) {
    for (const name of ["mountat options", "run options"]) {
      await assertRefused(name, () => calls[name]!({ [option]: value }));
    }
    await assertRefused("applyMounts spec", () =>
      applyMounts(root, [
        { type: "tmpfs", target: "x", [option]: value } as Odd,
      ]));
  }
  await assertRefused("a place", () =>
    applyMounts(root, [
      { type: "tmpfs", target: "x", place: Symbol("x") } as Odd,
    ]));
  for (const [name, call] of Object.entries(calls)) {
    for (const odd of ODD) await assertRefused(name, () => call(odd));
    if (!name.endsWith("options")) continue;
    for (const option of OPTIONS) {
      for (const odd of ODD) {
        // Undefined is what an option has that is not given.
        if (odd === undefined) continue;
        const error = await failureOf(() => call({ [option]: odd }));
        assert(!ENGINE.test(error.message), `${name} ${option}: ${error}`);
      }
    }
  }
  for (const call of [listMounts, watchMounts, sweep] as Odd[]) {
    for (const odd of [Symbol("x"), { nosuch: 1 }, { below: Symbol("x") }]) {
      assertThrows(() => call(odd), TypeError);
    }
  }
  assertEquals(mountsBelow(SCRATCH).length, 1);
});

/** True for what can be spread: of a proxy that was revoked nothing can be asked. */
function isObject(value: unknown): boolean {
  try {
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

/** Fails unless a call throws, in words of ours. */
async function assertRefused(name: string, call: () => unknown): Promise<void> {
  const error = await failureOf(call);
  assert(error !== NONE || NEEDING_NONE.includes(name), name);
  assert(!ENGINE.test(error.message), `${name}: ${error.stack}`);
}

/** There is none: what is true for JavaScript is so for a switch. */
const NONE = new Error();

/** What a call throws, or rejects with. */
async function failureOf(call: () => unknown): Promise<Error> {
  try {
    const made = await call() as Partial<Disposable> | undefined;
    made?.[Symbol.dispose]?.();
    return NONE;
  } catch (error) {
    return error as Error;
  }
}
