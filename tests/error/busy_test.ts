import { busyHint, type Holder } from "../../src/error/holders.ts";
import { assertEquals } from "@std/assert";

function hint(
  holders: Holder[],
  { more = 0, obstacles = [] as string[], target = "m" } = {},
  namedBy?: number,
): string {
  const search = { holders, more, obstacles, mountPoint: "/r/m" };
  return busyHint(search, target, namedBy);
}

const END =
  "; end, close or unmount that first, or unmount lazily (the option lazy)";

Deno.test("busyHint() names all that a process holds, up to three", () => {
  const bash = { pid: 7, command: "bash" };
  const holders: Holder[] = [
    { ...bash, by: "working directory", path: "/r/m/a b" },
    { ...bash, by: "root", path: "/r/m" },
    { ...bash, by: "descriptor", fd: 3, path: "/r/m/x" },
    { ...bash, by: "descriptor", fd: 4, path: "/r/m/y" },
    { ...bash, by: "mapped file", path: "/r/m/z" },
    { pid: 8, command: "sh", by: "mount descriptor", fd: 5, path: "/r/m" },
  ];
  assertEquals(
    hint(holders),
    `In use: bash (pid 7) by its working directory "/r/m/a b", root "/r/m", descriptor 3 "/r/m/x", 2 more; sh (pid 8) by its mount descriptor 5 "/r/m"${END}`,
  );
});

Deno.test("busyHint() tells this process which descriptors to close", () => {
  const own = { pid: 7, command: "deno", own: true };
  const mountDescriptor: Holder = {
    ...own,
    by: "mount descriptor",
    fd: 24,
    path: "/r/m",
  };
  const first =
    "In use: descriptor 24 of this process is the mount's own: close it first";
  assertEquals(hint([mountDescriptor]), first);
  assertEquals(
    hint([
      mountDescriptor,
      { ...own, by: "descriptor", fd: 9, path: "/r/m/x" },
      { ...own, by: "working directory", path: "/r/m" },
    ]),
    `${first}; descriptor 9 of this process is open on "/r/m/x"; this process by its working directory "/r/m"${END}`,
  );
});

Deno.test("busyHint() tells what the mount was named by from the rest", () => {
  const own = { pid: 7, command: "deno", own: true };
  const directory = { ...own, by: "descriptor", fd: 9, path: "/r/m" } as const;
  const other: Holder = { ...directory, fd: 10 };
  const first =
    "In use: descriptor 9 of this process, by which you named it, is open on it: name it from its parent directory";
  assertEquals(hint([directory], {}, 9), first);
  assertEquals(
    hint([directory, other], {}, 9),
    `${first}; descriptor 10 of this process is open on "/r/m"${END}`,
  );
  assertEquals(
    hint([{ ...own, by: "working directory", path: "/r/m" }]),
    `In use: this process by its working directory "/r/m"${END}`,
  );
});

Deno.test("busyHint() calls mounts what the caller would", () => {
  const mounts: Holder[] = [
    { by: "mount", path: "/r/m/x" },
    { by: "mount", path: "/r/m", onTop: true },
    { by: "mount", path: "/elsewhere" },
  ];
  assertEquals(
    hint(mounts, { target: "a/m/" }),
    `In use: "a/m/x" is mounted inside it; another mount is on top of it; "/elsewhere" is mounted inside it; end, close or unmount that first`,
  );
});

Deno.test("busyHint() names five, and counts the rest", () => {
  const holders = Array.from({ length: 7 }, (_, i): Holder => ({
    pid: i,
    command: "x",
    by: "root",
    path: "/",
  }));
  const hinted = hint(holders, {
    more: 10,
    obstacles: ["stopped searching after 1 ms"],
  });
  assertEquals(hinted.split("; ").length, 5 + 1 + 1);
  assertEquals(
    hinted.endsWith(`; 12 more (stopped searching after 1 ms)${END}`),
    true,
    hinted,
  );
});

Deno.test("busyHint() says what may be when nothing was found", () => {
  const lazily = "; lazy unmounting still removes it";
  assertEquals(
    hint([]),
    `Something uses it, but was not found (a copy of it in another mount namespace, a loop device, a swap file, a socket's name)${lazily}`,
  );
  assertEquals(
    hint([], { obstacles: ["could not look at 2 processes", "x"] }),
    `Something uses it, but was not found (could not look at 2 processes, x)${lazily}`,
  );
});

Deno.test("busyHint() advises to unmount lazily only where nothing else goes with it", () => {
  const shell: Holder = { pid: 7, command: "sh", by: "root", path: "/r/m" };
  assertEquals(hint([shell]), `In use: sh (pid 7) by its root "/r/m"${END}`);
  const inside: Holder = { by: "mount", path: "/r/m/x" };
  assertEquals(
    hint([inside, shell]),
    `In use: "m/x" is mounted inside it; sh (pid 7) by its root "/r/m"; end, close or unmount that first`,
  );
  // Not in the table: nobody knows what is inside.
  assertEquals(
    busyHint(
      { holders: [], more: 0, obstacles: ["x"], mountPoint: undefined },
      "m",
    ),
    "Something uses it, but was not found (x)",
  );
});

Deno.test("busyHint() tells a copy from the mount, and a name from a command", () => {
  assertEquals(
    hint([
      {
        pid: 7,
        command: "\x1b[1m",
        by: "working directory",
        path: "/r/m",
        copy: true,
      },
    ]),
    `In use: \\x1b[1m (pid 7) by its working directory "/r/m" in a copy of the mount${END}`,
  );
});
