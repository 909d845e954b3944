/** File systems without a device, and what their options do. */
import { kernelTest, type Needs, SCRATCH } from "../support/testing.ts";
import { Directory } from "../../src/directory.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { mountOn, run } from "./support.ts";
import { MountError } from "../../src/error/error.ts";
import { open } from "../support/scratch.ts";
import { CLONE_NEWIPC, O_NOCTTY, O_RDWR } from "../../src/sys/constants.ts";
import { unshare } from "../../src/sys/process.ts";
import { readFile } from "../../src/fd/open.ts";
import { kernelTestSince } from "../support/since.ts";
import { commandLine } from "../support/program.ts";

const TARGET = `${SCRATCH}/m`;

const needs: Needs = { permissions: ["read", "write"] };

kernelTest("tmpfs has the size, mode and owner that it is given", () => {
  using root = Directory.open(SCRATCH);
  const options = "size=64k,nr_inodes=10,mode=1750,uid=7,gid=8,huge=never";
  using _ = root.mount("m", { type: "tmpfs", options, mkdir: true });
  const { mode, uid, gid } = Deno.statSync(TARGET);
  assertEquals([mode! & 0o7777, uid, gid], [0o1750, 7, 8]);
  const { superOptions } = mountOn(TARGET);
  for (const word of ["size=64k", "nr_inodes=10", "mode=1750", "uid=7"]) {
    assert(superOptions.includes(word), superOptions.join());
  }
  Deno.writeFileSync(`${TARGET}/fits`, new Uint8Array(60 << 10));
  assertThrows(
    () => Deno.writeFileSync(`${TARGET}/more`, new Uint8Array(8 << 10)),
    Error,
    "No space left",
  );
  const before = [...Deno.readDirSync(TARGET)].length;
  assertThrows(
    () => {
      for (let i = 0; i < 10; i++) Deno.mkdirSync(`${TARGET}/${i}`);
    },
    Error,
    "No space left",
  );
  // The root is one of the ten.
  assertEquals([...Deno.readDirSync(TARGET)].length, 9);
  assertEquals(before, 2);
}, needs);

kernelTest("tmpfs takes a list of nodes, as mount(8) gives it", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  for (const list of ["mpol=bind:0,0,size=1m", "size=1m,mpol=interleave:0,0"]) {
    run("mount", "-t", "tmpfs", "-o", list, "none", TARGET);
    const { superOptions } = mountOn(TARGET);
    run("umount", TARGET);
    const options = `${list},mode=755`;
    using _ = root.mount("m", { type: "tmpfs", options });
    assertEquals(
      mountOn(TARGET).superOptions,
      superOptions.toSpliced(2, 0, "mode=755"),
      list,
    );
  }
}, { permissions: ["run", "read", "env"], commands: ["mount", "umount"] });

kernelTest("tmpfs takes huge pages", () => {
  using root = Directory.open(SCRATCH);
  for (const huge of ["always", "within_size", "advise"]) {
    using _ = root.mount("m", {
      type: "tmpfs",
      options: { huge, size: 4 << 20 },
      mkdir: true,
    });
    const { superOptions } = mountOn(TARGET);
    assert(superOptions.includes(`huge=${huge}`), superOptions.join());
    assert(superOptions.includes("size=4096k"), superOptions.join());
  }
});

kernelTest("every file system takes ro, sync, dirsync and lazytime", () => {
  using root = Directory.open(SCRATCH);
  const options = "ro=fs,sync,dirsync,lazytime";
  using _ = root.mount("m", { type: "tmpfs", options, mkdir: true });
  const words = mountOn(TARGET).superOptions.slice(0, 4);
  assertEquals(words.sort(), ["dirsync", "lazytime", "ro", "sync"]);
});

