/**
 * Tables of system calls for the first process of a command's PID namespace. It
 * makes the calls one after another: see init.S.
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

/** The address at which the first process maps its table. */
const BASE = 0x1000_0000;

/** Bytes of an entry: a number, six arguments, and the address for the result. */
const ENTRY_SIZE = 64;

/** The same in words of 32 bits: two of them are one word of an entry. */
const ENTRY_WORDS = ENTRY_SIZE / 4;

/** The word of an entry that says where the result goes. */
const RESULT = 14;

/** Ends a table, if another one follows. */
const NEXT_TABLE = -1;

/** Makes a child, which goes on with the table while the first process waits. */
const VFORK = -2;

/** Says that the socket has another number from here on. */
const MOVED_SOCKET = -3;

/** The socket's number, until it is moved. */
export const SOCKET = 3;

/**
 * The number that the first descriptor to be opened gets in the first process: the
 * file of the table had it before.
 */
export const FIRST_OPENED = 4;

/** The number of the first descriptor that comes with the table. */
const FIRST_PASSED = 5;

/** A null-terminated array of strings, as an argument. */
export class Strings {
  readonly texts: readonly string[];
  /** True if a tracer is told the strings. */
  readonly shown: boolean;

  constructor(texts: readonly string[], shown = true) {
    this.texts = texts;
    this.shown = shown;
  }
}

/** Room for the result of a call, passed by its address. */
export class Cell {
  /** The offset in the table's data. */
  readonly offset: number;
  /** The word of the entry that says where the result goes. */
  word = 0;

  constructor(offset: number) {
    this.offset = offset;
  }
}

/** The result of an earlier call, as an argument. */
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

/** Options of a call. */
export interface CallOptions {
  /** The purpose, for the error message; by default, to run the command. */
  readonly attempted?: Attempt;
  /** True if the next call is made even if this one fails. */
  readonly mayFail?: boolean;
  /** The cell that gets the result. */
  readonly result?: Cell;
}

interface Entry {
  readonly name: keyof typeof NR | "clone";
  readonly operands: readonly Operand[];
  readonly options: CallOptions;
}

/** The entry of a step that is no system call: a tracer is not told of it. */
const NO_CALL: Entry = { name: "clone", operands: [], options: {} };

/** A call that failed, as the first process reports it. */
export interface Failure {
  /** The index of its table: the number of tables that were done before. */
  readonly table: number;
  readonly errno: number;
  /** The entry's distance from the first, in bytes; negative for one of OWN_STEPS. */
  readonly offset: number;
}

/** The calls that the first process makes besides its tables: init.S numbers them. */
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

/** A table of system calls. */
export class CallTable {
  /** The number of the first descriptor that comes with it. */
  readonly #firstPassed: number;
  readonly #entries: Entry[] = [];
  /** The entries, in words of 32 bits: every address fits into one. */
  #words = new Int32Array(64 * ENTRY_WORDS);
  /** The number of entries, including those that are no calls. */
  #count = 0;
  /** The indexes of the words that are offsets in the data. */
  readonly #addresses: number[] = [];
  /** The words that take a result, each with the cell of that result. */
  readonly #taken: (readonly [cell: Cell, word: number])[] = [];
  readonly #data: (readonly [offset: number, bytes: Uint8Array])[] = [];
  /** The offsets in the data at which an address in the data is to be written. */
  readonly #pointers: (readonly [offset: number, target: number])[] = [];
  // The first eight bytes take the results that nobody wants.
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

  /**
   * Passes a descriptor on, before any is opened. Returns its number in the first
   * process.
   */
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

  /**
   * Adds a call that opens a descriptor. Returns its number in the first process.
   */
  open(
    name: keyof typeof NR,
    operands: readonly Operand[],
    options: CallOptions = {},
  ): number {
    this.call(name, operands, options);
    const opened = this.#opened++;
    return opened === 0 ? FIRST_OPENED : this.#firstNumber + opened - 1;
  }

  /** From here on, a child makes the calls, and the first process waits for it. */
  vfork(flags: number): void {
    this.#add(VFORK, { name: "clone", operands: [flags], options: {} });
  }

  /** Says which number the socket has, from here on. */
  moveSocket(fd: number): void {
    this.#add(MOVED_SOCKET, null, [fd]);
  }

  /** Makes room for a result. */
  cell(): Cell {
    return new Cell(this.#reserve(8));
  }

  /**
   * Encodes the table as the first process reads it.
   *
   * @param next True if another table follows.
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
    // It is not known which calls were made before that step.
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
        // The maker of the table reports this failure.
        if (!mayFail) return;
      }
    }
  }

  /** True if the failure of a call of this table ended the first process. */
  isFatal({ offset }: Failure): boolean {
    if (offset < 0) return OWN_STEPS[-offset - 1] !== undefined;
    const entry = this.#entries[offset / ENTRY_SIZE];
    return entry !== undefined && !entry.options.mayFail;
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
