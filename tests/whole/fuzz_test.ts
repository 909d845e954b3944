/**
 * Arbitrary input to all that reads some: it is taken, or refused by an error
 * of ours. A sample is tried with the other tests; `deno task test:fuzz` tries
 * FUZZ_RUNS inputs of each kind, from FUZZ_SEED on, and measures the time that
 * long ones take.
 */
import fc from "npm:fast-check@4.11.0";
import { assert, assertEquals, assertLess } from "@std/assert";
import {
  anything,
  assertTyped,
  fuzzTest,
  recordOf,
  RUNS,
  textOf,
} from "../support/fuzz.ts";
import {
  kernelTest,
  missingPermission,
  mountsBelow,
  SCRATCH,
} from "../support/testing.ts";
import { loadSubcommand, subcommands } from "../support/documented.ts";
import {
  decodeText,
  encodeText,
  printable,
  quote,
} from "../../src/base/text.ts";
import { nearest } from "../../src/base/check.ts";
import { descriptorOf } from "../../src/fd/owned_fd.ts";
import {
  parseMkdir,
  parseTarget,
  pathArgument,
} from "../../src/options/target.ts";
import { namedWords, parseIdmap } from "../../src/options/attributes.ts";
import { parseMountOptions } from "../../src/options/mount_options.ts";
import {
  parseFstab,
  parseOciMounts,
  SpecSyntaxError,
} from "../../src/spec/mod.ts";
import { parseIdmapWord } from "../../src/spec/words.ts";
import {
  MountinfoSyntaxError,
  parseMountinfo,
} from "../../src/kernel/mountinfo.ts";
import { formatEntry, parseRecord } from "../../src/record/file.ts";
import { COMMON_OPTIONS, parseWords } from "../../src/cli/command.ts";
import { formatDeepJson, UsageError } from "../../src/cli/print.ts";
import {
  formatColumns,
  matchesTypes,
  parseColumns,
} from "../../src/cli/list_format.ts";
import { parseDelay } from "../../src/cli/bb_mounter_at.ts";
import { parseBind, parseDuration, parseLimit } from "../../src/cli/run.ts";
import { parseRun } from "../../src/run/options.ts";
import { ConfigError, parseConfig } from "../../src/runner/config.ts";
import { parseServe } from "../../src/runner/options.ts";
import {
  bindat,
  Directory,
  mountat,
  MountError,
  moveat,
  remountat,
  SyscallError,
  unmountat,
  UnsupportedError,
} from "../../mod.ts";

// deno-lint-ignore no-explicit-any
type Odd = any;

const WORDS = [
  ...["ro", "rw", "rro", "nosuid", "noexec=recursive", "ro=fs", "rw=vfs"],
  ...["size=1m", "mpol=bind:0,1", "mpol=", 'a="b,c"', "loop", "offset=1K"],
  ...["sizelimit=", "user", "users", "user=x", "shared", "rslave", "bind"],
  ...["rbind", "idmap", "X-mount.mkdir=0755", "X-mount.idmap=u:0:1:2"],
  ...["x-systemd.automount", "defaults", "nofail", "remount", "_netdev"],
  ...["lowerdir=/a:/b", 'context="a,b"', ",", "=", '"', "\\,", "1"],
];

const wordText = textOf(WORDS.flatMap((word) => [word, ","]));

const optionsInput = fc.oneof(
  wordText,
  fc.array(fc.oneof(fc.constantFrom(...WORDS), wordText, anything)),
  fc.dictionary(fc.constantFrom(...WORDS, "__proto__"), anything),
  anything,
);

fuzzTest("options", optionsInput, [], (input) => {
  const { parameters } = parseMountOptions(input as Odd);
  for (const { key } of parameters) assert(key !== "" && !key.includes("\0"));
});

fuzzTest(
  "options by name",
  recordOf({
    readonly: fc.boolean(),
    nosuid: fc.boolean(),
    atime: fc.constantFrom("relatime", "noatime"),
    propagation: fc.constantFrom("private", "shared"),
  }),
  [],
  (input) => {
    for (const word of namedWords(input as Odd)) parseMountOptions(word);
  },
);

const ids = fc.array(recordOf({
  inside: fc.nat(0xffff_ffff),
  outside: fc.nat(0xffff_ffff),
  length: fc.integer({ min: 1, max: 0xffff_ffff }),
}));

