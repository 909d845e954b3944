/** Values that fsconfig(2) does not take for their length, beside mount(8). */
import {
  kernelTest,
  mountsBelow,
  type Needs,
  SCRATCH,
} from "../support/testing.ts";
import { kernelTestSince } from "../support/since.ts";
import { programTest, run as mountatRun } from "../support/program.ts";
import { Directory } from "../../src/directory.ts";
import { MountError } from "../../src/error/error.ts";
import { applyMounts } from "../../src/mount/apply.ts";
import { MountTree } from "../../src/mount/tree.ts";
import { remountat } from "../../src/mount/remountat.ts";
import { parseFstab, parseOciMounts } from "../../src/spec/mod.ts";
import { layersOf } from "../../src/options/long_values.ts";
import { tracedCalls } from "../support/scratch.ts";
import { libc } from "../../src/sys/libc.ts";
import { decodeText, encodeText } from "../../src/base/text.ts";
import { loopsOf, mountOn, run, sparseFile } from "../file_systems/support.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";

const needs: Needs = {
  permissions: ["run", "read", "write", "env"],
  commands: ["mount", "umount"],
};

const TARGET = `${SCRATCH}/m`;

/** Makes layers, each with a file, in directories of long or hostile names. */
function makeLayers(count: number, name = "layer"): string[] {
  return Array.from({ length: count }, (_, i) => {
    const path = `${SCRATCH}/${name}-${i}`;
    Deno.mkdirSync(path, { recursive: true });
    Deno.writeTextFileSync(`${path}/file-${i}`, "");
    return path;
  });
}

function filesIn(path: string): string[] {
  return Array.from(Deno.readDirSync(path), ({ name }) => name).sort();
}

/** What is mounted, as the table has it and as it looks. */
function seen() {
  const { type, source, options, superOptions } = mountOn(TARGET);
  return {
    type,
    source,
    options,
    // The kernel shows the layers as they were said: together, or each.
    superOptions: superOptions.flatMap((word) =>
      word.startsWith("lowerdir=")
        ? layersOf(word.slice("lowerdir=".length))!.map(({ key, value }) =>
          `${key}=${value}`
        )
        : [word]
    ),
    files: filesIn(TARGET),
  };
}

/** What mount(8) mounts. */
function seenByMount8(options: string) {
  run("mount", "-t", "overlay", "-o", options, "layers", TARGET);
  try {
    return seen();
  } finally {
    run("umount", TARGET);
  }
}

const OVERLAY = { type: "overlay", source: "layers" };

kernelTest(
  "a lowerdir of more than 255 bytes is mounted as by mount(8)",
  () => {
    using root = Directory.open(SCRATCH);
    root.mkdir("m");
    const lists = [
      makeLayers(12).join(":"),
      makeLayers(12, "a\\b:c").map((path) => path.replace(/[\\:]/g, "\\$&"))
        .join(":"),
    ];
    for (const lowerdir of lists) {
      assert(lowerdir.length > 255);
      const options = `lowerdir=${lowerdir},nosuid,noatime`;
      const expected = seenByMount8(options);
      const ways: (() => Disposable)[] = [
        () => root.mount("m", { ...OVERLAY, options }),
        () =>
          root.mount("m", {
            ...OVERLAY,
            options: { lowerdir, nosuid: true, noatime: true },
          }),
        () => applyMounts(root, [{ ...OVERLAY, target: "m", options }]),
        () =>
          applyMounts(
            root,
            parseFstab(
              `layers /m overlay ${options.replaceAll("\\", "\\134")} 0 0`,
            ),
          ),
        () =>
          applyMounts(
            root,
            parseOciMounts(JSON.stringify({
              mounts: [{
                ...OVERLAY,
                destination: "/m",
                options: options.split(","),
              }],
            })),
          ),
      ];
      for (const way of ways) {
        {
          using _ = way();
          assertEquals(seen(), expected);
        }
        assertEquals(mountsBelow(TARGET), []);
      }
      using tree = MountTree.from(root, { recursive: false });
      applyMounts(tree, [{ ...OVERLAY, target: "m", options }]);
    }
  },
  needs,
);

kernelTestSince("6.8", "layers of data may be long, too", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const [first, second, ...data] = makeLayers(12);
  const lowerdir = `${first}:${second}::${data.join("::")}`;
  const options = `metacopy=on,lowerdir=${lowerdir}`;
  const expected = seenByMount8(options);
  using _ = root.mount("m", { ...OVERLAY, options });
  assertEquals(seen(), expected);
  assertEquals(expected.files, ["file-0", "file-1"]);
}, needs);

kernelTest("a kernel without lowerdir+ mounts it by mount(2)", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const options = `lowerdir=${makeLayers(12).join(":")},nodev`;
  const expected = seenByMount8(options);
  withoutSingleLayers(() => {
    using _ = root.mount("m", { ...OVERLAY, options });
    assertEquals(seen(), expected);
  });
}, needs);

/** Runs something as before Linux 6.8: overlay has no parameter "lowerdir+". */
function withoutSingleLayers(body: () => void): void {
  const real = libc.fsconfig;
  const renamed = encodeText("unknown\0");
  Object.defineProperty(libc, "fsconfig", {
    value: ((number, fd, command, key, ...rest) =>
      real(
        number,
        fd,
        command,
        key !== null && decodeText(key).startsWith("lowerdir+\0")
          ? renamed
          : key,
        ...rest,
      )) satisfies typeof real,
  });
  try {
    body();
  } finally {
    Object.defineProperty(libc, "fsconfig", { value: real });
  }
}

