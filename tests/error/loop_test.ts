import { kernelTest, SCRATCH } from "../support/testing.ts";
import { run, sparseFile } from "../file_systems/support.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { MS_BIND } from "../../src/sys/constants.ts";
import { failing } from "../support/failing.ts";
import { assertEquals } from "@std/assert";

kernelTest(
  "a MountError says who may use loop devices",
  () => {
    const image = sparseFile(`${SCRATCH}/image`, 4096);
    Deno.mkdirSync(`${SCRATCH}/m`);
    const control = `${SCRATCH}/control`;
    run("mknod", "-m", "000", control, "c", "10", "237");
    mount(control, "/dev/loop-control", null, MS_BIND, null);
    try {
      const { syscall, code, hint } = failing(
        ["loop", SCRATCH, "m", "ext4", image],
        { wrapper: ["setpriv", "--bounding-set=-dac_override"] },
      );
      assertEquals([syscall, code], ["openat2", "EACCES"]);
      assertEquals(
        hint,
        'This process may not open "/dev/loop-control": loop devices are for root outside user namespaces, and for containers that were given them',
      );
    } finally {
      umount2("/dev/loop-control");
    }
  },
  {
    permissions: ["run", "read", "write", "env"],
    commands: ["mknod", "setpriv"],
  },
);
