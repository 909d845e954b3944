/**
 * What the prototype's author tried in move_mount.c, one by one: each either
 * works here, or is answered with the reason. See move_mount(2), fspick(2).
 */
import { Directory } from "../../src/directory.ts";
import { kernelTest, mountsBelow, SCRATCH } from "../support/testing.ts";
import {
  mountSetattr,
  moveMount,
  openTree,
  umount2,
} from "../../src/sys/mount.ts";
import {
  AT_FDCWD,
  MNT_FORCE,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_PRIVATE,
  MS_SHARED,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  UMOUNT_NOFOLLOW,
} from "../../src/sys/constants.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { OwnedFd } from "../../src/fd/owned_fd.ts";
import { moveat } from "../../src/mount/moveat.ts";
import { MountError } from "../../src/error/error.ts";
import {
  fsconfigCreate,
  fsconfigReconfigure,
  fsconfigSetFlag,
  fsmount,
  fsopen,
  fspick,
} from "../../src/sys/fscontext.ts";

/** `mnt/proc` is a mount, `destination/proc` an empty directory. */
function stage(propagation: number): Directory {
  const root = Directory.open(SCRATCH);
  root.mkdir("destination/proc", { recursive: true });
  root.mount("mnt/proc", { type: "proc", mkdir: true }).keep();
  mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation });
  return root;
}

function clear(root: Directory, target: string): void {
  mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation: MS_PRIVATE });
  root.unmount(target);
}

function errorOf(call: () => unknown): SyscallError {
  return assertThrows(call, SyscallError);
}

kernelTest(
  "move_mount of the attached mount is EINVAL because its parent is shared",
  () => {
    using root = stage(MS_SHARED);
    using mnt = root.openDirectory("mnt");
    using destination = root.openDirectory("destination");
    const direct = () => moveMount(mnt.fd, "proc", destination.fd, "proc");
    assertEquals(errorOf(direct).code, "EINVAL");
    // Private, the very same call moves the original.
    mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation: MS_PRIVATE });
    direct();
    assertEquals(mountsBelow(`${SCRATCH}/mnt`), []);
    assertEquals(mountsBelow(`${SCRATCH}/destination`).length, 1);
    clear(root, "destination/proc");
  },
);

kernelTest(
  "open_tree without CLONE picks the mount up, and moves it only out of a private one",
  () => {
    using root = stage(MS_SHARED);
    using mnt = root.openDirectory("mnt");
    using destination = root.openDirectory("destination");
    using picked = new OwnedFd(openTree(mnt.fd, "proc", OPEN_TREE_CLOEXEC));
    const move = () =>
      moveMount(picked.fd, "", destination.fd, "proc", MOVE_MOUNT_F_EMPTY_PATH);
    assertEquals(errorOf(move).code, "EINVAL");
    mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation: MS_PRIVATE });
    move();
    assertEquals(mountsBelow(`${SCRATCH}/destination`).length, 1);
    picked.close();
    clear(root, "destination/proc");
  },
);

kernelTest(
  "open_tree of the mount point's directory is no mount to move",
  () => {
    using root = stage(MS_PRIVATE);
    using destination = root.openDirectory("destination");
    using picked = new OwnedFd(openTree(root.fd, "mnt", OPEN_TREE_CLOEXEC));
    const error = errorOf(() =>
      moveMount(picked.fd, "", destination.fd, "proc", MOVE_MOUNT_F_EMPTY_PATH)
    );
    assertEquals(error.code, "EINVAL");
    const told = assertThrows(
      () => moveat(root, "mnt", root, "destination/proc"),
      MountError,
    );
    assertEquals(told.code, "EINVAL");
    clear(root, "mnt/proc");
  },
);

kernelTest(
  "fspick picks the file system, not the mount: fsmount of it is EBUSY",
  () => {
    using root = stage(MS_PRIVATE);
    using mnt = root.openDirectory("mnt");
    using picked = new OwnedFd(fspick(mnt.fd, "proc"));
    assertEquals(errorOf(() => fsmount(picked.fd)).code, "EBUSY");
    // What it is for: reconfiguring.
    fsconfigSetFlag(picked.fd, "ro");
    fsconfigReconfigure(picked.fd);
    const [line] = mountsBelow(`${SCRATCH}/mnt`);
    assert(line!.endsWith(" ro"), line);
    using again = new OwnedFd(fspick(mnt.fd, "proc"));
    fsconfigSetFlag(again.fd, "rw");
    fsconfigReconfigure(again.fd);
    clear(root, "mnt/proc");
  },
);

