/** File systems in files, by loop devices. */
import { kernelTest, SCRATCH } from "../support/testing.ts";
import { loopsOf, mountOn, run, sparseFile } from "./support.ts";
import { Directory } from "../../src/directory.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { kernelTestSince } from "../support/since.ts";

const IMAGE = `${SCRATCH}/image`;

const CONTENT = `${SCRATCH}/content`;

const TARGET = `${SCRATCH}/m`;

function makeContent(): void {
  Deno.mkdirSync(`${CONTENT}/sub`, { recursive: true });
  Deno.writeTextFileSync(`${CONTENT}/sub/file`, "content");
}

/** Makes a squashfs or erofs with the content. */
function makeReadOnly(type: string): void {
  makeContent();
  const [command, ...args] = READ_ONLY[type]!;
  run(command!, ...args);
}

/** Those that are made empty, and written to: their size and how they are made. */
const WRITABLE: Record<string, [mebibytes: number, ...command: string[]]> = {
  ext4: [16, "mkfs.ext4", "-q"],
  xfs: [300, "mkfs.xfs", "-q"],
  btrfs: [128, "mkfs.btrfs", "-q"],
};

for (const [type, [size, command, ...args]] of Object.entries(WRITABLE)) {
  kernelTest(`${type} in a file is mounted, written to and read again`, () => {
    sparseFile(IMAGE, size << 20);
    run(command!, ...args, IMAGE);
    using root = Directory.open(SCRATCH);
    const image = { type, source: IMAGE, mkdir: true };
    {
      using _ = root.mount("m", { ...image, options: "loop,nosuid" });
      const { options, superOptions } = mountOn(TARGET);
      assertEquals([options[0], superOptions[0]], ["rw", "rw"]);
      Deno.writeTextFileSync(`${TARGET}/file`, "content");
    }
    assertEquals(loopsOf(IMAGE), []);
    {
      using _ = root.mount("m", { ...image, options: "loop,ro" });
      const { options, superOptions, source } = mountOn(TARGET);
      assertEquals([options[0], superOptions[0]], ["ro", "ro"]);
      assertEquals(loopsOf(IMAGE).map((name) => `/dev/${name}`), [source]);
      assertEquals(Deno.readTextFileSync(`${TARGET}/file`), "content");
      assertThrows(
        () => Deno.writeTextFileSync(`${TARGET}/file`, ""),
        Error,
        "Read-only",
      );
    }
    assertEquals(loopsOf(IMAGE), []);
  }, { permissions: ["run", "read", "write", "env"], commands: [command!] });
}

/** Those that are made with what they hold, and only read. */
const READ_ONLY: Record<string, string[]> = {
  squashfs: ["mksquashfs", CONTENT, IMAGE, "-quiet", "-no-progress"],
  erofs: ["mkfs.erofs", "--quiet", IMAGE, CONTENT],
};

for (const [type, [command]] of Object.entries(READ_ONLY)) {
  kernelTest(
    `${type} in a file is mounted and read, with and without ro`,
    () => {
      makeReadOnly(type);
      using root = Directory.open(SCRATCH);
      for (const options of ["loop", "loop,ro"]) {
        using _ = root.mount("m", {
          type,
          source: IMAGE,
          options,
          mkdir: true,
        });
        assertEquals(mountOn(TARGET).superOptions[0], "ro");
        assertEquals(Deno.readTextFileSync(`${TARGET}/sub/file`), "content");
      }
      assertEquals(loopsOf(IMAGE), []);
    },
    { permissions: ["run", "read", "write", "env"], commands: [command!] },
  );
}

kernelTest("one file holds several file systems, each at its offset", () => {
  makeReadOnly("squashfs");
  const squashfs = Deno.readFileSync(IMAGE);
  const padded = new Uint8Array(64 << 10);
  padded.set(squashfs);
  const whole = `${SCRATCH}/whole`;
  Deno.writeFileSync(whole, padded);
  Deno.writeFileSync(whole, squashfs, { append: true });
  using root = Directory.open(SCRATCH);
  const image = { type: "squashfs", source: whole, mkdir: true };
  using _first = root.mount("m", {
    ...image,
    options: { loop: true, ro: true, sizelimit: "64K" },
  });
  using _second = root.mount("n", {
    ...image,
    options: { loop: true, ro: true, offset: 64 << 10 },
  });
  for (const name of ["m", "n"]) {
    const file = `${SCRATCH}/${name}/sub/file`;
    assertEquals(Deno.readTextFileSync(file), "content");
  }
  assertEquals(loopsOf(whole).length, 2);
}, { permissions: ["run", "read", "write", "env"], commands: ["mksquashfs"] });

kernelTest(
  "a lazily unmounted file system keeps its loop device while it is used",
  () => {
    makeReadOnly("squashfs");
    using root = Directory.open(SCRATCH);
    const options = { type: "squashfs", source: IMAGE, options: "loop,ro" };
    root.mkdir("m");
    const mount = root.mount("m", options);
    {
      using _inside = root.openDirectory("m/sub");
      mount.unmount({ lazy: true });
      assertEquals(loopsOf(IMAGE).length, 1);
    }
    assertEquals(loopsOf(IMAGE), []);
  },
  { permissions: ["run", "read", "write", "env"], commands: ["mksquashfs"] },
);

kernelTestSince(
  "6.13",
  "erofs is mounted from a file on a disk without a loop device",
  () => {
    makeContent();
    using root = Directory.open(SCRATCH);
    // Not from a tmpfs, the kernel wants a file with pages to read.
    const disk = sparseFile(`${SCRATCH}/disk`, 16 << 20);
    run("mkfs.ext4", "-q", disk);
    using _disk = root.mount("disk-fs", {
      type: "ext4",
      source: disk,
      options: "loop",
      mkdir: true,
    });
    const source = `${SCRATCH}/disk-fs/image`;
    run("mkfs.erofs", "--quiet", source, CONTENT);
    using _ = root.mount("m", { type: "erofs", source, mkdir: true });
    assertEquals(mountOn(TARGET).source, source);
    assertEquals(Deno.readTextFileSync(`${TARGET}/sub/file`), "content");
    assertEquals(loopsOf(source), []);
  },
  {
    permissions: ["run", "read", "write", "env"],
    commands: ["mkfs.erofs", "mkfs.ext4"],
  },
);
