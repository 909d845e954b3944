/**
 * Boots other kernels, and runs the program and tests on them: `deno task
 * test:kernels`. Arguments are kernels (see KERNELS) and files of tests; without
 * them it is all of both.
 *
 * The kernels are Debian's for x86_64, downloaded by apt-get into a cache with
 * lists of its own: nothing is installed. qemu emulates the processor, as KVM is
 * not everywhere. This machine's root is shared by virtiofs, read-only, and lies
 * under an overlay: what is installed here is there, and nothing changes here.
 *
 * Needs Debian or Ubuntu, root, and their packages qemu-system-x86,
 * qemu-system-common, busybox-static, cpio and xz-utils.
 */
import { countsIn } from "./run_tests.ts";

/** Suites of Debian, by the kernel that they have. */
const KERNELS: Readonly<Record<string, string>> = {
  "6.1": "bookworm",
  "6.12": "trixie",
  newest: "unstable",
};

/** What tells most of a kernel in little time. */
const TESTS = [
  "tests/mount/staging_test.ts",
  "tests/sys/namespace_test.ts",
  "tests/sys/statmount_test.ts",
];

/** The time that emulation may take, all in all. */
const MOST_MILLISECONDS = 900_000;

/** Builds of modules that the kernel may have instead of what is built in. */
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
  /** For the shell. */
  readonly command: string;
}

/** How a job ended. */
export interface Outcome {
  /** null when the machine stopped before. */
  readonly status: number | null;
  readonly output: string;
}

/**
 * Reads from a console what jobs printed, and how they ended.
 *
 * @param console All of the text on it.
 * @param count The number of jobs.
 */
export function outcomesIn(console: string, count: number): Outcome[] {
  const text = console.replaceAll("\r", "");
  return Array.from({ length: count }, (_, i) => {
    const found = new RegExp(
      `^@@ begin ${i}\n([^]*?)(?:^@@ end ${i} (\\d+)$|(?![^]))`,
      "m",
    ).exec(text);
    const status = found?.[2];
    return {
      status: status === undefined ? null : Number(status),
      output: found?.[1] ?? "",
    };
  });
}

/** What `mountat doctor` found missing, by name. */
export function missingIn(table: string): string[] {
  return [...table.matchAll(/^missing\s+(\S.*?)\s{2,}/gm)].map(([, name]) =>
    name!
  );
}

/** A line that says how a job ended. */
export function describe(name: string, { status, output }: Outcome): string {
  if (status === null) return `FAILED  ${name}: the machine stopped`;
  const counts = countsIn(output);
  const detail = counts === null
    ? `exit status ${status}`
    : (["passed", "failed", "ignored"] as const)
      .map((outcome) => `${counts[outcome].tests} ${outcome}`).join(", ");
  return `${status === 0 ? "ok    " : "FAILED"}  ${name}: ${detail}`;
}

