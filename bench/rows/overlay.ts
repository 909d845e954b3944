/** Row 11: overlays of many layers. */
import { compare, type Row } from "./row.ts";
import { Directory, mountat, unmountat } from "../../mod.ts";
import type { Figure } from "../results.ts";
import { Rival } from "../programs.ts";
import { stopwatch } from "../measure.ts";
import { SCRATCH } from "../../tests/support/testing.ts";

/** How many layers there are. */
export const COUNTS: readonly number[] = [16, 32, 64, 128];

/** Row 11. */
export const overlay: Row = {
  row: 11,
  work: "An overlay, up and down",
  note:
    "mountat sets each layer by itself (lowerdir+): what the C loop takes longer with the same calls, one fsconfig(2) for each layer, is the price of that, and alone more than 1.05. The options of mount(2) have to fit into one page, which limits how many layers it can name. What we take longer than the same 28 calls at 16 layers, and 76 at 64, is our own work, as in row 1: with functions in place of the calls 13 µs at 16 layers, 43 at 64 and 80 at 128, and up to twice that between real calls. At 16 layers the same calls from Deno with nothing around them take 1.06 times as long as from C, and ours 1.18, where all are quickest, in turns; in the median it is 1.1 and 1.3 to 1.4, and what makes that more was not found. With more layers the kernel's part grows faster than both.",
  async measure(seconds) {
    const path = makePlace();
    using root = Directory.open(path);
    const figures: Figure[] = [];
    for (const count of COUNTS) {
      const layers = makeLayers(count);
      const options = optionsFor(layers);
      await using stack = new AsyncDisposableStack();
      const times = 20;
      // The overlay has a mount of each layer for itself, and of the upper one.
      const mounts = count + 2;
      const inC = (name: string, how: "path" | "exact") =>
        Rival.start(
          stack,
          { name, times, mounts },
          ["overlay", how, path, ...layers],
        );
      figures.push(
        ...await compare([{
          what: `${count} layers`,
          scale: count,
          ours: {
            name: "mountat, unmountat",
            times,
            mounts,
            time: stopwatch(() => overlayUpAndDown(root, options)),
          },
          others: [
            { by: await inC("C loop of mount(2)", "path"), limit: 1.05 },
            { by: await inC("C loop, call for call", "exact") },
          ],
        }], 3 * seconds),
      );
    }
    return figures;
  },
};

/** Makes the directories of an overlay but its layers; returns where they are. */
export function makePlace(): string {
  const path = `${SCRATCH}/overlay`;
  for (const name of ["merged", "upper", "work"]) {
    Deno.mkdirSync(`${path}/${name}`, { recursive: true });
  }
  return path;
}

/** Makes so many layers. */
export function makeLayers(count: number): string[] {
  const layers = Array.from(
    { length: count },
    (_, i) => `${SCRATCH}/overlay/layers/${i}/fs`,
  );
  for (const layer of layers) Deno.mkdirSync(layer, { recursive: true });
  return layers;
}

/** The options of an overlay of layers. */
export function optionsFor(layers: readonly string[]): string[] {
  return [
    ...layers.map((layer) => `lowerdir+=${layer}`),
    `upperdir=${SCRATCH}/overlay/upper`,
    `workdir=${SCRATCH}/overlay/work`,
  ];
}

/** Mounts an overlay and unmounts it. */
export function overlayUpAndDown(root: Directory, options: string[]): void {
  mountat(root, "merged", { type: "overlay", options }).keep();
  unmountat(root, "merged");
}
