import {
  changeOfNew,
  type OptionsInput,
  parseMountOptions,
  UNCHANGED,
} from "../../src/options/mount_options.ts";
import { assertEquals, assertThrows } from "@std/assert";
import {
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
} from "../../src/sys/constants.ts";

/** The attributes of a new mount. */
function attributes(options: OptionsInput): number {
  const parsed = parseMountOptions(options);
  assertEquals(parsed.parameters, [], JSON.stringify(options));
  return changeOfNew(parsed).attrSet;
}

/** What words change, the mount's own and recursive, as `set`, `clear`. */
function changes(options: OptionsInput, more: string[] = []) {
  const { own, recursive, parameters } = parseMountOptions(options, more);
  assertEquals(parameters, [], JSON.stringify(options));
  return [own, recursive].map(({ attrSet, attrClr }) => [attrSet, attrClr]);
}

function parameters(options: OptionsInput): [string, unknown][] {
  return parseMountOptions(options).parameters.map(({ key, value }) => [
    key,
    value,
  ]);
}

Deno.test("parseMountOptions() makes attributes of the generic words", () => {
  const expected: Record<string, number> = {
    "ro": MOUNT_ATTR_RDONLY,
    "nosuid": MOUNT_ATTR_NOSUID,
    "nodev": MOUNT_ATTR_NODEV,
    "noexec": MOUNT_ATTR_NOEXEC,
    "nodiratime": MOUNT_ATTR_NODIRATIME,
    "nosymfollow": MOUNT_ATTR_NOSYMFOLLOW,
    "noatime": MOUNT_ATTR_NOATIME,
    "strictatime": MOUNT_ATTR_STRICTATIME,
    "relatime": 0,
    "": 0,
    "defaults": 0,
    "ro,nosuid,nodev,noexec": MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
      MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
  };
  for (const [words, value] of Object.entries(expected)) {
    assertEquals(attributes(words), value, words);
  }
});

Deno.test("parseMountOptions() lets the later of two opposites win", () => {
  assertEquals(
    attributes(
      "ro,rw,nosuid,suid,nodev,dev,noexec,exec,nodiratime,diratime,nosymfollow,symfollow",
    ),
    0,
  );
  assertEquals(attributes("rw,ro"), MOUNT_ATTR_RDONLY);
  assertEquals(
    attributes("defaults,ro,noatime,defaults"),
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME,
  );
});

Deno.test("parseMountOptions() takes ro=fs for the file system alone", () => {
  assertEquals(parseMountOptions("ro=fs,rw=fs"), {
    own: UNCHANGED,
    recursive: UNCHANGED,
    parameters: [{ key: "ro", value: true }, { key: "rw", value: true }],
  });
  assertEquals(changes("ro=vfs"), changes("ro"));
});

Deno.test("parseMountOptions() keeps access times in one field", () => {
  assertEquals(attributes("noatime,strictatime"), MOUNT_ATTR_STRICTATIME);
  assertEquals(attributes("strictatime,noatime"), MOUNT_ATTR_NOATIME);
  assertEquals(attributes("noatime,relatime"), 0);
  assertEquals(attributes("noatime,atime"), 0);
  assertEquals(attributes("strictatime,nostrictatime"), 0);
  assertEquals(attributes("noatime,norelatime"), MOUNT_ATTR_NOATIME);
  assertEquals(attributes("strictatime,atime"), MOUNT_ATTR_STRICTATIME);
});

const ALL = MOUNT_ATTR__ATIME;

