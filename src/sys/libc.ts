/**
 * The C library: its variadic `syscall`, declared once for each system call
 * with the parameters that the call takes, and bound when it is first used.
 *
 * Deno compiles machine code for a declaration. That takes 0.1 to 0.3
 * milliseconds, and halves a call's time outside the kernel. Calls that are
 * made only a few times are not compiled.
 */
import {
  type Architecture,
  ARCHITECTURES,
  CALLS,
  type ParameterType,
} from "./calls.ts";
import { UnsupportedError } from "./error.ts";

type Call = {
  [C in keyof typeof CALLS]: (typeof CALLS)[C] extends
    { readonly parameters: readonly ParameterType[] } ? C : never;
}[keyof typeof CALLS];

type ParametersOf<C extends Call> = (typeof CALLS)[C]["parameters"];

type Native<P> = P extends "buffer" ? Uint8Array<ArrayBuffer> | null
  // Deno also takes a number, but more slowly.
  : P extends "u64" | "usize" ? bigint
  : number;

type Natives<P extends readonly ParameterType[]> = {
  [I in keyof P]: Native<P[I]>;
};

type Calls = {
  readonly [C in Call]: (
    number: number,
    ...args: Natives<ParametersOf<C>>
  ) => number;
};

interface Libc extends Calls {
  /**
   * Copies errno into {@linkcode errno}. Call it on the line after the failing
   * call: if anything is allocated, V8's own calls overwrite errno. (A signal
   * can still come between: Deno's handler leaves EAGAIN in errno if some
   * hundred signals wait for an event loop that does not turn.)
   */
  readonly copyErrno: (
    to: Int32Array<ArrayBuffer>,
    from: Deno.PointerValue,
    size: bigint,
  ) => void;
  /** The address of this thread's errno. */
  readonly errnoLocation: Deno.PointerValue;
}

/** The errno of the last call that failed, as `copyErrno` left it. */
export const errno: Int32Array<ArrayBuffer> = new Int32Array(
  // An array over its own buffer: a small array made by length lives in V8's
  // heap. The first use of its address would move it out: an allocation.
  new ArrayBuffer(4),
);

/** Bytes of an errno. */
export const ERRNO_SIZE = 4n;

// Importing this file must work without Deno, too: only the first call throws.
const architecture: string | undefined = (globalThis as { Deno?: typeof Deno })
  .Deno?.build.arch;

/** The system call numbers of this processor. */
export const NR: Readonly<Record<keyof typeof CALLS, number>> = numbersOf(
  architecture === "aarch64" ? "aarch64" : "x86_64",
);

function numbersOf(
  processor: Architecture,
): Record<keyof typeof CALLS, number> {
  const numbers: Record<string, number> = {};
  for (const name in CALLS) {
    numbers[name] = CALLS[name as keyof typeof CALLS][processor];
  }
  return numbers as Record<keyof typeof CALLS, number>;
}

/** The system calls, each bound to the C library when it is first used. */
export const libc: Libc = {} as Libc;

for (const [name, call] of Object.entries(CALLS)) {
  if (!("parameters" in call)) continue;
  const { parameters } = call;
  let uses = 0;
  let uncompiled: NativeCall | undefined;
  Object.defineProperty(libc, name, {
    configurable: true,
    get(): NativeCall {
      uses++;
      if (uses <= mostUncompiled) {
        return uncompiled ??= bindUncompiled(parameters);
      }
      const value = bind(parameters);
      Object.defineProperty(libc, name, { value });
      return value;
    },
  });
}

type NativeCall = (...args: unknown[]) => number;

/**
 * The number of uses after which a call is compiled: most programs that mount
 * once make no more. V8 soon begins to record the callee of a call site, and
 * calls compiled code directly only if the site never had another callee.
 */
let mostUncompiled = 4;

/**
 * Keeps Deno from compiling calls from now on: for a program too short to gain
 * from it. Each call takes some microseconds more.
 */
export function compileNothing(): void {
  mostUncompiled = Infinity;
}

function bind(
  parameters: readonly ParameterType[],
  before: readonly Deno.NativeType[] = [],
): NativeCall {
  // This comes first: it throws UnsupportedError without Deno.
  const library = libraryPath();
  const { symbols } = Deno.dlopen(library, {
    syscall: { parameters: [...before, "i32", ...parameters], result: "i32" },
  });
  return symbols.syscall as NativeCall;
}

