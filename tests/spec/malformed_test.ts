import { assertEquals, assertThrows } from "@std/assert";
import {
  parseFstab,
  parseOciMounts,
  SpecSyntaxError,
} from "../../src/spec/mod.ts";

/** Malformed texts, `¶` where they are so, and what is wrong there. */
type Cases = [text: string, what: string][];

const CONFIGURATIONS: Cases = [
  // No JSON.
  ["¶", "Expected a value, not the end of the text"],
  ["¶\ufeff{}", 'Expected a value, not "\ufeff"'],
  ["{¶", "Expected a name in quotes, not the end of the text"],
  ["{¶'mounts': []}", 'Expected a name in quotes, not "\'"'],
  ['{"mounts"¶', 'Expected ":", not the end of the text'],
  ['{"mounts" ¶= []}', 'Expected ":", not "="'],
  ['{"mounts": ¶}', 'Expected a value, not "}"'],
  ['{"mounts": ¶undefined}', 'Expected a value, not "u"'],
  ['{\n\t"mounts": [],\n¶}', 'Expected a name in quotes, not "}"'],
  ['{"mounts": [\r\n  {},\r\n¶]}', 'Expected a value, not "]"'],
  ['{"mounts": [{} ¶{}]}', 'Expected "," or "]", not "{"'],
  ['{"mounts": [{}¶}', 'Expected "," or "]", not "}"'],
  ['{"mounts": []\n¶"linux": {}}', 'Expected "," or "}", not "\\""'],
  ['{"mounts": []}\n\n¶x', 'Expected the end of the text, not "x"'],
  ['{"é😀": ¶+1}', 'Expected a value, not "+"'],
  ['{"pid": 0¶1}', 'Expected "," or "}", not "1"'],
  ['{"mounts": [{"type": ¶"tmpfs}]}', "The string is not closed"],
  ['{"type": "tm¶\npfs"}', 'A string must not have "\\n"'],
  ['{"type": "tm¶\x1bpfs"}', 'A string must not have "\\x1b"'],
  ['{"type": "¶\\040"}', "An unknown escape in the string"],
  ['{"type": "¶\\u00g0"}', "An unknown escape in the string"],
  [`{"a": ${"[".repeat(499)}¶[${"]".repeat(500)}}`, "More than 500 levels"],
  // Of another shape.
  ["¶[]", "Expected an object, not an array"],
  [" ¶null", "Expected an object, not null"],
  ['¶"mounts"', "Expected an object, not a string"],
  ['{"mounts": ¶{}}', "mounts: Expected an array, not an object"],
  ['{"mounts": [¶7]}', "mounts[0]: Expected an object, not a number"],
  ['{"mounts": [¶[]]}', "mounts[0]: Expected an object, not an array"],
  ['{"mounts": [¶{}]}', "mounts[0]: A mount must have a destination"],
];

