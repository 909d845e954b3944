/**
 * Boots other kernels, and runs the program and tests on them: `deno task
 * test:kernels`. Arguments are kernels (see KERNELS), files and folders of
 * tests, and `--all` to include slow tests. Without arguments it runs every
 * kernel with its tests. The exit status is 1 if anything failed.
 *
 * The kernels are Debian's, downloaded by apt-get into a cache with lists of
 * its own: nothing is installed. qemu emulates the processor, as KVM is not
 * everywhere. virtiofs shares this machine's root, read-only, under an overlay:
 * the guest has all programs installed here, and changes nothing here. For
 * another processor, the root is made of Debian's packages, with Deno's build
 * from npm.
 *
 * Needs Debian or Ubuntu, root, npm, and the packages qemu-system-x86,
 * qemu-system-arm, qemu-system-common, busybox-static, cpio and xz-utils.
 */
import { countsIn, testsIn } from "./run_tests.ts";

/** A Debian kernel. */
interface Kernel {
  readonly suite: string;
  readonly processor: Processor;
  /** Its tests, if not TESTS. */
  readonly tests?: readonly string[];
}

const KERNELS: Readonly<Record<string, Kernel>> = {
  "6.1": { suite: "bookworm", processor: "x86_64" },
  "6.12": { suite: "trixie", processor: "x86_64" },
  newest: { suite: "unstable", processor: "x86_64" },
  aarch64: {
    suite: "trixie",
    processor: "aarch64",
    // Tests whose results may differ by the processor.
    tests: [
      "tests/sys",
      "tests/mount/mountat_test.ts",
      "tests/mount/tree_test.ts",
      "tests/unmount",
      "tests/list/list_mounts_test.ts",
      "tests/run/init_test.ts",
      "tests/run/namespaces_test.ts",
      "tests/run/seccomp_test.ts",
    ],
  },
};

type Processor = typeof Deno.build.arch;

/** The names of processors, and how qemu emulates them. */
const PROCESSORS: Readonly<
  Record<
    Processor,
    { debian: string; npm: string; qemu: string; console: string }
  >
> = {
  x86_64: {
    debian: "amd64",
    npm: "@deno/linux-x64-glibc",
    qemu: "-cpu max",
    console: "ttyS0",
  },
  aarch64: {
    debian: "arm64",
    npm: "@deno/linux-arm64-glibc",
    qemu: "-M virt -cpu max,pauth-impdef=on",
    console: "ttyAMA0",
  },
};

/** The packages of a root for another processor than this one, beside Deno. */
const PACKAGES =
  "base-files base-passwd bash binutils busybox-static coreutils dash diffutils e2fsprogs findutils gcc grep libc6-dev libcap2-bin linux-libc-dev mount passwd procps sed strace uidmap util-linux"
    .split(" ");

/** Folders and files of tests that look at the kernel. */
const TESTS = [
  "tests/sys",
  "tests/fd",
  "tests/kernel",
  "tests/mount",
  "tests/unmount",
  "tests/list",
  "tests/error",
  "tests/directory_test.ts",
  "tests/directory_mounts_test.ts",
  "tests/record",
  "tests/run",
  "tests/file_systems",
  "tests/options",
  "tests/runner",
  "tests/whole/fallbacks_test.ts",
];

/** Tests that take long on an emulated processor: only with `--all`. */
const SLOW = [
  "tests/run/failing_test.ts",
  "tests/run/hostile_root_test.ts",
  "tests/runner/endurance_test.ts",
  "tests/runner/hostile_test.ts",
];

/** Tests that start the program often, or hardly ask the kernel: as SLOW. */
const MORE = ["tests/base", "tests/cli", "tests/spec"];

/** The number of jobs that run at a time, each on a processor. */
const AT_A_TIME = 2;

/** The time limit of a job, in seconds. */
const MOST_SECONDS = 1200;

/** Modules to load, unless the kernel has them built in. */
const MODULES = [
  "virtio",
  "virtio_ring",
  "virtio_pci_legacy_dev",
  "virtio_pci_modern_dev",
  "virtio_pci",
  "fuse",
  "virtiofs",
  "overlay",
];

/** A command that runs on the kernel. */
interface Job {
  readonly name: string;
  /** The command line for the shell. */
  readonly command: string;
}

