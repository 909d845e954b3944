/**
 * What listing 10,000 mounts takes, beside findmnt(8) and the bare calls in C:
 * `unshare -m --propagation private deno bench -A bench/list_bench.ts`.
 */
import { mkdirat } from "../src/sys/mkdirat.ts";
import { mount } from "../src/sys/mount.ts";
import { AT_FDCWD, MS_BIND } from "../src/sys/constants.ts";
import { listByStatmount, listByTable } from "../src/ways_to_list.ts";

const MOUNTS = 10_000;
/** What listMounts() asks for. */
const MASK = 0x3bf;

const scratch = Deno.makeTempDirSync();
mount("scratch", scratch, "tmpfs", 0, "size=64m,nr_inodes=40000");
mkdirat(AT_FDCWD, `${scratch}/source`, 0o755);
for (let i = 0; i < MOUNTS; i++) {
  const path = `${scratch}/${i}`;
  mkdirat(AT_FDCWD, path, 0o755);
  if (i % 2) mount("half", path, "tmpfs", 0, "size=64k");
  else mount(`${scratch}/source`, path, null, MS_BIND, null);
}

function run(command: string, ...args: string[]): string {
  const { stdout } = new Deno.Command(command, { args }).outputSync();
  return new TextDecoder().decode(stdout);
}

const lines = (text: string) => text.split("\n").filter((line) => line !== "");
const program = new URL("../mod.ts", import.meta.url).pathname;
const list = ["run", "--allow-ffi", program, "list", "-o", "TARGET"];
const ours = lines(run(Deno.execPath(), ...list));
const theirs = lines(run("findmnt", "-l", "-n", "-o", "TARGET"));
console.log(
  `${ours.length} rows, findmnt's ${theirs.length}:`,
  ours.join() === theirs.join() ? "the same" : "others",
);

const loop = `${scratch}/listmount`;
const source = new URL("./listmount.c", import.meta.url).pathname;
run("cc", "-O2", "-o", loop, source);
console.log(`In C, and nothing decoded: ${run(loop, String(MASK))}`);

Deno.bench(
  "listMounts(), by statmount(2)",
  { group: "call", baseline: true },
  () => {
    listByStatmount();
  },
);
Deno.bench("listMounts(), by the mount table", { group: "call" }, () => {
  listByTable();
});

Deno.bench("mountat list", { group: "program", baseline: true }, () => {
  run(Deno.execPath(), ...list.slice(0, 4));
});
Deno.bench("mountat list --tree", { group: "program" }, () => {
  run(Deno.execPath(), ...list.slice(0, 4), "--tree");
});
Deno.bench("mountat list --json", { group: "program" }, () => {
  run(Deno.execPath(), ...list.slice(0, 4), "--json");
});
Deno.bench("findmnt --list", { group: "program" }, () => {
  run("findmnt", "--list");
});
Deno.bench("findmnt --list --json", { group: "program" }, () => {
  run("findmnt", "--list", "--json");
});
Deno.bench("findmnt", { group: "program", n: 5, warmup: 0 }, () => {
  run("findmnt");
});
