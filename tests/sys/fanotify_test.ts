import {
  decodeMountEvents,
  FAN_CLOEXEC,
  FAN_MARK_ADD,
  FAN_MARK_MNTNS,
  FAN_MNT_ATTACH,
  FAN_MNT_DETACH,
  FAN_NONBLOCK,
  FAN_Q_OVERFLOW,
  FAN_REPORT_MNT,
  fanotifyInit,
  fanotifyMark,
  readMountEvents,
} from "../../src/sys/event.ts";
import { kernelTestSince } from "../support/since.ts";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import {
  closedFd,
  makeDirectory,
  mountTmpfs,
  open,
} from "../support/scratch.ts";
import { AT_FDCWD, MS_MOVE, O_RDONLY } from "../../src/sys/constants.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { mount } from "../../src/sys/mount.ts";
import { SCRATCH } from "../support/testing.ts";
import { SyscallError, UnsupportedError } from "../../src/sys/error.ts";

const FLAGS = FAN_REPORT_MNT | FAN_NONBLOCK | FAN_CLOEXEC;

const MARK = FAN_MARK_ADD | FAN_MARK_MNTNS;

const EVENTS = FAN_MNT_ATTACH | FAN_MNT_DETACH;

kernelTestSince(
  "6.15",
  "fanotifyMark() lets readMountEvents() tell of mounts",
  () => {
    using group = new OwnedFd(fanotifyInit(FLAGS, 0));
    // By a descriptor, and by a path.
    {
      using namespace = open("/proc/thread-self/ns/mnt", O_RDONLY);
      fanotifyMark(group.fd, MARK, FAN_MNT_ATTACH, namespace.fd, null);
    }
    fanotifyMark(
      group.fd,
      MARK,
      BigInt(EVENTS),
      AT_FDCWD,
      "/proc/thread-self/ns/mnt",
    );
    assertEquals(readMountEvents(group.fd), []);
    makeDirectory("b");
    let mntId: bigint;
    {
      using a = mountTmpfs("a");
      mntId = a.id;
      mount(a.path, `${SCRATCH}/b`, null, MS_MOVE, null);
      mount(`${SCRATCH}/b`, a.path, null, MS_MOVE, null);
    }
    assertEquals(readMountEvents(group.fd), [
      { mask: FAN_MNT_ATTACH, mntId },
      { mask: EVENTS, mntId },
      { mask: EVENTS, mntId },
      { mask: FAN_MNT_DETACH, mntId },
    ]);
    assertEquals(readMountEvents(group.fd), []);
  },
);

kernelTestSince(
  "6.15",
  "fanotifyMark() and readMountEvents() throw what the kernel says",
  () => {
    using group = new OwnedFd(fanotifyInit(FLAGS, 0));
    using place = open(SCRATCH, O_RDONLY);
    const error = assertThrows(
      () => fanotifyMark(group.fd, MARK, EVENTS, place.fd, null),
      SyscallError,
    );
    assertEquals(
      error.message,
      `fanotify_mark(${group.fd}, FAN_MARK_MNTNS|FAN_MARK_ADD, FAN_MNT_ATTACH|FAN_MNT_DETACH, ${place.fd}, NULL): EINVAL (Invalid argument)`,
    );
    const none = closedFd();
    assertThrows(() => readMountEvents(none), SyscallError, "read");
    assertThrows(
      () => fanotifyMark(group.fd, MARK, EVENTS, AT_FDCWD, "/none"),
      SyscallError,
      '"/none"): ENOENT',
    );
    assertThrows(
      () => fanotifyMark(group.fd, MARK, -1, AT_FDCWD, null),
      RangeError,
    );
  },
);

/** An event as the kernel lays it out. */
function event(
  mask: number,
  records: Uint8Array[],
  { version = 3, metadata = 24 } = {},
): Uint8Array {
  const length = records.reduce((sum, { length }) => sum + length, metadata);
  const view = new DataView(new ArrayBuffer(length));
  view.setUint32(0, length, true);
  view.setUint8(4, version);
  view.setUint16(6, metadata, true);
  view.setUint32(8, mask, true);
  const bytes = new Uint8Array(view.buffer);
  let at = metadata;
  for (const record of records) {
    bytes.set(record, at);
    at += record.length;
  }
  return bytes;
}

function record(type: number, id: bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  view.setUint8(0, type);
  view.setUint16(2, 16, true);
  view.setBigUint64(8, id, true);
  return new Uint8Array(view.buffer);
}

function concatenate(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

Deno.test("decodeMountEvents() goes by the lengths that the kernel gives", () => {
  const bytes = concatenate(
    event(FAN_MNT_ATTACH, [record(7, 5n)]),
    event(FAN_Q_OVERFLOW, []),
    // Of a kernel to come.
    event(FAN_MNT_DETACH, [record(99, 1n), record(7, 2n ** 63n)], {
      metadata: 32,
    }),
  );
  const expected = [
    { mask: FAN_MNT_ATTACH, mntId: 5n },
    { mask: FAN_Q_OVERFLOW, mntId: undefined },
    { mask: FAN_MNT_DETACH, mntId: 2n ** 63n },
  ];
  assertEquals(decodeMountEvents(bytes), expected);
  const padded = concatenate(new Uint8Array(3), bytes);
  assertEquals(decodeMountEvents(padded.subarray(3)), expected);
  assertEquals(decodeMountEvents(new Uint8Array(0)), []);
});

Deno.test("decodeMountEvents() throws for another layout", () => {
  const bytes = event(FAN_MNT_ATTACH, [], { version: 4 });
  assertThrows(() => decodeMountEvents(bytes), UnsupportedError, "layout");
});