/** The same for one mount, the second of a configuration. */
const MOUNTS: Cases = [
  ['"destination": ¶true', "destination: Expected a string, not a boolean"],
  ['"destination": ¶""', "destination: It must not be empty"],
  [
    '"destination": ¶"/a/../b"',
    'destination: The mount point "/a/../b" has a ".."',
  ],
  ['"destination": ¶".."', 'destination: The mount point ".." has a ".."'],
  [
    '"destination": ¶"/a\\u0000"',
    "destination: The text must not contain a NUL character",
  ],
  [
    '"destination": ¶"/\\ud800"',
    "destination: The lone surrogate U+D800 stands for no byte",
  ],
  [
    '"destination": "/a", "destination": ¶1',
    "destination: Expected a string, not a number",
  ],
  ['"type": ¶""', "type: It must not be empty"],
  [
    '"type": ¶"tmp\\u0000fs"',
    "type: The text must not contain a NUL character",
  ],
  [
    '"type": ¶"none"',
    'type: The type "none" needs the option "bind" or "rbind"',
  ],
  [
    '"type": ¶"bind"',
    'type: The type "bind" needs the option "bind" or "rbind"',
  ],
  ['"source": ¶[]', "source: Expected a string, not an array"],
  [
    '"source": ¶"a\\u0000"',
    "source: The text must not contain a NUL character",
  ],
  ['"options": ¶"ro"', "options: Expected an array, not a string"],
  ['"options": ¶{}', "options: Expected an array, not an object"],
  ['"options": ["ro", ¶1]', "options[1]: Expected a string, not a number"],
  ['"options": [¶["ro"]]', "options[0]: Expected a string, not an array"],
  ['"options": [¶"=1"]', 'options[0]: The option "=1" has no name'],
  ['"options": [¶"ro,=1"]', 'options[0]: The option "=1" has no name'],
  [
    '"options": ["ro", ¶"a=\\"b,c"]',
    "options[1]: A quote in the options is not closed",
  ],
  [
    '"options": [¶"a\\u0000"]',
    "options[0]: The text must not contain a NUL character",
  ],
  [
    '"options": [¶"remount"]',
    'options[0]: No option "remount" here: what it changes could not be changed back',
  ],
  [
    '"options": [¶"tmpcopyup"]',
    'options[0]: No option "tmpcopyup" here: nothing is copied into a tmpfs',
  ],
  [
    '"options": [¶"move"]',
    'options[0]: No option "move" here: it makes no mount',
  ],
  [
    '"options": ["x-b", ¶"X-mount.owner=a"]',
    'options[1]: No option "X-mount.owner=a" here: only mount(8) does that',
  ],
  [
    '"options": [¶"X-mount.mkdir=0778"]',
    'options[0]: The mode in "X-mount.mkdir=0778" is not octal',
  ],
  [
    '"source": "/a", "options": [¶"size=1m", "bind"]',
    'options[0]: A bind has no options of a file system: "size=1m"',
  ],
  [
    '"source": ¶"a/b", "options": ["bind"]',
    'source: The source "a/b" is relative, and the bundle is not given',
  ],
  ['"source": ¶"", "options": ["bind"]', "source: It must not be empty"],
  ['"options": ["ro", ¶"idmap"]', 'options[1]: No mappings for "idmap"'],
  ['"options": [¶"ridmap"]', 'options[0]: No mappings for "ridmap"'],
  [
    '"uidMappings": ¶{}, "gidMappings": []',
    "uidMappings: Expected an array, not an object",
  ],
  [
    '"uidMappings": ¶[{}], "gidMappings": []',
    "uidMappings: uidMappings and gidMappings must be given together",
  ],
  [
    '"gidMappings": ¶[{}]',
    "gidMappings: uidMappings and gidMappings must be given together",
  ],
  ...([
    ["¶null", "uidMappings[0]: Expected an object, not null"],
    ["¶{}", "uidMappings[0]: containerID is missing"],
    ['¶{"containerID": 0}', "uidMappings[0]: hostID is missing"],
    [
      '¶{"containerID": 0, "hostID": 0}',
      "uidMappings[0]: size is missing",
    ],
    [
      '{"containerID": ¶"0"}',
      "uidMappings[0].containerID: Expected a number, not a string",
    ],
    [
      '{"containerID": ¶-1}',
      "uidMappings[0].containerID: -1 is no containerID",
    ],
    [
      '{"containerID": ¶0.5}',
      "uidMappings[0].containerID: 0.5 is no containerID",
    ],
    [
      '{"containerID": 0, "hostID": ¶4294967296}',
      "uidMappings[0].hostID: 4294967296 is no hostID",
    ],
    [
      '{"containerID": 0, "hostID": ¶1e999}',
      "uidMappings[0].hostID: Infinity is no hostID",
    ],
    [
      '{"containerID": 0, "hostID": 0, "size": ¶0}',
      "uidMappings[0].size: 0 is no size",
    ],
  ] as Cases).map(([mapping, what]): Cases[number] => [
    `"uidMappings": [${mapping}], "gidMappings": [{}]`,
    what,
  ]),
];