fuzzTest(
  "id maps",
  fc.oneof(
    recordOf({ uids: ids, gids: ids, recursive: fc.boolean() }),
    anything,
  ),
  [],
  (input) => {
    const maps = parseIdmap(input as Odd);
    if (typeof maps !== "object" || maps === null) return;
    for (const { outside, length } of maps.uids) {
      assert(outside + length <= 0xffff_ffff);
    }
  },
);

fuzzTest(
  "id maps as words",
  textOf([
    "X-mount.idmap=",
    "u:",
    "g:",
    "b:",
    "0:",
    "1000:",
    "1",
    " ",
    "/proc",
  ]),
  [],
  parseIdmapWord,
);

const FSTAB = [
  ...["none", "/dev/sda1", "UUID=1", "LABEL=a\\040b", "PARTUUID=", "/", "/a"],
  ...["/a/../b", "/\\040", "\\134", "tmpfs", "swap", "ext4", "auto", "none"],
  ...["#", " ", "\t", "\n", "\r\n", "0", "1", "noauto", ...WORDS],
];

fuzzTest("fstab", textOf(FSTAB, 80), [SpecSyntaxError], (text) => {
  const faults: SpecSyntaxError[] = [];
  const specs = parseFstab(text, { warn: (fault) => faults.push(fault) });
  const lines = text.split("\n");
  for (const { line, column } of faults) {
    assert(column <= lines[line - 1]!.length + 1);
  }
  for (const { target } of specs) {
    assert(!target.startsWith("/") && !target.split("/").includes(".."));
  }
});

/** Lines that are fstab entries but for what is in them. */
const fstabLines = fc.array(
  fc.tuple(
    fc.constantFrom("none", "/dev/sda1", "UUID=1", "LABEL=\\040", "/src"),
    textOf(["/", "a", "\\040", "b"], 6).map((text) => `/${text}`),
    fc.constantFrom("tmpfs", "ext4", "none", "auto", "ext4,xfs", "proc"),
    wordText,
  ).map((fields) => fields.join(" ")),
).map((lines) => lines.join("\n"));

fuzzTest("entries of fstab", fstabLines, [SpecSyntaxError], (text) => {
  for (const { options } of parseFstab(text)) {
    parseMountOptions((options ?? "") as Odd);
  }
});

fuzzTest("what fstab and OCI get", anything, [SpecSyntaxError], (input) => {
  for (const parse of [parseFstab, parseOciMounts] as Odd[]) {
    try {
      parse("", input);
    } finally {
      parse(input);
    }
  }
});

const oci = recordOf({
  mounts: fc.array(recordOf({
    destination: fc.oneof(fc.constant("/a"), textOf(["/", "a", "..", "."], 5)),
    type: fc.constantFrom("tmpfs", "none", "bind", "cgroup", "proc"),
    source: fc.oneof(fc.constant("/src"), fc.string()),
    options: fc.array(fc.oneof(fc.constantFrom(...WORDS), wordText)),
    uidMappings: fc.array(recordOf({
      containerID: fc.nat(),
      hostID: fc.nat(),
      size: fc.nat(),
    })),
    gidMappings: fc.array(recordOf({
      containerID: fc.nat(),
      hostID: fc.nat(),
      size: fc.nat(),
    })),
  })),
  linux: recordOf({ uidMappings: fc.array(anything) }),
});

fuzzTest("OCI configurations", oci, [SpecSyntaxError], (input) => {
  let text: string;
  try {
    text = JSON.stringify(input);
  } catch {
    // No JSON has it.
    return;
  }
  const bundle = "/bundle";
  for (const { options, target } of parseOciMounts(text, { bundle })) {
    assert(!target.startsWith("/") && !target.split("/").includes(".."));
    parseMountOptions((options ?? "") as Odd);
  }
});

fuzzTest(
  "OCI text",
  textOf([
    ...['{"mounts":[', '{"destination":"/a"', ',"type":"tmpfs"', "}", "]}"],
    ...[',"options":[', '"ro"', '"bind"', "\\u0000", "\\ud800", "1e5", "null"],
    ...["{", "[", ",", ":", '"', "true", "-"],
  ]),
  [SpecSyntaxError],
  (text) => parseOciMounts(text),
);

