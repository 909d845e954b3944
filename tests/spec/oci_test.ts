import { type MountSpec, parseOciMounts } from "../../src/spec/mod.ts";
import { assertEquals, assertThrows } from "@std/assert";
import {
  gatedTest,
  missingCommand,
  missingPermission,
  readTest,
} from "../support/testing.ts";

function capture(name: string): string {
  return Deno.readTextFileSync(
    new URL(`../testdata/oci/${name}.json`, import.meta.url),
  );
}

/** What of `runc spec` differs by option and by program. */
interface Variant {
  devpts: string[];
  sys: MountSpec;
}

function fileSystem(
  place: number,
  type: string,
  source: string,
  target: string,
  options: string[],
): MountSpec {
  return {
    type,
    source,
    target,
    options,
    mkdir: true,
    place: `mounts[${place}]`,
  };
}

function standardMounts({ devpts, sys }: Variant): MountSpec[] {
  return [
    fileSystem(0, "proc", "proc", "proc", []),
    fileSystem(1, "tmpfs", "tmpfs", "dev", [
      "nosuid",
      "strictatime",
      "mode=755",
      "size=65536k",
    ]),
    fileSystem(2, "devpts", "devpts", "dev/pts", [
      "nosuid",
      "noexec",
      "newinstance",
      "ptmxmode=0666",
      "mode=0620",
      ...devpts,
    ]),
    fileSystem(3, "tmpfs", "shm", "dev/shm", [
      "nosuid",
      "noexec",
      "nodev",
      "mode=1777",
      "size=65536k",
    ]),
    fileSystem(4, "mqueue", "mqueue", "dev/mqueue", [
      "nosuid",
      "noexec",
      "nodev",
    ]),
    sys,
    {
      type: "bind",
      source: "/sys/fs/cgroup",
      recursive: true,
      target: "sys/fs/cgroup",
      options: ["rnosuid", "rnoexec", "rnodev", "rrelatime", "rro"],
      mkdir: true,
      place: "mounts[6]",
    },
  ];
}

const SYSFS = fileSystem(5, "sysfs", "sysfs", "sys", [
  "nosuid",
  "noexec",
  "nodev",
  "ro",
]);

const ROOT: Variant = { devpts: ["gid=5"], sys: SYSFS };

const ROOTLESS_RUNC: Variant = {
  devpts: [],
  sys: {
    type: "bind",
    source: "/sys",
    recursive: true,
    target: "sys",
    options: ["nosuid", "noexec", "nodev", "ro"],
    mkdir: true,
    place: "mounts[5]",
  },
};

const ROOTLESS_CRUN: Variant = { devpts: [], sys: SYSFS };

for (
  const [program, args, name, expected] of [
    ["runc", [], "runc", ROOT],
    ["runc", ["--rootless"], "runc-rootless", ROOTLESS_RUNC],
    ["crun", [], "crun", ROOT],
    ["crun", ["--rootless"], "crun-rootless", ROOTLESS_CRUN],
  ] as const
) {
  const command = [program, "spec", ...args].join(" ");
  readTest(`parseOciMounts() reads what ${command} printed`, () => {
    assertEquals(parseOciMounts(capture(name)), standardMounts(expected));
  });

  gatedTest(
    `parseOciMounts() reads what ${command} prints here`,
    missingPermission(["run", "read", "write", "env"]) ??
      missingCommand([program]),
    () => {
      const bundle = Deno.makeTempDirSync();
      try {
        const { success } = new Deno.Command(program, {
          args: ["spec", ...args],
          cwd: bundle,
        }).outputSync();
        assertEquals(success, true);
        const config = Deno.readTextFileSync(`${bundle}/config.json`);
        const mounts = parseOciMounts(config);
        const { mounts: raw } = JSON.parse(config);
        assertEquals(
          mounts.map(({ target }) => `/${target}`),
          raw.map(({ destination }: { destination: string }) => destination),
        );
        assertEquals(
          mounts.slice(0, 2),
          standardMounts(expected).slice(0, 2),
        );
      } finally {
        Deno.removeSync(bundle, { recursive: true });
      }
    },
  );
}

readTest("parseOciMounts() reads a configuration like podman's", () => {
  const mounts = parseOciMounts(capture("podman"));
  assertEquals(
    mounts.map(({ type, target }) => [type, target]),
    [
      ["proc", "proc"],
      ["tmpfs", "dev"],
      ["sysfs", "sys"],
      ["devpts", "dev/pts"],
      ["bind", "sys/fs/cgroup"],
      ["bind", "etc/resolv.conf"],
      ["bind", "run/secrets"],
      ["bind", "srv/shared"],
    ],
  );
  assertEquals(
    (mounts[1]!.options as string[]).at(-1),
    "context=system_u:object_r:container_file_t:s0:c257,c746",
  );
  const mapping = { inside: 0, outside: 100000, length: 65536 };
  assertEquals(mounts[7], {
    type: "bind",
    source: "/srv/shared",
    recursive: true,
    target: "srv/shared",
    options: ["rslave", "rro"],
    mkdir: true,
    idmap: { uids: [mapping], gids: [mapping], recursive: false },
    place: "mounts[7]",
  });
});

