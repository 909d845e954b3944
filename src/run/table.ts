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

/** The same in words of 32 bits, of which two are one of its words. */
const ENTRY_WORDS = ENTRY_SIZE / 4;

/** The word of an entry that says where the result goes. */
const RESULT = 14;

/** Ends a table; another one comes then. */
const NEXT_TABLE = -1;

/** The first process waits then, and its child goes on. */
const VFORK = -2;

/** The socket has another number then. */
const MOVED_SOCKET = -3;

/** The socket's number, until it is moved. */
export const SOCKET = 3;

/** The number that what is opened first has there: that of the file of the table. */
export const FIRST_OPENED = 4;

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
  /** The word of the call that says where it goes. */
  word = 0;

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

/** A filter of system calls: a `struct sock_fprog`. */
export class FilterProgram {
  readonly bytes: Uint8Array;

  /** @param bytes `struct sock_filter[]`. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** An argument. Text, bytes and the like go by their address. */
export type Operand =
  | number
  | null
  | string
  | Uint8Array
  | Strings
  | Descriptors
  | FilterProgram
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

interface Entry {
  readonly name: keyof typeof NR | "clone";
  readonly operands: readonly Operand[];
  readonly options: CallOptions;
}

/** What a tracer is not told of. */
const NO_CALL: Entry = { name: "clone", operands: [], options: {} };

/** A call that failed, as the first process tells it. */
export interface Failure {
  /** Which table it is of: the number of those that were done before. */
  readonly table: number;
  readonly errno: number;
  /** Its entry's distance from the first; negative for one of the OWN_STEPS. */
  readonly offset: number;
}

/** What the first process does besides its tables: init.S has the numbers. */
const OWN_STEPS: readonly (readonly [syscall: string, args: string[]])[] = [
  ["close_range", ["0", "2", "0"]],
  ["close_range", ["4", "-1", "0"]],
  ["recvmsg", [String(SOCKET), "…", "MSG_CMSG_CLOEXEC"]],
  ["mmap", [`0x${BASE.toString(16)}`, "…"]],
  ["close", [String(FIRST_OPENED)]],
  ["setpgid", ["0", "0"]],
  ["chdir", ['"/"']],
  ["signalfd4", ["-1", "[SIGCHLD]", "8", "0"]],
  ["ppoll", ["…", "2", "NULL", "NULL"]],
  ["read", [String(SOCKET), "…", "8"]],
  ["wait4", ["-1", "…", "WNOHANG|__WALL", "…"]],
];

/** A table. */
export class CallTable {
  /** The number of the first descriptor that comes with it. */
  readonly #firstPassed: number;
  readonly #entries: Entry[] = [];
  /** The entries, in words of 32 bits: no address takes more. */
  #words = new Int32Array(64 * ENTRY_WORDS);
  /** How many entries there are, with those that are no calls. */
  #count = 0;
  /** Which of the words are offsets in the data. */
  readonly #addresses: number[] = [];
  /** Which words say where a result goes, and in which word that is. */
  readonly #taken: (readonly [cell: Cell, word: number])[] = [];
  readonly #data: (readonly [offset: number, bytes: Uint8Array])[] = [];
  /** Addresses in the data of what is there. */
  readonly #pointers: (readonly [offset: number, target: number])[] = [];
  // The first is where a result goes that nobody wants.
  #dataSize = 8;
  readonly #passed: number[] = [];
  #opened = 0;

  /** @param before The table before, which has closed {@linkcode FIRST_OPENED}. */
  constructor(before: CallTable | null = null) {
    this.#firstPassed = before === null
      ? FIRST_PASSED
      : before.#firstNumber + before.#opened - 1;
  }

  /** The number after those: what is opened second has it. */
  get #firstNumber(): number {
    return this.#firstPassed + this.#passed.length;
  }

  /** The descriptors that go with the table. */
  get descriptors(): readonly number[] {
    return this.#passed;
  }

