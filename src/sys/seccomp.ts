/**
 * Filters of system calls, seccomp(2). libseccomp makes them: it knows the
 * numbers of all calls on each processor.
 */
import { cString } from "./call.ts";
import { LITTLE_ENDIAN } from "./layout.ts";
import { SyscallError, UnsupportedError } from "./error.ts";

// include/uapi/linux/seccomp.h
export const SECCOMP_MODE_FILTER = 2;

/** Actions by their names in seccomp.h; SCMP_ACT_ERRNO takes a number, too. */
export const ACTIONS: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x8000_0000,
  SCMP_ACT_TRAP: 0x3_0000,
  SCMP_ACT_ERRNO: 0x5_0000,
  SCMP_ACT_LOG: 0x7ffc_0000,
  SCMP_ACT_ALLOW: 0x7fff_0000,
};

/** Comparisons of an argument by their names: enum scmp_compare. */
export const COMPARISONS: Readonly<Record<string, number>> = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
};

/** The tokens of processors, AUDIT_ARCH_* of linux/audit.h, by name. */
export const PROCESSORS: Readonly<Record<string, number>> = {
  SCMP_ARCH_X86: 0x4000_0003,
  SCMP_ARCH_X86_64: 0xc000_003e,
  SCMP_ARCH_X32: 0x4000_003e,
  SCMP_ARCH_ARM: 0x4000_0028,
  SCMP_ARCH_AARCH64: 0xc000_00b7,
};

/** A comparison of an argument: `struct scmp_arg_cmp`. */
export interface Comparison {
  readonly index: number;
  readonly op: number;
  readonly value: bigint;
  /** The second value of a masked comparison. */
  readonly valueTwo: bigint;
}

/** An action, and the calls that it applies to. */
export interface FilterRule {
  readonly names: readonly string[];
  readonly action: number;
  /** All of them must hold. */
  readonly comparisons: readonly Comparison[];
}

/** A filter. */
export interface Filter {
  /** The action for all other calls. */
  readonly action: number;
  /** The tokens of other processors whose programs this one can execute. */
  readonly processors: readonly number[];
  readonly rules: readonly FilterRule[];
}

const SYMBOLS = {
  // scmp_filter_ctx seccomp_init(uint32_t def_action);
  seccomp_init: { parameters: ["u32"], result: "usize" },
  // void seccomp_release(scmp_filter_ctx ctx);
  seccomp_release: { parameters: ["usize"], result: "void" },
  // int seccomp_arch_add(scmp_filter_ctx ctx, uint32_t arch_token);
  seccomp_arch_add: { parameters: ["usize", "u32"], result: "i32" },
  // int seccomp_syscall_resolve_name(const char *name);
  seccomp_syscall_resolve_name: { parameters: ["buffer"], result: "i32" },
  // int seccomp_rule_add_array(scmp_filter_ctx ctx, uint32_t action, int syscall, unsigned int arg_cnt, const struct scmp_arg_cmp *arg_array);
  seccomp_rule_add_array: {
    parameters: ["usize", "u32", "i32", "u32", "buffer"],
    result: "i32",
  },
  // int seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);
  seccomp_export_bpf: { parameters: ["usize", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

let symbols: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

/** Bytes of a `struct scmp_arg_cmp`. */
const COMPARISON_SIZE = 24;

/** The number for an unknown name, __NR_SCMP_ERROR. */
const UNKNOWN = -1;

/** The error for a processor or rule that was added before. */
const EEXIST = 17;

/**
 * Writes a filter to a file, as a program for the kernel: `struct sock_filter[]`.
 * Leaves out calls whose names libseccomp does not know.
 *
 * `int seccomp_export_bpf(const scmp_filter_ctx ctx, int fd);`
 *
 * See seccomp_rule_add(3), seccomp_export_bpf(3).
 *
 * @throws {SyscallError} If libseccomp fails.
 * @throws {UnsupportedError} If libseccomp is not installed.
 * @throws {Deno.errors.NotCapable} Without `--allow-ffi` for it.
 */
export function exportFilter(
  { action, processors, rules }: Filter,
  fd: number,
): void {
  symbols ??= bind();
  const {
    seccomp_init,
    seccomp_release,
    seccomp_arch_add,
    seccomp_syscall_resolve_name,
    seccomp_rule_add_array,
    seccomp_export_bpf,
  } = symbols;
  const context = seccomp_init(action);
  if (context === 0n) throw new SyscallError("seccomp_init", 22, [`${action}`]);
  try {
    for (const processor of processors) {
      const result = seccomp_arch_add(context, processor);
      // libseccomp adds this machine's processor itself.
      if (result !== -EEXIST) check("seccomp_arch_add", result, `${processor}`);
    }
    for (const rule of rules) {
      // libseccomp refuses a rule with the default action.
      if (rule.action === action) continue;
      const { comparisons } = rule;
      const bytes = encode(comparisons);
      for (const name of rule.names) {
        const number = seccomp_syscall_resolve_name(cString("name", name));
        if (number === UNKNOWN) continue;
        const result = seccomp_rule_add_array(
          context,
          rule.action,
          number,
          comparisons.length,
          bytes,
        );
        check("seccomp_rule_add_array", result, name);
      }
    }
    check("seccomp_export_bpf", seccomp_export_bpf(context, fd), `${fd}`);
  } finally {
    seccomp_release(context);
  }
}

function bind(): Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] {
  try {
    return Deno.dlopen("libseccomp.so.2", SYMBOLS).symbols;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new UnsupportedError(
      "A filter of system calls takes libseccomp: install libseccomp2",
      { cause: error },
    );
  }
}

/** libseccomp returns errors as the kernel does: as negative numbers. */
function check(name: string, result: number, argument: string): void {
  if (result < 0) throw new SyscallError(name, -result, [argument]);
}

function encode(comparisons: readonly Comparison[]): Uint8Array<ArrayBuffer> {
  const memory = new DataView(
    new ArrayBuffer(Math.max(1, comparisons.length) * COMPARISON_SIZE),
  );
  comparisons.forEach(({ index, op, value, valueTwo }, i) => {
    const at = i * COMPARISON_SIZE;
    memory.setUint32(at, index, LITTLE_ENDIAN);
    memory.setUint32(at + 4, op, LITTLE_ENDIAN);
    memory.setBigUint64(at + 8, value, LITTLE_ENDIAN);
    memory.setBigUint64(at + 16, valueTwo, LITTLE_ENDIAN);
  });
  return new Uint8Array(memory.buffer);
}
