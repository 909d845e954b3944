/** A user namespace for id maps: a process of its own must make it. */
import { open } from "./scratch.ts";

/**
 * Runs a function with the descriptor of a user namespace that has these maps,
 * each line `inner outer length`.
 */
export async function withUserNamespace(
  uidMap: string[],
  gidMap: string[],
  fn: (fd: number) => void | Promise<void>,
): Promise<void> {
  const process = new Deno.Command("unshare", {
    args: ["--user", "sh", "-c", "echo; read _"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = process.stdout.getReader();
  try {
    await reader.read();
    const script =
      'printf "$2" >/proc/$1/uid_map; printf "$3" >/proc/$1/gid_map';
    const { success } = new Deno.Command("sh", {
      args: [
        "-ec",
        script,
        "sh",
        String(process.pid),
        uidMap.join("\n"),
        gidMap.join("\n"),
      ],
    }).outputSync();
    if (!success) throw new Error("Cannot write the id maps");
    using namespace = open(`/proc/${process.pid}/ns/user`, 0);
    await fn(namespace.fd);
  } finally {
    await process.stdin.close();
    await reader.cancel();
    await process.status;
  }
}