/** Binds a call so that Deno compiles nothing for it. */
export function bindUncompiled(
  parameters: readonly ParameterType[],
): NativeCall {
  return bind(parameters, [UNCOMPILED]).bind(undefined, NOTHING);
}

/**
 * Deno does not compile a function that takes a struct. A struct of one double
 * goes into a floating-point register, which `syscall` does not read.
 */
const UNCOMPILED = { struct: ["f64"] } as const;

const NOTHING = new Uint8Array(8);

const elsewhere = new Map<Call, unknown>();

/**
 * Binds a call to run on a thread of Deno's, which may wait and has the errno.
 */
export function bindElsewhere<C extends Call>(
  call: C,
): (...args: Parameters<Calls[C]>) => Promise<number> {
  let bound = elsewhere.get(call);
  if (bound === undefined) {
    const { symbols } = Deno.dlopen(libraryPath(), {
      syscall: {
        parameters: ["i32", ...CALLS[call].parameters],
        result: "i32",
        nonblocking: true,
      },
    });
    bound = symbols.syscall;
    elsewhere.set(call, bound);
  }
  return bound as (...args: Parameters<Calls[C]>) => Promise<number>;
}

let path: string | undefined;

/** The path or name by which the C library was opened. */
export function libraryPath(): string {
  path ??= open();
  return path;
}

/** Finds the C library, binds the way to errno, and returns the library's path. */
function open(): string {
  if (architecture === undefined || Deno.build.os !== "linux") {
    throw new UnsupportedError("Mounts by descriptor need Deno on Linux");
  }
  if (!(ARCHITECTURES as readonly string[]).includes(architecture)) {
    throw new UnsupportedError(
      `The system call numbers of ${architecture} are not known, only those of ${
        ARCHITECTURES.join(" and ")
      }`,
    );
  }
  const paths = candidates(architecture);
  for (const path of paths) {
    try {
      const { symbols } = Deno.dlopen(path, {
        // void *memcpy(void *dest, const void *src, size_t n);
        memcpy: {
          parameters: [UNCOMPILED, "buffer", "pointer", "usize"],
          result: "void",
        },
        // int *__errno_location(void);
        __errno_location: { parameters: [UNCOMPILED], result: "pointer" },
      });
      Object.defineProperties(libc, {
        // Bound without a wrapper: V8 may do work of its own when one returns.
        copyErrno: { value: symbols.memcpy.bind(undefined, NOTHING) },
        errnoLocation: { value: symbols.__errno_location(NOTHING) },
      });
      return path;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) {
        throw new Deno.errors.NotCapable(
          `Requires ffi access to the C library: run again with --allow-ffi, or with --allow-ffi=PATH and its absolute path, like ${
            absolutePaths(architecture)[0]
          }`,
          { cause: error },
        );
      }
    }
  }
  throw new UnsupportedError(
    `Cannot find the C library: tried ${paths.join(", ")}`,
  );
}

/**
 * The paths that the C library may have. The dynamic linker finds it by its
 * bare name. But if the permission is limited to paths, Deno takes the name for
 * a file in the working directory: then only permitted paths are tried.
 */
function candidates(architecture: string): string[] {
  const permitted = permittedLibraries(architecture);
  if (permitted.length > 0) return permitted;
  // This asks at a terminal; without one, Deno.dlopen throws NotCapable.
  Deno.permissions.requestSync({ name: "ffi" });
  return libraryNames(architecture);
}

/** The C library's paths that Deno's permissions allow; asks no user. */
export function permittedLibraries(architecture: string): string[] {
  const ffi = { name: "ffi" } as const;
  // A permission with exceptions also counts as one for paths.
  const { state, partial } = Deno.permissions.querySync(ffi);
  if (state === "granted" && !partial) return libraryNames(architecture);
  return absolutePaths(architecture).filter((path) =>
    Deno.permissions.querySync({ ...ffi, path }).state === "granted"
  );
}

function absolutePaths(architecture: string): string[] {
  return [
    `/lib/${architecture}-linux-gnu/libc.so.6`, // Debian
    `/usr/lib/${architecture}-linux-gnu/libc.so.6`,
    "/lib64/libc.so.6", // Fedora, openSUSE
    "/usr/lib64/libc.so.6",
    "/lib/libc.so.6", // Arch
    "/usr/lib/libc.so.6",
    `/lib/libc.musl-${architecture}.so.1`, // Alpine
    `/lib/ld-musl-${architecture}.so.1`,
  ];
}

function libraryNames(architecture: string): string[] {
  return ["libc.so.6", `libc.musl-${architecture}.so.1`];
}
