import { assert, assertEquals, assertThrows } from "@std/assert";
import { MountError } from "../src/error/error.ts";
import { close, openat2, statx } from "../src/sys/file.ts";
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_CREAT,
  O_RDONLY,
  O_RDWR,
} from "../src/sys/constants.ts";
import { kernelTest, SCRATCH } from "./support/testing.ts";
import { Directory } from "../src/directory.ts";
import { readFile } from "../src/fd/open.ts";
import { OwnedFd } from "../src/fd/owned_fd.ts";

function assertCode(call: () => unknown, code: string, words = ""): void {
  assertEquals(assertThrows(call, MountError, words).code, code);
}

function modeOf(path: string): number {
  return statx(AT_FDCWD, path, 0, 0xfff).mode! & 0o7777;
}

kernelTest("Directory.open() opens by path and by URL", () => {
  using byPath = Directory.open(SCRATCH);
  byPath.mkdir("with space");
  using byUrl = Directory.open(new URL(`file://${SCRATCH}/with%20space`));
  byUrl.mkdir("x");
  assertEquals(modeOf(`${SCRATCH}/with space/x`), 0o755);
});

kernelTest("Directory.open() says why it can't open", () => {
  const fd = openat2(AT_FDCWD, `${SCRATCH}/file`, {
    flags: O_CREAT | O_RDWR,
    mode: 0o600,
  });
  close(fd);
  assertCode(
    () => Directory.open(`${SCRATCH}/file`),
    "ENOTDIR",
    `Cannot open "${SCRATCH}/file": openat2: ENOTDIR (Not a directory)`,
  );
  const missing = () => Directory.open(`${SCRATCH}/missing`);
  assertEquals(
    assertThrows(missing, MountError, "ENOENT").hint,
    `"${SCRATCH}/missing" does not exist`,
  );
  assertCode(() => Directory.open("x".repeat(5000)), "ENAMETOOLONG");
  assertThrows(() => Directory.open(""), TypeError);
  assertThrows(() => Directory.open("a\0b"), TypeError);
  assertThrows(() => Directory.open(new URL("https://example.com")), TypeError);
  assertThrows(() => Directory.open(7 as unknown as string), TypeError);
  assertThrows(() => Directory.open(new URL("file://host/tmp")), TypeError);
  assertThrows(
    () => Directory.open(new URL("file:///%FF")),
    TypeError,
    "UTF-8",
  );
});

kernelTest("Directory.fromFd() takes a copy, closed on exec", () => {
  using root = Directory.open(SCRATCH);
  using copy = Directory.fromFd(root.fd);
  assert(copy.fd !== root.fd);
  const flags = readFile(`/proc/self/fdinfo/${copy.fd}`);
  // O_CLOEXEC is 02000000 in this file.
  assertEquals(
    parseInt(/flags:\s+(\d+)/.exec(flags)![1]!, 8) & 0o2000000,
    0o2000000,
  );
  root.close();
  copy.mkdir("still-open");
  assertCode(() => Directory.fromFd(987654), "EBADF");
  using file = new OwnedFd(
    openat2(AT_FDCWD, "/proc/self/status", { flags: O_RDONLY | O_CLOEXEC }),
  );
  assertCode(() => Directory.fromFd(file.fd), "ENOTDIR");
  assertThrows(() => Directory.fromFd(-1), TypeError);
  assertThrows(() => Directory.fromFd(0.5), TypeError);
});

kernelTest("Directory.inheritable() has no close-on-exec flag", () => {
  using root = Directory.open(SCRATCH);
  const copy = root.inheritable();
  const flags = readFile(`/proc/self/fdinfo/${copy.fd}`);
  assertEquals(parseInt(/flags:\s+(\d+)/.exec(flags)![1]!, 8) & 0o2000000, 0);
  copy.close();
  copy.close();
  assertThrows(() => copy.fd, TypeError, "closed");
});

kernelTest("Directory throws when it is closed, and closes twice", () => {
  const root = Directory.open(SCRATCH);
  root.close();
  root.close();
  root[Symbol.dispose]();
  for (
    const call of [
      () => root.fd,
      () => root.mkdir("x"),
      () => root.openDirectory("x"),
      () => root.mount("x", { type: "tmpfs" }),
      () => root.unmount("x"),
      () => root.inheritable(),
    ]
  ) {
    assertThrows(call, TypeError, "The directory is closed");
  }
});

kernelTest("Directory.mkdir() makes one directory", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("a", { mode: 0o700 });
  assertEquals(modeOf(`${SCRATCH}/a`), 0o700);
  root.mkdir("a/b");
  assertCode(() => root.mkdir("a"), "EEXIST", `Cannot create directory "a"`);
  assertCode(() => root.mkdir("."), "EEXIST");
  assertCode(() => root.mkdir("x/y"), "ENOENT");
  assertCode(() => root.mkdir("../x"), "EXDEV");
  assertThrows(() => root.mkdir("m", { mode: 0o10000 }), RangeError);
  assertThrows(
    () => root.mkdir("m", { mode: "7" as unknown as number }),
    TypeError,
  );
});

kernelTest(
  "Directory.mkdir() makes all that leads there when recursive",
  () => {
    using root = Directory.open(SCRATCH);
    root.mkdir("a/b/c", { recursive: true, mode: 0o711 });
    assertEquals(modeOf(`${SCRATCH}/a/b`), 0o711);
    root.mkdir("a/b/c", { recursive: true });
    root.mkdir(".", { recursive: true });
  },
);

kernelTest("Directory.mkdir() removes what it made when it fails", () => {
  using root = Directory.open(SCRATCH);
  assertCode(
    () => root.mkdir(`new/${"x".repeat(300)}/y`, { recursive: true }),
    "ENAMETOOLONG",
  );
  assertCode(() => root.mkdir("new/../..", { recursive: true }), "EXDEV");
  assertCode(() => root.openDirectory("new"), "ENOENT");
});

kernelTest("Directory.mkdir() follows no symlink", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("outside");
  root.mkdir("root");
  Deno.symlinkSync("../outside", `${SCRATCH}/root/link`);
  using inner = root.openDirectory("root");
  assertCode(() => inner.mkdir("link/x"), "ELOOP");
  assertCode(() => inner.mkdir("link/x", { recursive: true }), "ELOOP");
  assertCode(() => inner.mkdir("link", { recursive: true }), "ELOOP");
  assertCode(() => inner.mkdir("link"), "EEXIST");
  assertCode(() => inner.openDirectory("link"), "ELOOP");
  assertEquals([...Deno.readDirSync(`${SCRATCH}/outside`)], []);
}, { permissions: ["read", "write"] });

kernelTest("Directory.openDirectory() stays beneath", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("a/b", { recursive: true });
  root.openDirectory("a/b").close();
  root.openDirectory("a/../a").close();
  assertCode(() => root.openDirectory(".."), "EXDEV");
  assertCode(() => root.openDirectory("a/../.."), "EXDEV");
  assertThrows(() => root.openDirectory("/etc"), TypeError);
});
