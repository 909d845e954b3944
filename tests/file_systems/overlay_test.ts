import { kernelTest, type Needs, SCRATCH } from "../support/testing.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Directory } from "../../src/directory.ts";
import type { OptionsInput } from "../../src/options/mount_options.ts";
import { kernelTestSince } from "../support/since.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { SyscallError } from "../../src/sys/error.ts";
import { mountOn } from "./support.ts";
import { tracedCalls } from "../support/scratch.ts";
import { MountError } from "../../src/error/error.ts";

const needs: Needs = { permissions: ["read", "write"] };

const TARGET = `${SCRATCH}/m`;

/** Makes layers: each has a file of its own, and all have `common`. */
function makeLayers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const path = `${SCRATCH}/layers/${i}`;
    Deno.mkdirSync(path, { recursive: true });
    Deno.writeTextFileSync(`${path}/own-${i}`, String(i));
    Deno.writeTextFileSync(`${path}/common`, String(i));
    return path;
  });
}

/** Looks at a mount of all these layers, the first of them on top. */
function assertLayers(count: number): void {
  const names = Array.from(Deno.readDirSync(TARGET), ({ name }) => name);
  assertEquals(
    names.sort(),
    ["common", ...Array.from({ length: count }, (_, i) => `own-${i}`)].sort(),
  );
  assertEquals(Deno.readTextFileSync(`${TARGET}/common`), "0");
  const last = `own-${count - 1}`;
  assertEquals(Deno.readTextFileSync(`${TARGET}/${last}`), String(count - 1));
}

function mountLayers(root: Directory, options: OptionsInput) {
  return root.mount("m", { type: "overlay", source: "layers", options });
}

for (const count of [128, 300]) {
  kernelTestSince(
    "6.8",
    `overlay of ${count} layers by their paths is one call, and too long for mount(2)`,
    () => {
      using root = Directory.open(SCRATCH);
      root.mkdir("m");
      const layers = makeLayers(count);
      {
        using _ = mountLayers(root, { "lowerdir+": layers });
        assertLayers(count);
      }
      {
        using _ = mountLayers(root, layers.map((path) => `lowerdir+=${path}`));
        assertLayers(count);
      }
      // The old call looks at the first page, and at half of a path.
      const data = `lowerdir=${layers.join(":")}`;
      assert(data.length > 4096);
      const error = assertThrows(
        () => mount("layers", TARGET, "overlay", 0, data),
        SyscallError,
      );
      assertEquals(error.code, "ENOENT");
    },
    needs,
  );

  kernelTestSince(
    "6.13",
    `overlay of ${count} layers by their descriptors is one call`,
    () => {
      using root = Directory.open(SCRATCH);
      root.mkdir("m");
      makeLayers(count);
      using opened = new DisposableStack();
      using layers = root.openDirectory("layers");
      const directories = Array.from(
        { length: count },
        (_, i) => opened.use(layers.openDirectory(String(i))),
      );
      // No path leads there any more.
      Deno.renameSync(`${SCRATCH}/layers`, `${SCRATCH}/renamed`);
      using _ = mountLayers(root, { "lowerdir+": directories });
      assertLayers(count);
    },
    needs,
  );
}

kernelTest("mount(2) takes the layers that one page has room for", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const layers = makeLayers(100);
  mount("layers", TARGET, "overlay", 0, `lowerdir=${layers.join(":")}`);
  assertLayers(100);
  umount2(TARGET);
}, needs);

kernelTestSince(
  "6.13",
  "overlay keeps what is written in upperdir, by descriptors",
  () => {
    using root = Directory.open(SCRATCH);
    const names = ["m", "lower", "a:b,c\\d", "work"];
    for (const name of names) root.mkdir(name);
    Deno.writeTextFileSync(`${SCRATCH}/lower/file`, "lower");
    using lower = root.openDirectory("lower");
    using upper = root.openDirectory("a:b,c\\d");
    using work = root.openDirectory("work");
    {
      using _ = mountLayers(root, {
        "lowerdir+": [lower],
        upperdir: upper,
        workdir: work,
        userxattr: true,
        volatile: true,
      });
      const { options, superOptions, source } = mountOn(TARGET);
      assertEquals([source, options[0]], ["layers", "rw"]);
      assert(superOptions.includes("userxattr"), superOptions.join());
      // Linux 6.16 and later say fsync=volatile.
      assert(superOptions.some((word) => /^(fsync=)?volatile$/.test(word)));
      Deno.writeTextFileSync(`${TARGET}/file`, "upper");
      Deno.writeTextFileSync(`${TARGET}/new`, "");
      Deno.removeSync(`${TARGET}/new`);
    }
    assertEquals(Deno.readTextFileSync(`${SCRATCH}/lower/file`), "lower");
    assertEquals(Deno.readTextFileSync(`${SCRATCH}/a:b,c\\d/file`), "upper");
    // What volatile leaves: the work directory is not to be trusted again.
    assert(Deno.statSync(`${SCRATCH}/work/work/incompat/volatile`).isDirectory);
  },
  needs,
);

kernelTestSince(
  "6.8",
  "overlay takes data-only layers after the others",
  () => {
    using root = Directory.open(SCRATCH);
    root.mkdir("m");
    const [layer, data] = makeLayers(2);
    using _ = mountLayers(root, [
      "metacopy=on",
      `lowerdir+=${layer}`,
      `datadir+=${data}`,
    ]);
    const names = Array.from(Deno.readDirSync(TARGET), ({ name }) => name);
    assertEquals(names.sort(), ["common", "own-0"]);
  },
  needs,
);

kernelTestSince(
  "6.8",
  "overlay fails for a layer that is missing, and leaves nothing",
  () => {
    using root = Directory.open(SCRATCH);
    root.mkdir("m");
    const layers = [...makeLayers(2), `${SCRATCH}/nowhere`];
    const calls = tracedCalls(() => {
      const error = assertThrows(
        () => mountLayers(root, { "lowerdir+": layers }),
        MountError,
      );
      assertEquals([error.syscall, error.code], ["fsconfig", "ENOENT"]);
      assert(error.message.includes("/nowhere"), error.message);
    });
    // It went no further than to the layer.
    assert(!calls.some(({ args }) => args[1] === "FSCONFIG_CMD_CREATE"));
  },
  needs,
);
