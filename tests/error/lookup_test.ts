import { assertEquals, assertThrows } from "@std/assert";
import { bindat } from "../../src/mount/bindat.ts";
import { Directory } from "../../src/directory.ts";
import { failing } from "../support/failing.ts";
import { kernelTest, SCRATCH } from "../support/testing.ts";
import { MountError } from "../../src/error/error.ts";
import { moveat } from "../../src/mount/moveat.ts";
import { programTest, run } from "../support/program.ts";

/** Makes what the tests look up, and returns the directory. */
function makeTree(): Directory {
  for (const path of ["a/b", "other"]) {
    Deno.mkdirSync(`${SCRATCH}/${path}`, { recursive: true });
  }
  Deno.writeTextFileSync(`${SCRATCH}/file`, "");
  for (
    const [link, to] of [
      ["dangling", "nowhere/x"],
      ["out", "/etc"],
      ["circle", "circle"],
      ["chain", "dangling"],
      ["a/up", "../file"],
    ]
  ) Deno.symlinkSync(to!, `${SCRATCH}/${link}`);
  return Directory.open(SCRATCH);
}

function errorOf(call: () => unknown): [code: string, hint?: string] {
  const { code, hint } = assertThrows(call, MountError);
  return hint === undefined ? [code] : [code, hint];
}

kernelTest("a target's error names the component that stopped it", () => {
  using root = makeTree();
  const links = "and no symlink is followed there: name what it leads to";
  const cases: [target: string, code: string, hint: string][] = [
    ["x", "ENOENT", '"x" does not exist'],
    ["a/x/y/z", "ENOENT", '"a/x" does not exist'],
    ["a/./b//x", "ENOENT", '"a/b/x" does not exist'],
    ["out/x", "ELOOP", `"out" is a symlink to "/etc", ${links}`],
    ["dangling", "ELOOP", `"dangling" is a symlink to "nowhere/x", ${links}`],
    ["a/up", "ELOOP", `"a/up" is a symlink to "../file", ${links}`],
    ["file/x", "ENOTDIR", '"file" is a file, and a directory is needed'],
    ["file", "ENOTDIR", '"file" is a file, and a directory is needed'],
    ["a/../../x", "EXDEV", '".." leads out of the directory'],
  ];
  for (const [target, code, hint] of cases) {
    const made = code === "ENOENT" ? ": the option mkdir makes it" : "";
    const options = { type: "tmpfs" };
    const tried = errorOf(() => root.mount(target, options));
    // O_DIRECTORY says ENOTDIR of a link at the end, too.
    assertEquals(tried[1], hint + made, target);
    assertEquals(errorOf(() => root.openDirectory(target))[1], hint, target);
    if (code !== "ENOENT") {
      const making = () => root.mount(target, { ...options, mkdir: true });
      assertEquals(errorOf(making)[1], hint, target);
    }
    if (code === "ENOTDIR" && target === "file") continue;
    if (target === "dangling" || target === "a/up") continue;
    for (
      const call of [
        () => root.remount(target, { options: "ro" }),
        () => root.move(target, root, "other"),
      ]
    ) assertEquals(errorOf(call), [code, hint], target);
  }
  for (const target of ["x/y", "out/y"]) {
    assertEquals(
      errorOf(() => root.unmount(target))[1],
      errorOf(() => root.openDirectory(target))[1],
    );
  }
}, { permissions: ["write"] });

kernelTest(
  "the error of a source, a destination or an id map says whose it is",
  () => {
    using root = makeTree();
    const source = (path: string) =>
      bindat(root, "other", `${SCRATCH}/${path}`);
    const cases: [path: string, code: string, hint: string][] = [
      ["x", "ENOENT", `The source "${SCRATCH}/x" does not exist`],
      [
        "a/x/y",
        "ENOENT",
        `In the source "${SCRATCH}/a/x/y", "${SCRATCH}/a/x" does not exist`,
      ],
      [
        "chain",
        "ENOENT",
        `In the source "${SCRATCH}/chain", "${SCRATCH}/dangling" is a symlink to "nowhere/x", and "${SCRATCH}/nowhere" does not exist`,
      ],
      [
        "circle",
        "ELOOP",
        `The symlinks of the source lead in a circle: "${SCRATCH}/circle" to "circle"`,
      ],
      [
        "a/up/x",
        "ENOTDIR",
        `In the source "${SCRATCH}/a/up/x", "${SCRATCH}/a/up" is a symlink to "../file", and "${SCRATCH}/file" is a file, and a directory is needed`,
      ],
    ];
    for (const [path, code, hint] of cases) {
      assertEquals(errorOf(() => source(path)), [code, hint], path);
    }
    assertEquals(
      errorOf(() => bindat(root, "other", SCRATCH, { idmap: "/nope" })),
      ["ENOENT", 'The user namespace "/nope" does not exist'],
    );
    root.mount("a", { type: "tmpfs" }).keep();
    using other = root.openDirectory("other");
    assertEquals(
      errorOf(() => moveat(root, "a", other, "b/c")),
      [
        "ENOENT",
        'In the destination "b/c", "b" does not exist: the option mkdir makes it',
      ],
    );
    assertEquals(
      errorOf(() => moveat(root, "a", root, "out/c", { mkdir: true }))[1],
      'In the destination "out/c", "out" is a symlink to "/etc", and no symlink is followed there: name what it leads to',
    );
    root.unmount("a");
  },
  { permissions: ["write"] },
);

programTest("the program's hints name its own options", () => {
  makeTree().close();
  const { code, stderr } = run(["mount", "-t", "tmpfs", SCRATCH, "x"]);
  assertEquals([code, stderr], [
    32,
    'mountat: Cannot mount tmpfs on "x": openat2: ENOENT (No such file or directory)\n' +
    '  hint: "x" does not exist: --mkdir makes it\n',
  ]);
});

kernelTest(
  "EACCES names the directory that may not be searched, or written to",
  () => {
    makeTree().close();
    for (const [name, mode] of [["a", 0o700], ["other", 0o755]] as const) {
      Deno.chownSync(`${SCRATCH}/${name}`, 65534, 65534);
      Deno.chmodSync(`${SCRATCH}/${name}`, mode);
    }
    const wrapper = [
      "setpriv",
      "--bounding-set=-dac_override,-dac_read_search",
    ];
    const { code, hint } = failing(["mount", SCRATCH, "a/b", "tmpfs"], {
      wrapper,
    });
    assertEquals([code, hint], ["EACCES", 'This user may not search "a"']);
    // A sentence, whoever's the path is.
    assertEquals(
      failing(["bind", SCRATCH, "other", "a/b"], { wrapper }).hint,
      `In the source "${SCRATCH}/a/b", this user may not search "${SCRATCH}/a"`,
    );
    assertEquals(
      failing(["mount", `${SCRATCH}/a`, "b", "tmpfs"], { wrapper }).hint,
      `This user may not search "${SCRATCH}/a"`,
    );
    const made = failing(["mkdir", SCRATCH, "other/new"], { wrapper });
    assertEquals(
      [made.syscall, made.code, made.hint],
      ["mkdirat", "EACCES", 'This user may not write to "other"'],
    );
  },
  { permissions: ["write"], commands: ["setpriv"] },
);
