import type { MountInfo } from "../../src/list/mount_info.ts";
import { KnownMounts } from "../../src/list/watch_mounts.ts";
import { assertEquals } from "@std/assert";

const UNIQUE = 1n << 31n;

function mountOf(
  id: number,
  parentId: number,
  target: string,
  more: Partial<MountInfo> = {},
): MountInfo {
  return {
    id: UNIQUE + BigInt(id),
    parentId: UNIQUE + BigInt(parentId),
    tableId: id,
    parentTableId: parentId,
    target,
    root: "/",
    type: "tmpfs",
    source: "s",
    options: ["rw"],
    superOptions: ["rw"],
    propagation: "private",
    deviceNumber: "0:40",
    ...more,
  };
}

const ROOT = mountOf(1, 1, "/");

const A = mountOf(2, 1, "/a");

const IN_A = mountOf(3, 2, "/a/in");

const DEEP = mountOf(4, 3, "/a/in/deep");

function never(): never {
  throw new Error("This need not be asked");
}

Deno.test("KnownMounts.compare() finds what came and went", () => {
  const known = new KnownMounts([ROOT, A, IN_A]);
  assertEquals(known.compare([ROOT, A, IN_A]), []);
  const b = mountOf(5, 1, "/b");
  assertEquals(known.compare([ROOT, b, DEEP]), [
    // A mount inside another goes first.
    { kind: "unmount", id: IN_A.id, mount: IN_A },
    { kind: "unmount", id: A.id, mount: A },
    { kind: "mount", id: b.id, mount: b },
    { kind: "mount", id: DEEP.id, mount: DEEP },
  ]);
  assertEquals(known.compare([ROOT, b, DEEP]), []);
});

Deno.test("KnownMounts.compare() finds the one that was moved", () => {
  const known = new KnownMounts([ROOT, A, IN_A]);
  const moved = { ...A, target: "/b" };
  assertEquals(known.compare([ROOT, moved, { ...IN_A, target: "/b/in" }]), [
    { kind: "move", id: A.id, mount: moved, from: A },
  ]);
});

Deno.test("KnownMounts.compare() finds a move to another mount, or to the root", () => {
  const known = new KnownMounts([ROOT, A, IN_A]);
  const toRoot = { ...IN_A, parentId: ROOT.id, target: "/in" };
  assertEquals(known.compare([ROOT, A, toRoot]), [
    { kind: "move", id: IN_A.id, mount: toRoot, from: IN_A },
  ]);
  const beside = { ...toRoot, target: "/b" };
  assertEquals(known.compare([ROOT, A, beside])[0]?.kind, "move");
});

Deno.test("KnownMounts.compare() takes a mount that was put beneath for that alone", () => {
  const known = new KnownMounts([ROOT, A]);
  const beneath = mountOf(9, 1, "/a");
  assertEquals(
    known.compare([ROOT, { ...A, parentId: beneath.id }, beneath])
      .map(({ kind, id }) => [kind, id]),
    [["mount", beneath.id]],
  );
});

Deno.test("KnownMounts.compare() knows a reused id by what it was given to", () => {
  const before = { ...A, id: 2n };
  const known = new KnownMounts([before]);
  const other = { ...before, deviceNumber: "0:41" };
  assertEquals(known.compare([other]).map(({ kind }) => kind), [
    "unmount",
    "mount",
  ]);
  const bind = { ...other, root: "/sub" };
  assertEquals(known.compare([bind]).length, 2);
  // A unique id means the same mount, even after its root was renamed.
  const unique = new KnownMounts([A]);
  assertEquals(unique.compare([{ ...A, root: "/gone//deleted" }]), []);
});

Deno.test("KnownMounts.attached() asks for a mount once", () => {
  const known = new KnownMounts([ROOT]);
  const event = { kind: "mount" as const, id: A.id, mount: A };
  assertEquals(known.attached(A.id, () => A), [event]);
  // Listed before the event was read.
  assertEquals(known.attached(A.id, never), []);
  assertEquals(known.attached(ROOT.id, never), []);
  assertEquals(known.compare([ROOT, A]), []);
});

Deno.test("KnownMounts tells of a mount that was gone before it could be asked for", () => {
  const known = new KnownMounts([]);
  const { id } = A;
  assertEquals(known.attached(id, () => null), [
    { kind: "mount", id, mount: null },
  ]);
  assertEquals(known.detached(id), [{ kind: "unmount", id, mount: null }]);
  assertEquals(known.detached(id), []);
  // The event of its end was lost.
  known.attached(id, () => null);
  assertEquals(known.compare([]), [{ kind: "unmount", id, mount: null }]);
});

Deno.test("KnownMounts says nothing of what this root does not show", () => {
  const known = new KnownMounts([ROOT]);
  assertEquals(known.attached(A.id, () => undefined), []);
  assertEquals(known.moved(A.id, () => undefined, () => [ROOT]), []);
  assertEquals(known.detached(A.id), []);
});

Deno.test("KnownMounts.moved() takes what is inside along", () => {
  // The inner ones may be older.
  const known = new KnownMounts([DEEP, IN_A, A, ROOT]);
  const moved = { ...A, target: "/x/y" };
  assertEquals(known.moved(A.id, () => moved, never), [
    { kind: "move", id: A.id, mount: moved, from: A },
  ]);
  assertEquals(known.detached(DEEP.id)[0]?.mount?.target, "/x/y/in/deep");
  assertEquals(known.detached(IN_A.id)[0]?.mount?.target, "/x/y/in");
  assertEquals(known.detached(ROOT.id)[0]?.mount?.target, "/");
});

Deno.test("KnownMounts.moved() leaves what was asked for since as it is", () => {
  const known = new KnownMounts([ROOT, A]);
  const moved = { ...A, target: "/b" };
  const inside = { ...IN_A, target: "/b/in" };
  known.attached(IN_A.id, () => inside);
  known.moved(A.id, () => moved, never);
  assertEquals(known.detached(IN_A.id)[0]?.mount, inside);
});

Deno.test("KnownMounts.moved() says nothing that was said", () => {
  const known = new KnownMounts([ROOT, A]);
  assertEquals(known.moved(A.id, () => ({ ...A }), never), []);
  // The mount is gone: another event will say so.
  assertEquals(known.moved(A.id, () => null, never), []);
  assertEquals(known.detached(A.id)[0]?.mount, A);
});

Deno.test("KnownMounts.moved() looks around where a mount comes into sight or leaves it", () => {
  const known = new KnownMounts([ROOT]);
  assertEquals(
    known.moved(A.id, () => A, () => [ROOT, A, IN_A]).map(({ kind }) => kind),
    ["mount", "mount"],
  );
  assertEquals(
    known.moved(A.id, () => undefined, () => [ROOT]).map(({ id }) => id),
    [IN_A.id, A.id],
  );
  assertEquals(known.detached(A.id), []);
});
