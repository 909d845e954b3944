/** What commands have for themselves, and what confines them. */
import { assert, assertEquals } from "@std/assert";
import { Directory } from "../../src/directory.ts";
import type { RunOptions } from "../../src/run/options.ts";

import {
  evaluate,
  makeRoot,
  rootTest,
  runTest,
  shell,
  text,
} from "../support/run_root.ts";
import { ROOT, SCRATCH } from "../support/testing.ts";
import { has, kernelTestSince } from "../support/since.ts";
import { withoutCall } from "../support/scratch.ts";
import { mountat } from "../../src/mount/mountat.ts";
import { endSpawner, spawner } from "../../src/run/spawner.ts";
import { setTracer, type TracedCall } from "../../src/sys/call.ts";

const KINDS = [{}, { asPid1: true }, { hostPid: true }] as const;

runTest(
  "run() gives a command an IPC and a UTS namespace, or the host's",
  async () => {
    using root = Directory.open(makeRoot());
    for (const kind of KINDS) {
      for (const hostIpc of [false, true]) {
        for (const hostUts of [false, true]) {
          const { out } = await shell(
            root,
            "for n in ipc uts net; do readlink /proc/self/ns/$n; done",
            { ...kind, hostIpc, hostUts },
          );
          const host = ["ipc", "uts", "net"].map((name) =>
            Deno.readLinkSync(`/proc/thread-self/ns/${name}`)
          );
          assertEquals(
            out.trimEnd().split("\n").map((name, i) => name === host[i]),
            [hostIpc, hostUts, true],
          );
        }
      }
    }
  },
);

/** What a command sees mounted, and that it may mount; no ids and devices. */
const LOOK = `
  cut -d' ' -f4- /proc/self/mountinfo
  mount -t tmpfs t /bin/../m && umount /m && echo may mount
  unshare -m true && echo may unshare
  umount -l / && echo uncovered`;

runTest(
  "run() keeps an empty mount namespace where the kernel makes none",
  async () => {
    const path = makeRoot();
    Deno.mkdirSync(`${path}/m`);
    using root = Directory.open(path);
    const seen: string[] = [];
    for (const kept of has("emptyMountNamespace") ? [false, true] : [true]) {
      endSpawner();
      if (kept) withoutCall("clone3", spawner);
      assertEquals(spawner().empty !== null, kept);
      const calls: TracedCall[] = [];
      const before = setTracer((call) => calls.push(call));
      try {
        const { out, err } = await shell(root, LOOK);
        assertEquals(err, "");
        seen.push(out);
      } finally {
        setTracer(before);
      }
      assertEquals(calls.some(({ syscall }) => syscall === "setns"), kept);
    }
    const [first, ...others] = seen;
    assert(first!.endsWith("\nmay mount\nmay unshare\nuncovered\n"), first);
    for (const other of others) assertEquals(other, first);
  },
);

runTest(
  "a command in a user namespace may mount a procfs in one of its own",
  () => {
    const path = makeRoot();
    Deno.mkdirSync(`${path}/m`);
    const script = `
      import { Directory } from "${ROOT}mod.ts";
      import { run } from "${ROOT}src/run/mod.ts";
      using root = Directory.open(${JSON.stringify(path)});
      const nested = "mount -t proc proc /m && ls -d /m/1";
      const { code } = await run(root, [
        "unshare", "-Urmpf", "sh", "-c", nested,
      ], { env: { PATH: "/bin" } });
      Deno.exitCode = code;`;
    const { stdout, stderr } = evaluate(script, ["unshare", "-Urm"]);
    assertEquals([text.decode(stdout), text.decode(stderr)], ["/m/1\n", ""]);
  },
  { commands: ["unshare"] },
);

kernelTestSince(
  "7.1",
  "procfs can't be made in an empty mount namespace of a user namespace",
  () => {
    const script = `
      import { fsconfigCreate, fsmount, fsopen, unshare } from "${ROOT}src/sys/mod.ts";
      import { UNSHARE_EMPTY_MNTNS } from "${ROOT}src/sys/constants.ts";
      const [before, after] = [1, 2].map(() => {
        const context = fsopen("proc");
        fsconfigCreate(context);
        return context;
      });
      fsmount(before);
      unshare(UNSHARE_EMPTY_MNTNS);
      try {
        fsmount(after);
        console.log("made");
      } catch (error) {
        console.log(error.code);
      }`;
    const { stdout, stderr } = evaluate(script, ["unshare", "-Urmpf"]);
    assertEquals([text.decode(stdout), text.decode(stderr)], ["EPERM\n", ""]);
  },
  { permissions: ["run", "read", "env"], commands: ["unshare"] },
);