/** The outcome of a job. */
export interface Outcome {
  /** The exit status; null if the machine stopped before. */
  readonly status: number | null;
  readonly seconds: number;
  readonly output: string;
}

/**
 * Reads the output and the outcomes of jobs from a console.
 *
 * @param console All of the text on it.
 * @param count The number of jobs.
 */
export function outcomesIn(console: string, count: number): Outcome[] {
  const text = console.replaceAll("\r", "");
  return Array.from({ length: count }, (_, i) => {
    const found = new RegExp(
      `^@@ begin ${i}\n([^]*?)(?:^@@ end ${i} (\\d+) (\\d+)$|(?![^]))`,
      "m",
    ).exec(text);
    const status = found?.[2];
    return {
      status: status === undefined ? null : Number(status),
      seconds: Number(found?.[3] ?? 0),
      output: found?.[1] ?? "",
    };
  });
}

/** The names of features that `mountat doctor` found missing. */
export function missingIn(table: string): string[] {
  return [...table.matchAll(/^missing\s+(\S.*?)\s{2,}/gm)].map(([, name]) =>
    name!
  );
}

/** A line with the outcome of a job. */
export function describe(
  name: string,
  { status, seconds, output }: Outcome,
): string {
  if (status === null) return `FAILED  ${name}: the machine stopped`;
  const counts = countsIn(output);
  const detail = counts === null
    ? status === 124 ? "took too long" : `exit status ${status}`
    : (["passed", "failed", "ignored"] as const)
      .map((outcome) => `${counts[outcome].tests} ${outcome}`).join(", ");
  return `${
    status === 0 ? "ok    " : "FAILED"
  }  ${name}: ${detail} (${seconds}s)`;
}

