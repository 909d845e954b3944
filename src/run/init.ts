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
AAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAAwQMAAAAAAADBAwAAAAAAAAAA
AQAAAAAASIHsAAgAAEG8AwAAAOj1AgAAMcBIiee5CAAAAPNIq0iNRCRASIlEJBD/RCQYSI2EJAAB
AABIiUQkIMdEJCgQBAAASI1EJFBIiUQkQEjHRCRICAAAAL8DAAAASInmugAAAEC4LwAAAA8Fuf3/
//9IPQHw//8Pg0QCAACD+AgPhVACAAC/AAAAEEiLdCRQugMAAABBuhIAAABBuAQAAABFMcm4CQAA
AA8Fufz///9IPQHw//8PgwUCAAC/BAAAALgDAAAADwW5+////0g9AfD//w+D6AEAALsAAAAQiwOF
wHgySIt7CEiLcxBIi1MYTItTIEyLQyhMi0swDwVIPQHw//8Pg6ABAABIi0s4iQFIg8NA68j/wA+E
9/7////AdAZEi2MI6+hIi3sIMfYx0kUx0kUxwLg4AAAADwVIPQHw//8Pg2EBAACFwHTDicUx/zH2
uG0AAAAPBbn6////SD0B8P//D4NWAQAA6JoBAABIjT3TAQAAuFAAAAAPBbn5////SD0B8P//D4My
AQAASMdEJBgAAAEAv/////9IjXQkGLoIAAAARTHSuCEBAAAPBbn4////SD0B8P//D4P/AAAASLgA
AAAAAQAAAEiJBCSwA0iJRCQISInnvgIAAAAx0kUx0rgPAQAADwWD+Px057n3////SD0B8P//D4PA
AAAAgHwkDgB0Qb8DAAAASI10JBC6CAAAADHADwW59v///0g9AfD//w+DlQAAAIP4CA+FkwAAAIt8
JBCF/w9E/Yt0JBS4PgAAAA8FgHwkBgB0hzH/SI20JAABAAC6gAAAADHADwVIx8f/////SI10JCC6
AQAAQEyNVCQouD0AAAAPBbn1////SD0B8P//czSFwA+EQv///znodcpIjXQkILqYAAAA6EsAAADr
Ho2LAAAA8OgqAAAAg3sEAA+FUf7//+sV6BkAAADrDjH/vgkAAAC4PgAAAA8FMf+45wAAAA8F99iJ
RCQIiUwkDEiNdCQIuggAAABEiee4AQAAAA8Ficf330g9AfD//3PPwzH/vgIAAAAx0ri0AQAADwW5
/////0g9AfD//3OavwQAAAC+/////7i0AQAADwW5/v///0g9AfD//w+DeP///8MvAA==
`,
  aarch64: `
f0VMRgIBAQAAAAAAAAAAAAIAtwABAAAAeABAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAEAAOAAB
AAAAAAAAAAEAAAAFAAAAAAAAAAAAAAAAAEAAAAAAAAAAQAAAAAAAdgMAAAAAAAB2AwAAAAAAAAAA
AQAAAAAA/wMg0XUAgFKuAACU/38AqeADAZEhAIDS4AcBqeADBJEBgoDS4AcCqf8bAPngQwGRAQGA
0uAHBKlgAIDS4QMAkQIAqNKIGoDSAQAA1EkAgBIf/D+x4hAAVB8gAPFhEQBUAACi0uErQPliAIDS
QwKA0oQAgNIFAIDSyBuA0gEAANRpAIASH/w/sUIPAFSAAIDSKAeA0gEAANSJAIASH/w/sYIOAFQT
AKLSaAJAqWgB+DfoAwgqYQpBqWMSQqllJkOpAQAA1B/8P7GCDABUIAEAuXMCAZH1//8XHwUAMYD5
/1QfCQAxYAAAVPUDACr5//8XAQCA0gIAgNIDAIDSBACA0ogbgNIBAADUH/w/sWIKAFQA/v+09AMA
KgAAgNIBAIDSSBOA0gEAANSpAIASH/w/sQIKAFRjAACUIA4AECgGgNIBAADUyQCAEh/8P7EiCQBU
IACg0uAPAPkAAICS4WMAkQIBgNIDAIDSSAmA0gEAANTpAIASH/w/scIHAFQgAMDSAQwAkeAHAKng
AwCRQQCA0gIAgNIDAIDSKAmA0gEAANQfEAAxIP//VAkBgBIf/D+xAgYAVOAfQHkAAgA0YACA0uFD
AJECAYDS6AeA0gEAANQpAYASH/w/scIEAFQfIADxwQQAVOAHQikfAABxgAKAGigQgNIBAADU4A9A
eWD8/zQAAIDS4QMEkQIQgNLoB4DSAQAA1AAAgJLhgwCRIgCAUgIAqHLjowCRiCCA0gEAANRJAYAS
H/w/scIBAFRg+v80HwAUa4H+/1ThgwCRAhOA0hUAAJQJAAAUCQCi0mkCCUsNAACUYAZAuUDz/zUH
AAAUCQAAlAUAABQAAIDSIQGA0igQgNIBAADUAACA0sgLgNIBAADU4AMAS+AnACnhAwCRAgGA0uAD
FSoICIDSAQAA1B/8P7HgAwDLov7/VMADX9YAAIDSQQCA0gIAgNKINoDSAQAA1AkAgBIf/D+xovz/
VIAAgNIBAIASAQAA1CkAgBIf/D+x4vv/VMADX9YvAA==
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
