import { kernelTest, type Needs, SCRATCH } from "../support/testing.ts";
import {
  loopAttribute,
  loopsOf,
  mountOn,
  run,
  sparseFile,
} from "../file_systems/support.ts";
import type { MountOptions } from "../../src/options/spec.ts";
import { MountError } from "../../src/error/error.ts";
import { Directory } from "../../src/directory.ts";
import {
  assert,
  assertEquals,
  assertGreater,
  assertMatch,
  assertThrows,
} from "@std/assert";
import { libc, NR } from "../../src/sys/libc.ts";
import {
  AT_FDCWD,
  LOOP_CTL_GET_FREE,
  MOUNT_ATTR_RDONLY,
  MS_BIND,
} from "../../src/sys/constants.ts";
import { tracedCalls } from "../support/scratch.ts";
import { mkdirat } from "../../src/sys/names.ts";
import { commandLine } from "../support/program.ts";
import { mount, mountSetattr, umount2 } from "../../src/sys/mount.ts";

const needs: Needs = {
  permissions: ["run", "read", "write"],
  commands: ["mkfs.ext4"],
};

/** An ext4 in a file, and how it is mounted. */
function ext4(options: string, size = 4 << 20) {
  const source = sparseFile(`${SCRATCH}/image`, size);
  run("mkfs.ext4", "-q", source);
  return { type: "ext4", source, options, mkdir: true };
}

/** Mounting must fail so, and leave nothing behind. */
function assertFails(options: MountOptions, code: string): MountError {
  using root = Directory.open(SCRATCH);
  const error = assertThrows(() => root.mount("m", options), MountError);
  assertEquals(error.code, code, error.message);
  assertEquals(loopsOf(options.source!), []);
  return error;
}

kernelTest("mountat() puts a file behind a loop device with loop", () => {
  using root = Directory.open(SCRATCH);
  const image = ext4("loop");
  {
    using _ = root.mount("m", image);
    const { source, options, superOptions } = mountOn(`${SCRATCH}/m`);
    assertEquals(loopsOf(image.source).map((name) => `/dev/${name}`), [source]);
    assertEquals([options[0], superOptions[0]], ["rw", "rw"]);
    const [name] = loopsOf(image.source);
    assertEquals(loopAttribute(name!, "autoclear"), "1");
    Deno.writeTextFileSync(`${SCRATCH}/m/file`, "kept");
  }
  assertEquals(loopsOf(image.source), []);
  using _ = root.mount("m", image);
  assertEquals(Deno.readTextFileSync(`${SCRATCH}/m/file`), "kept");
}, needs);

kernelTest(
  "mountat() makes a loop device that can only be read with ro",
  () => {
    using root = Directory.open(SCRATCH);
    const image = ext4("");
    for (const options of ["loop,ro", "ro=fs,loop", "loop,rw=fs,ro=fs"]) {
      using _ = root.mount("m", { ...image, options });
      const [name] = loopsOf(image.source);
      assertEquals(Deno.readTextFileSync(`/sys/block/${name}/ro`), "1\n");
      assertEquals(mountOn(`${SCRATCH}/m`).superOptions[0], "ro");
    }
    for (const options of ["loop,ro,rw", "loop,ro=fs,rw=fs"]) {
      using _ = root.mount("n", { ...image, options });
      const [name] = loopsOf(image.source);
      assertEquals(Deno.readTextFileSync(`/sys/block/${name}/ro`), "0\n");
    }
  },
  needs,
);

kernelTest("mountat() never writes to a file that is mounted with ro", () => {
  using root = Directory.open(SCRATCH);
  const image = ext4("loop,ro");
  const before = Deno.readFileSync(image.source);
  root.mount("m", image).unmount();
  assertEquals(Deno.readFileSync(image.source), before);
}, needs);

kernelTest(
  "mountat() mounts a part of a file with offset and sizelimit",
  () => {
    using root = Directory.open(SCRATCH);
    const image = ext4("loop,offset=1M,sizelimit=4M");
    const whole = sparseFile(`${SCRATCH}/whole`, 8 << 20);
    using file = Deno.openSync(whole, { write: true });
    file.seekSync(1 << 20, Deno.SeekMode.Start);
    let bytes = Deno.readFileSync(image.source);
    while (bytes.length > 0) bytes = bytes.subarray(file.writeSync(bytes));
    using _ = root.mount("m", { ...image, source: whole });
    const [name] = loopsOf(whole);
    assertEquals(
      ["offset", "sizelimit"].map((which) => loopAttribute(name!, which)),
      ["1048576", "4194304"],
    );
    assert(Deno.statSync(`${SCRATCH}/m/lost+found`).isDirectory);
  },
  needs,
);

