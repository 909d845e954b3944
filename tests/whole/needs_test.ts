/**
 * What each operation needs: the table of docs/security.md. With what a row says
 * the operation is done, and without any one of it it is not.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { commandLine, programTest } from "../support/program.ts";
import { mountsBelow, readTest, ROOT, SCRATCH } from "../support/testing.ts";
import { leaveMounts } from "../support/records.ts";
import { makeRoot } from "../support/run_root.ts";
import { umount2 } from "../../src/sys/mount.ts";
import { MNT_DETACH } from "../../src/sys/constants.ts";
import { missingSince } from "../support/since.ts";

interface Row {
  readonly name: string;
  /** The arguments, in the scratch directory. */
  readonly args: readonly string[];
  /** What must be there before, in words of sh. */
  readonly before?: string;
  /** Deno's permissions. */
  readonly permissions: readonly string[];
  /** The capabilities, as setpriv(1) names them. */
  readonly capabilities: readonly string[];
  /** The options of unshare(1) with which nobody needs to be root; null for none. */
  readonly unshare: string | null;
  /** What is said without a capability; by default its name. */
  readonly says?: RegExp;
}

const FFI = ["--allow-ffi"];
const ADMIN = ["sys_admin"];
const ALL = [...ADMIN, "sys_chroot"];
const TMPFS = "mkdir -p root/tmp; mount -t tmpfs none root/tmp";

const ROWS: readonly Row[] = [
  {
    name: "the main job, `bb_mounter`",
    args: ["new/root", "0"],
    permissions: FFI,
    capabilities: ADMIN,
    unshare: "-Urmnpf",
  },
  {
    name: "`mount`, `apply` of tmpfs",
    before: "mkdir root; echo none /a tmpfs X-mount.mkdir > fstab",
    args: ["apply", "--fstab", "fstab", "root"],
    permissions: FFI,
    capabilities: ADMIN,
    unshare: "-Urm",
  },
  {
    name: "`mount` of a disk's file system",
    before: "mkdir root; truncate -s 4M image; mkfs.ext4 -q image",
    args: ["mount", "-t", "ext4", "-o", "loop", "image", "root", "."],
    permissions: FFI,
    capabilities: ADMIN,
    unshare: null,
  },
  {
    name: "`bind`",
    before: "mkdir -p source root/a",
    args: ["bind", "source", "root", "a"],
    permissions: FFI,
    capabilities: ADMIN,
    unshare: "-Urm",
  },
  {
    name: "`bind` with an id map",
    before: "mkdir -p source root/a",
    args: [
      ...["bind", "-o", "X-mount.idmap=0:1000:1"],
      ...["source", "root", "a"],
    ],
    permissions: FFI,
    capabilities: [...ADMIN, "setuid", "setgid"],
    unshare: null,
  },
  {
    name: "`remount`",
    before: TMPFS,
    args: ["remount", "-o", "ro", "root", "tmp"],
    permissions: FFI,
    capabilities: ADMIN,
    unshare: "-Urm",
  },
  {
    name: "`move`",
    before: `${TMPFS}; mkdir other`,
    args: ["move", "--mkdir", "root", "other", "tmp"],
    permissions: FFI,
    capabilities: ADMIN,
    unshare: "-Urm",
  },
  {
    name: "`umount`",
    before: TMPFS,
    args: ["umount", "root", "tmp"],
    permissions: FFI,
    capabilities: ADMIN,
    unshare: "-Urm",
  },
  {
    name: "`list`, `doctor`",
    before: "mkdir root",
    args: ["list", "root"],
    permissions: FFI,
    capabilities: [],
    unshare: "-U",
  },
  {
    name: "`sweep`",
    args: ["sweep"],
    permissions: [...FFI, "--allow-write=/run/mountat"],
    capabilities: ADMIN,
    unshare: null,
  },
  {
    name: "`run`",
    args: ["run", "rootfs", "/bin/true"],
    permissions: FFI,
    capabilities: ALL,
    unshare: "-Urm",
  },
  {
    name: "`run --uid`",
    args: ["run", "--uid", "5", "rootfs", "/bin/true"],
    permissions: FFI,
    capabilities: [...ALL, "setuid", "setgid"],
    unshare: null,
  },
  {
    name: "`run --capabilities`",
    args: ["run", "--capabilities", "none", "rootfs", "/bin/true"],
    permissions: FFI,
    capabilities: [...ALL, "setpcap"],
    unshare: "-Urm",
  },
  {
    name: "`run --rootless`",
    args: ["run", "--rootless", "rootfs", "/bin/true"],
    permissions: [...FFI, "--allow-run=unshare"],
    capabilities: ["setfcap"],
    says: /uid_map: .*not permitted/,
    unshare: "-Ur",
  },
];

