/** The package as those get it who use it from JSR: published and fetched. */
import { ROOT, SCRATCH } from "../support/testing.ts";
import { programTest } from "../support/program.ts";
import { type Files, missingLoopback, Registry } from "./registry.ts";
import { execute, succeed } from "./process.ts";
import { stdPackages } from "./packages.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { checkProgram } from "./delivered.ts";
import config from "../../deno.json" with { type: "json" };

const { name: NAME, version: VERSION, exports: EXPORTS, tasks } = config;

const SPECIFIER = `jsr:${NAME}`;

const DENO = Deno.execPath();

const missing = await missingLoopback();

/** Registers a test for which the package is published. */
function jsrTest(name: string, fn: () => Promise<void>): void {
  // It takes the workspace's other members for modules that are left out.
  if (Deno.version.deno.startsWith("2.4.")) {
    const ignored = `${name} (ignored: Deno 2.4 can't publish a workspace)`;
    Deno.test({ name: ignored, ignore: true, fn() {} });
  } else programTest(name, fn, { missing });
}

let packages: Files[] | undefined;

/** This package as `deno publish` uploads it, and those of @std. */
async function publishedPackages(): Promise<Files[]> {
  await using registry = new Registry();
  await succeed(
    [
      ...[DENO, "publish", "--allow-dirty", "--no-provenance"],
      ...["--token", "any"],
    ],
    { cwd: ROOT, env: { JSR_URL: registry.url } },
  );
  return [registry.files(NAME, VERSION), ...await stdPackages()];
}

/** How commands run that know of no registry but one, and of no project. */
interface Options {
  cwd: string;
  env: Record<string, string>;
}

/** Does something with a registry that has the packages, and an empty cache. */
async function withRegistry(
  body: (options: Options, registry: Registry) => Promise<void>,
): Promise<void> {
  packages ??= await publishedPackages();
  await using registry = new Registry();
  for (const files of packages) await registry.publish(files);
  const cwd = `${SCRATCH}/project`;
  const cache = `${SCRATCH}/cache`;
  const path = `${DENO.slice(0, DENO.lastIndexOf("/"))}:${
    Deno.env.get("PATH")
  }`;
  Deno.mkdirSync(cwd);
  await body(
    {
      cwd,
      env: {
        DENO_DIR: cache,
        JSR_URL: registry.url,
        NPM_CONFIG_REGISTRY: registry.url,
        PATH: path,
      },
    },
    registry,
  );
  // Nothing came from elsewhere.
  const names = (path: string) =>
    [...Deno.readDirSync(cache + path)].map(({ name }) => name);
  assertEquals(names("/remote"), ["http"]);
  assertEquals(names("/remote/http"), [
    new URL(registry.url).host.replace(":", "_PORT"),
  ]);
}

jsrTest("deno publish uploads what belongs, and nothing else", async () => {
  packages ??= await publishedPackages();
  const [files] = packages as [Files];
  const modules = new Set<string>();
  for (const entry of Object.values(EXPORTS)) {
    const info = await succeed([DENO, "info", "--json", entry], { cwd: ROOT });
    for (const { local = "" } of JSON.parse(info).modules) modules.add(local);
  }
  const needed = [...modules].filter((path) =>
    path.startsWith(ROOT) && !path.startsWith(`${ROOT}third_party/`)
  ).map((path) => path.slice(ROOT.length - 1));
  // With the source of the init that is embedded, for who audits it.
  const texts = ["/CHANGELOG.md", "/LICENSE", "/README.md"]
    .concat("/src/run/init.S");
  assertEquals([...files.keys()].sort(), [...needed, ...texts].sort());
  const bytes = [...files.values()].reduce((sum, file) => sum + file.length, 0);
  console.log(`${SPECIFIER}@${VERSION}: ${files.size} files, ${bytes} bytes`);
});

