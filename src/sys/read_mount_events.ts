import { EAGAIN } from "./errno.ts";
import { isErrno, UnsupportedError } from "./error.ts";
import {
  FANOTIFY_EVENT_INFO_HEADER,
  FANOTIFY_EVENT_INFO_MNT,
  FANOTIFY_EVENT_METADATA,
  LITTLE_ENDIAN,
} from "./layout.ts";
import { read } from "./read.ts";

// include/uapi/linux/fanotify.h

/** Events were lost: the queue was full. */
export const FAN_Q_OVERFLOW = 0x4000;
/** The record of an event that names a mount; since Linux 6.15. */
export const FAN_EVENT_INFO_TYPE_MNT = 7;
/** The version of the events' layout. */
export const FANOTIFY_METADATA_VERSION = 3;

/** An event of a group made with `FAN_REPORT_MNT`. */
export interface FanotifyMountEvent {
  /** `FAN_MNT_ATTACH`, `FAN_MNT_DETACH`, `FAN_Q_OVERFLOW`. */
  mask: number;
  /** The mount's unique id, `undefined` where events were lost. */
  mntId: bigint | undefined;
}

const BUFFER_SIZE = 65536;

/**
 * Reads what a group that does not wait (`FAN_NONBLOCK`) has been told of: as
 * many events as fit into a buffer.
 *
 * @param fd The group.
 * @returns The events, the oldest first; none when nothing is queued.
 * @throws {SyscallError} As read(2) answers.
 * @throws {UnsupportedError} For events of another layout.
 */
export function readMountEvents(fd: number): FanotifyMountEvent[] {
  const buffer = new Uint8Array(new ArrayBuffer(BUFFER_SIZE));
  try {
    return decodeMountEvents(buffer.subarray(0, read(fd, buffer)));
  } catch (error) {
    if (isErrno(error, EAGAIN)) return [];
    throw error;
  }
}

/** Decodes what read(2) gave. */
export function decodeMountEvents(bytes: Uint8Array): FanotifyMountEvent[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const u8 = (offset: number) => view.getUint8(offset);
  const u16 = (offset: number) => view.getUint16(offset, LITTLE_ENDIAN);
  const u32 = (offset: number) => view.getUint32(offset, LITTLE_ENDIAN);
  const events: FanotifyMountEvent[] = [];
  for (let at = 0; at < bytes.length;) {
    if (u8(at + FANOTIFY_EVENT_METADATA.vers) !== FANOTIFY_METADATA_VERSION) {
      throw new UnsupportedError("This kernel's events have another layout");
    }
    const end = at + u32(at + FANOTIFY_EVENT_METADATA.event_len);
    // The bits that have a name lie in the lower half.
    const mask = u32(at + FANOTIFY_EVENT_METADATA.mask);
    let mntId: bigint | undefined;
    at += u16(at + FANOTIFY_EVENT_METADATA.metadata_len);
    for (; at < end; at += u16(at + FANOTIFY_EVENT_INFO_HEADER.len)) {
      const type = u8(at + FANOTIFY_EVENT_INFO_HEADER.info_type);
      if (type !== FAN_EVENT_INFO_TYPE_MNT) continue;
      const offset = at + FANOTIFY_EVENT_INFO_MNT.mnt_id;
      mntId = view.getBigUint64(offset, LITTLE_ENDIAN);
    }
    events.push({ mask, mntId });
  }
  return events;
}
