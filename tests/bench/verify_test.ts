import type { Contestant } from "../../bench/measure.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import { verify } from "../../bench/verify.ts";
import { assertMatch, assertRejects } from "@std/assert";

/** One that mounts twice. */
function mounter(mounts: number, unmount = true): Contestant {
  return {
    name: "x",
    times: 1,
    mounts,
    time() {
      for (let i = 0; i < 2; i++) {
        mount("x", SCRATCH, "tmpfs", 0, null);
        if (unmount) umount2(SCRATCH, 0);
      }
      return 0;
    },
  };
}

kernelTest("verify() counts the mounts that a contestant makes", async () => {
  await verify(mounter(2));
  // More than other processes make meanwhile.
  const error = await assertRejects(() => verify(mounter(10_000)), Error);
  assertMatch(error.message, /^x makes \d+ mounts, not 10000$/);
});

kernelTest("verify() finds what a contestant leaves", async () => {
  const message = "x leaves a mount behind";
  await assertRejects(() => verify(mounter(2, false)), Error, message);
  for (let i = 0; i < 2; i++) umount2(SCRATCH, 0);
});
