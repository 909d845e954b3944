/** What the program must do however it was delivered. */
import { succeed } from "./process.ts";
import { mountsBelow, SCRATCH } from "../support/testing.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { mount } from "../../src/sys/mount.ts";
import config from "../../deno.json" with { type: "json" };

/**
 * Runs the program as a command: it tells its version, does the main job, reads
 * options, unmounts in each way, those too for which it runs itself again or
 * starts a thread, and runs a command.
 */
export async function checkProgram(
  command: string[],
  options: Parameters<typeof succeed>[1] = {},
): Promise<void> {
  const program = (...args: string[]) =>
    succeed([...command, ...args], options);
  assertEquals(await program("--version"), `mountat ${config.version}\n`);
  assertMatch(await program(`${SCRATCH}/main`, "0"), TRANSCRIPT);
  assertEquals(mountsBelow(SCRATCH).length, 1);
  const listed = JSON.parse(await program("list", "--json", SCRATCH));
  assertEquals(listed.filesystems.length, 1);
  for (const strategy of ["procfd", "worker", "subprocess", "mtab"]) {
    mount("none", `${SCRATCH}/main`, "tmpfs", 0, null);
    await program("umount", "--strategy", strategy, SCRATCH, "main");
    assertEquals(mountsBelow(SCRATCH).length, 1, strategy);
  }
  const pid = await program("run", "/", "--", "sh", "-c", "echo $$");
  assertEquals(pid, "2\n");
}

const TRANSCRIPT = new RegExp(
  `^Mounting /proc into (\\d+) \\(file descriptor for\\) ${SCRATCH}/main\\.
Mounting /sys into \\1 \\(file descriptor for\\) ${SCRATCH}/main\\.
Sleeping 0 seconds\\.
Unmounting proc from \\1 \\(directory file descriptor\\)\\.
Unmounting sys from \\1 \\(directory file descriptor\\)\\.
$`,
);
