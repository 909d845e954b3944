import { type Command, expectPositionals, type Manner } from "./command.ts";
import {
  formatJson,
  OutputError,
  printData,
  printMessage,
  UsageError,
} from "./print.ts";
import { Interrupt } from "./interrupt.ts";
import { Directory } from "../directory.ts";
import { closeRecord, openRecord } from "./bb_mounter_at.ts";
import type { MountSpec } from "../options/spec.ts";
import { dirname } from "@std/path/posix/dirname";
import { SpecSyntaxError } from "../spec/malformed.ts";
import { printable, quote } from "../base/text.ts";
import {
  type AppliedMounts,
  applyCounting,
  planNamed,
} from "../mount/apply.ts";
import { readInputFile, readStandardInput } from "./input.ts";
import { SyscallError } from "../sys/error.ts";
import { errnoText } from "../sys/errno.ts";
import { MountTree } from "../mount/tree.ts";
import { nameOption } from "../program.ts";
import { Progress } from "./progress.ts";

/** The parsed arguments of `apply`. */
export interface Arguments {
  /** The directory that the targets start at. */
  readonly directory: string;
  /** The file that says what to mount; `-` is standard input. */
  readonly file: string;
  /** The file's format. */
  readonly format: "oci" | "fstab";
  /** True to hold it as a mount tree, and not to attach it. */
  readonly hold: boolean;
}

/** `mountat apply --oci|--fstab <file> <directory>`. */
export const apply: Command<Arguments> = {
  description: {
    name: "apply",
    synopsis: ["apply --oci|--fstab <file> [--hold] <directory>"],
    summary: `Mount what an OCI configuration or an fstab says

Each mount point is a path in the directory. Its symlinks are followed as if the
directory were the root. Missing mount points of an OCI configuration are made, also
at the end of a dangling symlink. Those of an fstab are made only for an entry with
x-mount.mkdir. If an entry fails, everything is undone, and the error names the entry.
An entry with nofail that fails is passed over, and the others are mounted.

As with mount -a, entries of an fstab for swap, for / and with noauto are left out,
and malformed lines are left out with a warning.

With --hold nothing is attached to the directory. The mounts are made in a tree that
no mount table shows. The tree's path is printed, and other programs can use that
path:

  chroot /proc/4711/fd/24 /bin/sh

The tree stays until a signal comes. No mount is left when the program ends, not even
after SIGKILL.

Without --hold the mounts stay. "mountat sweep" unmounts them, provided that Deno's
permissions allowed them to be recorded.

Exit status: 0 if all was mounted, 1 for wrong usage, a malformed file or no
permission, 32 if a mount failed; 128 plus the signal's number if a signal ended
--hold, or came before all was mounted: then all is undone.`,
    options: {
      fstab: { value: "file", help: "read a file in the format of fstab(5)" },
      hold: { help: "hold a tree of the directory, and print its path" },
      oci: {
        value: "file",
        help: "read the mounts of an OCI runtime configuration (config.json)",
      },
    },
    examples: [{
      call: "runc spec && mountat apply --oci config.json rootfs",
      does: "the mounts that runc would make are in rootfs",
    }, {
      call: "mountat apply --fstab - /srv/root < fstab",
      does: "the entries of the file fstab are mounted below /srv/root",
    }],
  },
  failureStatus: 32,
  parse({ positionals, switches, values }) {
    // A file without its option is more than one argument.
    expectPositionals(this.description, positionals, 1, Infinity);
    const given = (["oci", "fstab"] as const).filter((name) => values[name]);
    const [format] = given;
    if (format === undefined || given.length > 1) {
      throw new UsageError("Name one file, by --oci FILE or --fstab FILE");
    }
    expectPositionals(this.description, positionals, 1, 1);
    return {
      directory: positionals[0]!,
      file: values[format]![0]!,
      format,
      hold: switches.has("hold"),
    };
  },
  async run({ directory: path, file, format, hold }, manner) {
    const specs = await readSpecs(file, format, manner);
    for (const spec of specs) checkSpec(spec, file, hold);
    // From here on a signal waits until all is mounted.
    using interrupt = new Interrupt();
    interrupt.catchAll();
    using directory = Directory.open(path);
    if (hold) return await holdTree(directory, specs, interrupt, manner);
    const record = await openRecord();
    try {
      const recorded = specs.map((spec) => ({ ...spec, record }));
      const applied = mountAll(directory, recorded, manner);
      // A signal that came meanwhile is delivered only now.
      await interrupt.told();
      if (interrupt.status !== null) {
        applied.unmount();
        return interrupt.status;
      }
      applied.keep();
      try {
        tell(applied, manner);
      } catch (error) {
        // The exit status says that nothing was done.
        if (error instanceof OutputError) applied.unmount();
        throw error;
      }
      return 0;
    } finally {
      // The mounts are as asked for, whatever becomes of their record.
      closeRecord(record);
    }
  },
};

