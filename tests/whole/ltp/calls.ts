/** The ops that are system calls: by the functions of src/sys. */
import * as sys from "../../../src/sys/mod.ts";
import type { Ops, Scope } from "./scope.ts";
import type { Attributes } from "./cases.ts";

/** The calls. */
export const calls = {
  bind(step, scope) {
    sys.mount(
      scope.text(step.from),
      scope.text(step.to),
      null,
      sys.MS_BIND,
      null,
    );
  },

  close(step, scope) {
    scope.close(scope.integer(step.fd));
  },

  fsconfig(step, scope) {
    const fs = scope.integer(step.fs);
    const key = scope.text(step.key ?? "");
    const value = scope.text(step.value ?? "");
    const aux = scope.integer(step.aux ?? 0);
    switch (step.cmd) {
      case "FSCONFIG_SET_FLAG":
        return sys.fsconfigSetFlag(fs, key);
      case "FSCONFIG_SET_STRING":
        return sys.fsconfigSetString(fs, key, value);
      case "FSCONFIG_SET_BINARY": {
        const bytes = new TextEncoder().encode(value).subarray(0, aux);
        return sys.fsconfigSetBinary(fs, key, bytes);
      }
      case "FSCONFIG_SET_PATH":
        return sys.fsconfigSetPath(fs, key, value, aux);
      case "FSCONFIG_SET_PATH_EMPTY":
        // The library's path is the empty one; for this key the kernel does not
        // look at the one that the cases have.
        return sys.fsconfigSetPathEmpty(fs, key, aux);
      case "FSCONFIG_SET_FD":
        return sys.fsconfigSetFd(fs, key, aux);
      case "FSCONFIG_CMD_CREATE":
        return sys.fsconfigCreate(fs);
      case "FSCONFIG_CMD_RECONFIGURE":
        return sys.fsconfigReconfigure(fs);
      default:
        throw new TypeError(`There is no command ${step.cmd}`);
    }
  },

  fsmount(step, scope) {
    return sys.fsmount(
      scope.integer(step.fs),
      scope.integer(step.flags),
      scope.integer(step.attrs),
    );
  },

  fsopen(step, scope) {
    return sys.fsopen(scope.text(step.fstype), scope.integer(step.flags));
  },

  fspick(step, scope) {
    return sys.fspick(
      scope.integer(step.dirfd),
      scope.text(step.path),
      scope.integer(step.flags),
    );
  },

  listmount(step, scope) {
    const ids = sys.listmount(scope.number(step.mnt_id), {
      count: scope.integer(step.count ?? 1024),
      ...step.last !== undefined && { last: scope.number(step.last) },
      ...step.flags !== undefined && { flags: scope.integer(step.flags) },
      // Descriptors are signed here; the size of the request is the library's.
      ...step.ns_fd !== undefined && { nsFd: scope.integer(step.ns_fd) | 0 },
    });
    return { count: BigInt(ids.length), ids };
  },

  mkdir(step, scope) {
    sys.mkdirat(sys.AT_FDCWD, scope.text(step.path), 0o755);
  },

  mkdirat(step, scope) {
    sys.mkdirat(scope.integer(step.dirfd), scope.text(step.path), 0o755);
  },

  mount(step, scope) {
    sys.mount(
      step.source === undefined ? null : scope.text(step.source),
      scope.text(step.target),
      scope.text(step.fstype),
      scope.number(step.flags ?? 0),
      step.data === undefined ? null : scope.text(step.data),
    );
  },

  mount_setattr(step, scope) {
    sys.mountSetattr(
      scope.integer(step.dirfd),
      scope.text(step.path),
      scope.integer(step.flags),
      mountAttr(step.attr, scope),
    );
  },

  move_mount(step, scope) {
    sys.moveMount(
      scope.integer(step.from_dirfd),
      scope.text(step.from_path),
      scope.integer(step.to_dirfd),
      scope.text(step.to_path),
      scope.integer(step.flags),
    );
  },

  open_tree(step, scope) {
    return sys.openTree(
      scope.integer(step.dirfd),
      scope.text(step.path),
      scope.integer(step.flags),
    );
  },

  open_tree_attr(step, scope) {
    return sys.openTreeAttr(
      scope.integer(step.dirfd),
      scope.text(step.path),
      scope.integer(step.flags),
      mountAttr(step.attr, scope),
    );
  },

  openat(step, scope) {
    // The cases know a single thread: its namespaces are not the process's.
    const path = scope.text(step.path)
      .replace(/^\/proc\/self\/ns\//, "/proc/thread-self/ns/");
    return open(scope.integer(step.dirfd), path, scope.number(step.flags));
  },

  openat2(step, scope) {
    const { flags, mode, resolve } = step.how;
    return sys.openat2(scope.integer(step.dirfd), scope.text(step.path), {
      flags: scope.number(flags),
      ...mode !== undefined && { mode: scope.number(mode) },
      ...resolve !== undefined && { resolve: scope.number(resolve) },
    });
  },

  pivot_root(step, scope) {
    sys.pivotRoot(scope.text(step.new_root), scope.text(step.put_old));
  },

  propagation(step, scope) {
    sys.mount(null, scope.text(step.target), null, sys.MS_SHARED, null);
  },

  setns(step, scope) {
    sys.setns(scope.integer(step.fd), sys.CLONE_NEWNS);
  },

  statmount(step, scope) {
    const found = sys.statmount(
      scope.number(step.mnt_id),
      scope.number(step.mask),
      { flags: scope.integer(step.flags ?? 0) },
    );
    return {
      mask: found.mask,
      sb_dev_major: field(found.sbDevMajor),
      sb_dev_minor: field(found.sbDevMinor),
      sb_magic: field(found.sbMagic),
      sb_flags: field(found.sbFlags),
      mnt_id: field(found.mntId),
      mnt_parent_id: field(found.mntParentId),
      mnt_id_old: field(found.mntIdOld),
      mnt_parent_id_old: field(found.mntParentIdOld),
      mnt_attr: field(found.mntAttr),
      mnt_propagation: field(found.mntPropagation),
      mnt_peer_group: field(found.mntPeerGroup),
      mnt_master: field(found.mntMaster),
      propagate_from: field(found.propagateFrom),
      mnt_ns_id: field(found.mntNsId),
      mnt_root: found.mntRoot,
      mnt_point: found.mntPoint,
      fs_type: found.fsType,
    };
  },

  statx(step, scope) {
    const found = sys.statx(
      scope.integer(step.dirfd),
      scope.text(step.path),
      scope.integer(step.flags),
      scope.integer(step.mask ?? ["STATX_BASIC_STATS", "STATX_MNT_ID_UNIQUE"]),
    );
    return {
      mode: field(found.mode === undefined ? undefined : found.mode & 0o7777),
      size: field(found.size),
      dev_major: field(found.devMajor),
      dev_minor: field(found.devMinor),
      mnt_id: field(found.mntId),
    };
  },

  umount2(step, scope) {
    sys.umount2(scope.text(step.path), scope.integer(step.flags));
  },

  unshare() {
    sys.unshare(sys.CLONE_NEWNS);
  },
} satisfies Partial<Ops>;

/** Opens a file; one that is created gets an ordinary mode. */
export function open(dirfd: number, path: string, flags: bigint): number {
  const creates = (flags & BigInt(sys.O_CREAT)) !== 0n;
  return sys.openat2(dirfd, path, { flags, mode: creates ? 0o644 : 0 });
}

function mountAttr(attributes: Attributes, scope: Scope): sys.MountAttr {
  return {
    attrSet: scope.number(attributes.set ?? 0),
    attrClr: scope.number(attributes.clr ?? 0),
    propagation: scope.number(attributes.propagation ?? 0),
  };
}

/** A field of a struct: zero where the library says that it is not there. */
function field(value: number | bigint | undefined): bigint {
  return BigInt(value ?? 0);
}
