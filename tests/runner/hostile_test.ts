/**
 * Whatever an action of another time renames and replaces in the build directory:
 * the runner writes, gives away and runs nothing outside of it. A sample; `deno
 * task test:hostile` makes HOSTILE_ATTEMPTS.
 */
import { kernelTestSince } from "../support/since.ts";
import {
  assertInside,
  attemptsOf,
  contest,
  HOSTILE,
  isInside,
  makeHostile,
  stateOutside,
} from "../support/contest.ts";
import { SCRATCH } from "../support/testing.ts";
import { makeRoot } from "../support/run_root.ts";
import { assert } from "@std/assert";
import { create } from "@bufbuild/protobuf";
import { Directory } from "../../src/directory.ts";
import { RunRequestSchema } from "../../src/runner/generated/buildbarn/runner/runner_pb.ts";
import { endSpawner } from "../../src/run/spawner.ts";
import { AT_EMPTY_PATH, STATX_NLINK } from "../../src/sys/constants.ts";
import { statx } from "../../src/sys/file.ts";
import { unlinkat } from "../../src/sys/names.ts";
import type { SyscallError } from "../../src/sys/error.ts";

const EXTENT = { sample: 300, share: 0.8 };

const NAMES = [
  ...["+1", "1/stdout", "+1/root", "+1/root/in", "+1/tmp", "+1/server_logs"],
  ...["1/stderr", "1/root/proc", "1/root/tmp"],
];

kernelTestSince(
  "6.8",
  `a hostile build directory leads the runner nowhere, in ${
    attemptsOf(EXTENT)
  } attempts`,
  async () => {
    // gRPC reads the environment as it is loaded.
    const { runAction } = await import("../../src/runner/action.ts");
    const { checkPath, createLog, openNamed } = await import(
      "../../src/runner/build_directory.ts"
    );
    const { Inputs } = await import("../../src/runner/inputs.ts");
    const { parseServe } = await import("../../src/runner/options.ts");
    makeHostile();
    Deno.mkdirSync(`${HOSTILE}/1`);
    makeRoot("root/1/root");
    using build = Directory.open(HOSTILE);
    const plan = parseServe({
      buildDirectory: HOSTILE,
      socket: `${SCRATCH}/runner`,
    });
    using inputs = new Inputs(plan);
    const request = create(RunRequestSchema, {
      arguments: ["/bin/sh", "-c", "echo out; echo err >&2"],
      stdoutPath: "1/stdout",
      stderrPath: "1/stderr",
      inputRootDirectory: "1/root",
      temporaryDirectory: "1/tmp",
      serverLogsDirectory: "1/server_logs",
    });
    const never = new AbortController().signal;
    try {
      await contest({
        names: NAMES,
        ...EXTENT,
        mounts: true,
        naive: [{
          name: "open(2) for writing",
          once: () => writesOutside(`${HOSTILE}/1/stdout`),
        }],
        ways: [
          {
            name: "stdout",
            loses: ["EEXIST"],
            once() {
              using file = createLog(build, "stdout_path", "1/stdout");
              assertInside(file.fd);
              const { nlink } = statx(file.fd, "", AT_EMPTY_PATH, STATX_NLINK);
              // The attacker may have removed it.
              assert(nlink! <= 1, `${nlink} names`);
              takeLogs(build);
            },
          },
          ...["1/root", "1/tmp", "1/server_logs"].map((path) => ({
            name: path,
            once() {
              using directory = openNamed(build, path, path);
              assertInside(directory.fd);
            },
          })),
          {
            name: "check_readiness",
            once: () => checkPath(build, "1/root/in"),
          },
          {
            name: "run",
            rare: 4,
            loses: ["EEXIST", "EINVAL", "EBUSY", "ENOTEMPTY"],
            async once() {
              try {
                const { code } = await runAction(plan, inputs, request, never);
                // There may be no shell in what is there now.
                assert([0, 127].includes(code), `${code}`);
                return code === 0 ? "done" : `exit ${code}`;
              } finally {
                takeLogs(build);
              }
            },
          },
        ],
      });
    } finally {
      endSpawner();
    }
  },
  {
    permissions: ["run", "read", "write", "env"],
    commands: ["busybox", "cc"],
  },
);

/** Removes what an attempt wrote, where it can be found. */
function takeLogs(build: Directory): void {
  try {
    using action = build.openDirectory("1");
    for (const name of ["stdout", "stderr"]) unlinkat(action.fd, name);
  } catch (error) {
    // The attacker has it.
    if (!("code" in (error as SyscallError))) throw error;
  }
}

/** Writes into what is no symlink, as it seems. */
function writesOutside(path: string): boolean {
  const before = stateOutside();
  try {
    const parent = path.slice(0, path.lastIndexOf("/"));
    if (isInside(Deno.realPathSync(parent))) {
      Deno.writeTextFileSync(path, "x", { createNew: true });
      Deno.removeSync(path);
    }
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
  }
  return String(stateOutside()) !== String(before);
}