kernelTest("sysfs shows the kernel, and takes no options", () => {
  using root = Directory.open(SCRATCH);
  {
    using _ = root.mount("m", { type: "sysfs", options: "ro", mkdir: true });
    assert(Deno.statSync(`${TARGET}/kernel`).isDirectory);
    assert(Deno.statSync(`${TARGET}/class/net/lo`).isDirectory);
    // The file system is the one that others see, and stays writable.
    const { options, superOptions } = mountOn(TARGET);
    assertEquals([options[0], superOptions[0]], ["ro", "rw"]);
  }
  assertThrows(
    () => root.mount("m", { type: "sysfs", options: "nosuch" }),
    MountError,
    "sysfs: Unknown parameter 'nosuch'",
  );
}, needs);

kernelTest("each devpts is an instance of its own", () => {
  using root = Directory.open(SCRATCH);
  const options = "newinstance,ptmxmode=0666,mode=0620,gid=5,max=2";
  const mountOne = (target: string) =>
    root.mount(target, { type: "devpts", options, mkdir: true });
  using _first = mountOne("m");
  using _second = mountOne("n");
  assertEquals(Deno.statSync(`${TARGET}/ptmx`).mode! & 0o777, 0o666);
  const terminals = (target: string) =>
    Array.from(Deno.readDirSync(`${SCRATCH}/${target}`), ({ name }) => name)
      .filter((name) => name !== "ptmx");
  {
    using _a = open(`${TARGET}/ptmx`, O_RDWR | O_NOCTTY);
    using _b = open(`${TARGET}/ptmx`, O_RDWR | O_NOCTTY);
    assertEquals(terminals("m").sort(), ["0", "1"]);
    assertEquals(terminals("n"), []);
    const { mode, gid } = Deno.statSync(`${TARGET}/0`);
    assertEquals([mode! & 0o777, gid], [0o620, 5]);
    assertThrows(() => open(`${TARGET}/ptmx`, O_RDWR), Error, "ENOSPC");
    using _c = open(`${SCRATCH}/n/ptmx`, O_RDWR | O_NOCTTY);
    assertEquals(terminals("n"), ["0"]);
  }
  assertEquals(terminals("m"), []);
}, needs);

kernelTest("mqueue shows the message queues of its IPC namespace", () => {
  unshare(CLONE_NEWIPC);
  using root = Directory.open(SCRATCH);
  using _first = root.mount("m", { type: "mqueue", mkdir: true });
  using _second = root.mount("n", { type: "mqueue", mkdir: true });
  Deno.writeTextFileSync(`${TARGET}/queue`, "");
  assert(readFile(`${SCRATCH}/n/queue`).startsWith("QSIZE:0 "));
  Deno.removeSync(`${TARGET}/queue`);
  assertEquals([...Deno.readDirSync(`${SCRATCH}/n`)], []);
}, needs);

kernelTest("binfmt_misc has its files", () => {
  using root = Directory.open(SCRATCH);
  using _ = root.mount("m", { type: "binfmt_misc", mkdir: true });
  assert(/^(en|dis)abled$/.test(readFile(`${TARGET}/status`).trimEnd()));
  assert(Deno.statSync(`${TARGET}/register`).isFile);
}, needs);

kernelTestSince(
  "6.8",
  "binfmt_misc of a user namespace runs a program as it is told there",
  () => {
    // In the first user namespace it would hold for the machine.
    const script = `
      "$@"
      printf ':mountat-test:E::mountattest::/bin/echo:' >"${TARGET}/register"
      exec "${SCRATCH}/program.mountattest" argument`;
    Deno.mkdirSync(TARGET);
    const program = `${SCRATCH}/program.mountattest`;
    Deno.writeTextFileSync(program, "", { mode: 0o755 });
    const printed = run(...commandLine(
      ["mount", SCRATCH, "m", "binfmt_misc"],
      {
        wrapper: ["unshare", "-Urm", "sh", "-ec", script, "sh"],
        entry: "tests/fixtures/failing.ts",
      },
    ) as [string, ...string[]]);
    assertEquals(printed, `done\n${program} argument\n`);
  },
  { permissions: ["run", "read", "write", "env"], commands: ["unshare"] },
);
