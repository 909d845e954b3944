/** The text of a record of mounts: a line for its owner, then one for each mount. */

/** The process that keeps a record: enough to tell whether it still runs. */
export interface Owner {
  /** The process id, in the PID namespace of the /proc that it had. */
  readonly pid: number;
  /** The time of its start, in clock ticks since boot: proc_pid_stat(5). */
  readonly startTime: number;
  /** The id of that boot. After another boot, all other ids are void. */
  readonly bootId: string;
}

/** A mount namespace. */
export interface MountNamespace {
  /** The inode number of its file in /proc, which is reused. */
  readonly inode: bigint;
  /** The kernel's unique id of it; since Linux 6.11. */
  readonly id: bigint | undefined;
}

/** A mount that was about to be attached. */
export interface RecordEntry {
  /** The kernel's unique id of the mount. */
  readonly id: bigint;
  /** The path of the mount point, for people. */
  readonly target: string;
  /** The mount namespace. */
  readonly namespace: MountNamespace;
  /** True if the mounts inside it are unmounted with it. */
  readonly whole: boolean;
}

/** The name of a new record. */
export function recordName({ pid }: Owner): string {
  return `${pid}-${crypto.randomUUID()}.jsonl`;
}

/** True if a file's name is that of a record. */
export function isRecordName(name: string): boolean {
  return /^\d+-[0-9a-f-]{36}\.jsonl$/.test(name);
}

/** Formats the line of the owner. */
export function formatOwner({ pid, startTime, bootId }: Owner): string {
  return `${JSON.stringify({ pid, startTime, bootId })}\n`;
}

/** Formats the line of a mount. */
export function formatEntry(
  { id, target, namespace, whole }: RecordEntry,
): string {
  const line = {
    mount: String(id),
    target,
    namespace: String(namespace.inode),
    ...(namespace.id === undefined
      ? {}
      : { namespaceId: String(namespace.id) }),
    ...(whole ? { whole } : {}),
  };
  return `${JSON.stringify(line)}\n`;
}

/**
 * Parses a record. Malformed lines are skipped: if the owner was killed, the
 * last line may be incomplete.
 *
 * @returns The owner, or null if its line is malformed, and the mounts.
 */
export function parseRecord(
  text: string,
): { owner: Owner | null; entries: RecordEntry[] } {
  const [first, ...rest] = text.split("\n").map(parseLine);
  return {
    owner: first === undefined ? null : toOwner(first),
    entries: rest.map(toEntry).filter((entry) => entry !== null),
  };
}

type Line = Readonly<Record<string, unknown>>;

function parseLine(text: string): Line {
  try {
    // Other values become objects without fields.
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

function toOwner({ pid, startTime, bootId }: Line): Owner | null {
  return Number.isSafeInteger(pid) && Number.isSafeInteger(startTime) &&
      typeof bootId === "string"
    ? { pid: pid as number, startTime: startTime as number, bootId }
    : null;
}

function toEntry(
  { mount, target, namespace, namespaceId, whole }: Line,
): RecordEntry | null {
  const id = toUint64(mount);
  const inode = toUint64(namespace);
  if (id === null || inode === null || typeof target !== "string") return null;
  const unique = toUint64(namespaceId) ?? undefined;
  return {
    id,
    target,
    namespace: { inode, id: unique },
    whole: whole === true,
  };
}

function toUint64(text: unknown): bigint | null {
  if (typeof text !== "string" || !/^\d{1,20}$/.test(text)) return null;
  const value = BigInt(text);
  return BigInt.asUintN(64, value) === value ? value : null;
}

// The place of the records, which store.ts opens. A process that may not write
// there loads only this file.

/** The name of the directory of records. */
export const NAME = "mountat";

const RUNTIME = "XDG_RUNTIME_DIR";

/** The directories that may hold the directory of records, in the order of preference. */
export function parents(): string[] {
  const { state } = Deno.permissions.querySync({
    name: "env",
    variable: RUNTIME,
  });
  const runtime = state === "granted" ? Deno.env.get(RUNTIME) : undefined;
  return runtime?.startsWith("/") ? ["/run", runtime] : ["/run"];
}

/** True if Deno's permissions allow writing to a path. It never prompts. */
export function mayWrite(path: string): boolean {
  const { state } = Deno.permissions.querySync({ name: "write", path });
  return state === "granted";
}

/** True if Deno's permissions allow writing records. It never prompts. */
export function mayRecord(): boolean {
  return parents().some((parent) => mayWrite(`${parent}/${NAME}`));
}