kernelTest(
  "mountat() takes the loop device that is named, if it is free",
  () => {
    using root = Directory.open(SCRATCH);
    const image = ext4("loop");
    root.mount("m", image).unmount();
    using _other = root.mount("m", image);
    const [busy] = loopsOf(image.source);
    const second = { ...image, source: `${SCRATCH}/second` };
    Deno.copyFileSync(image.source, second.source);
    const error = assertFails(
      { ...second, options: `loop=/dev/${busy}` },
      "EBUSY",
    );
    assertEquals(error.syscall, "ioctl");
    assert(error.hint!.includes("without a value"), error.hint);
    const free = loopOfOnce(root, second);
    using _ = root.mount("n", { ...second, options: `loop=/dev/${free}` });
    assertEquals(loopsOf(second.source), [free]);
  },
  needs,
);

/** A device that a mount just gave back. */
function loopOfOnce(root: Directory, options: MountOptions): string {
  using _ = root.mount("n", options);
  return loopsOf(options.source!)[0]!;
}

kernelTest(
  "mountat() tries again when another process takes the free device",
  () => {
    using root = Directory.open(SCRATCH);
    const image = ext4("loop");
    using _taken = root.mount("m", image);
    const [taken] = loopsOf(image.source);
    const second = { ...image, source: `${SCRATCH}/second` };
    Deno.copyFileSync(image.source, second.source);
    // What the kernel said before the other process came.
    const real = libc.ioctl;
    let asked = 0;
    Object.defineProperty(libc, "ioctl", {
      value: (...args: Parameters<typeof real>) => {
        const number = real(...args);
        return args[2] === LOOP_CTL_GET_FREE && ++asked <= 3
          ? Number(taken!.slice("loop".length))
          : number;
      },
    });
    try {
      using _ = root.mount("n", second);
      assertEquals(asked, 4);
      assertEquals(loopsOf(second.source).length, 1);
    } finally {
      Object.defineProperty(libc, "ioctl", { value: real });
    }
  },
  needs,
);

kernelTest(
  "mountat() holds the loop device only to read while it is mounted",
  () => {
    using root = Directory.open(SCRATCH);
    const image = ext4("loop");
    const calls = tracedCalls(() => {
      using _ = root.mount("m", image);
    });
    const opened = new Map<number, string>();
    for (const { syscall, args, result } of calls) {
      if (syscall === "openat2") opened.set(result, args.join(" "));
      if (syscall === "close") opened.delete((args[0] as { fd: number }).fd);
      if (args[1] !== "FSCONFIG_CMD_CREATE") continue;
      const devices = [...opened.values()].filter((call) =>
        call.includes("/dev/loop")
      );
      assertEquals(devices.length, 1);
      assert(devices[0]!.includes("flags=O_RDONLY|O_CLOEXEC"), devices[0]);
    }
    assert(calls.some(({ args }) => args[1] === "FSCONFIG_CMD_CREATE"));
  },
  needs,
);

kernelTest("mountat() leaves no loop device when any call fails", () => {
  using root = Directory.open(SCRATCH);
  const image = ext4("loop");
  root.mkdir("m");
  const calls = tracedCalls(() => root.mount("m", image).unmount());
  const end = calls.findIndex(({ syscall }) => syscall === "move_mount");
  const times = new Map<string, number>();
  let failed = 0;
  for (const { syscall } of calls.slice(0, end + 1)) {
    // What is closed is closed, whatever close(2) answers.
    if (syscall === "close") continue;
    const nth = (times.get(syscall) ?? 0) + 1;
    times.set(syscall, nth);
    missingOnce(syscall as keyof typeof NR, nth, () => {
      assertThrows(() => root.mount("m", image), Error, syscall);
    });
    assertEquals(loopsOf(image.source), [], `${syscall}, ${nth}`);
    failed++;
  }
  assertGreater(failed, 12);
}, needs);

/** Makes a call fail once, as on a kernel that lacks it: the nth time. */
function missingOnce(name: keyof typeof NR, nth: number, fn: () => void): void {
  const real = NR[name];
  let count = 0;
  Object.defineProperty(NR, name, {
    configurable: true,
    get: () => ++count === nth ? 9999 : real,
  });
  try {
    fn();
  } finally {
    Object.defineProperty(NR, name, { value: real, writable: true });
  }
}

kernelTest("mountat() leaves no loop device when it is killed halfway", () => {
  const image = ext4("loop");
  mkdirat(AT_FDCWD, `${SCRATCH}/m`, 0o755);
  for (const call of ["fsopen", "fsmount", "move_mount"]) {
    const trace = `${SCRATCH}/trace`;
    const [command, ...args] = commandLine(
      ["loop", SCRATCH, "m", "ext4", image.source],
      {
        wrapper: [
          "strace",
          "-fqo",
          trace,
          "-e",
          "trace=ioctl,fsopen,fsmount,move_mount",
          "-e",
          `inject=${call}:signal=KILL`,
        ],
        entry: "tests/fixtures/failing.ts",
      },
    );
    const { signal } = new Deno.Command(command!, { args, stdin: "null" })
      .outputSync();
    const text = Deno.readTextFileSync(trace);
    assert(text.includes("LOOP_CONFIGURE"), text);
    assert(text.includes(`${call}(`), text);
    assertEquals(signal, "SIGKILL");
    assertEquals(loopsOf(image.source), [], call);
  }
}, { ...needs, commands: ["mkfs.ext4", "strace"] });

