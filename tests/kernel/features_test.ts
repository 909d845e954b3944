import {
  gatedTest,
  kernelTest,
  missingPermission,
  type Needs,
  ROOT,
  ROOT_URL,
  SCRATCH,
} from "../support/testing.ts";
import { assert, assertEquals } from "@std/assert";
import { type Features, features } from "../../src/kernel/features.ts";
import { kernelTestSince, type Version } from "../support/since.ts";
import { setTracer, type TracedCall } from "../../src/sys/call.ts";
import { mount, umount2 } from "../../src/sys/mount.ts";
import { MNT_DETACH } from "../../src/sys/constants.ts";

/** What `script` prints in a process that a command starts, which may take things away. */
function evaluate(
  script: string,
  wrapper: string[],
  permissions = ["--allow-ffi"],
): string {
  const path = Deno.makeTempFileSync({ suffix: ".ts" });
  try {
    Deno.writeTextFileSync(path, script);
    const [command, ...args] = [
      ...wrapper,
      ...[Deno.execPath(), "run", "--no-prompt", ...permissions],
      ...["--config", `${ROOT}deno.json`, path],
    ];
    const { stdout, stderr, success } = new Deno.Command(command!, { args })
      .outputSync();
    const text = new TextDecoder();
    assert(success, text.decode(stderr));
    return text.decode(stdout);
  } finally {
    Deno.removeSync(path);
  }
}

/** What a process finds that a command starts; what is undefined is left out. */
function featuresUnder(...wrapper: string[]): Partial<Features> {
  return JSON.parse(evaluate(
    `import { features } from "${ROOT_URL}src/kernel/features.ts";
     console.log(JSON.stringify(features()));`,
    wrapper,
  ));
}

function featuresWithout(call: string, error: string): Partial<Features> {
  const injected = `inject=${call}:error=${error}`;
  return featuresUnder("strace", "-f", "-o", "/dev/null", "-e", injected);
}

const permissions: Needs["permissions"] = ["run", "read", "write", "env"];

/** What came with a kernel version, some of it with an earlier one. */
const SINCE: Partial<Record<Version, (keyof Features)[]>> = {
  "6.8": [
    "umount2",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "moveMount",
    "openTree",
    "openat2",
    "mountSetattr",
    "statmount",
    "listmount",
    "mountIds",
    "uniqueMountIds",
    "mountBeneath",
    "createExclusive",
  ],
  "6.15": ["openTreeAttr", "attachToDetached", "mountEvents"],
  "6.18": ["procPidns"],
  "7.0": ["statmountByFd", "openTreeNamespace"],
  "7.1": ["fsmountNamespace", "emptyMountNamespace"],
};

for (const [version, names] of Object.entries(SINCE)) {
  kernelTestSince(
    version as Version,
    `features() finds what Linux ${version} has`,
    () => {
      const found = features();
      for (const name of names) assertEquals(found[name], true, name);
    },
  );
}

kernelTest("features() finds the release and what root may", () => {
  const found = features();
  assertEquals(found.release, Deno.osRelease());
  const { mayMount, sysAdmin, proc } = found;
  assertEquals([mayMount, sysAdmin, proc], [true, true, true]);
  assertEquals(features(), found);
}, { permissions: ["sys"] });

kernelTest("features() attaches to nothing that anyone sees", () => {
  const calls: TracedCall[] = [];
  const previous = setTracer((call) => calls.push(call));
  try {
    features();
  } finally {
    setTracer(previous);
  }
  const detached = calls.filter(({ syscall }) => syscall === "fsmount")
    .map(({ result }) => result);
  for (const { syscall, args, result } of calls) {
    if (syscall !== "move_mount" || result === -1) continue;
    const [, , to, path] = args;
    assert(typeof to === "object" && detached.includes(to.fd));
    assertEquals(path, '""');
  }
});

