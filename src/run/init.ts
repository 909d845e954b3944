/** The first process of a command's PID namespace: its program. */
import {
  O_CLOEXEC,
  O_CREAT,
  O_EXCL,
  O_WRONLY,
  RESOLVE_BENEATH,
} from "../sys/constants.ts";
import {
  addSeals,
  F_SEAL_EXEC,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  memfdCreate,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  MFD_EXEC,
  openat2,
  write,
} from "../sys/file.ts";
import { EACCES, EINVAL, EPERM } from "../sys/errno.ts";
import { lacks } from "../sys/error.ts";
import { OwnedFd } from "../fd/owned_fd.ts";
import { make } from "./root_tree.ts";
import type { Architecture } from "../sys/calls.ts";

/** init.S for each processor, whole ELF files. */
export const INIT: Readonly<Record<Architecture, string>> = {
  x86_64: `
f0VMRgIBAQAAAAAAAAAAAAIAPgABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAA
OAABAAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAA9wIAAAAAAAD3AgAA
AAAAAAAAAQAAAAAASIHsAAgAAEG8AwAAAOhJAgAAMcBIiee5CAAAAPNIq0iNRCRASIlEJBD/
RCQYSI2EJAABAABIiUQkIMdEJCgQBAAASI1EJFBIiUQkQEjHRCRICAAAAL8DAAAASInmugAA
AEC4LwAAAA8Fg/gID4XVAQAAvwAAABBIi3QkULoDAAAAQboSAAAAQbgEAAAARTHJuAkAAAAP
Bb8EAAAAuAMAAAAPBbsAAAAQiwOFwHgySIt7CEiLcxBIi1MYTItTIEyLQyhMi0swDwVIPQHw
//8Pgz0BAABIi0s4iQFIg8NA68j/wA+EKv/////AdAZEi2MI6+hIi3sIMfYx0kUx0kUxwLg4
AAAADwVIPQHw//8Pg/4AAACFwHTDicUx/zH2uG0AAAAPBegyAQAASI09TQEAALhQAAAADwVI
x0QkGAAAAQC//////0iNdCQYuggAAABFMdK4IQEAAA8FSLgAAAAAAQAAAEiJBCSwA0iJRCQI
SInnvgIAAAAx0kUx0rgPAQAADwWFwH7ogHwkDgB0ML8DAAAASI10JBC6CAAAADHADwWD+AgP
hZAAAACLfCQQhf8PRP2LdCQUuD4AAAAPBYB8JAYAdKox/0iNtCQAAQAAuoAAAAAxwA8FSMfH
/////0iNdCQgugEAAEBMjVQkKLg9AAAADwWFwA+Ocv///znodddIjXQkILqYAAAA6EEAAADr
KPfYjYsAAADwiQQkiUwkBEiJ5roIAAAA6CMAAACDewQAD4Wj/v//6w4x/74JAAAAuD4AAAAP
BTH/uOcAAAAPBUSJ57gBAAAADwXDMf++AgAAADHSuLQBAAAPBb8EAAAAvv////+4tAEAAA8F
wy8A
`,
  aarch64: `
f0VMRgIBAQAAAAAAAAAAAAIAtwABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAA
OAABAAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAA4gIAAAAAAADiAgAA
AAAAAAAAAQAAAAAA/wMg0XUAgFKPAACU/38AqeADAZEhAIDS4AcBqeADBJEBgoDS4AcCqf8b
APngQwGRAQGA0uAHBKlgAIDS4QMAkQIAqNKIGoDSAQAA1B8gAPHBDgBUAACi0uErQPliAIDS
QwKA0oQAgNIFAIDSyBuA0gEAANSAAIDSKAeA0gEAANQTAKLSaAJAqWgB+DfoAwgqYQpBqWMS
QqllJkOpAQAA1B/8P7FiCgBUIAEAuXMCAZH1//8XHwUAMaD6/1QfCQAxYAAAVPUDACr5//8X
AQCA0gIAgNIDAIDSBACA0ogbgNIBAADUH/w/sUIIAFQA/v+09AMAKgAAgNIBAIDSSBOA0gEA
ANRQAACUAAsAECgGgNIBAADUIACg0uAPAPkAAICS4WMAkQIBgNIDAIDSSAmA0gEAANQgAMDS
AQwAkeAHAKngAwCRQQCA0gIAgNIDAIDSKAmA0gEAANQfAABxLf//VOAfQHmgAQA0YACA0uFD
AJECAYDS6AeA0gEAANQfIADxwQQAVOAHQikfAABxgAKAGigQgNIBAADU4A9AeSD9/zQAAIDS
4QMEkQIQgNLoB4DSAQAA1AAAgJLhgwCRIgCAUgIAqHLjowCRiCCA0gEAANQfAABxbfv/VB8A
FGvB/v9U4YMAkQITgNITAACUCwAAFOADAEsBAKLSYQIBS+AHACnhAwCRAgGA0gsAAJRgBkC5
4PT/NQUAABQAAIDSIQGA0igQgNIBAADUAACA0sgLgNIBAADU4AMVKggIgNIBAADUwANf1gAA
gNJBAIDSAgCA0og2gNIBAADUgACA0gEAgBIBAADUwANf1i8A
`,
};

/**
 * Opens the program, for execveat(2). Nobody can change it: every first process
 * runs the same file, and its command could write to it by /proc/1/exe.
 *
 * @throws {SyscallError | MountError}
 */
export function openInit(): OwnedFd {
  const text = INIT[Deno.build.arch].replaceAll("\n", "");
  const program = Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0));
  try {
    return inMemory(program);
  } catch (error) {
    // The sysctl vm.memfd_noexec, or a security module.
    if (!lacks("memfd_create", error, EACCES, EPERM)) throw error;
  }
  return onTmpfs(program);
}

function inMemory(program: Uint8Array): OwnedFd {
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  const file = new OwnedFd(
    sinceLinux63((exec) => memfdCreate("mountat init", flags | exec), MFD_EXEC),
  );
  try {
    write(file.fd, program);
    const seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    sinceLinux63((exec) => addSeals(file.fd, seals | exec), F_SEAL_EXEC);
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Calls with a flag that Linux knows since 6.3, and before that without. */
function sinceLinux63<T>(call: (flag: number) => T, flag: number): T {
  try {
    return call(flag);
  } catch (error) {
    if (!lacks("memfd_create, with MFD_EXEC", error, EINVAL)) throw error;
  }
  return call(0);
}

/** On a mount of its own that nobody can write to. */
function onTmpfs(program: Uint8Array): OwnedFd {
  using mount = make("tmpfs", "nosuid,nodev", ".");
  const name = "mountat init";
  const resolve = RESOLVE_BENEATH;
  {
    const flags = O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC;
    using file = new OwnedFd(
      openat2(mount.fd, name, { flags, mode: 0o500, resolve }),
    );
    write(file.fd, program);
  }
  return new OwnedFd(openat2(mount.fd, name, { flags: O_CLOEXEC, resolve }));
}
