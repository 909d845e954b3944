/** The form of ltp-cases.json, as far as its cases go. */

/** A number, its text, a constant's name, a `$variable`, or several ORed together. */
export type Numeric = number | string | (number | string)[];

/** A string with `${variable}` in it, a `$variable`, or a string repeated; null is NULL. */
export type Text = string | null | { repeat: string; times: number };

/** What a step must come to: success when `errno` is absent. */
export interface Expectation {
  errno?: string;
}

/** What any step may have. */
interface Common {
  /** The variable that takes the result. */
  as?: string;
  /** Success where it is absent. */
  expect?: Expectation;
  /** Whether this is a call under test. */
  test?: boolean;
  /** Whether it takes a call without type checks. */
  raw?: boolean;
}

/** `struct mount_attr`. */
export interface Attributes {
  set?: Numeric;
  clr?: Numeric;
  propagation?: Numeric;
}

/** `struct open_how`, and bytes behind it. */
export interface How {
  flags: Numeric;
  mode?: Numeric;
  resolve?: Numeric;
  raw_extra?: string;
}

/** The parameters of each op. */
interface Parameters {
  // Calls.
  bind: { from: Text; to: Text };
  close: { fd: Numeric };
  fsconfig: {
    fs: Numeric;
    cmd: number | string;
    key?: Text;
    value?: Text;
    aux?: Numeric;
  };
  fsmount: { fs: Numeric; flags: Numeric; attrs: Numeric };
  fsopen: { fstype: Text; flags: Numeric };
  fspick: { dirfd: Numeric; path: Text; flags: Numeric };
  listmount: {
    mnt_id: Numeric;
    last?: Numeric;
    count?: Numeric;
    flags?: Numeric;
    ns_fd?: Numeric;
    req_size?: number;
    req_null?: boolean;
    buf_null?: boolean;
  };
  mkdir: { path: Text };
  mkdirat: { dirfd: Numeric; path: Text };
  mount: {
    fstype: Text;
    source?: Text;
    target: Text;
    flags?: Numeric;
    data?: Text;
  };
  mount_setattr: {
    dirfd: Numeric;
    path: Text;
    flags: Numeric;
    attr: Attributes;
  };
  move_mount: {
    from_dirfd: Numeric;
    from_path: Text;
    to_dirfd: Numeric;
    to_path: Text;
    flags: Numeric;
  };
  open_tree: { dirfd: Numeric; path: Text; flags: Numeric };
  open_tree_attr: {
    dirfd: Numeric;
    path: Text;
    flags: Numeric;
    attr: Attributes;
  };
  openat: { dirfd: Numeric; path: Text; flags: Numeric };
  openat2: { dirfd: Numeric; path: Text; how: How; size?: number };
  pivot_root: { new_root: Text; put_old: Text };
  propagation: { target: Text; type: "shared" };
  setns: { fd: Numeric };
  statmount: {
    mnt_id: Numeric;
    mask: Numeric;
    flags?: Numeric;
    bufsize?: number;
    buf_null?: boolean;
  };
  statx: { dirfd: Numeric; path: Text; flags: Numeric; mask?: Numeric };
  umount2: { path: Text; flags: Numeric };
  unshare: { ns: ["mnt"] };

  // What else prepares a case.
  file: { path: Text; content: string; mode?: number };
  image: { fstype?: string; size_mib?: number };
  mknod: { path: Text; type: "blk" | "chr"; major: number; minor: number };
  ns_id: unknown;
  symlink: { target: Text; path: Text };
  write: { fd: Numeric; data: string };

  // Steps in steps.
  in_child: {
    chroot?: Text;
    unshare?: ["mnt"];
    uid?: number;
    caps_drop?: string[];
    steps: Step[];
  };
  repeat: { times: number; steps: Step[] };

  // Assertions.
  assert_bits: { value: Numeric; has: Numeric; lacks: Numeric };
  assert_cloexec: { fd: Numeric; is: boolean };
  assert_content: { path: Text; equals: string };
  assert_eq: { a: Numeric; b: Numeric };
  assert_exec: { path: Text; errno?: string };
  assert_exists: { path: Text };
  assert_missing: { path: Text };
  assert_mounted: { path: Text };
  assert_mountinfo: {
    path: Text;
    count?: number;
    fstype?: Text;
    source?: Text;
    opts?: string[];
    not_opts?: string[];
    super?: string[];
    tags?: string[];
    not_tags?: string[];
  };
  assert_not_mounted: { path: Text };
  assert_open: { path: Text; flags: Numeric; errno: string };
  assert_same_file: { a: Text; b: Text; is: boolean };
  assert_sorted: { list: string };
  assert_statvfs: { path: Text; has: string[]; lacks: string[] };
}

/** The name of an operation. */
export type Op = keyof Parameters;

/** A step of the given op. */
export type StepOf<O extends Op> = Common & Parameters[O] & { op: O };

/** A step. */
export type Step = { [O in Op]: StepOf<O> }[Op];

/** A case. */
export interface Case {
  id: string;
  description: string;
  steps: Step[];
  /** The first version of Linux that behaves so, where it is known. */
  since?: string;
}

/** The steps, and those in them. */
export function allSteps(steps: readonly Step[]): Step[] {
  return steps.flatMap((step) =>
    step.op === "in_child" || step.op === "repeat"
      ? [step, ...allSteps(step.steps)]
      : [step]
  );
}