kernelTest("mountat() says what is wrong with an image", () => {
  const image = ext4("loop");
  const empty = sparseFile(`${SCRATCH}/empty`, 4 << 20);
  const hints: [Partial<MountOptions>, string, string][] = [
    [{ source: `${SCRATCH}/no` }, "ENOENT", `"${SCRATCH}/no" does not exist`],
    [{ source: `${image.source}/x` }, "ENOTDIR", "is a file, and a directory"],
    [{ source: SCRATCH }, "EISDIR", "needs a regular file"],
    [{ source: SCRATCH, options: "loop,ro" }, "EINVAL", "needs a regular file"],
    [{ source: "/dev/null" }, "EINVAL", "needs a regular file"],
    [{ source: empty }, "EINVAL", `"${empty}" may hold no ext4`],
    [{ options: "loop,offset=1M" }, "EINVAL", "may hold no ext4"],
    [{ options: "" }, "ENOTBLK", "the option loop"],
    [{ options: "loop=/dev/null" }, "ENOTTY", "not a loop device"],
    [{ options: "loop=/dev/loop999999" }, "ENOENT", 'no loop device "/dev/'],
    [{ options: "loop,nosuch" }, "EINVAL", ""],
    [{ type: "nosuchfs" }, "ENODEV", "/proc/filesystems"],
  ];
  for (const [options, code, hint] of hints) {
    const error = assertFails({ ...image, ...options }, code);
    assert((error.hint ?? "").includes(hint), `${hint}: ${error.hint}`);
  }
  assert(
    !Deno.readTextFileSync("/proc/self/mountinfo").includes(`${SCRATCH}/m`),
  );
}, needs);

kernelTest("mountat() says that a journal is to be replayed", () => {
  using root = Directory.open(SCRATCH);
  const image = ext4("loop", 32 << 20);
  const crashed = { ...image, source: `${SCRATCH}/crashed` };
  {
    using _ = root.mount("m", image);
    Deno.writeTextFileSync(`${SCRATCH}/m/file`, "");
    run("sync", "-f", `${SCRATCH}/m`);
    Deno.copyFileSync(image.source, crashed.source);
  }
  const error = assertFails({ ...crashed, options: "loop,ro" }, "EROFS");
  assert(error.hint!.includes("noload"), error.hint);
  root.mount("m", { ...crashed, options: "loop,ro,noload" }).unmount();
  root.mount("m", crashed).unmount();
  root.mount("m", { ...crashed, options: "loop,ro" }).unmount();
}, { ...needs, commands: ["mkfs.ext4", "sync"] });

kernelTest("mountat() waits for no writer of a FIFO", () => {
  const fifo = `${SCRATCH}/fifo`;
  run("mkfifo", fifo);
  assertFails(
    { type: "ext4", source: fifo, options: "loop,ro", mkdir: true },
    "EINVAL",
  );
}, { ...needs, commands: ["mkfifo"] });

kernelTest("mountat() reads an image that may not be written, with ro", () => {
  using root = Directory.open(SCRATCH);
  const image = ext4("loop");
  root.mkdir("ro");
  using _bound = root.bind(SCRATCH, "ro");
  mountSetattr(root.fd, "ro", 0, { attrSet: MOUNT_ATTR_RDONLY });
  const source = `${SCRATCH}/ro/image`;
  const error = assertFails({ ...image, source }, "EROFS");
  assert(error.hint!.includes("option ro"), error.hint);
  using _ = root.mount("m", { ...image, source, options: "loop,ro" });
  assertEquals(loopsOf(source).length, 1);
}, needs);

kernelTest("mountat() says that there are no loop devices", () => {
  const image = ext4("loop");
  const dev = `${SCRATCH}/dev`;
  mkdirat(AT_FDCWD, dev, 0o755);
  const hintWithIt = () => {
    mount(dev, "/dev", null, MS_BIND, null);
    try {
      return assertFails(image, "ENOENT").hint!;
    } finally {
      umount2("/dev");
    }
  };
  assertMatch(hintWithIt(), /modprobe loop/);
  run("mknod", `${dev}/loop-control`, "c", "10", "237");
  assertMatch(hintWithIt(), /no loop device "\/dev\/loop\d+"/);
}, { ...needs, commands: ["mkfs.ext4", "mknod"] });

kernelTest(
  "mountat() throws before any call for a loop device without a file",
  () => {
    using root = Directory.open(SCRATCH);
    const calls = tracedCalls(() => {
      for (const source of [undefined, "", "a\0b", 7 as unknown as string]) {
        const options = source === undefined ? {} : { source };
        assertThrows(
          () => root.mount("m", { type: "ext4", options: "loop", ...options }),
          TypeError,
        );
      }
    });
    assertEquals(calls, []);
  },
);
