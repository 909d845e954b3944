import { assertEquals, assertThrows } from "@std/assert";
import { walkInRoot } from "../../src/fd/walk.ts";
import { open } from "../support/scratch.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import { O_PATH } from "../../src/sys/constants.ts";
import { mkdirat } from "../../src/sys/names.ts";
import { procPath } from "../../src/fd/owned_fd.ts";
import { SyscallError } from "../../src/sys/error.ts";

const PATHS = { permissions: ["read", "write"] as Deno.PermissionName[] };

/** Makes a root with the symlinks that roots have, and some that they don't. */
function makeRoot(): string {
  const root = `${SCRATCH}/root`;
  for (const path of ["usr/lib", "run/lock", "etc", "a/b/c"]) {
    Deno.mkdirSync(`${root}/${path}`, { recursive: true });
  }
  Deno.mkdirSync(`${SCRATCH}/outside`);
  for (
    const [link, target] of [
      ["lib", "usr/lib"],
      ["var", "/variable"],
      ["variable", "a/../var.d"],
      ["var.d", "./a//b/"],
      ["a/b/run", "/run"],
      ["a/b/up", "../../../../../outside"],
      ["etc/resolv.conf", "../run/resolve/stub.conf"],
      ["circle", "circle"],
      ["outside", `${SCRATCH}/outside`],
      ["dangling", "/nowhere/at/all"],
    ] as const
  ) Deno.symlinkSync(target, `${root}/${link}`);
  Deno.writeTextFileSync(`${root}/file`, "");
  return root;
}

kernelTest("walkInRoot() goes where a process at that root would", () => {
  const path = makeRoot();
  using root = open(path, O_PATH);
  for (
    const [target, expected, name] of [
      [".", "", "."],
      ["/", "", "."],
      ["lib", "/usr/lib", "lib"],
      ["/lib/", "/usr/lib", "lib"],
      ["var", "/a/b", "b"],
      ["var/run/lock", "/run/lock", "lock"],
      ["var/c/../../..", "", "."],
      ["../../lib", "/usr/lib", "lib"],
      ["file", "/file", "file"],
    ] as const
  ) {
    const place = walkInRoot(root.fd, target, null);
    using at = place.at;
    using holder = place.holder;
    assertEquals(Deno.readLinkSync(procPath(at.fd)), path + expected, target);
    const parent = Deno.readLinkSync(procPath(holder.fd));
    if (name === ".") assertEquals(parent, path + expected);
    else if (name === "lib") assertEquals(parent, `${path}/usr`);
    assertEquals(place.name, name, target);
  }
  for (
    const [target, code] of [
      ["nosuch", "ENOENT"],
      ["dangling", "ENOENT"],
      ["outside", "ENOENT"],
      ["a/b/up", "ENOENT"],
      ["circle", "ELOOP"],
      ["file/a", "ENOTDIR"],
      ["a".repeat(300), "ENAMETOOLONG"],
    ] as const
  ) {
    const { code: told } = assertThrows(
      () => walkInRoot(root.fd, target, null),
      SyscallError,
    );
    assertEquals(told, code, target);
  }
}, PATHS);

kernelTest("walkInRoot() has what is missing made inside the root", () => {
  const path = makeRoot();
  using root = open(path, O_PATH);
  const made: string[] = [];
  const make = (target: string) => {
    const place = walkInRoot(root.fd, target, ({ fd }, name, isLast) => {
      made.push(`${isLast ? "" : "+"}${name}`);
      mkdirat(fd, name, 0o755);
      return null;
    });
    using at = place.at;
    using _ = place.holder;
    return Deno.readLinkSync(procPath(at.fd)).slice(path.length);
  };
  assertEquals(make("dangling"), "/nowhere/at/all");
  assertEquals(made.splice(0), ["+nowhere", "+at", "all"]);
  assertEquals(make("etc/resolv.conf"), "/run/resolve/stub.conf");
  assertEquals(made.splice(0), ["+resolve", "stub.conf"]);
  // As a root has it, the way to outside leads to a place of the same name inside.
  assertEquals(make("a/b/up/x"), `${SCRATCH}/outside/x`);
  assertEquals(make("a/b/run/secrets"), "/run/secrets");
  assertEquals([...Deno.readDirSync(`${SCRATCH}/outside`)], []);
}, PATHS);
