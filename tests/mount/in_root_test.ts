import { applyMounts } from "../../src/mount/apply.ts";
import { bindat } from "../../src/mount/bindat.ts";
import { Directory } from "../../src/directory.ts";
import { has } from "../support/since.ts";
import { kernelTest, mountsBelow, SCRATCH } from "../support/testing.ts";
import { MountError } from "../../src/error/error.ts";
import { mountat } from "../../src/mount/mountat.ts";
import { MountTree } from "../../src/mount/tree.ts";
import { withoutDetachedTargets } from "../support/scratch.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";

const PATHS = { permissions: ["read", "write"] as Deno.PermissionName[] };

const IN_ROOT = { symlinks: "inRoot" } as const;

/** A root as Debian has it, and a symlink to outside. */
function makeRoot(): string {
  const root = `${SCRATCH}/root`;
  for (const path of ["run/lock", "usr/lib", "etc", "var"]) {
    Deno.mkdirSync(`${root}/${path}`, { recursive: true });
  }
  Deno.mkdirSync(`${SCRATCH}/outside`);
  Deno.writeTextFileSync(`${SCRATCH}/file`, "content");
  Deno.symlinkSync("/run", `${root}/var/run`);
  Deno.symlinkSync("usr/lib", `${root}/lib`);
  Deno.symlinkSync("../run/resolve/stub.conf", `${root}/etc/resolv.conf`);
  Deno.symlinkSync("../outside", `${root}/out`);
  return root;
}

function places(path: string): string[] {
  return mountsBelow(path).map((line) =>
    line.split(" ")[4]!.slice(path.length)
  );
}

kernelTest("mountat() goes through symlinks inside its directory", () => {
  const path = makeRoot();
  using root = Directory.open(path);
  const options = { type: "tmpfs", ...IN_ROOT };
  {
    using mount = mountat(root, "var/run/lock", options);
    assertEquals(places(path), ["/run/lock"]);
    assertEquals([mount.mounted, mount.target], [true, "var/run/lock"]);
    using beneath = mountat(root, "var/run/lock", {
      ...options,
      beneath: true,
    });
    assertEquals(places(path), ["/run/lock", "/run/lock"]);
    mount.unmount();
    assert(beneath.mounted);
  }
  assertEquals(places(path), []);
  using made = root.mount("lib/modules/a", { ...options, mkdir: 0o700 });
  assertEquals(places(path), ["/usr/lib/modules/a"]);
  assertEquals(Deno.statSync(`${path}/usr/lib/modules`).mode! & 0o777, 0o700);
  made.unmount();
  // `..` stops at the root, and what a symlink names is made there.
  using inside = root.mount("out/a", { ...options, mkdir: true });
  assertEquals(places(path), ["/outside/a"]);
  inside.unmount();
  assertEquals([...Deno.readDirSync(`${SCRATCH}/outside`)], []);
}, PATHS);

kernelTest("bindat() puts a file where a symlink leads", () => {
  const path = makeRoot();
  using root = Directory.open(path);
  const source = `${SCRATCH}/file`;
  const error = assertThrows(
    () => bindat(root, "etc/resolv.conf", source, IN_ROOT),
    MountError,
  );
  assertEquals(error.code, "ENOENT");
  using bound = bindat(root, "etc/resolv.conf", source, {
    ...IN_ROOT,
    mkdir: true,
  });
  assertEquals(places(path), ["/run/resolve/stub.conf"]);
  assertEquals(
    Deno.readTextFileSync(`${path}/run/resolve/stub.conf`),
    "content",
  );
  bound.unmount();
  assertEquals(places(path), []);
}, PATHS);

kernelTest("what failed behind a symlink leaves nothing", () => {
  const path = makeRoot();
  Deno.symlinkSync("b", `${path}/a`);
  Deno.symlinkSync("a", `${path}/b`);
  using root = Directory.open(path);
  const options = { type: "tmpfs", mkdir: true, ...IN_ROOT } as const;
  const { code, hint } = assertThrows(
    () => mountat(root, "a/c", options),
    MountError,
  );
  assertEquals([code, hint], [
    "ELOOP",
    'The symlinks of the target lead in a circle: "a" to "b"',
  ]);
  assertThrows(
    () => mountat(root, "var/run/x/y", { ...options, options: "size=none" }),
    MountError,
  );
  assertThrows(
    () => mountat(root, "a", { type: "tmpfs", symlinks: "follow" as "inRoot" }),
    TypeError,
    '"symlinks" must be',
  );
  // The default is to refuse them.
  assertEquals(
    assertThrows(() => mountat(root, "var/run", { type: "tmpfs" }), MountError)
      .code,
    "ELOOP",
  );
  assertEquals([...Deno.readDirSync(`${path}/run`)].length, 1);
}, PATHS);

kernelTest("applyMounts() resolves all targets inside the root", () => {
  const path = makeRoot();
  using root = Directory.open(path);
  const specs = [
    { type: "tmpfs", target: "var/run/a", mkdir: true },
    { type: "tmpfs", target: "lib", symlinks: "refuse", optional: true },
  ] as const;
  using applied = applyMounts(root, specs, IN_ROOT);
  assertEquals(places(path), ["/run/a"]);
  assertEquals(applied.passedOver.map(({ spec }) => spec), [specs[1]]);
  applied.unmount();
  assertEquals([...Deno.readDirSync(`${path}/run`)].length, 1);
}, PATHS);

for (const staged of has("attachToDetached") ? [false, true] : [true]) {
  kernelTest(
    `MountTree goes through symlinks inside it, staged ${staged}`,
    () => {
      const path = makeRoot();
      using _ = staged ? withoutDetachedTargets() : null;
      using root = Directory.open(path);
      using tree = MountTree.from(root);
      tree.mount("var/run/lock", {
        type: "tmpfs",
        propagation: "shared",
        ...IN_ROOT,
      });
      tree.bind(`${SCRATCH}/file`, "var/run/lock/x/y", {
        mkdir: true,
        ...IN_ROOT,
      });
      using _mount = tree.attach(root);
      assertEquals(places(path).toSorted(), ["", "/run/lock", "/run/lock/x/y"]);
      const line = mountsBelow(`${path}/run/lock`)[0]!;
      assert(line.includes(" shared:"), line);
    },
    PATHS,
  );
}