/** The same as docs/security.md has it. */
function toLine({ name, permissions, capabilities, unshare }: Row): string {
  const code = (words: readonly string[]) =>
    words.map((word) => `\`${word}\``).join(" ") || "none";
  const names = capabilities.map((name) => `CAP_${name.toUpperCase()}`);
  return `| ${name} | ${code(permissions)} | ${names.join(", ") || "none"} | ${
    unshare === null
      ? "no"
      : unshare === "-U" || unshare === "-Ur"
      ? "yes"
      : `\`unshare ${unshare}\``
  } |`;
}

readTest("docs/security.md has the table of what is needed", () => {
  const page = Deno.readTextFileSync(`${ROOT}docs/security.md`)
    .replace(/ {2,}/g, " ");
  const rows = page.split("\n").filter((line) =>
    ROWS.some(({ name }) => line.startsWith(`| ${name} |`))
  );
  assertEquals(rows, ROWS.map(toLine));
});

readTest("docs/security.md names a test of each promise", () => {
  const page = Deno.readTextFileSync(`${ROOT}docs/security.md`);
  const [, kept = ""] = /^## Promises\n([^]*?)^## /m.exec(page) ?? [];
  const promises = kept.trim().split(/^- /m).slice(1);
  assert(promises.length >= 6);
  for (const promise of promises) {
    const tests = promise.match(/tests\/\w+\/\w+_test\.ts/g) ?? [];
    assert(tests.length > 0, promise);
    for (const path of tests) Deno.statSync(ROOT + path);
  }
});

/** Sets the stage, and does a row's operation there. */
async function attempt(
  { name, before = ":", args }: Row,
  permissions: readonly string[],
  wrapper: readonly string[],
  inside = false,
): Promise<{ code: number; stderr: string }> {
  const program = commandLine([...args], { permissions: [...permissions] });
  const stage = ["sh", "-ec", `${before}; exec "$@"`, "sh"];
  const [command, ...rest] = inside
    ? [...wrapper, ...stage, ...program]
    : [...stage, ...wrapper, ...program];
  const directory = `${SCRATCH}/stage`;
  Deno.mkdirSync(directory);
  if (name === "`sweep`") await leaveMounts(directory, ["left"]);
  if (args[0] === "run") Deno.renameSync(makeRoot(), `${directory}/rootfs`);
  try {
    const { code, stderr } = await new Deno.Command(command!, {
      args: rest,
      cwd: directory,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "null",
    }).output();
    // In another mount namespace there is nothing to sweep.
    const stays = name === "`sweep`" && mountsBelow(directory).length > 0;
    return {
      code: code || Number(stays),
      stderr: new TextDecoder().decode(stderr),
    };
  } finally {
    for (const line of mountsBelow(directory).reverse()) {
      umount2(line.split(" ")[4]!, MNT_DETACH);
    }
    Deno.removeSync(directory, { recursive: true });
  }
}

function bounded(capabilities: string): string[] {
  return ["setpriv", `--bounding-set=${capabilities}`];
}

for (const row of ROWS) {
  programTest(`${row.name} needs what docs/security.md says`, async () => {
    const { permissions, capabilities, unshare } = row;
    const only = bounded(["-all", ...capabilities].join(",+"));
    const done = await attempt(row, permissions, only);
    assertEquals(done.code, 0, done.stderr);
    for (const name of capabilities) {
      const { code, stderr } = await attempt(
        row,
        permissions,
        bounded(`+all,-${name}`),
      );
      assert(code !== 0, `It is done without ${name}`);
      const hint = new RegExp(`CAP_${name.toUpperCase()} is missing`);
      assertMatch(stderr, row.says ?? hint);
    }
    for (const permission of permissions) {
      const [name] = permission.slice("--allow-".length).split("=");
      const { code, stderr } = await attempt(
        row,
        ["-A", `--deny-${name}`],
        only,
      );
      assert(code !== 0, `It is done with --deny-${name}`);
      assertMatch(stderr, new RegExp(`--allow-${name}|${name} access`));
    }
    const words = (unshare ?? "-Urm").split(" ");
    const inside = await attempt(
      row,
      permissions,
      ["unshare", ...words],
      true,
    );
    assertEquals(inside.code === 0, unshare !== null, inside.stderr);
  }, {
    commands: ["busybox", "mkfs.ext4", "setpriv", "sh", "unshare"],
    missing: row.name === "`sweep`" ? missingSince("6.8", {}) : null,
  });
}