/** The shell's spelling of a word. */
function word(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function jobs(program: string, tests: readonly string[]): Job[] {
  const deno = word(program);
  const cli = `${deno} run -A cli.ts`;
  const commands: Readonly<Record<string, string>> = {
    // These run one after another: each changes what the one before made.
    "mount to umount":
      `mkdir -p /tmp/a /tmp/b && ${cli} mount -t tmpfs --mkdir /tmp/a tmp &&
      ${cli} bind --mkdir --read-only /tmp/a/tmp /tmp/a bound && mkdir /tmp/b/tmp &&
      ${cli} move /tmp/a /tmp/b tmp && ${cli} remount -o ro /tmp/b tmp &&
      ${cli} list /tmp/b && ${cli} umount /tmp/b tmp && ${cli} umount --recursive /tmp/a &&
      ! grep -E ' /tmp/[ab]/' /proc/self/mountinfo`,
    ...Object.fromEntries(
      ["", "--strict", "--rootless", "--rootless --strict"].map((
        options,
        i,
      ) => [
        `run ${options}`.trimEnd(),
        `mkdir -p /tmp/run${i}/bin && cp /bin/busybox /tmp/run${i}/bin &&
      test "$(${cli} run ${options} /tmp/run${i} /bin/busybox sh -c 'echo $$')" = 2`,
      ]),
    ),
  };
  return [
    { name: "kernel", command: "uname -r" },
    { name: "doctor", command: `${deno} run -A cli.ts doctor` },
    {
      name: "main job",
      command:
        `mkdir -p /tmp/root/proc /tmp/root/sys && ${deno} run --allow-ffi cli.ts /tmp/root 0`,
    },
    ...Object.entries(commands).map(([name, command]) => ({ name, command })),
    ...tests.map((name) => ({
      name,
      command: `${deno} test -A --no-check ${word(name)}`,
    })),
  ];
}

/** Runs a program to its end; returns its output. */
async function run(
  command: readonly string[],
  env: Record<string, string> = {},
): Promise<string> {
  const [program, ...args] = command;
  const { success, stdout, stderr } = await new Deno.Command(program!, {
    args,
    env,
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  if (success) return text.decode(stdout);
  throw new Error(`${command.join(" ")}: ${text.decode(stderr)}`);
}

/** Downloads a suite's lists; returns the settings that apt-get needs. */
async function listsOf(
  { suite, processor }: Kernel,
  cache: string,
): Promise<{ apt: string; env: Record<string, string> }> {
  const { debian } = PROCESSORS[processor];
  const apt = `${cache}/apt-${suite}-${debian}`;
  await Deno.mkdir(`${apt}/lists/partial`, { recursive: true });
  await Deno.mkdir(`${apt}/archives/partial`, { recursive: true });
  const keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
  await Deno.writeTextFile(
    `${apt}/sources.list`,
    `deb [signed-by=${keys}] http://deb.debian.org/debian ${suite} main\n`,
  );
  await Deno.writeTextFile(`${apt}/status`, "");
  await Deno.writeTextFile(
    `${apt}/apt.conf`,
    `Dir::Etc::sourcelist "${apt}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "${apt}/lists";
Dir::State::status "${apt}/status";
Dir::Cache "${apt}";
APT::Architecture "${debian}";
APT::Architectures "${debian}";
APT::Sandbox::User "root";
`,
  );
  const env = { APT_CONFIG: `${apt}/apt.conf`, LC_ALL: "C" };
  await run(["apt-get", "update", "-qq"], env);
  return { apt, env };
}

/**
 * Unpacks a package file. A link to a folder in the root, such as /lib, stays a
 * link.
 */
async function unpack(file: string, root: string): Promise<void> {
  const command =
    'dpkg-deb --fsys-tarfile "$0" | tar -x --keep-directory-symlink -C "$1"';
  await run(["sh", "-c", command, file, root]);
}

/** Downloads and unpacks a kernel for virtual machines; returns its folder. */
async function download(kernel: Kernel, cache: string): Promise<string> {
  const { apt, env } = await listsOf(kernel, cache);
  const { debian } = PROCESSORS[kernel.processor];
  const needs = async (name: string) =>
    [...(await run(["apt-cache", "depends", name], env)).matchAll(
      /^ *\|?Depends: (linux-(?:image|binary|modules)-\d\S+)$/gm,
    )].map(([, needed]) => needed!);
  const [image] = await needs(`linux-image-cloud-${debian}`);
  if (image === undefined) throw new Error(`${kernel.suite} has no kernel`);
  const folder = `${cache}/${image}`;
  if (await exists(`${folder}/unpacked`)) return folder;
  await Deno.mkdir(folder, { recursive: true });
  for (const name of [image, ...await needs(image)]) {
    const line = await run(["apt-get", "download", "--print-uris", name], env);
    const file = line.split(" ")[1]!;
    await run(["sh", "-c", 'cd "$0" && apt-get download "$1"', apt, name], env);
    await unpack(`${apt}/${file}`, folder);
    await Deno.remove(`${apt}/${file}`);
  }
  const modules = await modulesIn(folder);
  // busybox reads modules uncompressed, by the names that the kernel asks for.
  await run(["sh", "-c", 'find "$0" -name "*.xz" -exec xz -d {} +', modules]);
  const version = modules.split("/").at(-1)!;
  const base = modules.replace(/lib\/modules\/[^/]*$/, "");
  await run(["busybox", "depmod", "-b", base, version]);
  await Deno.writeTextFile(`${folder}/unpacked`, "");
  return folder;
}

/**
 * Returns the root for a kernel's programs: this machine's root or, for another
 * processor, one made of packages.
 */
async function rootFor(kernel: Kernel, cache: string): Promise<string> {
  if (kernel.processor === Deno.build.arch) return "/";
  const { debian, npm } = PROCESSORS[kernel.processor];
  const deno = Deno.version.deno;
  const root = `${cache}/root-${debian}-${deno}`;
  if (await exists(`${root}/unpacked`)) return root;
  await Deno.remove(root, { recursive: true }).catch(() => {});
  const { apt, env } = await listsOf(kernel, cache);
  const install = "apt-get install -qq --download-only --no-install-recommends";
  await run([...install.split(" "), ...PACKAGES], env);
  await Deno.mkdir(root, { recursive: true });
  // The first package has the links from /bin to /usr/bin.
  const files = [...Deno.readDirSync(`${apt}/archives`)]
    .map(({ name }) => name).filter((name) => name.endsWith(".deb"))
    .sort((a, b) =>
      Number(b.startsWith("base-files_")) - Number(a.startsWith("base-files_"))
    );
  for (const name of files) await unpack(`${apt}/archives/${name}`, root);
  for (const name of files) await Deno.remove(`${apt}/archives/${name}`);
  await run(["npm", "pack", "--pack-destination", apt, `${npm}@${deno}`]);
  const script = `cd "$0" && tar -xz -C usr/bin --strip-components=1 \\
    -f "$1"/deno-*-${deno}.tgz package/deno && chmod +x usr/bin/deno
ln -sf gcc usr/bin/cc
cp usr/share/base-passwd/passwd.master etc/passwd
cp usr/share/base-passwd/group.master etc/group
echo 127.0.0.1 localhost >etc/hosts`;
  await run(["sh", "-ec", script, root, apt]);
  await Deno.writeTextFile(`${root}/unpacked`, "");
  return root;
}

/** The folder of a kernel's modules; its name is the kernel's version. */
async function modulesIn(folder: string): Promise<string> {
  const found = await run(
    ["find", folder, "-path", "*/lib/modules/*", "-prune"],
  );
  return found.split("\n")[0]!;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The parts of a machine to boot. */
interface Machine {
  readonly processor: Processor;
  /** The folder of the kernel. */
  readonly folder: string;
  readonly modules: string;
  readonly root: string;
  /** The folder of Deno's cache. */
  readonly denoDir: string;
}

/**
 * A script that runs a command by its number, and prints its output at the end.
 */
const JOB = `began=$(date +%s)
timeout -k 10 ${MOST_SECONDS} /bin/sh /run/commands "$1" >"/run/output-$1" 2>&1
status=$?
exec 9>/run/lock
flock 9
printf '\\n@@ begin %s\\n' "$1"
cat "/run/output-$1"
printf '\\n@@ end %s %s %s\\n' "$1" $status $(($(date +%s) - began))
`;

/** The init script: it mounts the shared root, and runs the jobs. */
function init(
  { root, modules, denoDir }: Machine,
  commands: readonly Job[],
): string {
  const path = root === "/"
    ? Deno.env.get("PATH") ?? ""
    : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  const started = `cd ${word(Deno.cwd())}
export PATH=${word(path)} HOME=/root DENO_DIR=${word(denoDir)} NO_COLOR=1
export MOUNTAT_TEST_MANY=300 LONG_CALLS=3000
seq 0 ${commands.length - 1} | xargs -n 1 -P ${AT_A_TIME} /bin/sh /run/job
/run/busybox poweroff -f`;
  return `#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /host /rw /root
$b mount -t devtmpfs dev /dev
# A folder of the host there, with what is written to it kept here.
overlay() {
  upper=$($b mktemp -d /rw/XXXXXX) && $b mkdir -p "$upper/up" "$upper/work" "/root$2" &&
    $b mount -t overlay -o "lowerdir=/host$1,upperdir=$upper/up,workdir=$upper/work" root "/root$2"
}
for module in /modules/*; do $b insmod $module; done
$b mount -t virtiofs -o ro host /host && $b mount -t tmpfs rw /rw &&
  overlay ${word(root)} "" || $b poweroff -f
${
    (root === "/" ? [] : [Deno.cwd(), denoDir, modules]).map((path) =>
      `overlay ${word(path)} ${word(path)}`
    ).join("\n")
  }
$b mount -t proc proc /root/proc
$b mount -t sysfs sysfs /root/sys
$b mount -t devtmpfs dev /root/dev
$b mkdir -p /root/dev/pts /root/dev/shm
$b mount -t devpts devpts /root/dev/pts
for path in dev/shm tmp run; do $b mount -t tmpfs tmpfs /root/$path; done
$b cp $b /job /commands /root/run/
$b cp $b /root/sbin/modprobe
$b mkdir -p /root/lib/modules
$b ln -s ${word(modules)} /root/lib/modules/
$b ip link set lo up
# It makes a device, as systemd does for all that have one.
$b chroot /root /sbin/modprobe loop
exec $b switch_root /root /bin/sh -c ${word(started)}
`;
}

/** Makes the kernel's initial root; returns the paths of both. */
async function prepare(
  machine: Machine,
  scratch: string,
  commands: readonly Job[],
): Promise<{ kernel: string; initrd: string }> {
  const found = await run(["find", machine.folder, "-type", "f"]);
  const files = found.split("\n");
  const root = `${scratch}/root`;
  for (const name of ["bin", "dev", "modules"]) {
    await Deno.mkdir(`${root}/${name}`, { recursive: true });
  }
  await Deno.copyFile(
    await Deno.realPath(`${machine.root}/bin/busybox`),
    `${root}/bin/busybox`,
  );
  for (const [i, name] of MODULES.entries()) {
    const path = files.find((file) => file.endsWith(`/${name}.ko`));
    if (path === undefined) continue;
    // The number gives the order in which the shell's pattern lists modules.
    await Deno.copyFile(path, `${root}/modules/${i}-${name}.ko`);
  }
  await Deno.writeTextFile(`${root}/init`, init(machine, commands), {
    mode: 0o755,
  });
  await Deno.writeTextFile(`${root}/job`, JOB);
  const cases = commands.map(({ command }, i) => `${i}) ${command} ;;\n`);
  await Deno.writeTextFile(
    `${root}/commands`,
    `case $1 in\n${cases.join("")}esac\n`,
  );
  const initrd = `${scratch}/initrd`;
  const pack = 'cd "$0" && find . | cpio -o -H newc --quiet > "$1"';
  await run(["sh", "-c", pack, root, initrd]);
  const kernel = files.find((file) => /\/vmlinuz[^/]*$/.test(file));
  if (kernel === undefined) throw new Error(`No kernel in ${machine.folder}`);
  return { kernel, initrd };
}

/**
 * Boots a kernel, which runs the jobs.
 *
 * @param tell Is called with the console's whole text each time that it grows.
 */
async function boot(
  machine: Machine,
  commands: readonly Job[],
  tell: (console: string) => void,
): Promise<void> {
  const scratch = await Deno.makeTempDir({ prefix: "mountat_kernel_" });
  try {
    const { kernel, initrd } = await prepare(machine, scratch, commands);
    const socket = `${scratch}/socket`;
    const share = new Deno.Command("nice", {
      args: [
        "-n5",
        "/usr/lib/qemu/virtiofsd",
        `--socket-path=${socket}`,
        ..."-o source=/ -o cache=always -o sandbox=chroot".split(" "),
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    try {
      await isListening(share.stderr);
      const { qemu, console } = PROCESSORS[machine.processor];
      await using emulator = new Deno.Command("nice", {
        args: [
          "-n5",
          `qemu-system-${machine.processor}`,
          ...`-accel tcg,thread=multi ${qemu}`.split(" "),
          ...`-smp ${AT_A_TIME} -m 3G -nographic -no-reboot -nic none`.split(
            " ",
          ),
          ...["-object", "memory-backend-memfd,id=memory,size=3G,share=on"],
          ...["-numa", "node,memdev=memory"],
          ...["-chardev", `socket,id=share,path=${socket}`],
          ...["-device", "vhost-user-fs-pci,chardev=share,tag=host"],
          ...["-kernel", kernel, "-initrd", initrd],
          ...["-append", `console=${console} quiet panic=-1 mitigations=off`],
        ],
        stdin: "null",
        stdout: "piped",
      }).spawn();
      let text = "";
      const decoded = emulator.stdout.pipeThrough(new TextDecoderStream());
      let timer: ReturnType<typeof setTimeout> | undefined;
      for await (const part of decoded) {
        clearTimeout(timer);
        timer = setTimeout(() => end(emulator), 2000 * MOST_SECONDS);
        text += part;
        tell(text);
      }
      clearTimeout(timer);
    } finally {
      end(share);
      await share.status;
    }
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

function end(process: Deno.ChildProcess): void {
  try {
    process.kill();
  } catch (error) {
    // The process has ended already: virtiofsd ends with the machine.
    if (!(error instanceof TypeError)) throw error;
  }
}

/** Waits until virtiofsd reports that it waits for a connection. */
async function isListening(
  stderr: ReadableStream<Uint8Array<ArrayBuffer>>,
): Promise<void> {
  let text = "";
  const lines = stderr.pipeThrough(new TextDecoderStream());
  const reader = lines.getReader();
  while (!text.includes("Waiting for vhost-user socket connection")) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`virtiofsd: ${text}`);
    text += value;
  }
  // Read the rest of its output: a full pipe would stop it.
  (async () => {
    while (!(await reader.read()).done);
  })();
}

/** The outcome of a job on a kernel. */
export interface Result {
  readonly kernel: string;
  readonly name: string;
  readonly outcome: Outcome;
}

/** A table of the outcomes of each job on each kernel. */
export function formatTable(results: readonly Result[]): string {
  const kernels = [...new Set(results.map(({ kernel }) => kernel))];
  const names = [...new Set(results.map(({ name }) => name))];
  const rows = [
    ["passed/failed/ignored", ...kernels],
    ...names.map((job) => [
      job,
      ...kernels.map((there) => {
        const found = results.find(({ kernel, name }) =>
          kernel === there && name === job
        );
        return found === undefined ? "" : cell(found.outcome);
      }),
    ]),
  ];
  const widths = rows[0]!.map((_, i) =>
    Math.max(...rows.map((row) => row[i]!.length))
  );
  return rows.map((row) =>
    row.map((text, i) => text.padEnd(widths[i]!)).join("  ").trimEnd()
  ).join("\n");
}

function cell({ status, output }: Outcome): string {
  const counts = status === null ? null : countsIn(output);
  const text = counts === null
    ? status === null
      ? "stopped"
      : status === 124
      ? "too slow"
      : `exit ${status}`
    : `${counts.passed.tests}/${counts.failed.tests}/${counts.ignored.tests}`;
  return status === 0 ? text : `${text} FAILED`;
}

function tell(name: string, outcome: Outcome): void {
  console.log(describe(name, outcome));
  const missing = missingIn(outcome.output);
  if (missing.length > 0) console.log(`        without ${missing.join(", ")}`);
  if (outcome.status !== 0) console.log(outcome.output.trimEnd());
}

/** Boots kernels one after another; returns the exit status. */
async function main(args: readonly string[]): Promise<number> {
  const kernels = args.filter((arg) => Object.hasOwn(KERNELS, arg));
  const all = args.includes("--all");
  const tests = args.filter((arg) => !kernels.includes(arg) && arg !== "--all");
  const chosen = kernels.length === 0 ? Object.keys(KERNELS) : kernels;
  const info = await run([Deno.execPath(), "info", "--json"]);
  const { denoDir } = JSON.parse(info);
  const home = Deno.env.get("XDG_CACHE_HOME") ??
    `${Deno.env.get("HOME") ?? "/root"}/.cache`;
  const cache = `${home}/mountat-kernels`;
  const results: Result[] = [];
  const lacking: string[] = [];
  for (const name of chosen) {
    const kernel = KERNELS[name]!;
    const usual = kernel.tests ?? (all ? [...TESTS, ...MORE] : TESTS);
    const paths = tests.length === 0 ? usual : tests;
    const files = paths.flatMap((path) =>
      path.endsWith(".ts") ? path : testsIn(path).map(({ path }) => path).sort()
        .filter((path) => all || !SLOW.includes(path))
    );
    // Compile here: compiling takes long on an emulated processor.
    await run([Deno.execPath(), "cache", "cli.ts", "runner.ts", ...files]);
    const folder = await download(kernel, cache);
    console.log(`\n${folder.split("/").at(-1)}`);
    const root = await rootFor(kernel, cache);
    const machine = {
      processor: kernel.processor,
      folder,
      modules: await modulesIn(folder),
      root,
      denoDir,
    };
    const commands = jobs(
      root === "/" ? Deno.execPath() : "/usr/bin/deno",
      files,
    );
    const told = new Set<string>();
    let printed = "";
    await boot(machine, commands, (text) => {
      printed = text;
      for (const [i, outcome] of outcomesIn(text, commands.length).entries()) {
        const { name } = commands[i]!;
        if (outcome.status === null || told.has(name)) continue;
        told.add(name);
        tell(name, outcome);
      }
    });
    for (const [i, outcome] of outcomesIn(printed, commands.length).entries()) {
      const job = commands[i]!.name;
      if (!told.has(job)) tell(job, outcome);
      results.push({ kernel: name, name: job, outcome });
      const missing = missingIn(outcome.output);
      if (missing.length > 0) lacking.push(`${name}: ${missing.join(", ")}`);
    }
    if (told.size < commands.length) console.log(printed.slice(-4000));
  }
  console.log(`\n${formatTable(results)}\n\nTaken instead of what is missing:`);
  console.log(lacking.join("\n"));
  return results.every(({ outcome }) => outcome.status === 0) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
