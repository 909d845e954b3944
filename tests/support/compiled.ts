/** C programs of the tests, compiled when they are first asked for. */
import { ROOT, SCRATCH } from "./testing.ts";

const programs = new Map<string, Uint8Array>();

/**
 * Puts a program into a directory of the running test.
 *
 * @param name Which: `tests/fixtures/NAME.c`.
 * @param directory Where to.
 * @param options Options of the compiler: `-shared` makes a library.
 * @returns Its path.
 */
export function compiled(
  name: string,
  directory: string = SCRATCH,
  options: readonly string[] = [],
): string {
  const path = `${directory}/${name}`;
  const known = programs.get(name);
  if (known !== undefined) {
    Deno.writeFileSync(path, known, { mode: 0o755 });
    return path;
  }
  const source = `${ROOT}tests/fixtures/${name}.c`;
  const { success, stderr } = new Deno.Command("cc", {
    args: [...options, "-o", path, source],
  }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  programs.set(name, Deno.readFileSync(path));
  return path;
}