/** Reads what to mount; what is wrong with it, and where, is wrong usage. */
async function readSpecs(
  file: string,
  format: "oci" | "fstab",
  { quiet }: Manner,
): Promise<MountSpec[]> {
  const text = file === "-" ? await readStandardInput() : read(file);
  try {
    if (format === "fstab") {
      nameOption("mkdir", "x-mount.mkdir");
      const { parseFstab } = await import("../spec/fstab.ts");
      return parseFstab(text, {
        warn({ message }) {
          if (quiet) return;
          printMessage(
            `mountat: Ignored: ${named(file)}: ${printable(message)}`,
          );
        },
      });
    }
    const { parseOciMounts } = await import("../spec/oci.ts");
    const bundle = file === "-" ? "." : dirname(file);
    return parseOciMounts(text, { bundle });
  } catch (error) {
    if (!(error instanceof SpecSyntaxError)) throw error;
    throw new UsageError(`${named(file)}: ${printable(error.message)}`);
  }
}

/** A file's name, for messages. */
function named(file: string): string {
  return file === "-" ? "standard input" : printable(file);
}

/** Checks that an entry, which is well-formed, asks for nothing impossible. */
function checkSpec(spec: MountSpec, file: string, hold: boolean): void {
  try {
    const { target } = planNamed(spec, spec.place!);
    if (hold && target.name === ".") {
      // The path of the tree leads beneath what is mounted there.
      throw new TypeError(
        `${spec.place}: With --hold nothing can be mounted on the directory itself`,
      );
    }
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) {
      throw error;
    }
    throw new UsageError(`${named(file)}: ${printable(error.message)}`);
  }
}

function read(file: string): string {
  try {
    return readInputFile(file);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const { syscall, code, errno } = error;
    throw new UsageError(
      `Cannot read ${quote(file)}: ${syscall}: ${code} (${errnoText(errno)})`,
    );
  }
}

async function holdTree(
  directory: Directory,
  specs: MountSpec[],
  interrupt: Interrupt,
  manner: Manner,
): Promise<number> {
  using tree = MountTree.from(directory, { recursive: true });
  using applied = mountAll(tree, specs, manner);
  tell(applied, manner, `/proc/${Deno.pid}/fd/${tree.fd}`);
  await interrupt.sleep(Infinity);
  return interrupt.status ?? 0;
}

function mountAll(
  root: Directory | MountTree,
  specs: readonly MountSpec[],
  manner: Manner,
): AppliedMounts {
  using progress = new Progress("Mounted", manner);
  return applyCounting(root, specs, progress.step, { symlinks: "inRoot" });
}

function tell(
  { mounts, passedOver }: AppliedMounts,
  { json, quiet }: Manner,
  tree?: string,
): void {
  for (const { error } of passedOver) {
    if (!quiet) printMessage(`mountat: Passed over: ${error.message}`);
  }
  if (json) {
    printData(formatJson({
      ...(tree === undefined ? {} : { tree }),
      mounted: mounts.map(({ target, id }) => ({ target, id: Number(id) })),
      passedOver: passedOver.map(({ spec: { target }, error }) => ({
        target,
        message: error.message,
      })),
    }));
  } else if (tree !== undefined) {
    printData(tree);
  } else if (!quiet) {
    for (const { target } of mounts) printData(`Mounted ${quote(target)}.`);
  }
}
