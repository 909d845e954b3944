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
f0VMRgIBAQAAAAAAAAAAAAIAPgABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAAB
AAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAAzgMAAAAAAADOAwAAAAAAAAAA
AQAAAAAASIHsAAgAAEG8AwAAAOgCAwAAMcBIiee5CAAAAPNIq0iNRCRASIlEJBD/RCQYSI2EJAAB
AABIiUQkIMdEJCgQBAAASI1EJFBIiUQkQEjHRCRICAAAAL8DAAAASInmugAAAEC4LwAAAA8Fuf3/
//9IPQHw//8Pg1ECAACD+AgPhV0CAAC/AAAAEEiLdCRQugMAAABBuhIAAABBuAQAAABFMcm4CQAA
AA8Fufz///9IPQHw//8PgxICAAC/BAAAALgDAAAADwW5+////0g9AfD//w+D9QEAALsAAAAQiwOF
wHgySIt7CEiLcxBIi1MYTItTIEyLQyhMi0swDwVIPQHw//8Pg60BAABIi0s4iQFIg8NA68j/wA+E
9/7////AdAZEi2MI6+hIi3sIMfYx0kUx0kUxwLg4AAAADwVIPQHw//8Pg24BAACFwHTDicUx/zH2
uG0AAAAPBbn6////SD0B8P//D4NjAQAA6KcBAABIjT3gAQAAuFAAAAAPBbn5////SD0B8P//D4M/
AQAASMdEJBgAAAEAv/////9IjXQkGLoIAAAARTHSuCEBAAAPBbn4////SD0B8P//D4MMAQAASLgA
AAAAAQAAAEiJBCSwA0iJRCQISInnvgIAAAAx0kUx0rgPAQAADwWD+Px057n3////SD0B8P//D4PN
AAAAgHwkDgB0Sr8DAAAASI10JBC6CAAAADHADwWD+JgPhLEAAAC59v///0g9AfD//w+DmQAAAIP4
CA+FlwAAAIt8JBCF/w9E/Yt0JBS4PgAAAA8FgHwkBgAPhHr///8x/0iNtCQAAQAAuoAAAAAxwA8F
SMfH/////0iNdCQgugEAAEBMjVQkKLg9AAAADwW59f///0g9AfD//3M0hcAPhDX///856HXKSI10
JCC6mAAAAOhLAAAA6x6NiwAAAPDoKgAAAIN7BAAPhUT+///rFegZAAAA6w4x/74JAAAAuD4AAAAP
BTH/uOcAAAAPBffYiUQkCIlMJAxIjXQkCLoIAAAARInnuAEAAAAPBYnH999IPQHw//9zz8Mx/74C
AAAAMdK4tAEAAA8Fuf////9IPQHw//9zmr8EAAAAvv////+4tAEAAA8Fuf7///9IPQHw//8Pg3j/
///DLwA=
`,
  aarch64: `
f0VMRgIBAQAAAAAAAAAAAAIAtwABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAAB
AAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAAfgMAAAAAAAB+AwAAAAAAAAAA
AQAAAAAA/wMg0XUAgFKwAACU/38AqeADAZEhAIDS4AcBqeADBJEBgoDS4AcCqf8bAPngQwGRAQGA
0uAHBKlgAIDS4QMAkQIAqNKIGoDSAQAA1EkAgBIf/D+xIhEAVB8gAPGhEQBUAACi0uErQPliAIDS
QwKA0oQAgNIFAIDSyBuA0gEAANRpAIASH/w/sYIPAFSAAIDSKAeA0gEAANSJAIASH/w/scIOAFQT
AKLSaAJAqWgB+DfoAwgqYQpBqWMSQqllJkOpAQAA1B/8P7HCDABUIAEAuXMCAZH1//8XHwUAMYD5
/1QfCQAxYAAAVPUDACr5//8XAQCA0gIAgNIDAIDSBACA0ogbgNIBAADUH/w/saIKAFQA/v+09AMA
KgAAgNIBAIDSSBOA0gEAANSpAIASH/w/sUIKAFRlAACUYA4AECgGgNIBAADUyQCAEh/8P7FiCQBU
IACg0uAPAPkAAICS4WMAkQIBgNIDAIDSSAmA0gEAANTpAIASH/w/sQIIAFQgAMDSAQwAkeAHAKng
AwCRQQCA0gIAgNIDAIDSKAmA0gEAANQfEAAxIP//VAkBgBIf/D+xQgYAVOAfQHlAAgA0YACA0uFD
AJECAYDS6AeA0gEAANQfoAExYAUAVCkBgBIf/D+xwgQAVB8gAPHBBABU4AdCKR8AAHGAAoAaKBCA
0gEAANTgD0B5IPz/NAAAgNLhAwSRAhCA0ugHgNIBAADUAACAkuGDAJEiAIBSAgCocuOjAJGIIIDS
AQAA1EkBgBIf/D+xwgEAVCD6/zQfABRrgf7/VOGDAJECE4DSFQAAlAkAABQJAKLSaQIJSw0AAJRg
BkC5APP/NQcAABQJAACUBQAAFAAAgNIhAYDSKBCA0gEAANQAAIDSyAuA0gEAANTgAwBL4CcAKeED
AJECAYDS4AMVKggIgNIBAADUH/w/seADAMui/v9UwANf1gAAgNJBAIDSAgCA0og2gNIBAADUCQCA
Eh/8P7Gi/P9UgACA0gEAgBIBAADUKQCAEh/8P7Hi+/9UwANf1i8A
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
