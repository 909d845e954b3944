import { descriptorOf, type HasFd } from "../fd/owned_fd.ts";
import type { BindSpec, MountSpec } from "../options/spec.ts";
import { MountError } from "../error/error.ts";
import { UnsupportedError } from "../sys/error.ts";
import { createMount, type Mount } from "./mount.ts";
import type { CreatedPaths } from "./mount_point.ts";
import { unmountFlags, type UnmountOptions } from "../unmount/unmountat.ts";
import { attachInTree, MountTree } from "./tree.ts";
import { attachBeneath, type MountPlan } from "./attach.ts";
import { planBind } from "./bindat.ts";
import { planMount } from "./mountat.ts";
import {
  checkOptions,
  type OptionNames,
  received,
  refuseRevoked,
} from "../base/check.ts";

/** Options of {@linkcode applyMounts}. */
export interface ApplyOptions {
  /**
   * How symlinks in the targets are treated: see {@linkcode MountOptions}.
   *
   * @default {"refuse"}
   */
  symlinks?: "refuse" | "inRoot";
}

const APPLY_NAMES: OptionNames<ApplyOptions> = { symlinks: true };

/** An optional mount that could not be made. */
export interface PassedOver {
  /** The entry. */
  readonly spec: MountSpec;
  /** The reason why it could not be mounted. */
  readonly error: MountError | UnsupportedError;
}

/** A mount, and the files and directories made as its mount point. */
interface AppliedEntry {
  readonly mount: Mount;
  readonly created: CreatedPaths;
}

let create: (...parts: [AppliedEntry[], PassedOver[]]) => AppliedMounts;

/**
 * The mounts that {@linkcode applyMounts} made. Disposing of it unmounts them,
 * the last first, and removes the mount points that were made. Dropping it does
 * nothing.
 */
export class AppliedMounts implements Disposable {
  /**
   * The mounts, in order. Empty for a mount tree, which holds its mounts
   * itself.
   */
  readonly mounts: readonly Mount[];
  /** The optional mounts that could not be made. */
  readonly passedOver: readonly PassedOver[];
  readonly #entries: AppliedEntry[];

  private constructor(entries: AppliedEntry[], passedOver: PassedOver[]) {
    this.#entries = entries;
    this.mounts = entries.map(({ mount }) => mount);
    this.passedOver = passedOver;
  }

  static {
    create = (...parts) => new AppliedMounts(...parts);
  }

  /**
   * Unmounts all, the last first, and removes the mount points that were made.
   * If a mount can't be unmounted, those before it stay, and a second call
   * continues.
   *
   * @param options The way to unmount each.
   * @throws {TypeError} For a wrong option.
   * @throws {MountError} As {@linkcode Mount.unmount}.
   */
  unmount(options: UnmountOptions = {}): void {
    // A wrong option is an error even if nothing is mounted.
    unmountFlags(options);
    for (const { mount, created } of this.#entries.toReversed()) {
      if (mount.mounted) mount.unmount(options);
      created[Symbol.dispose]();
    }
  }

  /** Lets the mounts, and their new mount points, outlive the handle. */
  keep(): void {
    for (const { mount, created } of this.#entries) {
      mount.keep();
      created.keep();
    }
  }

  /**
   * Unmounts all mounts that were not kept.
   *
   * @throws {MountError} As {@linkcode AppliedMounts.unmount}.
   */
  [Symbol.dispose](): void {
    for (const { mount, created } of this.#entries.toReversed()) {
      mount[Symbol.dispose]();
      created[Symbol.dispose]();
    }
  }
}

/**
 * Makes a list of mounts in order: all of them, or none.
 *
 * All entries are checked before the first is mounted. If one fails, those
 * before it are unmounted, the mount points that were made are removed, and the
 * error names the entry. An `optional` entry that fails is passed over. If an
 * entry fails in a mount tree, the tree is closed, and nothing of it is left.
 *
 * Needs what {@linkcode mountat} and {@linkcode bindat} need.
 *
 * @example What a build action's root takes
 * ```ts
 * import { applyMounts, Directory } from "@meroton/mountat";
 * import { assertEquals } from "@std/assert";
 *
 * using root = Directory.open(Deno.makeTempDirSync());
 * {
 *   using applied = applyMounts(root, [
 *     { target: "proc", type: "proc", options: "nosuid", mkdir: true },
 *     { target: "etc/hosts", type: "bind", source: "/etc/hosts", mkdir: true },
 *   ]);
 *   assertEquals(applied.mounts.length, 2);
 * }
 * assertEquals(root.mounts(), []);
 * ```
 *
 * @param root The directory or tree that the targets start at.
 * @param specs The entries. `@meroton/mountat/spec` reads them from an OCI
 * configuration or an fstab.
 * @param options How to resolve the targets of entries that don't set
 * `symlinks`.
 * @returns The mounts; disposing of the object unmounts them.
 * @throws {TypeError | RangeError} For a wrong entry; before any system call.
 * @throws {MountError} For the entry that failed.
 * @throws {UnsupportedError} If the system or kernel can't do it.
 */