kernelTest(
  "fspick of what is no mount's root is EINVAL, of nothing ENOENT",
  () => {
    using root = stage(MS_PRIVATE);
    assertEquals(errorOf(() => fspick(root.fd, "mnt")).code, "EINVAL");
    assertEquals(errorOf(() => fspick(root.fd, "missing")).code, "ENOENT");
    assertEquals(errorOf(() => fspick(987654, "mnt")).code, "EBADF");
    clear(root, "mnt/proc");
  },
);

kernelTest("move_mount of a context's descriptor is no mount: EINVAL", () => {
  using root = stage(MS_PRIVATE);
  using context = new OwnedFd(fsopen("tmpfs"));
  fsconfigCreate(context.fd);
  const error = errorOf(() =>
    moveMount(
      context.fd,
      "",
      root.fd,
      "destination/proc",
      MOVE_MOUNT_F_EMPTY_PATH,
    )
  );
  assertEquals(error.code, "EINVAL");
  clear(root, "mnt/proc");
});

kernelTest(
  "a clone that is attached leaves the original, the swap as a whole does not",
  () => {
    using root = stage(MS_SHARED);
    using mnt = root.openDirectory("mnt");
    using destination = root.openDirectory("destination");
    {
      using clone = new OwnedFd(
        openTree(mnt.fd, "proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC),
      );
      moveMount(clone.fd, "", destination.fd, "proc", MOVE_MOUNT_F_EMPTY_PATH);
    }
    // There the author stopped.
    assertEquals(mountsBelow(`${SCRATCH}/mnt`).length, 1);
    assertEquals(mountsBelow(`${SCRATCH}/destination`).length, 1);
    destination[Symbol.dispose]();
    root.unmount("destination/proc");
    using moved = moveat(root, "mnt/proc", root, "destination/proc");
    assertEquals(moved.made, "cloned");
    assertEquals(mountsBelow(`${SCRATCH}/mnt`).length, 0);
    moved.unmount();
    mountSetattr(AT_FDCWD, SCRATCH, 0, { propagation: MS_PRIVATE });
  },
);

kernelTest(
  "umount2 is EBUSY while the mount's own descriptor is open, forced or not",
  () => {
    using root = Directory.open(SCRATCH);
    root.mkdir("proc");
    using context = new OwnedFd(fsopen("proc"));
    fsconfigCreate(context.fd);
    const mount = new OwnedFd(fsmount(context.fd));
    moveMount(mount.fd, "", root.fd, "proc", MOVE_MOUNT_F_EMPTY_PATH);
    for (const flags of [0, MNT_FORCE]) {
      const unmount = () => umount2(`${SCRATCH}/proc`, flags | UMOUNT_NOFOLLOW);
      assertEquals(errorOf(unmount).code, "EBUSY");
    }
    const told = assertThrows(() => root.unmount("proc"), MountError);
    assertEquals(told.code, "EBUSY");
    assert(
      told.hint!.includes(`descriptor ${mount.fd} of this process`),
      told.hint,
    );
    mount.close();
    root.unmount("proc");
  },
);

kernelTest(
  "an attached mount can't be moved into a detached tree: EINVAL",
  () => {
    using root = stage(MS_PRIVATE);
    using tree = new OwnedFd(
      openTree(root.fd, "destination", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC),
    );
    const error = errorOf(() =>
      moveMount(root.fd, "mnt/proc", tree.fd, "proc")
    );
    assertEquals(error.code, "EINVAL");
    using picked = new OwnedFd(openTree(root.fd, "mnt/proc"));
    const empty = MOVE_MOUNT_F_EMPTY_PATH;
    assertEquals(
      errorOf(() => moveMount(picked.fd, "", tree.fd, "proc", empty)).code,
      "EINVAL",
    );
    picked.close();
    clear(root, "mnt/proc");
  },
);
