/**
 * Tables of system calls for the first process of a command's PID namespace, which
 * makes them one after another: init.S says how.
 */
import type { Attempt } from "../error/attempt.ts";
import { explain } from "../error/error.ts";
import { type Argument, SyscallError } from "../sys/error.ts";
import { settle, tracer } from "../sys/call.ts";
import { errno, NR } from "../sys/libc.ts";
import { CMSGHDR, IOVEC, LITTLE_ENDIAN, MSGHDR } from "../sys/layout.ts";
import { SCM_RIGHTS, SOL_SOCKET } from "../sys/socket.ts";
import { encodeText, quote } from "../base/text.ts";
import { AT_FDCWD } from "../sys/constants.ts";

/** Where the first process has its table. */
const BASE = 0x1000_0000;

/** Bytes of an entry: a number, six arguments, and where the result goes. */
const ENTRY_SIZE = 64;

const ENTRY_WORDS = ENTRY_SIZE / 8;

/** The word of an entry that says where the result goes. */
const RESULT = 7;

/** Ends a table; another one comes then. */
const NEXT_TABLE = -1;

/** The first process waits then, and its child goes on. */
const VFORK = -2;

/** The socket has another number then. */
const MOVED_SOCKET = -3;

/** The socket's number, until it is moved. */
export const SOCKET = 3;

/** The number that what is opened first has there: that of the table before. */
const FIRST_OPENED = 4;

/** That of the first descriptor which comes with the table. */
const FIRST_PASSED = 5;

/** A null-terminated array of strings, as an argument. */
export class Strings {
  readonly texts: readonly string[];
  /** Whether a tracer is told of them. */
  readonly shown: boolean;

  constructor(texts: readonly string[], shown = true) {
    this.texts = texts;
    this.shown = shown;
  }
}

/** What a call returns, for later ones: by its address. */
export class Cell {
  /** Where it is in the data. */
  readonly offset: number;
  /** The argument of a later call that it is instead. */
  word: number | null = null;

  constructor(offset: number) {
    this.offset = offset;
  }
}

/** What a call has returned, as the argument of a later one. */
export class Value {
  readonly cell: Cell;

  constructor(cell: Cell) {
    this.cell = cell;
  }
}

/** A message of one byte with descriptors: a `struct msghdr`. */
export class Descriptors {
  readonly fds: readonly number[];

  constructor(fds: readonly number[]) {
    this.fds = fds;
  }
}

/** An argument. Text, bytes and the like go by their address. */
export type Operand =
  | number
  | bigint
  | null
  | string
  | Uint8Array
  | Strings
  | Descriptors
  | Cell
  | Value;

/** How a call is made. */
export interface CallOptions {
  /** What it is for; by default to run the command. */
  readonly attempted?: Attempt;
  /** Whether the next is made when it fails. */
  readonly mayFail?: boolean;
  /** Where its result goes. */
  readonly result?: Cell;
}

interface Entry extends CallOptions {
  readonly name: keyof typeof NR | "clone";
  readonly operands: readonly Operand[];
}

/** A call that failed, as the first process tells it. */
export interface Failure {
  readonly errno: number;
  /** Its entry's distance from the first. */
  readonly offset: number;
}

/** A table. */
export class CallTable {
  readonly #entries: Entry[] = [];
  /** The entries, as they are made. */
  readonly #words: bigint[] = [];
  /** Which of the words are offsets in the data. */
  readonly #addresses: number[] = [];
  readonly #data: (readonly [offset: number, bytes: Uint8Array])[] = [];
  /** Addresses in the data of what is there. */
  readonly #pointers: (readonly [offset: number, target: number])[] = [];
  // The first is where a result goes that nobody wants.
  #dataSize = 8;
  readonly #passed: number[] = [];
  #opened = 0;

  /** The descriptors that go with the table. */
  get descriptors(): readonly number[] {
    return this.#passed;
  }