fuzzTest(
  "the mount table",
  textOf([
    ...["36 35 98:0 / /mnt rw - ext3 /dev/root rw\n", "shared:1 ", "master:x "],
    ...["36", "98:0", " ", "/", "\\040", "\\303\\251", "-", "mpol=0,1", "\n"],
    ...["propagate_from:2 ", "unbindable ", 'a="b,c"', ",", "rw"],
  ]),
  [MountinfoSyntaxError],
  (text) => {
    for (const { mountPoint, id } of parseMountinfo(text)) {
      assert(mountPoint.startsWith("/") && Number.isSafeInteger(id));
    }
  },
);

const paths = textOf(["/", "a", ".", "..", "file:", "%", "%2f", "%ff"], 8);

fuzzTest("targets", fc.oneof(paths, anything), [], (input) => {
  const { path, parent, name } = parseTarget(input as string);
  const again = parseTarget(path);
  assertEquals(again, { path, parent, name });
  assert(name !== "" && !name.includes("/"));
});

fuzzTest("paths", fc.oneof(paths, anything), [], (input) => {
  const path = typeof input === "string" && URL.canParse(input)
    ? new URL(input)
    : input;
  assert(pathArgument("A path", path as string) !== "");
});

fuzzTest("descriptors and modes", anything, [], (input) => {
  let fd = -1;
  try {
    parseMkdir(input as Odd);
  } finally {
    fd = descriptorOf(input as Odd);
  }
  assert(Number.isInteger(fd) && fd >= 0);
});

fuzzTest("bytes", fc.uint8Array({ maxLength: 64 }), [], (bytes) => {
  const text = decodeText(bytes);
  assertEquals(encodeText(text), bytes);
  assert(
    // deno-lint-ignore no-control-regex
    !/[\0-\x1f\x7f-\x9f\ud800-\udfff]/u.test(quote(text) + printable(text)),
  );
});

fuzzTest(
  "records",
  textOf([
    ...['{"pid":1,"startTime":2,"bootId":"x"}', "\n", '{"mount":"1"', "}"],
    ...[',"target":"/a"', ',"namespace":"3"', ',"namespaceId":"4"', "null"],
    ...['"18446744073709551616"', "[", '{"__proto__":', "1"],
  ]),
  [],
  (text) => {
    const { entries } = parseRecord(text);
    for (const entry of entries) {
      const again = parseRecord(`\n${formatEntry(entry)}`).entries;
      assertEquals(again, [entry]);
    }
  },
);

fuzzTest(
  "what a runner is configured by",
  fc.oneof(
    textOf([
      '{"buildDirectoryPath":"/b"',
      ',"global":{}',
      ',"grpcServers":[]',
      "}",
    ]),
    recordOf({
      buildDirectoryPath: fc.constant("/b"),
      chrootIntoInputRoot: fc.boolean(),
      cleanProcessTable: fc.boolean(),
      global: recordOf({ setUmask: recordOf({ umask: fc.nat(0o777) }) }),
      grpcServers: fc.array(recordOf({
        listenPaths: fc.array(fc.constant("/s")),
        authenticationPolicy: recordOf({ allow: fc.constant({}) }),
      })),
      readinessCheckingPathnames: fc.array(fc.string()),
      runCommandsAs: recordOf({
        userId: fc.nat(),
        groupId: fc.nat(),
        additionalGroupIds: fc.array(fc.nat()),
      }),
      setTmpdirEnvironmentVariable: fc.boolean(),
    }).map(jsonOf),
  ),
  [ConfigError],
  (text) => parseConfig(text),
);

/** JSON of a value, or none where it has none. */
function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return "";
  }
}

const runOptions = {
  mounts: fc.array(recordOf({
    type: fc.constantFrom("tmpfs", "proc", "bind"),
    target: paths,
    source: fc.constant("/src"),
    options: optionsInput,
    recursive: fc.boolean(),
    optional: fc.boolean(),
    mkdir: fc.boolean(),
    place: fc.string(),
    idmap: fc.oneof(recordOf({ uids: ids, gids: ids }), fc.nat()),
  })),
  mountPoints: fc.constantFrom("make", "stand-in"),
  proc: fc.boolean(),
  cwd: fc.constant("/"),
  env: fc.dictionary(fc.string(), fc.string()),
  clearEnv: fc.constant(true),
  uid: fc.nat(),
  gid: fc.nat(),
  groups: fc.array(fc.nat()),
  capabilities: fc.array(fc.oneof(fc.constant("CAP_CHOWN"), anything)),
  limits: fc.dictionary(
    fc.constantFrom("nofile", "core", "nproc", "__proto__"),
    fc.oneof(
      fc.nat(),
      fc.constant("unlimited"),
      anything,
      recordOf({ soft: fc.nat(), hard: fc.nat() }),
    ),
  ),
  fds: fc.uniqueArray(fc.integer({ min: 3, max: 9999 })),
  hostPid: fc.boolean(),
  init: fc.boolean(),
  asPid1: fc.boolean(),
  newSession: fc.boolean(),
  timeout: fc.nat(),
  killAfter: fc.nat(),
  signal: anything,
  forwardSignals: fc.array(fc.oneof(fc.constant("SIGHUP"), anything)),
  stdin: fc.constantFrom("inherit", "null", 0),
  stdout: fc.constantFrom("inherit", "null", "piped", 1),
};

