import { assertEquals, assertRejects } from "@std/assert";
import { Directory } from "../../src/directory.ts";
import { makeRoot, runTest, shell } from "../support/run_root.ts";
import { SCRATCH } from "../support/testing.ts";

const IDS = "echo $(id -u) $(id -g) $(id -G) $HOME $SHELL $USER $LOGNAME; :";

/** A root with these users. */
function makeRootWith(files: Record<string, string>): string {
  const path = makeRoot();
  Deno.mkdirSync(`${path}/etc`);
  for (const [name, text] of Object.entries(files)) {
    Deno.writeTextFileSync(`${path}/etc/${name}`, text);
  }
  return path;
}

runTest("run() takes a user by the name that the root has", async () => {
  const path = makeRootWith({
    passwd: `root:x:0:0::/root:/bin/sh
+nis::::::
ann:x:one:1::/wrong:/bin/sh
ann:x:4294967295:1::/wrong:/bin/sh
ann:x:1201:1202:Ann:/home/ann:
bob:x:1203:1203::
`,
    group: `wheel:x:10:root,ann
video:x:44:ann
odd:x:none:ann
ann:x:1202:ann
anna:x:45:anna
`,
  });
  using root = Directory.open(path);
  for (
    const [options, expected] of [
      [{ user: "ann" }, "1201 1202 1202 10 44 /home/ann /bin/sh ann ann"],
      [{ user: "bob" }, "1203 1203 1203 / /bin/sh bob bob"],
      [{ user: "root" }, "0 0 0 10 /root /bin/sh root root"],
      [
        { user: "ann", gid: 7, groups: [8] },
        "1201 7 7 8 /home/ann /bin/sh ann ann",
      ],
      [
        { user: "ann", env: { PATH: "/bin", HOME: "/else" } },
        "1201 1202 1202 10 44 /else /bin/sh ann ann",
      ],
    ] as const
  ) {
    assertEquals((await shell(root, IDS, options)).out, `${expected}\n`);
  }
  const error = await assertRejects(
    () => shell(root, IDS, { user: "carl" }),
    RangeError,
  );
  assertEquals(error.message, `The root's /etc/passwd has no user "carl"`);
  for (const user of ["1201", "1201:1202"]) {
    await assertRejects(
      () => shell(root, IDS, { user }),
      RangeError,
      `no user "${user}": numbers are for the option uid and the option gid`,
    );
  }
});

runTest("run() looks for a user nowhere but in the root", async () => {
  const path = makeRootWith({});
  using root = Directory.open(path);
  const passwd = `${path}/etc/passwd`;
  // Without one, though this machine's has it.
  const refused = () =>
    assertRejects(() => shell(root, IDS, { user: "daemon" }), RangeError);
  await refused();
  // Links lead to what the root has.
  for (const target of ["/etc/passwd", "../../../../../etc/passwd"]) {
    Deno.symlinkSync(target, passwd);
    await refused();
    Deno.removeSync(passwd);
  }
  Deno.writeTextFileSync(`${SCRATCH}/outside`, "daemon:x:1:1::/:/bin/sh\n");
  Deno.symlinkSync(`${SCRATCH}/outside`, passwd);
  await refused();
  Deno.removeSync(passwd);
  Deno.writeTextFileSync(`${path}/users`, "daemon:x:33:33::/:/bin/sh\n");
  Deno.symlinkSync("/users", passwd);
  const { out } = await shell(root, IDS, { user: "daemon" });
  assertEquals(out, "33 33 33 / /bin/sh daemon daemon\n");
  Deno.removeSync(passwd);
  // A pipe that nobody writes to is not waited for.
  new Deno.Command("mkfifo", { args: [passwd] }).outputSync();
  await refused();
}, { commands: ["mkfifo"] });