Deno.test("parseMountOptions() says what words clear", () => {
  const none = [0, 0];
  const expected: Record<string, number[]> = {
    "rw": [0, MOUNT_ATTR_RDONLY],
    "ro": [MOUNT_ATTR_RDONLY, 0],
    "ro,rw": [0, MOUNT_ATTR_RDONLY],
    "rw,ro": [MOUNT_ATTR_RDONLY, 0],
    "suid,dev,exec": [
      0,
      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
    ],
    "diratime,symfollow": [
      0,
      MOUNT_ATTR_NODIRATIME | MOUNT_ATTR_NOSYMFOLLOW,
    ],
    // A bit of the field alone the kernel refuses.
    "noatime": [MOUNT_ATTR_NOATIME, ALL],
    "strictatime": [MOUNT_ATTR_STRICTATIME, ALL],
    "relatime": [0, ALL],
    // What they negate is for the mount to say.
    "atime": [0, MOUNT_ATTR_NOATIME],
    "nostrictatime": [0, MOUNT_ATTR_STRICTATIME],
    "strictatime,atime": [MOUNT_ATTR_STRICTATIME, ALL],
    "norelatime": none,
    "defaults": none,
    "noatime,defaults": [MOUNT_ATTR_NOATIME, ALL],
  };
  for (const [words, change] of Object.entries(expected)) {
    assertEquals(changes(words), [change, none], words);
  }
});

Deno.test("parseMountOptions() knows each word's recursive forms", () => {
  // The OCI runtime specification, "Linux mount options".
  const words =
    "ro rw nosuid suid nodev dev noexec exec nodiratime diratime relatime norelatime noatime atime strictatime nostrictatime nosymfollow symfollow"
      .split(" ");
  assertEquals(words.length, 18);
  for (const word of words) {
    const [own, none] = changes(word);
    for (const recursive of [`r${word}`, `${word}=recursive`]) {
      assertEquals(changes(recursive), [none, own], recursive);
    }
    assertEquals(changes({ [word]: "recursive" }), [none, own]);
  }
});

Deno.test("parseMountOptions() lets a recursive word and the mount's own follow each other", () => {
  const ro = MOUNT_ATTR_RDONLY;
  assertEquals(changes("rro,rw"), [[0, ro], [ro, 0]]);
  assertEquals(changes("rw,rro"), [[0, 0], [ro, 0]]);
  assertEquals(changes("noexec,rw,rro"), [[MOUNT_ATTR_NOEXEC, 0], [ro, 0]]);
  assertEquals(changes("strictatime,rnoatime"), [
    [0, 0],
    [MOUNT_ATTR_NOATIME, ALL],
  ]);
  assertEquals(attributes("rro,rnoexec,exec"), ro);
  assertEquals(attributes("rnoatime,strictatime"), MOUNT_ATTR_STRICTATIME);
});

Deno.test("parseMountOptions() tells the propagation", () => {
  const propagation = (options: string) => {
    const { own, recursive } = parseMountOptions(options);
    return [own.propagation, recursive.propagation];
  };
  const expected: Record<string, number> = {
    private: MS_PRIVATE,
    shared: MS_SHARED,
    slave: MS_SLAVE,
    unbindable: MS_UNBINDABLE,
  };
  for (const [word, value] of Object.entries(expected)) {
    assertEquals(propagation(word), [value, 0]);
    assertEquals(propagation(`r${word}`), [0, value]);
  }
  assertEquals(propagation("private,shared"), [MS_SHARED, 0]);
  assertEquals(propagation("rprivate,shared"), [MS_SHARED, MS_PRIVATE]);
  assertEquals(propagation("shared,rprivate"), [0, MS_PRIVATE]);
  assertEquals(
    changeOfNew(parseMountOptions("rslave")).propagation,
    MS_SLAVE,
  );
});

Deno.test("parseMountOptions() takes more words after the others", () => {
  assertEquals(changes("ro", ["rw", "rnodev"]), [
    [0, MOUNT_ATTR_RDONLY],
    [MOUNT_ATTR_NODEV, 0],
  ]);
});

Deno.test("parseMountOptions() passes all else to the file system in order", () => {
  assertEquals(
    parameters("size=1m,ro,mode=0755,huge,lowerdir+=/a,lowerdir+=/b"),
    [
      ["size", "1m"],
      ["mode", "0755"],
      ["huge", true],
      ["lowerdir+", "/a"],
      ["lowerdir+", "/b"],
    ],
  );
  assertEquals(parameters("a=b=c,empty="), [["a", "b=c"], ["empty", ""]]);
});

Deno.test("parseMountOptions() splits at commas outside quotes", () => {
  assertEquals(parameters('context="u:r:t:s0:c1,c2",x'), [
    ["context", "u:r:t:s0:c1,c2"],
    ["x", true],
  ]);
  assertEquals(parameters(",,a,"), [["a", true]]);
  assertThrows(() => parseMountOptions('a="b'), TypeError, "quote");
});

