import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { setImmediate } from "node:timers";

/** The bytes that a client sends before its first frame: RFC 9113, 3.4. */
const PREFACE_SIZE = 24;

/** The bytes of a frame's header: RFC 9113, 4.1. */
const HEADER_SIZE = 9;

const GOAWAY = 0x07;

/**
 * A client's connection, without the frame by which it says goodbye (GOAWAY). If
 * that comes after some hundred calls, Deno's node:http2 crashes the whole process:
 * https://github.com/denoland/deno/issues/36788. Nothing is lost without the frame:
 * the client also closes the connection.
 */
export class Connection extends Duplex {
  readonly #socket: Socket;
  /** The bytes that are left of the frame, or of the preface. */
  #left = PREFACE_SIZE;
  /** True if those bytes are passed on. */
  #passes = true;
  /** The bytes of the next frame's header that have come. */
  #header: Buffer = Buffer.alloc(0);

  /** @param socket The connection; it ends with this. */
  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      if (!this.#take(chunk)) socket.pause();
    });
    socket.on("end", () => this.push(null));
    socket.on("close", () => this.destroy());
    socket.on("error", (error: Error) => this.destroy(error));
  }

  /** Passes on the bytes that have come. Returns true if more may come at once. */
  #take(chunk: Buffer): boolean {
    let more = true;
    for (let rest = chunk; rest.length > 0;) {
      if (this.#left > 0) {
        const part = rest.subarray(0, this.#left);
        this.#left -= part.length;
        rest = rest.subarray(part.length);
        if (this.#passes) more = this.push(part);
        continue;
      }
      const part = rest.subarray(0, HEADER_SIZE - this.#header.length);
      rest = rest.subarray(part.length);
      const header = Buffer.concat([this.#header, part]);
      const isWhole = header.length === HEADER_SIZE;
      this.#header = isWhole ? Buffer.alloc(0) : header;
      if (!isWhole) continue;
      this.#left = header.readUIntBE(0, 3);
      this.#passes = header[3] !== GOAWAY;
      if (this.#passes) more = this.push(header);
    }
    return more;
  }

  override _read(): void {
    this.#socket.resume();
  }

  /** True while writes are held back, to be sent together. */
  #gathers = false;

  /**
   * Sends the writes of one turn of the event loop together. An answer is headers, a
   * message and trailers: each is a write, and would wake up the client.
   */
  // deno-lint-ignore no-explicit-any
  override write(...args: any[]): boolean {
    if (!this.#gathers) {
      this.#gathers = true;
      this.cork();
      setImmediate(() => {
        this.#gathers = false;
        this.uncork();
      });
    }
    return super.write(...(args as Parameters<Duplex["write"]>));
  }

  override _writev(
    chunks: { chunk: Buffer }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#socket.write(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(done);
  }

  override _destroy(
    error: Error | null,
    done: (error?: Error | null) => void,
  ): void {
    // The bytes that were written are still sent.
    if (error === null) this.#socket.destroySoon();
    else this.#socket.destroy();
    done(error);
  }
}