readTest("parseOciMounts() reads a configuration like containerd's", () => {
  const text = capture("containerd");
  const mounts = parseOciMounts(text, { bundle: "/run/containerd/4e" });
  const mapping = { inside: 0, outside: 65536, length: 65536 };
  assertEquals(mounts.slice(4), [
    {
      type: "bind",
      source:
        "/var/lib/kubelet/pods/4e/volumes/kubernetes.io~projected/kube-api-access",
      recursive: true,
      target: "var/run/secrets/kubernetes.io/serviceaccount",
      options: ["rprivate", "rro"],
      mkdir: true,
      place: "mounts[4]",
    },
    {
      type: "bind",
      source: "/var/lib/kubelet/pods/4e/volumes/v",
      recursive: true,
      target: "volume",
      options: ["rslave", "nosymfollow"],
      mkdir: true,
      // Those of the container's user namespace.
      idmap: { uids: [mapping], gids: [mapping], recursive: true },
      place: "mounts[5]",
    },
    {
      type: "bind",
      source: "/run/containerd/4e/cache",
      recursive: false,
      target: "cache",
      options: [],
      mkdir: true,
      place: "mounts[6]",
    },
  ]);
  assertEquals(
    parseOciMounts(text, { bundle: new URL("file:///a%20b") }).at(-1),
    { ...mounts.at(-1)!, source: "/a b/cache" },
  );
});

function parseOne(mount: Record<string, unknown>): MountSpec {
  return parseOciMounts(JSON.stringify({ mounts: [mount] }))[0]!;
}

Deno.test("parseOciMounts() makes targets of destinations", () => {
  const target = (destination: string) =>
    parseOne({ destination, type: "tmpfs" }).target;
  assertEquals(target("/"), ".");
  assertEquals(target("/a/b"), "a/b");
  assertEquals(target("//a/./b//"), "a/b");
  assertEquals(target("a"), "a");
  assertEquals(target("/a/..b/..."), "a/..b/...");
  assertEquals(target("/é\udcff"), "é\udcff");
});

Deno.test("parseOciMounts() shows the cgroups that are there", () => {
  // As containerd writes it for a privileged container.
  const mount = {
    destination: "/sys/fs/cgroup",
    type: "cgroup",
    source: "cgroup",
    options: [
      "nosuid",
      "relatime",
      "rw",
      "nsdelegate",
      "memory_recursiveprot",
      "rro",
      "noexec=recursive",
      "slave",
      "sync",
    ],
  };
  assertEquals(parseOne(mount), {
    type: "bind",
    source: "/sys/fs/cgroup",
    recursive: true,
    target: "sys/fs/cgroup",
    options: [
      "rnosuid",
      "rrelatime",
      "rrw",
      "rro",
      "noexec=recursive",
      "rslave",
    ],
    mkdir: true,
    place: "mounts[0]",
  });
  // Whoever asks for a file system by its own name gets it.
  assertEquals(
    parseOne({ ...mount, type: "cgroup2", options: ["nsdelegate"] }),
    {
      type: "cgroup2",
      source: "cgroup",
      target: "sys/fs/cgroup",
      options: ["nsdelegate"],
      mkdir: true,
      place: "mounts[0]",
    },
  );
});

Deno.test("parseOciMounts() takes a mapping without the word for it", () => {
  const map = (first: number) => [
    { containerID: 0, hostID: first, size: 1 },
    { containerID: 1, hostID: 0, size: 4294967295 },
  ];
  const { idmap } = parseOne({
    destination: "/a",
    source: "/b",
    options: ["bind"],
    uidMappings: map(7),
    gidMappings: map(8),
  });
  assertEquals(idmap, {
    uids: [
      { inside: 0, outside: 7, length: 1 },
      { inside: 1, outside: 0, length: 4294967295 },
    ],
    gids: [
      { inside: 0, outside: 8, length: 1 },
      { inside: 1, outside: 0, length: 4294967295 },
    ],
    recursive: false,
  });
});

Deno.test("parseOciMounts() keeps entries of one destination apart", () => {
  const mount = { destination: "/a", type: "tmpfs" };
  assertEquals(
    parseOciMounts(JSON.stringify({ mounts: [mount, mount] }))
      .map(({ target, place }) => [target, place]),
    [["a", "mounts[0]"], ["a", "mounts[1]"]],
  );
});

Deno.test("parseOciMounts() takes null for what is not given", () => {
  const nothing = {
    type: null,
    options: null,
    source: null,
    uidMappings: null,
    gidMappings: [],
  };
  // As docker, podman, buildkit and containerd have written some of theirs.
  const mounts = [
    { ...nothing, destination: "/proc", type: "proc" },
    {
      ...nothing,
      destination: "/dev",
      type: "tmpfs",
      source: "",
      options: ["nosuid", null, "strictatime", "", "mode=755", "size=65536k"],
    },
    {
      ...nothing,
      destination: "/etc/resolv.conf",
      source: "/run/resolv.conf",
      options: ["rbind", "rprivate", "ro"],
    },
  ];
  const common = { mkdir: true } as const;
  assertEquals(parseOciMounts(JSON.stringify({ linux: null, mounts })), [
    {
      ...common,
      type: "proc",
      target: "proc",
      options: [],
      place: "mounts[0]",
    },
    {
      ...common,
      type: "tmpfs",
      target: "dev",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
      place: "mounts[1]",
    },
    {
      ...common,
      type: "bind",
      source: "/run/resolv.conf",
      recursive: true,
      target: "etc/resolv.conf",
      options: ["rprivate", "ro"],
      place: "mounts[2]",
    },
  ]);
});

Deno.test("parseOciMounts() finds no mounts where there are none", () => {
  assertEquals(parseOciMounts("{}"), []);
  assertEquals(parseOciMounts('{"mounts": null}'), []);
  assertEquals(parseOciMounts('{"mounts": []}'), []);
});

Deno.test("parseOciMounts() throws when an argument is wrong", () => {
  for (const text of [undefined, null, 1, {}, new Uint8Array()]) {
    assertThrows(
      () => parseOciMounts(text as string),
      TypeError,
      "The text must be a string",
    );
  }
  for (const bundle of ["", 1, null]) {
    assertThrows(
      () => parseOciMounts("{}", { bundle: bundle as string }),
      TypeError,
      "The bundle must be a path",
    );
  }
});
