import { CreatedDirectories } from "../created_directories.ts";
import { attempt } from "../error.ts";
import type { Mount } from "../mount.ts";
import { mountat } from "../mountat.ts";
import type { OwnedFd } from "../owned_fd.ts";
import { AT_FDCWD } from "../sys/constants.ts";
import { quote } from "../sys/format.ts";
import { Interrupt } from "./interrupt.ts";
import { report } from "./report.ts";
import { UsageError } from "./usage_error.ts";

/** What the arguments of `bb_mounter_at` mean. */
export type Arguments =
  | { readonly show: "help" | "version" }
  | { readonly directory: string; readonly delay: number };

/** What is mounted: the reference's two file systems. */
const FILE_SYSTEMS = [
  { name: "proc", type: "proc", source: "/proc" },
  { name: "sys", type: "sysfs", source: "/sys" },
] as const;

const DEFAULT_DELAY = 5;

/** `mountat <directory> [delay]`. */
export async function bbMounterAt(args: string[]): Promise<number> {
  const parsed = await parse(args);
  if ("show" in parsed) return await show(parsed.show);
  return await mountAndWait(parsed.directory, parsed.delay);
}

/**
 * Parses the arguments.
 *
 * @throws {UsageError} When they make no sense.
 */
export async function parse(args: string[]): Promise<Arguments> {
  // Most calls give no option: they need not load the parser.
  const options = args.some((arg) => arg.startsWith("-"))
    ? await parseOptions(args)
    : { positionals: args };
  if ("show" in options) return options;
  const [directory, delay, ...rest] = options.positionals;
  if (directory === undefined) {
    throw new UsageError("Usage: mountat <directory> [delay]");
  }
  if (directory === "") throw new UsageError("The directory's name is empty");
  if (rest.length > 0) {
    throw new UsageError(`Too many arguments: ${rest.map(quote).join(" ")}`);
  }
  return {
    directory,
    delay: delay === undefined ? DEFAULT_DELAY : parseDelay(delay),
  };
}

async function parseOptions(
  args: string[],
): Promise<{ show: "help" | "version" } | { positionals: string[] }> {
  const { parseArgs } = await import("@std/cli/parse-args");
  const parsed = parseArgs(args, {
    boolean: ["help", "version"],
    alias: { help: "h" },
    string: ["_"],
    unknown(arg, key) {
      if (key === undefined) return true;
      throw new UsageError(`Unknown option ${quote(arg)}`);
    },
  });
  if (parsed["help"]) return { show: "help" };
  if (parsed["version"]) return { show: "version" };
  return { positionals: parsed._ };
}

function parseDelay(text: string): number {
  const delay = /^(0|[1-9]\d*)$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(delay)) return delay;
  throw new UsageError(
    `The delay must be a whole number of seconds, like 0 or 10: ${quote(text)}`,
  );
}

async function show(what: "help" | "version"): Promise<number> {
  if (what === "version") {
    const { default: { version } } = await import("../../deno.json", {
      with: { type: "json" },
    });
    console.log(`mountat ${version}`);
  } else {
    console.log((await import("./usage.ts")).USAGE);
  }
  return 0;
}

async function mountAndWait(path: string, delay: number): Promise<number> {
  // From here on a signal waits until what is mounted can be unmounted.
  using interrupt = new Interrupt();
  // A failure undoes all this, the last first.
  using leading = new CreatedDirectories();
  using directory = makeDirectory(leading, AT_FDCWD, path, 0o755, 0);
  using mountPoints = new CreatedDirectories();
  using undo = new DisposableStack();
  const mounts: Mount[] = [];
  for (const { name, type, source } of FILE_SYSTEMS) {
    console.log(
      `Mounting ${source} into ${directory.fd} (file descriptor for) ${path}.`,
    );
    makeDirectory(mountPoints, directory.fd, name, 0o700).close();
    mounts.push(
      undo.use(
        mountat(directory.fd, name, { type, source, options: "noexec" }),
      ),
    );
  }
  undo.move();
  mountPoints.keep();
  leading.keep();
  console.log(`Sleeping ${delay} second${delay === 1 ? "" : "s"}.`);
  await interrupt.sleep(delay);
  const status = unmountAll(mounts, directory.fd);
  return status || (interrupt.status ?? 0);
}

function makeDirectory(
  created: CreatedDirectories,
  dirfd: number,
  path: string,
  mode: number,
  resolve?: number,
): OwnedFd {
  return attempt(
    { action: `open or create directory ${quote(path)}`, target: path },
    () => created.make(dirfd, path, mode, resolve),
  );
}

/** Unmounts in mount order, each whether or not the others could be. */
function unmountAll(mounts: Mount[], dirfd: number): number {
  let status = 0;
  for (const mount of mounts) {
    console.log(
      `Unmounting ${mount.target} from ${dirfd} (directory file descriptor).`,
    );
    try {
      mount.unmount();
    } catch (error) {
      status = report(error);
    }
    // One that could not be unmounted stays, as the message says.
    mount.keep();
    mount[Symbol.dispose]();
  }
  return status;
}
