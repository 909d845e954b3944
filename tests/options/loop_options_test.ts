import {
  type LoopOptions,
  type OptionsInput,
  type Parameter,
  parseMountOptions,
  UNCHANGED,
} from "../../src/options/mount_options.ts";
import { assertEquals, assertThrows } from "@std/assert";

Deno.test("parseMountOptions() takes out what is for the loop device", () => {
  const parameters: Parameter[] = [{ key: "a", value: true }];
  const none = { offset: 0n, sizelimit: 0n };
  const expected: [OptionsInput, LoopOptions][] = [
    ["loop,a", none],
    ["a,offset=512,loop,sizelimit=4096", { offset: 512n, sizelimit: 4096n }],
    ["a,loop=/dev/loop3", { ...none, device: "/dev/loop3" }],
    ["a,loop,offset=1,offset=2", { ...none, offset: 2n }],
    ["a,loop,offset=64K,sizelimit=3MiB", {
      offset: 65536n,
      sizelimit: 3145728n,
    }],
    ["a,loop,offset=1G,sizelimit=2T", {
      offset: 1n << 30n,
      sizelimit: 2n << 40n,
    }],
    ["a,loop,sizelimit=9223372036854775807", {
      ...none,
      sizelimit: 2n ** 63n - 1n,
    }],
    [{ loop: true, a: true, offset: 1024 }, { ...none, offset: 1024n }],
  ];
  for (const [options, loop] of expected) {
    assertEquals(parseMountOptions(options), {
      own: UNCHANGED,
      recursive: UNCHANGED,
      parameters,
      loop,
    });
  }
});

Deno.test("parseMountOptions() leaves offset and sizelimit to the file system without loop", () => {
  assertEquals(parseMountOptions("offset=x,sizelimit"), {
    own: UNCHANGED,
    recursive: UNCHANGED,
    parameters: [
      { key: "offset", value: "x" },
      { key: "sizelimit", value: true },
    ],
  });
});

Deno.test("parseMountOptions() throws for what a loop device can't have", () => {
  const wrong: OptionsInput[] = [
    "loop=",
    { loop: { fd: 3 } },
    "loop,offset",
    "loop,offset=",
    "loop,offset=-1",
    "loop,offset=1.5K",
    "loop,offset=0x10",
    "loop,offset=1KB",
    "loop,sizelimit=9223372036854775808",
    "loop,sizelimit=8388608T",
    { loop: true, offset: 1e21 },
  ];
  for (const options of wrong) {
    assertThrows(() => parseMountOptions(options), TypeError, 'The option "');
  }
});