const FSTABS: Cases = [
  ["/dev/a¶", "An entry must have a source, a mount point and a type"],
  [
    "\n\n /dev/a /a¶\n",
    "An entry must have a source, a mount point and a type",
  ],
  ["/dev/a /a¶\r\n", "An entry must have a source, a mount point and a type"],
  ["a ¶b tmpfs", 'The mount point "b" must be absolute'],
  ["a ¶none tmpfs", 'The mount point "none" must be absolute'],
  ["a ¶./b tmpfs ro 0 0", 'The mount point "./b" must be absolute'],
  ["a ¶/b/../c tmpfs", 'The mount point "/b/../c" has a ".."'],
  ["a ¶/\\056\\056 tmpfs", 'The mount point "/.." has a ".."'],
  ["a ¶/b\\000 tmpfs", "The text must not contain a NUL character"],
  ["a ¶/b\0 tmpfs", "The text must not contain a NUL character"],
  ["a ¶/\ud800 tmpfs", "The lone surrogate U+D800 stands for no byte"],
  ["¶a\\000 /b tmpfs", "The text must not contain a NUL character"],
  ["a /b ¶t\\000", "The text must not contain a NUL character"],
  ["a /b ¶none", 'The type "none" needs the option "bind" or "rbind"'],
  ["a /b ¶bind ro", 'The type "bind" needs the option "bind" or "rbind"'],
  ["a /b ¶auto", 'The type "auto" must name one file system'],
  ["a /b ¶ext4,xfs", 'The type "ext4,xfs" must name one file system'],
  ["¶a /b none bind", 'The source "a" of a bind must be absolute'],
  ["¶UUID= /b ext4", "The UUID must not be empty"],
  ['¶LABEL="" /b ext4', "The LABEL must not be empty"],
  ["a /b tmpfs ro,¶=x", 'The option "=x" has no name'],
  ['a /b tmpfs ro,context=¶"b,c', "A quote in the options is not closed"],
  ["a /b tmpfs x\\040y,¶z\\000", "The text must not contain a NUL character"],
  [
    "# a\na /b tmpfs ro,¶remount 0 0",
    'No option "remount" here: what it changes could not be changed back',
  ],
  ["/a /b none bind,¶move", 'No option "move" here: it makes no mount'],
  [
    "a /b ext4 ro\\054\\042\\042¶X-mount.subdir=a\\040b",
    'No option "X-mount.subdir=a b" here: only mount(8) does that',
  ],
  [
    "a /b tmpfs ¶X-mount.mkdir=rwx",
    'The mode in "X-mount.mkdir=rwx" is not octal',
  ],
  [
    "a /b tmpfs ¶x-mount.mkdir=",
    'The mode in "x-mount.mkdir=" is not octal',
  ],
  [
    "/a /b none ro,¶size=1m,rbind",
    'A bind has no options of a file system: "size=1m"',
  ],
  ["/a /b none bind,¶idmap", 'No mappings for "idmap"'],
  ...["", "=", "=a", "=u:0:1:2\\0401:2", "=x:0:1:2", "=0:-1:1", "=0:1:2:3"]
    .map((value): [string, string] => [
      `/a /b none bind,¶X-mount.idmap${value}`,
      `"X-mount.idmap${
        value.replace("\\040", " ")
      }" needs the path of a user namespace, or ranges like "u:0:1000:1", "g:0:1000:1" or "0:1000:1", separated by spaces`,
    ]),
  [
    "/a /b none bind,¶X-mount.idmap=u:0:1:2",
    '"X-mount.idmap=u:0:1:2" maps no group ids, and the kernel takes no map without',
  ],
  [
    "a /b tmpfs ¶X-mount.idmap=g:0:1:2",
    '"X-mount.idmap=g:0:1:2" maps no user ids, and the kernel takes no map without',
  ],
  [
    "a /b tmpfs ¶X-mount.idmap=0:1:0",
    '"length" of an id range must be 1 to 4294967295: received 0',
  ],
  [
    "a /b tmpfs ro,¶X-mount.idmap=0:4294967295:1",
    '"outside" of an id range must be 0 to 4294967294: received 4294967295',
  ],
  ["a /b tmpfs ro ¶x", '"x" is no number'],
  ["a /b tmpfs ro ¶# note", '"#" is no number'],
  ["a /b tmpfs ro ¶-1 0", '"-1" is no number'],
  ["a /b tmpfs ro 0 ¶0x1", '"0x1" is no number'],
  ["/dev/a /my disk ext4 ¶ro 0 0", '"ro" is no number'],
  [
    "a /b tmpfs ro 0 0 ¶0",
    "An entry has six fields: write a space in a field as \\040",
  ],
];

function check(parse: (text: string) => unknown, marked: string, what: string) {
  const before = marked.slice(0, marked.indexOf("¶")).split("\n");
  const [line, column] = [before.length, before.at(-1)!.length + 1];
  const error = assertThrows(
    () => parse(marked.replace("¶", "")),
    SpecSyntaxError,
    undefined,
    marked,
  );
  const message = `Line ${line}, column ${column}: ${what}`;
  assertEquals(
    [error.name, error.message, error.line, error.column],
    ["SpecSyntaxError", message, line, column],
    marked,
  );
}

Deno.test("parseOciMounts() says where a configuration is wrong", () => {
  for (const [text, what] of CONFIGURATIONS) check(parseOciMounts, text, what);
});

Deno.test("parseOciMounts() says where a mount is wrong", () => {
  for (const [members, what] of MOUNTS) {
    // What the case doesn't say itself is there, so that nothing else is wrong.
    const rest = [
      ...members.includes('"destination"') ? [] : ['"destination": "/a"'],
      ...members.includes('"type"') ? [] : ['"type": "tmpfs"'],
    ];
    const text = `{
  "mounts": [
    {"destination": "/before", "type": "tmpfs"},
    {${[members, ...rest].join(", ")}}
  ]
}`;
    check(parseOciMounts, text, `mounts[1].${what}`);
  }
});

Deno.test("parseFstab() says where an entry is wrong", () => {
  for (const [text, what] of FSTABS) check(parseFstab, text, what);
});

Deno.test("parseOciMounts() throws for a mount without type or source", () => {
  check(
    parseOciMounts,
    '{"mounts": [¶{"destination": "/a"}]}',
    "mounts[0]: A mount must have a type, unless it is a bind",
  );
  check(
    parseOciMounts,
    '{"mounts": [¶{"destination": "/a", "options": ["bind"]}]}',
    "mounts[0]: A bind must have a source",
  );
});

Deno.test("parseOciMounts() throws for a container without all mappings", () => {
  const mount =
    '{"destination": "/a", "source": "/b", "options": ["bind", "idmap"]}';
  check(
    parseOciMounts,
    `{"mounts": [${mount}], "linux": {"uidMappings": ¶[{}]}}`,
    "linux.uidMappings: uidMappings and gidMappings must be given together",
  );
  check(
    parseOciMounts,
    `{"mounts": [${mount}], "linux": ¶[]}`,
    "linux: Expected an object, not an array",
  );
});
