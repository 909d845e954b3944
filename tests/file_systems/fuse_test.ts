import { kernelTest, type Needs, SCRATCH } from "../support/testing.ts";
import { compiled } from "../support/compiled.ts";
import { Directory } from "../../src/directory.ts";
import { open } from "../support/scratch.ts";
import { O_RDWR } from "../../src/sys/constants.ts";
import { InheritableFd } from "../../src/fd/owned_fd.ts";
import { mountOn, run, sparseFile } from "./support.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { MountError } from "../../src/error/error.ts";

const TARGET = `${SCRATCH}/m`;

const needs: Needs = {
  permissions: ["run", "read", "write", "env"],
  commands: ["cc", "stat"],
};

kernelTest(
  "fuse is served over the descriptor that is its option fd",
  async () => {
    const program = compiled("fuse_server");
    using root = Directory.open(SCRATCH);
    const device = open("/dev/fuse", O_RDWR);
    using mount = root.mount("m", {
      type: "fuse",
      source: "tests",
      options: {
        fd: device.fd,
        rootmode: "40000",
        user_id: 0,
        group_id: 0,
        subtype: "mountat",
        nosuid: true,
      },
      mkdir: true,
    });
    const inherited = new InheritableFd(device.fd);
    const server = new Deno.Command(program, {
      args: [String(inherited.fd)],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    // The server alone has it now: when that ends nothing waits any longer.
    inherited.close();
    device.close();
    const { type, source, superOptions } = mountOn(TARGET);
    assertEquals([type, source], ["fuse.mountat", "tests"]);
    assert(superOptions.includes("user_id=0"), superOptions.join());
    assertEquals(Deno.readTextFileSync(`${TARGET}/hello`), "hello\n");
    assertEquals(Deno.lstatSync(`${TARGET}/hello`).mode! & 0o777, 0o444);
    assertThrows(
      () => Deno.statSync(`${TARGET}/nothing`),
      Deno.errors.NotFound,
    );
    assertEquals(run("stat", "-f", "-c", "%b %l", TARGET), "4711 77\n");
    mount.unmount();
    const { code, stdout, stderr } = await server.output();
    const text = new TextDecoder();
    assertEquals(
      [code, text.decode(stdout), text.decode(stderr)],
      [0, "unmounted\n", ""],
    );
  },
  needs,
);

kernelTest("fuse without a server is an error, and no wait", () => {
  using root = Directory.open(SCRATCH);
  const device = open("/dev/fuse", O_RDWR);
  const options = `fd=${device.fd},rootmode=40000,user_id=0,group_id=0`;
  using _ = root.mount("m", { type: "fuse", options, mkdir: true });
  device.close();
  const { message } = assertThrows(
    () => Deno.readTextFileSync(`${TARGET}/hello`),
    Error,
  );
  // ENOTCONN; ECONNREFUSED once the kernel noted that its greeting failed.
  assertMatch(message, /not connected|refused/);
}, needs);

kernelTest("fuse refuses what is no /dev/fuse", () => {
  using root = Directory.open(SCRATCH);
  using device = open("/dev/null", O_RDWR);
  const options = `fd=${device.fd},rootmode=40000,user_id=0,group_id=0`;
  const error = assertThrows(
    () => root.mount("m", { type: "fuse", options, mkdir: true }),
    MountError,
  );
  assertEquals(error.code, "EINVAL");
}, needs);

kernelTest("fuse.NAME is fuse with a subtype, as mount(8) makes it", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const device = open("/dev/fuse", O_RDWR);
  const options = "rootmode=40000,user_id=0,group_id=0";
  const shown = () => {
    const { type, source, options, superOptions } = mountOn(TARGET);
    return { type, source, options, superOptions };
  };
  const inherited = new InheritableFd(device.fd);
  run(
    "mount",
    "-i",
    "-t",
    "fuse.sshfs",
    "-o",
    `fd=${inherited.fd},${options}`,
    "me@there:",
    TARGET,
  );
  const expected = shown();
  // Else what unmounts waits for an answer.
  inherited.close();
  device.close();
  run("umount", TARGET);
  const again = open("/dev/fuse", O_RDWR);
  using _ = root.mount("m", {
    type: "fuse.sshfs",
    source: "me@there:",
    options: `fd=${again.fd},${options}`,
  });
  again.close();
  assertEquals(shown(), expected);
  assertEquals(expected.type, "fuse.sshfs");
}, { ...needs, commands: ["mount", "umount"] });

kernelTest("fuseblk.NAME is fuseblk with a subtype", () => {
  const image = sparseFile(`${SCRATCH}/image`, 1 << 20);
  using root = Directory.open(SCRATCH);
  const device = open("/dev/fuse", O_RDWR);
  using _ = root.mount("m", {
    type: "fuseblk.ntfs-3g",
    source: image,
    options:
      `loop,fd=${device.fd},rootmode=40000,user_id=0,group_id=0,blksize=512`,
    mkdir: true,
  });
  device.close();
  assertEquals(mountOn(TARGET).type, "fuseblk.ntfs-3g");
}, needs);

kernelTest("only a type that has subtypes takes one", () => {
  using root = Directory.open(SCRATCH);
  const error = assertThrows(
    () => root.mount("m", { type: "tmpfs.sub", mkdir: true }),
    MountError,
  );
  assertEquals([error.syscall, error.code], ["fsopen", "ENODEV"]);
}, needs);

kernelTest(
  "fuse takes its descriptor as one, whatever the kernel takes",
  () => {
    using root = Directory.open(SCRATCH);
    for (const type of ["fuse", "fuse.sshfs"]) {
      using device = open("/dev/fuse", O_RDWR);
      using _ = root.mount("m", {
        type,
        options: { fd: device, rootmode: "40000", user_id: 0, group_id: 0 },
        mkdir: true,
      });
      assertEquals(mountOn(TARGET).type, type);
    }
    // What was refused first is not said of what is wrong then.
    using device = open("/dev/null", O_RDWR);
    const error = assertThrows(
      () =>
        root.mount("m", {
          type: "fuse",
          options: { fd: { fd: device.fd }, rootmode: "40000", nosuch: "1" },
        }),
      MountError,
      "fuse: Unknown parameter 'nosuch'",
    );
    assertEquals(error.log.length, 1);
  },
  needs,
);
