import {
  kernelTest,
  mountsBelow,
  mountTable,
  SCRATCH,
} from "../support/testing.ts";
import { has } from "../support/since.ts";
import {
  makeDetached,
  withoutCall,
  withoutDetachedTargets,
} from "../support/scratch.ts";
import { endStagingThread, Staging } from "../../src/mount/staging.ts";
import type { OwnedFd } from "../../src/fd/owned_fd.ts";
import { mkdirat } from "../../src/sys/names.ts";
import { openDirectoryAt } from "../../src/fd/open.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Directory } from "../../src/directory.ts";
import { attach } from "../../src/mount/attach.ts";
import type { NR } from "../../src/sys/libc.ts";
import { SyscallError } from "../../src/sys/error.ts";

/** Registers a test of what is built in a namespace of its own. */
function stagingTest(name: string, fn: () => void): void {
  kernelTest(name, () => {
    using _ = has("attachToDetached") ? withoutDetachedTargets() : null;
    try {
      fn();
    } finally {
      endStagingThread();
    }
  });
}

/** A tmpfs with a directory in it. */
function makeMount(directory: string): OwnedFd {
  const mount = makeDetached("tmpfs");
  mkdirat(mount.fd, directory, 0o755);
  return mount;
}

stagingTest("Staging.attach() moves what is held into another", () => {
  const before = mountTable();
  using staging = new Staging();
  using outer = makeMount("outer");
  using inner = makeMount("inner");
  using leaf = makeDetached("tmpfs");
  staging.hold(outer);
  staging.hold(inner);
  {
    using at = openDirectoryAt(inner.fd, "inner");
    staging.attach(leaf, at);
  }
  {
    using at = openDirectoryAt(outer.fd, "outer");
    staging.attach(inner, at);
  }
  assertEquals(mountTable(), before);
  // What is held is no part of what else is.
  using copy = staging.takeOut(outer)!;
  using scratch = Directory.open(SCRATCH);
  using top = openDirectoryAt(scratch.fd, ".");
  attach(copy, top);
  const places = mountsBelow(SCRATCH).map((line) =>
    line.split(" ")[4]!.slice(SCRATCH.length)
  );
  assertEquals(places, ["", "", "/outer", "/outer/inner"]);
  scratch.unmountAll({ lazy: true });
});

for (
  const name of ["setns", "openat2", "mkdirat", "fsopen"] as (keyof typeof NR)[]
) {
  stagingTest(
    `Staging.attach() can be tried again where ${name} failed`,
    () => {
      using staging = new Staging();
      using outer = makeMount("outer");
      using leaf = makeDetached("tmpfs");
      using at = openDirectoryAt(outer.fd, "outer");
      staging.hold(outer);
      assertThrows(
        () => withoutCall(name, () => staging.attach(leaf, at)),
        SyscallError,
      );
      staging.attach(leaf, at);
      mkdirat(leaf.fd, "seen", 0o755);
      openDirectoryAt(outer.fd, "outer/seen").close();
    },
  );
}

stagingTest("Staging needs no held mount that was closed", () => {
  using staging = new Staging();
  using gone = makeMount("gone");
  using outer = makeMount("outer");
  using leaf = makeDetached("tmpfs");
  using at = openDirectoryAt(outer.fd, "outer");
  staging.hold(gone);
  staging.hold(outer);
  gone.close();
  staging.attach(leaf, at);
  using copy = staging.clone(outer);
  assert(copy.fd !== outer.fd);
});

kernelTest("Staging has nothing to take out of what needs no namespace", () => {
  using staging = new Staging();
  using outer = makeMount("outer");
  staging.hold(outer);
  assertEquals(staging.takeOut(outer), null);
});