const command = fc.oneof(
  fc.array(fc.string({ unit: "binary" }), { minLength: 1 }),
  anything,
);

const reads = missingPermission(["ffi", "read", "sys"]);

fuzzTest(
  "options of run()",
  fc.tuple(command, fc.oneof(recordOf(runOptions), anything)),
  [SyscallError],
  ([words, options]) => parseRun(words as Odd, options as Odd),
  reads,
);

fuzzTest(
  "options of serve()",
  recordOf({
    socket: fc.oneof(fc.constant("/s"), fc.array(fc.constant("s"))),
    buildDirectory: fc.constant("/b"),
    uid: fc.nat(),
    gid: fc.nat(),
    groups: runOptions.groups,
    limits: runOptions.limits,
    mounts: runOptions.mounts,
    protectInputs: fc.constantFrom("idmap", "mode", "none"),
    readinessPaths: fc.array(paths),
    maxMessageSize: fc.nat(),
    grace: fc.nat(),
    healthService: fc.string(),
  }),
  [SyscallError],
  (options) => parseServe(options as Odd),
  reads,
);

const amounts = textOf([
  ...["0", "1", "9".repeat(20), ".", "s", "d", ":", "=", "unlimited", "nofile"],
  ...["/a", "\\:", "ro", "+", "TARGET", "no", "tmpfs", ","],
], 8);

fuzzTest("values of options", amounts, [UsageError], (text) => {
  const readers = [
    parseDelay,
    parseDuration,
    parseLimit,
    (text: string) => parseBind("bind", text),
    (text: string) => parseColumns(text, true),
    (text: string) => matchesTypes("tmpfs", text),
    (text: string) => formatColumns([[text]]),
  ];
  for (const read of readers) {
    try {
      read(text);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
    }
  }
});

fuzzTest("JSON", fc.jsonValue(), [], (value) => {
  assertEquals(JSON.parse(formatDeepJson(value)), JSON.parse(jsonOf(value)));
});

const read = missingPermission(["read"]);

for (const name of read === null ? subcommands() : []) {
  const { description, parse } = await loadSubcommand(name);
  const options = Object.entries({ ...COMMON_OPTIONS, ...description.options })
    .flatMap(([name, { short }]) => [
      ...[`--${name}`, `--${name}=`, `--${name}=1`, `--no-${name}`],
      ...short === undefined ? [] : [`-${short}`, `-${short}=`, `-${short}1`],
    ]);
  const values = [
    ...["a", "b", "/a", "1", "1s", "none", "tmpfs", "proc", "a=b", "/a:/b"],
    ...["ro", "-", "--", "-_", "--_", "-o", "007", "", "chown", "nofile=1:2"],
  ];
  const args = fc.array(
    fc.oneof(
      { arbitrary: fc.constantFrom(...options), weight: 4 },
      { arbitrary: fc.constantFrom(...values), weight: 4 },
      { arbitrary: amounts, weight: 1 },
      { arbitrary: fc.string({ unit: "binary" }), weight: 1 },
    ),
    { maxLength: 8 },
  );
  fuzzTest(
    `words of ${name}`,
    args,
    [UsageError],
    async (words) => {
      try {
        parse.call(
          await loadSubcommand(name),
          await parseWords(description, words),
        );
      } catch (error) {
        // Others would be shown as a fault of the program.
        if (!(error instanceof UsageError)) {
          throw new Error("", { cause: error });
        }
      }
    },
    read,
  );
}

