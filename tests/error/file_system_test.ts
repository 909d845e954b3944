import { assert, assertEquals, assertThrows } from "@std/assert";
import { Directory } from "../../src/directory.ts";
import { failing } from "../support/failing.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import { MountError } from "../../src/error/error.ts";
import type { MountOptions } from "../../src/options/spec.ts";
import { unknownTypeHint } from "../../src/error/file_system.ts";

function errorOf(root: Directory, options: MountOptions): MountError {
  return assertThrows(() => root.mount("m", options), MountError);
}

kernelTest("an overlay's usual mistakes are told", () => {
  using root = Directory.open(SCRATCH);
  for (const name of ["m", "lower", "upper", "work", "elsewhere"]) {
    root.mkdir(name);
  }
  using _elsewhere = root.mount("elsewhere", { type: "tmpfs" });
  const at = (name: string) => `${SCRATCH}/${name}`;
  const lower = `lowerdir=${at("lower")}`;
  const upper = `upperdir=${at("upper")}`;
  const cases: [options: string, code: string, hint: string][] = [
    [
      `${lower},${upper},workdir=${at("elsewhere")}`,
      "EINVAL",
      `The upperdir and the workdir must be on the same mount, and "${
        at("upper")
      }" and "${at("elsewhere")}" are not`,
    ],
    [
      `${lower},${upper}`,
      "EINVAL",
      "An overlay with an upperdir needs a workdir, too: an empty directory on the same mount",
    ],
    [
      `${upper},workdir=${at("work")}`,
      "EINVAL",
      "An overlay needs a lowerdir",
    ],
    [
      lower,
      "EINVAL",
      "An overlay without an upperdir needs at least two lower layers",
    ],
    [
      `${lower},${upper},workdir=${at("upper")}`,
      "EINVAL",
      "The upperdir and the workdir must be separate directories, neither inside the other",
    ],
    [
      `${lower},${upper},workdir=${at("no/work")}`,
      "ENOENT",
      `In the value of workdir "${at("no/work")}", "${
        at("no")
      }" does not exist`,
    ],
    [
      `lowerdir=${at("no")},${upper},workdir=${at("work")}`,
      "ENOENT",
      `The value of lowerdir "${at("no")}" does not exist`,
    ],
  ];
  for (const [options, code, hint] of cases) {
    const error = errorOf(root, { type: "overlay", options });
    assertEquals([error.code, error.hint], [code, hint], options);
    assert(code === "ENOENT" || !error.message.includes("option"), options);
  }
  // What is none of them, the kernel's log alone tells.
  const proc = "upperdir=/proc/1,workdir=/proc/2";
  assertEquals(
    errorOf(root, { type: "overlay", options: `${lower},${proc}` }).hint,
    "overlay gives the reason only in the kernel's log: see dmesg",
  );
});

kernelTest("an id that a user namespace does not map is named", () => {
  Deno.mkdirSync(`${SCRATCH}/m`);
  const hints = [["devpts", "gid=5"], ["tmpfs", "uid=1000"]].map(
    ([type, options]) =>
      failing(["mount", SCRATCH, "m", type!, options!], {
        wrapper: ["unshare", "-Urm"],
      }).hint,
  );
  assertEquals(hints, [
    "The group id 5 is not mapped in this user namespace: see /proc/self/gid_map",
    "The user id 1000 is not mapped in this user namespace: see /proc/self/uid_map",
  ]);
}, { permissions: ["write"], commands: ["unshare"] });

kernelTest("a message of the kernel ends without a newline", () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("m");
  const { log } = errorOf(root, { type: "proc", options: "hidepid=9" });
  assertEquals(log, ["proc: unknown value of hidepid - 9"]);
});

kernelTest("a type that Linux has is no slip of the pen", () => {
  for (const type of ["nfs", "cifs", "ufs"]) {
    assert(!unknownTypeHint(type).includes("but"), type);
  }
  assert(unknownTypeHint("tmpsf").includes('but "tmpfs"'));
});