programTest("every entry point has what JSR scores", () => {
  const entries = Object.values(EXPORTS).map((path) => path.slice(2));
  assert(
    tasks.checks.command.includes(`deno doc --lint ${entries.join(" ")} `),
  );
  for (const entry of entries) {
    // Documentation of the module, with an example.
    const [comment] = /^\/\*\*.*?\*\//s.exec(
      Deno.readTextFileSync(ROOT + entry),
    ) ?? [""];
    assertMatch(comment, /^ \* @module$/m, entry);
    assertMatch(comment, /^ \* ```(ts|sh)$/m, entry);
  }
  assertMatch(Deno.readTextFileSync(`${ROOT}README.md`), /^```ts$/m);
});

jsrTest("deno run jsr: is the program, from an empty cache", async () => {
  await withRegistry((options) =>
    checkProgram([DENO, "run", "-A", SPECIFIER], options)
  );
});

programTest("deno install -g installs the program from a clone", async () => {
  const words = /`deno (install -g [^`]* mod\.ts)`/
    .exec(Deno.readTextFileSync(`${ROOT}docs/distribution.md`))![1]!.split(" ");
  const root = `${SCRATCH}/installed`;
  await succeed([DENO, ...words, "--root", root], { cwd: ROOT });
  await checkProgram([`${root}/bin/mountat`], { cwd: SCRATCH });
});

jsrTest("deno install -g installs the program", async () => {
  await withRegistry(async (options) => {
    const root = `${SCRATCH}/installed`;
    const install = [DENO, "install", "-g", "-A", "--root", root, SPECIFIER];
    await succeed(install, options);
    await checkProgram([`${root}/bin/mountat`], options);
  });
});

jsrTest("deno add makes a project that type-checks and runs", async () => {
  await withRegistry(async (given) => {
    // It fetches what any entry takes, the runner's packages of npm, too.
    const { NPM_CONFIG_REGISTRY: _, ...env } = given.env;
    const options = { ...given, env };
    Deno.writeTextFileSync(`${options.cwd}/deno.json`, "{}");
    await succeed([DENO, "add", SPECIFIER], options);
    const subpaths = Object.keys(EXPORTS).map((path) => NAME + path.slice(1));
    Deno.writeTextFileSync(`${options.cwd}/main.ts`, projectText(subpaths));
    await succeed([DENO, "check", "main.ts"], options);
    const printed = await succeed([DENO, "run", "-A", "main.ts"], options);
    assertEquals(printed, subpaths.map((path) => `${path}\n`).join(""));
  });
});

/** A module that uses the library, and imports every subpath. */
function projectText(subpaths: string[]): string {
  return `
    import { Directory, type UnmountOptions, unmountat } from "${NAME}";
    ${
    subpaths.map((path, i) => `import * as path${i} from "${path}";`).join("\n")
  }
    // @ts-expect-error: the types are there.
    export const wrong: Directory = 1n;
    using root = Directory.open("${SCRATCH}");
    const strategies: UnmountOptions["strategy"][] =
      ["procfd", "worker", "subprocess", "mtab"];
    for (const strategy of strategies) {
      const mount = root.mount("m", { type: "tmpfs", mkdir: true });
      unmountat(root, "m", { strategy });
      if (mount.mounted) throw new Error(strategy);
    }
    ${
    subpaths.map((path, i) =>
      `if (Object.keys(path${i}).length > 0) console.log("${path}");`
    ).join("\n")
  }
  `;
}

jsrTest("a file that is not the published one is refused", async () => {
  await withRegistry(async (options, registry) => {
    const files = registry.files(NAME, VERSION);
    const text = files.get("/cli.ts")!;
    files.set("/cli.ts", text.with(0, text[0]! ^ 1));
    const ended = await execute([DENO, "run", "-A", SPECIFIER], options);
    files.set("/cli.ts", text);
    assertEquals(ended.stdout, "");
    assertMatch(ended.stderr, /Integrity check failed/);
  });
});
