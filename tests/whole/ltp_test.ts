/**
 * The Linux Test Project's cases for the mount calls, restated as steps, by the
 * functions of src/sys.
 */
import file from "../testdata/ltp-cases.json" with { type: "json" };
import { allSteps, type Case } from "./ltp/cases.ts";
import { assert, assertEquals } from "@std/assert";
import { isExpressible } from "./ltp/expressible.ts";
import {
  kernelTest,
  missingFor,
  type Needs,
  SCRATCH,
} from "../support/testing.ts";
import { readFile } from "../../src/fd/open.ts";
import { commandsOf } from "./ltp/setup.ts";
import { Scope } from "./ltp/scope.ts";
import { runCase } from "./ltp/driver.ts";
import { outcome } from "./ltp/commands.ts";

const CASES = file.cases as unknown as Case[];

/** The cases with a call that src/sys has no way to make, and why. */
const NOT_EXPRESSIBLE: { readonly [id: string]: string } = {
  "ltp:fsconfig02/2": "each command has a function, 100 has none",
  "ltp:fsconfig02/3": "fsconfigSetFlag() always passes a key",
  "ltp:fsconfig02/4": "fsconfigSetFlag() passes no value",
  "ltp:fsconfig02/5": "fsconfigSetFlag() passes no aux",
  "ltp:fsconfig02/6": "fsconfigSetString() always passes a key",
  "ltp:fsconfig02/7": "fsconfigSetString() always passes a value",
  "ltp:fsconfig02/8": "fsconfigSetString() passes no aux",
  "ltp:fsconfig02/9": "fsconfigSetBinary() always passes a key",
  "ltp:fsconfig02/10": "fsconfigSetBinary() always passes a value",
  "ltp:fsconfig02/12": "fsconfigSetPath() always passes a key",
  "ltp:fsconfig02/13": "fsconfigSetPath() always passes a path",
  "ltp:fsconfig02/15": "fsconfigSetPathEmpty() always passes a key",
  "ltp:fsconfig02/16": "fsconfigSetPathEmpty() always passes a path",
  "ltp:fsconfig02/18": "fsconfigSetFd() always passes a key",
  "ltp:fsconfig02/19": "fsconfigSetFd() passes no value",
  "ltp:fsconfig02/21": "fsconfigCreate() passes no key",
  "ltp:fsconfig02/22": "fsconfigCreate() passes no value",
  "ltp:fsconfig02/23": "fsconfigCreate() passes no aux",
  "ltp:fsconfig02/24": "fsconfigReconfigure() passes no key",
  "ltp:fsconfig02/25": "fsconfigReconfigure() passes no value",
  "ltp:fsconfig02/26": "fsconfigReconfigure() passes no aux",
  "ltp:listmount04/1": "listmount() always passes a request",
  "ltp:listmount04/2": "listmount() always passes an array",
  "ltp:listmount04/4": "listmount() sets the request's size itself",
  "ltp:openat201/16": "openat2() sets the size of open_how itself",
  "ltp:openat203/2": "openat2() always passes a path",
  "ltp:openat203/6": "openat2() sets the size of open_how itself",
  "ltp:openat203/7": "openat2() sets the size of open_how itself",
  "ltp:openat203/9": "openat2() sets the size of open_how itself",
  "ltp:statmount07/2": "statmount() enlarges its buffer",
  "ltp:statmount07/3": "statmount() enlarges its buffer",
  "ltp:statmount07/4": "statmount() enlarges its buffer",
  "ltp:statmount07/5": "statmount() enlarges its buffer",
  "ltp:statmount07/8": "statmount() always passes a buffer",
  "ltp:umount02/2": "umount2() always passes a path",
};

/** Why src/sys can't run a case at all, null when it can. */
function obstacle({ id }: Case): string | null {
  return id in NOT_EXPRESSIBLE
    ? `not expressible: ${NOT_EXPRESSIBLE[id]}`
    : null;
}

Deno.test("every LTP case runs or is not expressible", () => {
  assertEquals(new Set(CASES.map(({ id }) => id)).size, 286);
  const running = CASES.filter((one) => obstacle(one) === null).length;
  assertEquals([running, Object.keys(NOT_EXPRESSIBLE).length], [251, 35]);
});

Deno.test("NOT_EXPRESSIBLE lists exactly the LTP cases with a call that src/sys can't make", () => {
  assertEquals(
    Object.keys(NOT_EXPRESSIBLE).toSorted(),
    CASES.filter(({ steps }) => !allSteps(steps).every(isExpressible))
      .map(({ id }) => id).toSorted(),
  );
});

for (const one of CASES) {
  const name = `${one.id}: ${one.description}`;
  const reason = obstacle(one) ?? newerKernel(one);
  if (reason === null) {
    kernelTest(name, () => runIn(SCRATCH, one), needs(one));
  } else {
    Deno.test({ name: `${name} (ignored: ${reason})`, ignore: true, fn() {} });
  }
}

/** The kernel that a case needs when this one is older, as a reason. */
function newerKernel({ since }: Case): string | null {
  if (since === undefined || missingFor({}) !== null) return null;
  const [major, minor] = since.split(".").map(Number) as [number, number];
  const [ours, oursMinor] = readFile("/proc/sys/kernel/osrelease")
    .split(".").map(parseFloat) as [number, number];
  const older = ours < major || (ours === major && oursMinor < minor);
  return older ? `needs Linux ${since}` : null;
}

function needs({ steps }: Case): Needs {
  const all = allSteps(steps);
  const commands = [...new Set(all.flatMap(commandsOf))];
  const permissions: Deno.PermissionName[] =
    commands.length > 0 || all.some(writes) ? ["read", "write"] : [];
  return { permissions, commands };
}

function writes({ op }: Case["steps"][number]): boolean {
  return op === "file" || op === "symlink";
}

function runIn(directory: string, { steps }: Case): void {
  const scope = new Scope(`${directory}/case`, directory);
  runCase(steps, scope);
  for (const [device, image] of scope.loopDevices) {
    assertDetached(device, image);
  }
}

function assertDetached(device: string, image: string): void {
  const attributes = device.replace("/dev/", "/sys/block/");
  const code = outcome(() => {
    const attached = readFile(`${attributes}/loop/backing_file`);
    // Another process may have the device by now.
    assert(!attached.includes(image), `${device} is still attached`);
  });
  assert(code === "ok" || code === "ENOENT", code);
}
