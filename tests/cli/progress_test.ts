import { ROOT, SCRATCH } from "../support/testing.ts";
import { assertEquals } from "@std/assert";
import { programTest } from "../support/program.ts";
import { mount } from "../../src/sys/mount.ts";
import { recordingTest, recordText, writeRecord } from "../support/records.ts";
import { mountId } from "../support/scratch.ts";

const FIXTURE = `${ROOT}tests/fixtures/impatient.ts`;

/** Runs a command in the scratch directory, and gives all that it prints. */
function printed(command: string[]): string {
  const { code, stdout, stderr } = new Deno.Command(command[0]!, {
    args: command.slice(1),
    cwd: SCRATCH,
    // script(1) starts what SHELL says.
    env: { NO_COLOR: "1", SHELL: "/bin/sh" },
    stdin: "null",
  }).outputSync();
  const text = new TextDecoder();
  const output = text.decode(stdout) + text.decode(stderr);
  assertEquals(code, 0, output);
  return output.replaceAll("\r\n", "\n");
}

/** Runs a subcommand that tells how far it is after some milliseconds. */
function impatient(...args: string[]): string[] {
  return [Deno.execPath(), "run", "-A", FIXTURE, ...args];
}

/** Runs a command on a terminal. */
function printedOnTerminal(command: string[]): string {
  const words = command.map((word) => `'${word}'`).join(" ");
  return printed(["script", "-qec", `exec ${words}`, "/dev/null"]);
}

/** What a line is that is written anew for each, and empty again in the end. */
function line(...texts: string[]): string {
  const spaces = " ".repeat(texts.at(-1)!.length);
  return [...texts, spaces, ""].join("\r");
}

/** Writes an fstab of some mounts. */
function writeFstab(names: string[]): void {
  Deno.writeTextFileSync(
    `${SCRATCH}/fstab`,
    names.map((name) => `none /${name} tmpfs x-mount.mkdir 0 0\n`).join(""),
  );
}

programTest("apply and umount tell a terminal how far they are", () => {
  writeFstab(["a", "b"]);
  const apply = ["apply", "--fstab", "fstab", "."];
  const mounted = 'Mounted "a".\nMounted "b".\n';
  const unmounted = 'Unmounted "b".\nUnmounted "a".\n';
  assertEquals(
    printedOnTerminal(impatient("0", ...apply)),
    `\r${line("Mounted so far: 1", "Mounted so far: 2")}${mounted}`,
  );
  assertEquals(
    printedOnTerminal(impatient("0", "umount", "--recursive", ".")),
    `\r${line("Unmounted so far: 1", "Unmounted so far: 2")}${unmounted}`,
  );
  mount("none", `${SCRATCH}/a`, "tmpfs", 0, null);
  assertEquals(
    printedOnTerminal(impatient("0", "umount", "--all", ".", "a")),
    `\r${line("Unmounted so far: 1")}Unmounted "a".\n`,
  );
  // Before its time, and where there is no terminal, all is as ever.
  assertEquals(printedOnTerminal(impatient("3600000", ...apply)), mounted);
  assertEquals(printed(impatient("0", "umount", "--all", ".")), unmounted);
}, { commands: ["script"] });

recordingTest("sweep tells a terminal how far it is", () => {
  const paths = ["a", "b"].map((name) => `${SCRATCH}/${name}`);
  const ids = paths.map((path) => {
    Deno.mkdirSync(path);
    mount("none", path, "tmpfs", 0, null);
    return mountId(path);
  });
  writeRecord(recordText(ids));
  const printedBy = (...args: string[]) =>
    printedOnTerminal(impatient("0", "sweep", ...args)).split("\r").slice(1, 4);
  const told = (done: string) =>
    line(`${done} so far: 1`, `${done} so far: 2`).split("\r").slice(0, -1);
  assertEquals(printedBy("--dry-run"), told("To unmount"));
  assertEquals(printedBy(), told("Unmounted"));
}, { commands: ["script"] });
