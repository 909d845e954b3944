import type { Holder, HolderSearch } from "./holders.ts";
import { quote } from "../sys/format.ts";

/** How many processes and mounts are named, and how much of each. */
const MOST_NAMED = 5;
const MOST_USES = 3;

/**
 * What a person can do about a mount that is in use.
 *
 * @param search Who uses it.
 * @param target What the caller calls the mount: what is inside it is named so.
 * @param namedBy The descriptor that the mount was named by alone, where it was:
 * that may be open on the mount itself.
 */
export function busyHint(
  { holders, more, obstacles, mountPoint }: HolderSearch,
  target: string,
  namedBy?: number,
): string {
  const names = [...Map.groupBy(holders, ({ pid }) => pid).values()]
    .flatMap((uses) =>
      uses[0]!.pid === undefined
        ? uses.map((mount) => nameMount(mount, target, mountPoint))
        : nameProcess(uses, namedBy)
    );
  const parts = names.slice(0, MOST_NAMED);
  const unnamed = names.length - parts.length + more;
  if (unnamed > 0) parts.push(`${unnamed} more`);
  const doubts = obstacles.join(", ");
  if (parts.length === 0) {
    return `Something uses it that was not found (${
      doubts || UNSEEN
    }); lazy unmounting takes it away all the same`;
  }
  const found = `In use: ${parts.join("; ")}${doubts && ` (${doubts})`}`;
  const ours = holders.every((use) =>
    use.own && (use.by === "mount descriptor" || isNamedBy(use, namedBy))
  );
  if (ours) return found;
  // Whoever unmounts by the path, lazily too, takes what is on top instead.
  const lazily = holders.some(({ onTop }) => onTop)
    ? ""
    : ", or unmount lazily";
  return `${found}; end, close or unmount that first${lazily}`;
}

/** What no process shows. */
const UNSEEN =
  "a copy of it in another mount namespace, a loop device, a swap file, a socket's name";

function nameMount(
  { path, onTop }: Holder,
  target: string,
  mountPoint = "",
): string {
  if (onTop) return "another mount is on top of it";
  const below = `${mountPoint}/`;
  const name = path.startsWith(below)
    ? `${target.replace(/\/+$/, "")}/${path.slice(below.length)}`
    : path;
  return `${quote(name)} is mounted inside it`;
}

/** Names a process by all that it uses; of this one, each descriptor alone. */
function nameProcess(uses: readonly Holder[], namedBy?: number): string[] {
  const { pid, command, own } = uses[0]!;
  const descriptors = uses.filter(({ fd }) => own && fd !== undefined);
  const names = descriptors.map((use) =>
    isNamedBy(use, namedBy)
      ? `descriptor ${use.fd} of this process, which it was named by, is open on it: name it from its parent directory`
      : use.by === "mount descriptor" && !use.copy
      ? `descriptor ${use.fd} of this process is the mount's own, close it first`
      : `descriptor ${use.fd} of this process is open on ${place(use)}`
  );
  const others = uses.filter((use) => !descriptors.includes(use));
  if (others.length === 0) return names;
  const shown = others.slice(0, MOST_USES).map((use) =>
    `${use.by}${use.fd === undefined ? "" : ` ${use.fd}`} ${place(use)}`
  );
  const rest = others.length - shown.length;
  if (rest > 0) shown.push(`${rest} more`);
  // Whoever runs it chose its name: it must not steer the terminal.
  const who = own
    ? "this process"
    : `${quote(command!).slice(1, -1)} (pid ${pid})`;
  return [...names, `${who} by its ${shown.join(", ")}`];
}

function isNamedBy({ fd }: Holder, namedBy: number | undefined): boolean {
  return fd !== undefined && fd === namedBy;
}

function place({ path, copy }: Holder): string {
  return quote(path) + (copy ? " in a copy of the mount" : "");
}
