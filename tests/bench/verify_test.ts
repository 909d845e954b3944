import { assertRejects } from "@std/assert";
import type { Contestant } from "../../bench/measure.ts";
import { verify } from "../../bench/verify.ts";
import { mount } from "../../src/sys/mount.ts";
import { umount2 } from "../../src/sys/umount2.ts";
import { kernelTest, SCRATCH } from "../support.ts";

/** One that mounts so many, and says that they are two. */
function mounter(count: number, unmount = true): Contestant {
  return {
    name: "x",
    times: 1,
    mounts: 2,
    time() {
      for (let i = 0; i < count; i++) {
        mount("x", SCRATCH, "tmpfs", 0, null);
        if (unmount) umount2(SCRATCH, 0);
      }
      return 0;
    },
  };
}

kernelTest("verify() counts the mounts that a contestant makes", async () => {
  await verify(mounter(2));
  for (const count of [0, 1, 3]) {
    await assertRejects(
      () => verify(mounter(count)),
      Error,
      `x makes ${count} mounts, not 2`,
    );
  }
});

kernelTest("verify() finds what a contestant leaves", async () => {
  const message = "x leaves a mount behind";
  await assertRejects(() => verify(mounter(2, false)), Error, message);
  for (let i = 0; i < 2; i++) umount2(SCRATCH, 0);
});