  /** Passes a descriptor on, before any is opened; returns its number there. */
  pass(fd: number): number {
    if (this.#opened > 0) throw new TypeError("Something was opened already");
    this.#passed.push(fd);
    return this.#firstNumber - 1;
  }

  /** Adds a call. */
  call(
    name: keyof typeof NR,
    operands: readonly Operand[],
    options: CallOptions = {},
  ): void {
    this.#add(NR[name], { name, operands, options });
  }

  /** Adds a call that opens a descriptor; returns its number there. */
  open(
    name: keyof typeof NR,
    operands: readonly Operand[],
    options: CallOptions = {},
  ): number {
    this.call(name, operands, options);
    const opened = this.#opened++;
    return opened === 0 ? FIRST_OPENED : this.#firstNumber + opened - 1;
  }

  /** What follows is made by a child, while the first process waits for that. */
  vfork(flags: number): void {
    this.#add(VFORK, { name: "clone", operands: [flags], options: {} });
  }

  /** Says where the socket is, from here on. */
  moveSocket(fd: number): void {
    this.#add(MOVED_SOCKET, null, [fd]);
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
    if (next) this.#add(NEXT_TABLE, null);
    const start = this.#count * ENTRY_SIZE;
    const base = BASE + start;
    const memory = new Uint8Array(new ArrayBuffer(start + this.#dataSize));
    const words = new Int32Array(memory.buffer, 0, start / 4);
    words.set(this.#words.subarray(0, words.length));
    for (const at of this.#addresses) words[at]! += base;
    for (const [{ word }, at] of this.#taken) words[word] = BASE + at * 4;
    for (const [offset, bytes] of this.#data) memory.set(bytes, start + offset);
    const view = new DataView(memory.buffer, start);
    for (const [offset, target] of this.#pointers) {
      view.setUint32(offset, base + target, LITTLE_ENDIAN);
    }
    return memory;
  }

  #add(
    number: number,
    entry: Entry | null,
    operands = entry?.operands ?? [],
  ): void {
    const at = this.#count++ * ENTRY_WORDS;
    if (at === this.#words.length) {
      const words = new Int32Array(2 * at);
      words.set(this.#words);
      this.#words = words;
    }
    this.#words[at] = number;
    this.#words[at + 1] = entry?.options.mayFail ? 1 : 0;
    operands.forEach((operand, i) => this.#setWord(at + 2 + 2 * i, operand));
    const result = entry?.options.result;
    this.#words[at + RESULT] = result?.offset ?? 0;
    this.#addresses.push(at + RESULT);
    if (result !== undefined) result.word = at + RESULT;
    this.#entries[this.#count - 1] = entry ?? NO_CALL;
  }

  #setWord(at: number, operand: Operand): void {
    if (typeof operand === "number") {
      this.#words[at] = operand;
      this.#words[at + 1] = operand < 0 ? -1 : 0;
    } else if (operand instanceof Value) {
      this.#taken.push([operand.cell, at]);
    } else if (operand !== null) {
      this.#words[at] = this.#offsetOf(operand);
      this.#addresses.push(at);
    }
  }

  #offsetOf(operand: Exclude<Operand, number | Value | null>): number {
    if (typeof operand === "string") return this.#put(encodeWord(operand));
    if (operand instanceof Cell) return operand.offset;
    if (operand instanceof Descriptors) return this.#putMessage(operand.fds);
    if (operand instanceof FilterProgram) return this.#putFilter(operand.bytes);
    if (operand instanceof Strings) return this.#putStrings(operand.texts);
    return this.#put(operand);
  }

  #putStrings(texts: readonly string[]): number {
    const table = this.#reserve((texts.length + 1) * 8);
    const bytes = encodeText(texts.map((text) => text + "\0").join(""));
    const start = this.#put(bytes);
    for (let i = 0, at = 0; i < texts.length; i++) {
      this.#pointers.push([table + i * 8, start + at]);
      at = bytes.indexOf(0, at) + 1;
    }
    return table;
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

  #putFilter(bytes: Uint8Array): number {
    const program = new DataView(new ArrayBuffer(16));
    program.setUint16(0, bytes.length / 8, LITTLE_ENDIAN);
    const offset = this.#put(new Uint8Array(program.buffer));
    this.#pointers.push([offset + 8, this.#put(bytes)]);
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
    const own = failures.find(({ offset }) => offset < 0);
    // What was made before it is not known.
    if (own !== undefined) return;
    const failed = new Map(
      failures.map(({ offset, errno }) => [offset / ENTRY_SIZE, errno]),
    );
    for (const [i, entry] of this.#entries.entries()) {
      if (entry === NO_CALL) continue;
      const { name, operands, options: { mayFail } } = entry;
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
    return offset < 0 || !this.#entries[offset / ENTRY_SIZE]!.options.mayFail;
  }

  /** The error of a call that failed. */
  error({ errno, offset }: Failure): Error {
    if (offset < 0) return errorOfOwnStep(errno, offset);
    const entry = this.#entries[offset / ENTRY_SIZE]!;
    const { name, operands, options: { attempted } } = entry;
    const cause = new SyscallError(nameOf(name), errno, operands.map(print));
    return attempted === undefined ? cause : explain(attempted, cause);
  }
}

function errorOfOwnStep(errno: number, offset: number): SyscallError {
  const [name, args] = OWN_STEPS[-offset - 1]!;
  return new SyscallError(name, errno, args);
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
  if (typeof operand === "string") return quote(operand);
  if (operand instanceof Strings && operand.shown) {
    return `[${operand.texts.map(quote).join(", ")}]`;
  }
  return "…";
}

const encoded = new Map<string, Uint8Array>();

/** Most of what is encoded is the same for every command. */
const MOST_ENCODED = 256;

function encodeWord(text: string): Uint8Array {
  let bytes = encoded.get(text);
  if (bytes === undefined) {
    bytes = encodeText(text + "\0");
    if (encoded.size < MOST_ENCODED) encoded.set(text, bytes);
  }
  return bytes;
}