kernelTest("fuzz: what goes to the kernel", async () => {
  using root = Directory.open(SCRATCH);
  root.mkdir("a/b", { recursive: true });
  const typed = [MountError, SyscallError, UnsupportedError];
  const dirfd = fc.oneof(
    { arbitrary: fc.constant<unknown>(root), weight: 20 },
    { arbitrary: fc.integer({ min: 500_000 }), weight: 1 },
    { arbitrary: fc.integer({ max: -1 }), weight: 1 },
  );
  const target = textOf(["a", "/", "b", ".", ".."], 5);
  const type = fc.constantFrom("tmpfs", "ramfs", "proc", "nosuch", "");
  const odd = fc.tuple(
    ...[dirfd, target, target],
    recordOf({ type, options: optionsInput, mkdir: fc.boolean() }),
  );
  await assertTyped("the kernel", odd, typed, (input) => {
    const [fd, one, other, options] = input as Odd;
    const calls = [
      () => mountat(fd, one, options),
      () => bindat(fd, one, root, options),
      () => remountat(fd, one, options),
      () => moveat(fd, one, root, other, options),
      () => unmountat(fd, one, options),
      () => Directory.fromFd(fd).close(),
    ];
    const errors: unknown[] = [];
    for (const call of calls) {
      try {
        (call() as Disposable | undefined)?.[Symbol.dispose]();
      } catch (error) {
        errors.push(error);
      }
    }
    const wrong = errors.filter((error) =>
      !typed.some((kind) => error instanceof kind)
    );
    for (const error of wrong) throw error;
  }, RUNS ?? 60);
  assertEquals(mountsBelow(SCRATCH).length, 1);
});

/** Long inputs, by what reads them; those of twice the size are twice as long. */
const LONG: Record<string, (size: number) => void> = {
  options: (size) => parseMountOptions("size=1m,ro,".repeat(size)),
  "quoted options": (size) => parseMountOptions('a="b,c",'.repeat(size)),
  "fstab": (size) => parseFstab("none /a tmpfs size=1m,ro\n".repeat(size)),
  "options of fstab": (size) =>
    parseFstab(`none /a tmpfs ${'size="1m",ro,'.repeat(size)}`),
  "wrong lines of fstab": (size) =>
    parseFstab("nosuch\n".repeat(size), { warn: () => {} }),
  "OCI": (size) =>
    parseOciMounts(
      `{"mounts":[${
        Array(size).fill('{"destination":"/a","type":"tmpfs","options":["ro"]}')
      }]}`,
    ),
  "the mount table": (size) =>
    parseMountinfo(
      "36 35 98:0 /\\040 /mnt rw,a shared:1 - ext3 /dev/root rw,b\n"
        .repeat(size),
    ),
  "an option of the mount table": (size) =>
    parseMountinfo(
      `36 35 98:0 / /mnt rw - ext3 a ${'mpol=0,1,a="b'.repeat(size)}`,
    ),
  "targets": (size) => parseTarget("a/./".repeat(size)),
  "no UTF-8": (size) => decodeText(new Uint8Array(size * 8).fill(0xff)),
  "escaped text": (size) => encodeText("\udc80é".repeat(size * 4)),
  "words that are misspelt": (size) => nearest("x".repeat(size), ["readonly"]),
  "records": (size) =>
    parseRecord(`{"mount":"1","target":"a","namespace":"2"}\n`.repeat(size)),
  "id maps": (size) => parseIdmapWord(`X-mount.idmap=${"0:0:1 ".repeat(size)}`),
  "JSON": (size) => formatDeepJson(Array(size).fill({ a: [] })),
};

// It is measured, and so not with other tests.
for (const [name, read] of RUNS === undefined ? [] : Object.entries(LONG)) {
  Deno.test(`fuzz: ${name} take time as they are long`, () => {
    const time = (size: number) => {
      const times = [0, 1, 2].map(() => {
        const start = performance.now();
        try {
          read(size);
        } catch (error) {
          // A list may have only so many.
          if (!(error instanceof TypeError)) throw error;
        }
        return performance.now() - start;
      });
      return Math.min(...times);
    };
    let size = 1000;
    while (time(size) < 50 && size < 1_000_000) size *= 2;
    const [short, long] = [time(size), time(8 * size)];
    console.log(`${name}: ${size} in ${short} ms, ${8 * size} in ${long} ms`);
    // Eight times as long, and some for the garbage; 64 were quadratic.
    assertLess(long, 32 * short);
  });
}