kernelTest("features() leaves open what takes the capability to try", () => {
  const found = featuresUnder("setpriv", "--bounding-set=-sys_admin");
  assertEquals([found.mayMount, found.sysAdmin], [false, false]);
  const {
    attachToDetached: _attach,
    mountBeneath: _beneath,
    procPidns: _pidns,
    fsmountNamespace: _fsmount,
    mountEvents,
    openTreeNamespace,
    emptyMountNamespace,
    ...told
  } = features();
  assertEquals(found, {
    ...told,
    ...mountEvents ? { mountEvents } : {},
    // A flag that the kernel does not know it refuses to all.
    ...openTreeNamespace ? {} : { openTreeNamespace },
    ...emptyMountNamespace ? {} : { emptyMountNamespace },
    mayMount: false,
    sysAdmin: false,
  });
}, { permissions: permissions, commands: ["setpriv"] });

kernelTest("features() knows whose the mount namespace is", () => {
  const user = ["unshare", "--user", "--map-root-user"];
  const { attachToDetached } = features();
  for (const own of [false, true]) {
    const found = featuresUnder(...user, ...(own ? ["--mount"] : []));
    assertEquals([found.sysAdmin, found.mayMount], [true, own]);
    assertEquals(found.initialUserNamespace, false);
    assertEquals(found.attachToDetached, own ? attachToDetached : undefined);
  }
}, { permissions: permissions, commands: ["unshare"] });

kernelTest("features() leaves open what /proc alone tells", () => {
  const { procPidns: _, ...all } = features();
  mount("none", "/proc", "tmpfs", 0, null);
  try {
    assertEquals(features(), {
      ...all,
      procPidns: undefined,
      sysAdmin: undefined,
      initialUserNamespace: undefined,
      proc: false,
      seccompFilter: undefined,
    });
  } finally {
    umount2("/proc", MNT_DETACH);
  }
});

/** What each call takes away with it, itself first. */
const CALLS: Readonly<Record<string, (keyof Features)[]>> = {
  fsopen: ["fsopen", "attachToDetached", "procPidns"],
  fsconfig: ["fsconfig", "createExclusive", "attachToDetached", "procPidns"],
  fsmount: ["fsmount", "attachToDetached", "fsmountNamespace"],
  fspick: ["fspick"],
  statx: ["mountIds", "uniqueMountIds"],
  umount2: ["umount2"],
  move_mount: ["moveMount", "mountBeneath", "attachToDetached"],
  open_tree: ["openTree", "openTreeNamespace"],
  clone3: ["emptyMountNamespace"],
  // A file in /proc is opened by it, too.
  openat2: [
    "openat2",
    "procPidns",
    "sysAdmin",
    "initialUserNamespace",
    "seccompFilter",
  ],
  mount_setattr: ["mountSetattr"],
  fanotify_init: ["mountEvents"],
};

for (const [call, lost] of Object.entries(CALLS)) {
  kernelTest(`features() finds that there is no ${call}`, () => {
    const found = featuresWithout(call, "ENOSYS");
    const all = features();
    assertEquals(found[lost[0]!], false);
    for (const name of Object.keys(all) as (keyof Features)[]) {
      if (lost.includes(name)) assert(!found[name], name);
      else assertEquals(found[name], all[name], name);
    }
  }, { permissions: permissions, commands: ["strace"] });
}

kernelTest(
  "features() takes EPERM for a filter's where no kernel says so",
  () => {
    assertEquals(featuresWithout("open_tree", "EPERM").openTree, false);
    // This may be the kernel's own.
    const { fsopen, mayMount } = featuresWithout("fsopen", "EPERM");
    assertEquals([fsopen, mayMount], [true, false]);
  },
  { permissions: permissions, commands: ["strace"] },
);

kernelTest("features() can't see what is behind a filter's EPERM", () => {
  const source = `${ROOT}tests/fixtures/filter.c`;
  const filter = `${SCRATCH}/filter`;
  const args = ["-o", filter, source];
  assert(new Deno.Command("cc", { args }).outputSync().success);
  const found = featuresUnder(filter);
  assertEquals([found.seccompFilter, found.mayMount], [true, false]);
  assertEquals([found.fsopen, found.fsmount], [undefined, true]);
}, { permissions: permissions, commands: ["cc"] });

gatedTest(
  "features() throws without the permission",
  missingPermission(["run", "read", "write", "env"]),
  () => {
    const script =
      `import { features } from "${ROOT_URL}src/kernel/features.ts";
      try {
        features();
      } catch (error) {
        console.log(error.name);
      }`;
    assertEquals(evaluate(script, [], []), "NotCapable\n");
  },
);