Deno.test("parseMountOptions() leaves an escaped comma to the file system", () => {
  assertEquals(parameters("lowerdir=/a\\,b,x"), [
    ["lowerdir", "/a\\,b"],
    ["x", true],
  ]);
});

Deno.test("parseMountOptions() leaves the nodes of mpol together", () => {
  assertEquals(parameters("mpol=bind:0,0-2,5,size=1m,ro,nr_inodes=7"), [
    ["mpol", "bind:0,0-2,5"],
    ["size", "1m"],
    ["nr_inodes", "7"],
  ]);
  assertEquals(parameters("size=1m,mpol=bind=static:1,3"), [
    ["size", "1m"],
    ["mpol", "bind=static:1,3"],
  ]);
  assertEquals(parameters("mpol=local,size=1m,2"), [
    ["mpol", "local"],
    ["size", "1m"],
    ["2", true],
  ]);
});

Deno.test("parseMountOptions() takes the words of a list as they are", () => {
  const parsed = parseMountOptions(["ro", "lowerdir+=/a,b", 'c="d"']);
  assertEquals(parsed.own.attrSet, MOUNT_ATTR_RDONLY);
  assertEquals(parsed.parameters, [
    { key: "lowerdir+", value: "/a,b" },
    { key: "c", value: '"d"' },
  ]);
});

Deno.test("parseMountOptions() takes the values of a record as they are", () => {
  const bytes = new Uint8Array([1, 2]);
  const parsed = parseMountOptions({
    noexec: true,
    size: 1048576,
    blob: bytes,
    lowerdir: "/a,b",
    flag: true,
  });
  assertEquals(parsed.own.attrSet, MOUNT_ATTR_NOEXEC);
  assertEquals(parsed.parameters, [
    { key: "size", value: "1048576" },
    { key: "blob", value: bytes },
    { key: "lowerdir", value: "/a,b" },
    { key: "flag", value: true },
  ]);
});

Deno.test("parseMountOptions() sets an option once for each value of a list", () => {
  const upper = { fd: 3 };
  const parsed = parseMountOptions({
    "lowerdir+": [upper, "/b", { fd: 0 }],
    nr: [1, 2],
    none: [],
    ro: [true],
  });
  assertEquals(parsed.own.attrSet, MOUNT_ATTR_RDONLY);
  assertEquals(parsed.parameters, [
    { key: "lowerdir+", value: upper },
    { key: "lowerdir+", value: "/b" },
    { key: "lowerdir+", value: { fd: 0 } },
    { key: "nr", value: "1" },
    { key: "nr", value: "2" },
  ]);
});

Deno.test("parseMountOptions() throws when an option can't be passed on", () => {
  const long = "x".repeat(256);
  const wrong: [unknown, typeof TypeError | typeof RangeError][] = [
    ["=x", TypeError],
    ["ro=1", TypeError],
    ["ro=", TypeError],
    ["rro=1", TypeError],
    ["rro=recursive", TypeError],
    ["noexec=fs", TypeError],
    ["private=recursive", TypeError],
    ["defaults=recursive", TypeError],
    [{ ro: "1" }, TypeError],
    ["a\0b", TypeError],
    [{ a: "b\0c" }, TypeError],
    [{ a: false }, TypeError],
    [{ a: null }, TypeError],
    [{ a: NaN }, RangeError],
    [[1], TypeError],
    [7, TypeError],
    [null, TypeError],
    [new Map([["ro", true]]), TypeError],
    [new Set(["ro"]), TypeError],
    [{ a: { fd: NaN } }, TypeError],
    [{ a: { fd: -1 } }, TypeError],
    [{ a: { fd: 2 ** 31 } }, TypeError],
    [{ a: [["b"]] }, TypeError],
    [{ a: [null] }, TypeError],
    [`${long}=1`, RangeError],
  ];
  for (const [options, error] of wrong) {
    assertThrows(() => parseMountOptions(options as OptionsInput), error);
  }
  // A mount has ways to take such a value.
  assertEquals(parameters(`a=${long}`), [["a", long]]);
});
