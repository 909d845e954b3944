import { SyscallError } from "../../src/sys/error.ts";
import { quote } from "../../src/base/text.ts";
import { assertEquals } from "@std/assert";
import { flagNames, octal, quoteStart } from "../../src/sys/call.ts";

Deno.test("SyscallError prints as strace does", () => {
  const error = new SyscallError("move_mount", 22, [
    { fd: 24 },
    quote(""),
    { fd: -100 },
    quote("proc"),
    "MOVE_MOUNT_F_EMPTY_PATH",
  ]);
  assertEquals(
    error.message,
    'move_mount(24, "", AT_FDCWD, "proc", MOVE_MOUNT_F_EMPTY_PATH): EINVAL (Invalid argument)',
  );
  assertEquals([error.syscall, error.errno, error.code], [
    "move_mount",
    22,
    "EINVAL",
  ]);
  assertEquals(error.name, "SyscallError");
});

Deno.test("SyscallError names a number that has no name", () => {
  assertEquals(
    new SyscallError("fsopen", 524, []).message,
    "fsopen(): E524 (Unknown error 524)",
  );
});

Deno.test("quote() escapes what could steer a terminal", () => {
  assertEquals(quote('a"\\\n\t\r'), '"a\\"\\\\\\n\\t\\r"');
  assertEquals(quote("\x1b[31m\x7f\x9b"), '"\\x1b[31m\\x7f\\x9b"');
  assertEquals(quote("\udcff"), '"\\xff"');
  assertEquals(quote("é😀"), '"é😀"');
  assertEquals(quote(null), "NULL");
});

Deno.test("flagNames() joins names and leaves what has none", () => {
  const names = { BOTH: 3, ONE: 1, TWO: 2, FOUR: 4 };
  assertEquals(flagNames(3, names), "BOTH");
  assertEquals(flagNames(5, names), "ONE|FOUR");
  assertEquals(flagNames(0, names), "0");
  assertEquals(flagNames(0x80000001, names), "ONE|0x80000000");
  assertEquals(flagNames(1n << 40n, names), "0x10000000000");
});

Deno.test("octal() prints modes as C does", () => {
  assertEquals([octal(0), octal(0o700), octal(0o1777n)], [
    "0",
    "0700",
    "01777",
  ]);
});

Deno.test("quoteStart() shortens what is longer than a message", () => {
  const text = new TextEncoder();
  assertEquals(quoteStart(text.encode("e a\n\0")), '"e a\\n\\x00"');
  assertEquals(
    quoteStart(text.encode("x".repeat(256))),
    `"${"x".repeat(256)}"`,
  );
  assertEquals(
    quoteStart(text.encode("x".repeat(257))),
    `"${"x".repeat(256)}"...`,
  );
  assertEquals(quoteStart(new Uint8Array()), '""');
});
