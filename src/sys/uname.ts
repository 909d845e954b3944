import { errno, ERRNO_SIZE, libc, NR } from "./libc.ts";
import { settle } from "./settle.ts";
import { decodeText } from "./text.ts";
import { tracer } from "./trace.ts";

/** Bytes of a field of `struct new_utsname`, include/uapi/linux/utsname.h. */
const FIELD_SIZE = 65;
/** The fields, in their order. */
const FIELDS = [
  "sysname",
  "nodename",
  "release",
  "version",
  "machine",
  "domainname",
] as const;

/** What the kernel calls itself. */
export type Utsname = Record<(typeof FIELDS)[number], string>;

/**
 * Asks for the kernel's name and release, and the machine's.
 *
 * `int uname(struct new_utsname *buf);`
 *
 * See uname(2).
 */
export function uname(): Utsname {
  const buffer = new Uint8Array(FIELD_SIZE * FIELDS.length);
  const result = libc.uname(NR.uname, buffer);
  if (result === -1) libc.copyErrno(errno, libc.errnoLocation, ERRNO_SIZE);
  if (result === -1 || tracer) settle(result, "uname", ["…"]);
  return Object.fromEntries(FIELDS.map((name, i) => {
    const field = buffer.subarray(i * FIELD_SIZE, (i + 1) * FIELD_SIZE);
    return [name, decodeText(field.subarray(0, field.indexOf(0)))];
  })) as Utsname;
}