/** The shell's spelling of a word. */
function word(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function jobs(tests: readonly string[]): Job[] {
  const deno = word(Deno.execPath());
  return [
    { name: "kernel", command: "uname -r" },
    { name: "doctor", command: `${deno} run -A cli.ts doctor` },
    {
      name: "main job",
      command:
        `mkdir -p /tmp/root/proc /tmp/root/sys && ${deno} run --allow-ffi cli.ts /tmp/root 0`,
    },
    ...tests.map((name) => ({
      name,
      command: `${deno} test -A --no-check ${word(name)}`,
    })),
  ];
}

/** Runs a program to its end; gives what it printed. */
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

/** Downloads a suite's kernel for virtual machines; gives where it is unpacked. */
async function download(suite: string, cache: string): Promise<string> {
  const apt = `${cache}/apt-${suite}`;
  await Deno.mkdir(`${apt}/lists/partial`, { recursive: true });
  await Deno.mkdir(`${apt}/archives/partial`, { recursive: true });
  const keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
  await Deno.writeTextFile(
    `${apt}/sources.list`,
    `deb [signed-by=${keys}] http://deb.debian.org/debian ${suite} main\n`,
  );
  await Deno.writeTextFile(
    `${apt}/apt.conf`,
    `Dir::Etc::sourcelist "${apt}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "${apt}/lists";
Dir::State::status "/dev/null";
Dir::Cache "${apt}";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "root";
`,
  );
  const env = { APT_CONFIG: `${apt}/apt.conf`, LC_ALL: "C" };
  await run(["apt-get", "update", "-qq"], env);
  const needs = async (name: string) =>
    [...(await run(["apt-cache", "depends", name], env)).matchAll(
      /^ *\|?Depends: (linux-(?:image|binary|modules)-\d\S+)$/gm,
    )].map(([, needed]) => needed!);
  const [image] = await needs("linux-image-cloud-amd64");
  if (image === undefined) throw new Error(`${suite} has no cloud kernel`);
  const folder = `${cache}/${image}`;
  if (await exists(`${folder}/complete`)) return folder;
  await Deno.mkdir(folder, { recursive: true });
  for (const name of [image, ...await needs(image)]) {
    const line = await run(["apt-get", "download", "--print-uris", name], env);
    const file = line.split(" ")[1]!;
    await run(["sh", "-c", 'cd "$0" && apt-get download "$1"', apt, name], env);
    await run(["dpkg-deb", "-x", `${apt}/${file}`, folder]);
    await Deno.remove(`${apt}/${file}`);
  }
  await Deno.writeTextFile(`${folder}/complete`, "");
  return folder;
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

/** What the kernel starts: it brings this machine's root there, and the jobs. */
function init(commands: readonly Job[]): string {
  const script = commands.map(({ command }, i) =>
    `printf '\\n@@ begin ${i}\\n'; (${command}) 2>&1; echo "@@ end ${i} $?"`
  ).join("\n");
  const variables = ["PATH", "HOME", "DENO_DIR"].map((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? "" : `export ${name}=${word(value)}\n`;
  }).join("");
  const started = `cd ${word(Deno.cwd())}
${variables}export NO_COLOR=1
${script}
/run/busybox poweroff -f`;
  return `#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /host /rw /root
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod $module; done
$b mount -t virtiofs -o ro host /host && $b mount -t tmpfs rw /rw &&
  $b mkdir /rw/upper /rw/work &&
  $b mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work root /root ||
  $b poweroff -f
$b mount -t proc proc /root/proc
$b mount -t sysfs sysfs /root/sys
$b mount -t devtmpfs dev /root/dev
$b mkdir -p /root/dev/pts /root/dev/shm
$b mount -t devpts devpts /root/dev/pts
for path in dev/shm tmp run; do $b mount -t tmpfs tmpfs /root/$path; done
$b cp $b /root/run/busybox
$b ip link set lo up
exec $b switch_root /root /bin/sh -c ${word(started)}
`;
}

/** Makes the kernel's first root; gives the kernel and that. */
async function prepare(
  folder: string,
  scratch: string,
  commands: readonly Job[],
): Promise<{ kernel: string; initrd: string }> {
  const files = (await run(["find", folder, "-type", "f"])).split("\n");
  const root = `${scratch}/root`;
  for (const name of ["bin", "dev", "modules"]) {
    await Deno.mkdir(`${root}/${name}`, { recursive: true });
  }
  await Deno.copyFile(
    await Deno.realPath("/bin/busybox"),
    `${root}/bin/busybox`,
  );
  for (const [i, name] of MODULES.entries()) {
    const path = files.find((file) =>
      new RegExp(`/${name}\\.ko(\\.xz)?$`).test(file)
    );
    if (path === undefined) continue;
    // In the order of the shell's pattern.
    const copy = `${root}/modules/${i}-${name}.ko`;
    await run(["sh", "-c", 'xz -dcf "$0" > "$1"', path, copy]);
  }
  await Deno.writeTextFile(`${root}/init`, init(commands), { mode: 0o755 });
  const initrd = `${scratch}/initrd`;
  const pack = 'cd "$0" && find . | cpio -o -H newc --quiet > "$1"';
  await run(["sh", "-c", pack, root, initrd]);
  const kernel = files.find((file) => /\/vmlinuz[^/]*$/.test(file));
  if (kernel === undefined) throw new Error(`No kernel in ${folder}`);
  return { kernel, initrd };
}

/** Boots a kernel, which runs the jobs; gives what the console had. */
async function boot(
  folder: string,
  commands: readonly Job[],
): Promise<string> {
  const scratch = await Deno.makeTempDir({ prefix: "mountat_kernel_" });
  try {
    const { kernel, initrd } = await prepare(folder, scratch, commands);
    const socket = `${scratch}/socket`;
    const share = new Deno.Command("nice", {
      args: [
        "-n10",
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
      const { stdout } = await new Deno.Command("nice", {
        args: [
          ..."-n10 qemu-system-x86_64 -accel tcg,thread=multi -cpu max".split(
            " ",
          ),
          ..."-smp 2 -m 3G -nographic -no-reboot -nic none".split(" "),
          ...["-object", "memory-backend-memfd,id=memory,size=3G,share=on"],
          ...["-numa", "node,memdev=memory"],
          ...["-chardev", `socket,id=share,path=${socket}`],
          ...["-device", "vhost-user-fs-pci,chardev=share,tag=host"],
          ...["-kernel", kernel, "-initrd", initrd],
          ...["-append", "console=ttyS0 quiet panic=-1"],
        ],
        stdin: "null",
        signal: AbortSignal.timeout(MOST_MILLISECONDS),
      }).output();
      return new TextDecoder().decode(stdout);
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
    // It has ended, as virtiofsd does with the machine.
    if (!(error instanceof TypeError)) throw error;
  }
}

/** Waits until virtiofsd says that it waits itself. */
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
  // The rest is of no interest, but a full pipe would stop it.
  (async () => {
    while (!(await reader.read()).done);
  })();
}

/** Boots kernels one after another; returns the exit status. */
async function main(args: readonly string[]): Promise<number> {
  const kernels = args.filter((arg) => Object.hasOwn(KERNELS, arg));
  const tests = args.filter((arg) => !kernels.includes(arg));
  const commands = jobs(tests.length === 0 ? TESTS : tests);
  const home = Deno.env.get("XDG_CACHE_HOME") ??
    `${Deno.env.get("HOME") ?? "/root"}/.cache`;
  let status = 0;
  for (const name of kernels.length === 0 ? Object.keys(KERNELS) : kernels) {
    const folder = await download(KERNELS[name]!, `${home}/mountat-kernels`);
    console.log(`\n${folder.split("/").at(-1)}`);
    const printed = await boot(folder, commands);
    const outcomes = outcomesIn(printed, commands.length);
    for (const [i, { name }] of commands.entries()) {
      const outcome = outcomes[i]!;
      console.log(describe(name, outcome));
      const missing = missingIn(outcome.output);
      if (missing.length > 0) {
        console.log(`        without ${missing.join(", ")}`);
      }
      if (outcome.status === 0) continue;
      status = 1;
      console.log(outcome.output.trimEnd());
    }
    if (outcomes[0]!.status === null) console.log(printed.trimEnd());
  }
  return status;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
