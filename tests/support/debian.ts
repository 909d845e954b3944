/**
 * A root that Debian's own tools make, for `deno task test:debian`. What is
 * downloaded stays in a cache; the root is made anew each time.
 *
 * Needs root, mmdebstrap(1), and a mirror that apt-get of this machine reaches.
 */
import { gatedTest, missingFor, type Needs, numberOf } from "./testing.ts";
import { names, runTest } from "./run_root.ts";
import { assertEquals } from "@std/assert";

const SUITE = "trixie";

const MIRROR = "http://deb.debian.org/debian";

const RESOLVER = "etc/resolv.conf";

const NEEDS: Needs = {
  permissions: ["read", "write", "run", "env"],
  commands: ["mmdebstrap", "apt-get", "tar", "busybox"],
};

/** What packages can provide and is not here; null for nothing. */
const missing = missingFor(NEEDS);

/** What no package provides. */
const unreachable = numberOf("DEBIAN") !== 1
  ? "needs deno task test:debian"
  : missing === null
  ? await missingMirror()
  : null;

/** What is made for the tests. */
export interface Debian {
  /** The root, which has nothing to mount on, and no user but Debian's. */
  readonly root: string;
  /** A folder of packages, for apt-get to keep what it downloads. */
  readonly archives: string;
  /** What this machine's resolv.conf(5) says. */
  readonly resolver: string;
}

/** That, unless something is missing. */
const debian = (missing ?? unreachable) === null ? await makeDebian() : null;

/**
 * Registers a test that runs commands in the root. They must leave no mount
 * points there.
 */
export function debianTest(
  name: string,
  fn: (debian: Debian) => Promise<void>,
  needs: Needs = {},
): void {
  if (debian !== null) {
    runTest(name, async () => {
      await fn(debian);
      assertEquals(names(debian.root).filter(isMountedOn), []);
      assertEquals(exists(`${debian.root}/${RESOLVER}`), false);
    }, needs);
  } else if (unreachable === null) {
    gatedTest(name, missing, () => {});
  } else {
    // Not for MOUNTAT_TEST_STRICT, either.
    const ignored = `${name} (ignored: ${unreachable})`;
    Deno.test({ name: ignored, ignore: true, fn() {} });
  }
}

function isMountedOn(name: string): boolean {
  return ["proc", "sys", "dev"].includes(name);
}

async function makeDebian(): Promise<Debian> {
  const home = Deno.env.get("XDG_CACHE_HOME") ??
    `${Deno.env.get("HOME") ?? "/root"}/.cache`;
  const cache = `${home}/mountat-debian`;
  const [root, archives] = [`${cache}/root`, `${cache}/archives`];
  await Deno.mkdir(`${archives}/partial`, { recursive: true });
  // Who tests here, too, waits until this process has ended.
  const lock = await Deno.open(`${cache}/lock`, { create: true, write: true });
  await lock.lock(true);
  const packed = `${cache}/${SUITE}.tar`;
  if (!exists(packed)) await pack(packed);
  // One is left where this was killed.
  if (exists(root)) await Deno.remove(root, { recursive: true });
  await Deno.mkdir(root);
  addEventListener("unload", () => Deno.removeSync(root, { recursive: true }));
  await output("tar", "-xpf", packed, "--numeric-owner", "-C", root);
  for (const path of ["proc", "sys", "dev", RESOLVER]) {
    await Deno.remove(`${root}/${path}`, { recursive: true });
  }
  const resolver = await Deno.readTextFile(`/${RESOLVER}`);
  return { root, archives, resolver };
}

/** Makes a root, as small as Debian has it, with this machine's ways to a mirror. */
async function pack(path: string): Promise<void> {
  const settings = (await output("apt-config", "dump")).split("\n").filter(
    (line) => /^Acquire::(https?|Check|Force|Retries|.*Proxy)\b/i.test(line),
  );
  await output(
    "mmdebstrap",
    "--variant=minbase",
    "--mode=root",
    ...settings.map((line) => `--aptopt=${line}`),
    SUITE,
    `${path}.part.tar`,
    MIRROR,
  );
  await Deno.rename(`${path}.part.tar`, path);
}

async function missingMirror(): Promise<string | null> {
  const file = await Deno.makeTempFile();
  try {
    await output(
      "/usr/lib/apt/apt-helper",
      ..."-o Acquire::Retries=0 -o Acquire::http::Timeout=20".split(" "),
      "download-file",
      `${MIRROR}/dists/${SUITE}/Release`,
      file,
    );
    return null;
  } catch {
    return `needs ${MIRROR}`;
  } finally {
    await Deno.remove(file);
  }
}

async function output(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  if (success) return text.decode(stdout);
  throw new Error(`${command}: ${text.decode(stderr)}`);
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
