/**
 * A runner for Buildbarn, in place of `bb_runner`. It executes each action's
 * command in the action's input root, with its own /proc, /sys, /dev and /tmp,
 * in its own namespaces.
 *
 * ```sh
 * deno run -A jsr:@meroton/mountat/runner --config runner.json
 * ```
 *
 * It is an entry of its own because only it needs packages from npm: gRPC's
 * library and one for its messages.
 *
 * @example Serve a worker on this machine for as long as a block lasts
 * ```ts ignore
 * import { serve } from "@meroton/mountat/runner";
 *
 * await using runner = await serve({
 *   buildDirectory: "/worker/build",
 *   socket: "/run/worker/runner",
 * });
 * ```
 *
 * @module
 */
import "./src/late.ts";
import { merged } from "./src/runner/merged.ts";

export { serve } from "./src/runner/serve.ts";
export type {
  ActionReport,
  InputProtection,
  Runner,
  ServeOptions,
} from "./src/runner/options.ts";
export { SocketError } from "./src/runner/socket.ts";
export type { HasFd } from "./src/fd/owned_fd.ts";
export type {
  BindOptions,
  BindSpec,
  FileSystemSpec,
  MountOptions,
  MountSpec,
  Recorder,
  SpecCommon,
} from "./src/options/spec.ts";
export type {
  AttributeOptions,
  IdMap,
  IdMaps,
  NewAttributeOptions,
} from "./src/options/attributes.ts";
export type {
  OptionsInput,
  ParameterValue,
} from "./src/options/mount_options.ts";
export type { Usage } from "./src/sys/process.ts";

// Not awaited: a module that awaits can't be bundled as a script.
if (import.meta.main && !merged) start();

async function start(): Promise<never> {
  const { main } = await import("./cli.ts");
  const { runProgram } = await import("./src/program.ts");
  return await runProgram(
    import.meta.url,
    (args) => main(["runner", ...args]),
  );
}