  /** Passes a descriptor on, before any is opened; returns its number there. */
  pass(fd: number): number {
    if (this.#opened > 0) throw new TypeError("Something was opened already");
    this.#passed.push(fd);
    return FIRST_PASSED + this.#passed.length - 1;
  }

  /** Adds a call. */
  call(
    name: keyof typeof NR,
    operands: readonly Operand[],
    options: CallOptions = {},
  ): void {
    this.#entries.push({ name, operands, ...options });
    this.#add(NR[name], operands, options);
  }

  /** Adds a call that opens a descriptor; returns its number there. */
  open(
    name: keyof typeof NR,
    operands: readonly Operand[],
    options: CallOptions = {},
  ): number {
    this.call(name, operands, options);
    const opened = this.#opened++;
    return opened === 0
      ? FIRST_OPENED
      : FIRST_PASSED + this.#passed.length + opened - 1;
  }

  /** What follows is made by a child, while the first process waits for that. */
  vfork(flags: number): void {
    this.#entries.push({ name: "clone", operands: [flags, null] });
    this.#add(VFORK, [flags]);
  }

  /** Says where the socket is, from here on. */
  moveSocket(fd: number): void {
    this.#entries.push({ name: "dup3", operands: [SOCKET, fd, 0] });
    this.#add(MOVED_SOCKET, [fd]);
  }

  /** Room for a result. */
  cell(): Cell {
    return new Cell(this.#reserve(8));
  }

  /**
   * Writes it as the first process reads it.
   *
   * @param next Whether another table comes then.
   */
  encode({ next = false } = {}): Uint8Array<ArrayBuffer> {
    if (next) this.#add(NEXT_TABLE, []);
    const start = this.#words.length * 8;
    const memory = new Uint8Array(new ArrayBuffer(start + this.#dataSize));
    const words = new BigInt64Array(memory.buffer, 0, this.#words.length);
    words.set(this.#words);
    const base = BigInt(BASE + start);
    for (const at of this.#addresses) words[at]! += base;
    this.#entries.forEach(({ result }, i) => {
      const at = i * ENTRY_WORDS + RESULT;
      words[at] = result === undefined
        ? base
        : result.word === null
        ? base + BigInt(result.offset)
        : BigInt(BASE + result.word * 8);
    });
    const view = new DataView(memory.buffer);
    for (const [offset, bytes] of this.#data) memory.set(bytes, start + offset);
    for (const [offset, target] of this.#pointers) {
      view.setBigUint64(start + offset, base + BigInt(target), LITTLE_ENDIAN);
    }
    return memory;
  }

  #add(
    number: number,
    operands: readonly Operand[],
    { mayFail = false }: CallOptions = {},
  ): void {
    const at = this.#words.length;
    this.#words.push(BigInt(number >>> 0) | (mayFail ? 1n << 32n : 0n));
    for (const operand of operands) this.#words.push(this.#wordOf(operand));
    while (this.#words.length < at + ENTRY_WORDS) this.#words.push(0n);
  }

  #wordOf(operand: Operand): bigint {
    if (operand === null) return 0n;
    if (typeof operand === "bigint") return operand;
    if (typeof operand === "number") return BigInt(operand);
    const word = this.#words.length;
    if (operand instanceof Value) {
      operand.cell.word = word;
      return 0n;
    }
    this.#addresses.push(word);
    if (operand instanceof Cell) return BigInt(operand.offset);
    if (operand instanceof Strings) {
      const { texts } = operand;
      const table = this.#reserve((texts.length + 1) * 8);
      texts.forEach((text, i) =>
        this.#pointers.push([table + i * 8, this.#put(encodeText(text + "\0"))])
      );
      return BigInt(table);
    }
    if (operand instanceof Descriptors) {
      return BigInt(this.#putMessage(operand.fds));
    }
    return BigInt(this.#put(
      typeof operand === "string" ? encodeText(operand + "\0") : operand,
    ));
  }

  #putMessage(fds: readonly number[]): number {
    const control = new DataView(
      new ArrayBuffer(CMSGHDR.SIZE + fds.length * 4),
    );
    const length = control.byteLength;
    control.setUint32(CMSGHDR.cmsg_len, length, LITTLE_ENDIAN);
    control.setInt32(CMSGHDR.cmsg_level, SOL_SOCKET, LITTLE_ENDIAN);
    control.setInt32(CMSGHDR.cmsg_type, SCM_RIGHTS, LITTLE_ENDIAN);
    fds.forEach((fd, i) =>
      control.setInt32(CMSGHDR.SIZE + i * 4, fd, LITTLE_ENDIAN)
    );
    const message = new DataView(new ArrayBuffer(MSGHDR.SIZE + IOVEC.SIZE));
    message.setUint32(MSGHDR.msg_iovlen, 1, LITTLE_ENDIAN);
    message.setUint32(MSGHDR.msg_controllen, length, LITTLE_ENDIAN);
    message.setUint32(MSGHDR.SIZE + IOVEC.iov_len, 1, LITTLE_ENDIAN);
    const offset = this.#put(new Uint8Array(message.buffer));
    this.#pointers.push(
      [offset + MSGHDR.msg_iov, offset + MSGHDR.SIZE],
      [offset + MSGHDR.SIZE + IOVEC.iov_base, this.#reserve(1)],
      [offset + MSGHDR.msg_control, this.#put(new Uint8Array(control.buffer))],
    );
    return offset;
  }

  #put(bytes: Uint8Array): number {
    const offset = this.#reserve(bytes.length);
    this.#data.push([offset, bytes]);
    return offset;
  }

  #reserve(size: number): number {
    const offset = this.#dataSize;
    this.#dataSize += size + 7 & ~7;
    return offset;
  }

  /** Tells a tracer of the calls that were made, until one failed. */
  trace(failures: readonly Failure[]): void {
    if (tracer === null) return;
    const failed = new Map(
      failures.map(({ offset, errno }) => [offset / ENTRY_SIZE, errno]),
    );
    for (const [i, { name, operands, mayFail }] of this.#entries.entries()) {
      const number = errno[0] = failed.get(i) ?? 0;
      try {
        settle(number === 0 ? 0 : -1, nameOf(name), operands.map(print));
      } catch {
        // Who made the table tells it.
        if (!mayFail) return;
      }
    }
  }

  /** Whether a call's failure ended the whole. */
  isFatal({ offset }: Failure): boolean {
    return !this.#entries[offset / ENTRY_SIZE]!.mayFail;
  }

  /** The error of a call that failed. */
  error({ errno, offset }: Failure): Error {
    const entry = this.#entries[offset / ENTRY_SIZE]!;
    const { name, operands, attempted } = entry;
    const cause = new SyscallError(nameOf(name), errno, operands.map(print));
    return attempted === undefined ? cause : explain(attempted, cause);
  }
}

/** The kernel's name of a call. */
function nameOf(name: Entry["name"]): string {
  return name === "prlimit64" ? "prlimit" : name;
}

/** Prints an argument as strace(1) does, but for what a number stands for. */
function print(operand: Operand): Argument {
  if (operand === null) return "NULL";
  if (operand === AT_FDCWD) return { fd: AT_FDCWD };
  if (typeof operand === "number") return String(operand);
  if (typeof operand === "bigint") return `0x${operand.toString(16)}`;
  if (typeof operand === "string") return quote(operand);
  if (operand instanceof Strings && operand.shown) {
    return `[${operand.texts.map(quote).join(", ")}]`;
  }
  return "…";
}