/** A path of more than 255 bytes, which is made. */
function longDirectory(name: string): string {
  const path = `${SCRATCH}/${`${name}/`.repeat(20)}${"x".repeat(200)}`;
  Deno.mkdirSync(path, { recursive: true });
  return path;
}

kernelTest("other long values go by mount(2), and nobody sees it", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const upper = longDirectory("up,per");
  const work = longDirectory("up,per").replace(/x+$/, "work");
  Deno.mkdirSync(work);
  const [lower] = makeLayers(1);
  const values = { lowerdir: lower!, upperdir: upper, workdir: work };
  const list = Object.entries(values).map(([key, value]) =>
    `${key}=${value.replaceAll(",", "\\,")}`
  ).join();
  const expected = seenByMount8(`${list},noexec,ro`);
  for (
    const [options, readonly] of [[list, true], [values, true]] as const
  ) {
    using _ = root.mount("m", { ...OVERLAY, options, readonly, noexec: true });
    const found = seen();
    // Here only the mount is read-only.
    assertEquals(found, {
      ...expected,
      superOptions: ["rw", ...found.superOptions.slice(1)],
    });
  }
  using both = root.mount("m", { ...OVERLAY, options: `${list},ro=fs,sync` });
  const { options, superOptions } = mountOn(TARGET);
  assertEquals(options, ["rw", "relatime"]);
  assertEquals(superOptions.slice(0, 2), ["ro", "sync"]);
  both.unmount();
  using _ = root.mount("m", {
    ...OVERLAY,
    options: list,
    atime: "strictatime",
    propagation: "shared",
  });
  Deno.writeTextFileSync(`${TARGET}/new`, "");
  assertEquals(filesIn(upper), ["new"]);
  assertEquals(mountOn(TARGET).options, ["rw"]);
  assertEquals(mountOn(TARGET).propagation, "shared");
}, needs);

kernelTest("paths of mount(2) start where the process's do", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  longDirectory("lower");
  Deno.writeTextFileSync(`${longDirectory("lower")}/file`, "");
  const before = Deno.cwd();
  Deno.chdir(SCRATCH);
  try {
    const lowerdir = longDirectory("lower").slice(SCRATCH.length + 1);
    const options = `lowerdir=${lowerdir}:${makeLayers(1)[0]}`;
    using _ = root.mount("m", { ...OVERLAY, options });
    assertEquals(filesIn(TARGET), ["file", "file-0"]);
  } finally {
    Deno.chdir(before);
  }
}, needs);

kernelTest("a source may be a path of more than 255 bytes", () => {
  const directory = longDirectory("devices");
  const image = sparseFile(`${directory}/image`, 1 << 24);
  run("mkfs.ext4", "-q", image);
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  {
    using _ = root.mount("m", { type: "ext4", source: image, options: "loop" });
    assertEquals(mountOn(TARGET).type, "ext4");
  }
  const loop = run("losetup", "-f", "--show", image).trimEnd();
  try {
    const source = `${directory}/device`;
    Deno.symlinkSync(loop, source);
    using _ = root.mount("m", { type: "ext4", source, options: "ro" });
    assertEquals(mountOn(TARGET).options[0], "ro");
  } finally {
    run("losetup", "-d", loop);
  }
  assertEquals(loopsOf(image), []);
}, { ...needs, commands: ["mount", "umount", "mkfs.ext4", "losetup"] });

kernelTest("what mount(2) refuses leaves nothing", () => {
  using root = Directory.open(SCRATCH);
  const options = `lowerdir=${longDirectory("lower")},upperdir=/nowhere`;
  const error = assertThrows(
    () => root.mount("new", { ...OVERLAY, options, mkdir: true }),
    MountError,
    "dmesg",
  );
  assertEquals([error.syscall, error.code], ["mount", "ENOENT"]);
  assertThrows(() => Deno.statSync(`${SCRATCH}/new`), Deno.errors.NotFound);
}, needs);

kernelTest(
  "what no call takes is refused before any, with what can be done",
  () => {
    using root = Directory.open(SCRATCH);
    const long = "x".repeat(256);
    const wrong: [string, Record<string, string>, string][] = [
      ["overlay", { lowerdir: "y".repeat(5000) }, "by descriptors"],
      ["overlay", { lowerdir: "/a", workdir: "y".repeat(5000) }, "a symlink"],
      ["tmpfs", { size: "1".repeat(5000) }, "4095"],
      // tmpfs would take it for the end of the option.
      ["tmpfs", { mpol: `${long},b` }, "255"],
    ];
    const calls = tracedCalls(() => {
      for (const [type, options, words] of wrong) {
        assertThrows(
          () => root.mount("m", { type, options, mkdir: true }),
          RangeError,
          words,
        );
      }
      assertThrows(
        () => remountat(root, "m", { options: `lowerdir=${long}` }),
        RangeError,
        "255",
      );
    });
    assertEquals(calls, []);
  },
);

programTest("mount takes a lowerdir of more than 255 bytes", () => {
  Deno.mkdirSync(TARGET);
  const options = `lowerdir=${makeLayers(12).join(":")}`;
  const arguments_ = ["mount", "-t", "overlay", "-o", options, "layers"];
  const done = mountatRun([...arguments_, SCRATCH, "m"]);
  assertEquals(done, { code: 0, stdout: "", stderr: "" });
  assertEquals(filesIn(TARGET).length, 12);
  run("umount", TARGET);
});
