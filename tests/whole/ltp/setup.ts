/** The ops that prepare a case and are no system calls of src/sys. */
import { helperIn, run } from "./commands.ts";
import * as sys from "../../../src/sys/mod.ts";
import type { Ops } from "./scope.ts";
import type { Step } from "./cases.ts";

/** The preparations. */
export const setup = {
  file(step, scope) {
    const { content, mode } = step;
    Deno.writeTextFileSync(
      scope.text(step.path),
      content,
      mode === undefined ? {} : { mode },
    );
  },

  image(step, scope) {
    const name = `image-${crypto.randomUUID()}`;
    const image = `${scope.workshop}/${name}`;
    Deno.writeFileSync(image, new Uint8Array());
    Deno.truncateSync(image, (step.size_mib ?? 16) << 20);
    if (step.fstype !== undefined) run(`mkfs.${step.fstype}`, ["-q", image]);
    const device = run("losetup", ["--find", "--show", image]).trimEnd();
    // Told to detach while it is in use, it does so when the last user is gone,
    // the descriptor here or a mount: even if this process is killed.
    scope.own(
      sys.openat2(sys.AT_FDCWD, device, {
        flags: sys.O_RDONLY | sys.O_CLOEXEC,
      }),
    );
    run("losetup", ["--detach", device]);
    scope.loopDevices.set(device, name);
    return device;
  },

  mknod(step, scope) {
    const type = step.type === "blk" ? "b" : "c";
    const numbers = [String(step.major), String(step.minor)];
    run("mknod", ["--mode=600", scope.text(step.path), type, ...numbers]);
  },

  ns_id(_, scope) {
    return BigInt(run(helperIn(scope.workshop), ["namespace-id"]));
  },

  symlink(step, scope) {
    Deno.symlinkSync(scope.text(step.target), scope.text(step.path));
  },

  write(step, scope) {
    // Deno writes to no descriptor by its number: the helper inherits it.
    const fd = sys.dup(scope.integer(step.fd), { cloexec: false });
    try {
      run(helperIn(scope.workshop), ["write", String(fd), step.data]);
    } finally {
      sys.close(fd);
    }
  },
} satisfies Partial<Ops>;

/** The commands that a step runs. */
export function commandsOf(step: Step): string[] {
  switch (step.op) {
    case "image":
      return step.fstype === undefined
        ? ["losetup"]
        : ["losetup", `mkfs.${step.fstype}`];
    case "mknod":
      return ["mknod"];
    case "in_child":
      return step.chroot === undefined ? ["setpriv"] : ["setpriv", "cc"];
    case "assert_statvfs":
    case "ns_id":
    case "write":
      return ["cc"];
    case "assert_exec":
      return ["true"];
    default:
      return [];
  }
}