export function applyMounts(
  root: HasFd | MountTree,
  specs: readonly MountSpec[],
  options: ApplyOptions = {},
): AppliedMounts {
  checkOptions(options, APPLY_NAMES);
  return applyCounting(root, specs, () => {}, options);
}

/**
 * Checks that mounts are a list of objects.
 *
 * @param name The list's name in a message.
 * @throws {TypeError}
 */
export function listed(
  name: string,
  specs: readonly MountSpec[],
): readonly MountSpec[] {
  refuseRevoked(`"${name}"`, specs);
  if (!Array.isArray(specs)) {
    throw new TypeError(
      `"${name}" must be an array: received ${received(specs)}`,
    );
  }
  specs.forEach((spec, i) => refuseRevoked(`${name}[${i}]`, spec));
  const wrong = specs.findIndex((spec) =>
    typeof spec !== "object" || spec === null
  );
  if (wrong !== -1) {
    throw new TypeError(
      `${name}[${wrong}] must be an object: received ${received(specs[wrong])}`,
    );
  }
  // Errors name an entry by its place.
  const nameless = specs.findIndex(({ place = "" }) =>
    typeof place !== "string"
  );
  if (nameless === -1) return specs;
  throw new TypeError(
    `${name}[${nameless}].place must be a string: received ${
      received(specs[nameless]!.place)
    }`,
  );
}

/** {@linkcode applyMounts}, which calls `step` after each mount. */
export function applyCounting(
  root: HasFd | MountTree,
  specs: readonly MountSpec[],
  step: () => void,
  options: ApplyOptions = {},
): AppliedMounts {
  const directory = descriptorOf(root);
  const entries = listed("specs", specs).map((spec, index) => {
    const place = spec.place ?? `specs[${index}]`;
    return { spec, plan: planNamed({ ...options, ...spec }, place) };
  });
  const made: AppliedEntry[] = [];
  const passedOver: PassedOver[] = [];
  try {
    for (const { spec, plan } of entries) {
      try {
        if (root instanceof MountTree) {
          attachInTree(root, plan);
          step();
          continue;
        }
        const { id, mountPoint, created } = attachBeneath(directory, plan);
        const origin = isBind(spec) ? "bound" : "mounted";
        const mount = createMount(
          id,
          spec.target,
          mountPoint,
          origin,
          plan.whole,
        );
        made.push({ mount, created });
        step();
      } catch (error) {
        const failed = error instanceof MountError ||
          error instanceof UnsupportedError;
        if (!failed || !spec.optional) throw error;
        passedOver.push({ spec, error });
      }
    }
  } catch (error) {
    if (root instanceof MountTree) root.close();
    else undo(made, error);
    throw error;
  }
  return create(made, passedOver);
}

/** Unmounts all. If an unmount fails, throws its error with `reason`. */
function undo(made: AppliedEntry[], reason: unknown): void {
  for (const { mount, created } of made.toReversed()) {
    try {
      mount[Symbol.dispose]();
    } catch (error) {
      mount.keep();
      reason = new SuppressedError(error, reason);
    }
    created[Symbol.dispose]();
  }
  if (reason instanceof SuppressedError) throw reason;
}

/**
 * Checks an entry. Its errors name the entry, now and when it is mounted.
 *
 * @param unsaid The propagation of a bind: see `planBind`.
 * @throws {TypeError | RangeError}
 */
export function planNamed(
  spec: MountSpec,
  place: string,
  unsaid?: number,
): MountPlan {
  try {
    return isBind(spec)
      ? planBind(spec.target, spec.source, spec, ` (${place})`, unsaid)
      : planMount(spec.target, spec, ` (${place})`);
  } catch (error) {
    if (error instanceof RangeError) {
      throw new RangeError(`${place}: ${error.message}`, { cause: error });
    }
    if (error instanceof TypeError) {
      throw new TypeError(`${place}: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

function isBind(spec: MountSpec): spec is BindSpec {
  return spec.type === "bind";
}