rootTest("run() mounts an mqueue of the command's IPC namespace", async () => {
  using root = Directory.open(makeRoot());
  const mounts = [{ type: "mqueue", target: "q" }];
  const { out, err } = await shell(root, "touch /q/mine; ls /q", { mounts });
  assertEquals([out, err], ["mine\n", ""]);
  // What one leaves the next does not see.
  assertEquals((await shell(root, "ls /q", { mounts })).out, "");
});

rootTest("run() shows a network of its own in every sysfs", async () => {
  using root = Directory.open(makeRoot());
  const { out, err } = await shell(
    root,
    "ls /sys/class/net /other/class/net; cat /sys/class/net/lo/flags",
    {
      network: "none",
      mounts: [
        { type: "sysfs", target: "other" },
        // With something inside it is not mounted by the first process.
        { type: "tmpfs", target: "sys/fs/cgroup" },
      ],
    },
  );
  assertEquals(err, "");
  // IFF_UP | IFF_LOOPBACK
  assertEquals(out, "/other/class/net:\nlo\n\n/sys/class/net:\nlo\n0x9\n");
});

rootTest("run() gives nodes in /dev to who can't make any", async () => {
  const path = makeRoot();
  using root = Directory.open(path);
  const probe = `
    for n in null zero full random urandom tty; do [ -c /dev/$n ] || echo $n; done
    echo x >/dev/null && head -c 2 /dev/zero | wc -c
    grep -c ' /dev rw,nosuid,nodev' /proc/self/mountinfo
    mknod /dev/n c 1 3; mknod /dev/shm/n c 1 3
    mount -o remount,dev /dev/shm`;
  const strict: RunOptions = { profile: "strict" };
  for (
    const options of [
      { ...strict, capabilities: ["CAP_DAC_OVERRIDE", "CAP_FOWNER"] } as const,
      { ...strict, uid: 1000 },
    ]
  ) {
    const { out, err } = await shell(root, probe, options);
    assertEquals(out, "2\n0\n");
    assertEquals(err.trimEnd().split("\n").map((line) => line.slice(0, 6)), [
      "mknod:",
      "mknod:",
      "mount:",
    ], err);
    assert(err.includes("Operation not permitted"), err);
  }
});

rootTest("run() keeps the profile strict, whatever is mounted", async () => {
  const path = makeRoot();
  Deno.mkdirSync(`${path}/src`);
  using root = Directory.open(path);
  using scratch = Directory.open(SCRATCH);
  using mount = mountat(scratch.fd, "disk", { type: "tmpfs", mkdir: true });
  const probe = `
    grep -h -e NoNewPrivs -e CapBnd /proc/self/status
    for d in / /dev/ /tmp/ /src/; do rm -f $d/n; mknod $d/n c 1 3 && echo >$d/n; done 2>&1 | sort | uniq -c
    echo >/null && cat /proc/keys /proc/timer_list /sys/firmware/*
    echo 0 >/proc/sys/kernel/panic
    umount /proc/sys; mount -o remount,rw /sys; mount -t tmpfs t /mnt
    grep -c ' /proc/sys ro' /proc/self/mountinfo`;
  const strict: RunOptions = {
    profile: "strict",
    mounts: [
      { type: "tmpfs", target: "tmp" },
      { type: "bind", source: `${SCRATCH}/disk`, target: "src" },
      { type: "bind", source: "/dev/null", target: "null" },
    ],
  };
  const within = [
    { type: "tmpfs", target: "sys/fs/cgroup" },
    { type: "tmpfs", target: "proc/scsi", optional: true },
  ];
  const results = [];
  for (
    const options of [
      strict,
      { ...strict, asPid1: true },
      { ...strict, hostPid: true },
      { ...strict, mounts: [...strict.mounts!, ...within] },
      { ...strict, mountPoints: "stand-in" } as const,
    ]
  ) results.push(await shell(root, probe, options));
  for (const { out, err } of results) {
    assertEquals(out.split("\n").map((line) => line.trim()), [
      "CapBnd:\t00000000a80425fb",
      "NoNewPrivs:\t1",
      "1 sh: can't create //n: Permission denied",
      "1 sh: can't create /dev//n: Permission denied",
      "1 sh: can't create /src//n: Permission denied",
      "1 sh: can't create /tmp//n: Permission denied",
      "1",
      "",
    ]);
    assert(err.includes("panic: Read-only file system"), err);
  }
  mount.unmount();
});
