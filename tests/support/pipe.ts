/** A pipe as the program's stdout. */
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { dup, openat2, pipe2, write } from "../../src/sys/file.ts";
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_NONBLOCK,
  O_WRONLY,
} from "../../src/sys/constants.ts";
import { assertThrows } from "@std/assert";
import { SyscallError } from "../../src/sys/error.ts";

/** A pipe whose one end, that is written to, children have, too. */
export class Pipe implements Disposable {
  readonly reading: OwnedFd;
  readonly writing: OwnedFd;

  constructor() {
    const [reading, writing] = pipe2().map((fd) => new OwnedFd(fd));
    this.reading = reading!;
    this.writing = new OwnedFd(dup(writing!.fd, { cloexec: false }));
    writing!.close();
  }

  /** A command that runs another with the pipe as its stdout. */
  get wrapper(): string[] {
    const script = 'exec "${@:2}" >&$1';
    return ["bash", "-c", script, "bash", String(this.writing.fd)];
  }

  /** Leaves no room, and returns how many bytes that took. */
  fill(): number {
    const path = `/proc/self/fd/${this.writing.fd}`;
    const flags = O_WRONLY | O_NONBLOCK | O_CLOEXEC;
    using filling = new OwnedFd(openat2(AT_FDCWD, path, { flags }));
    const page = new Uint8Array(4096);
    let filled = 0;
    const fill = () => {
      while (true) filled += write(filling.fd, page);
    };
    assertThrows(fill, SyscallError, "EAGAIN");
    return filled;
  }

  [Symbol.dispose](): void {
    this.reading.close();
    this.writing.close();
  }
}
