/** Row 11: overlays of many layers. */
import { compare, type Row } from "./row.ts";
import { Directory, mountat, unmountat } from "../../mod.ts";
import type { Figure } from "../results.ts";
import { Rival } from "../programs.ts";
import { stopwatch } from "../measure.ts";
import { SCRATCH } from "../../tests/support/testing.ts";

/** The numbers of layers. */
export const COUNTS: readonly number[] = [16, 32, 64, 128];

/** Row 11. */
export const overlay: Row = {
  row: 11,
  work: "An overlay, up and down",
  note:
    "mountat sets each layer by itself (lowerdir+), so that it takes any number. mount(2) takes one page of options, which limits the layers that it can name.",
  missed:
    "One fsconfig(2) for each layer is more than 1.05 already in C (call for call). Our own work is 13 µs for 16 layers and 80 µs for 128, and up to twice that between real calls.",
  async measure(seconds) {
    const path = makePlace();
    using root = Directory.open(path);
    const figures: Figure[] = [];
    for (const count of COUNTS) {
      const layers = makeLayers(count);
      const options = optionsFor(layers);
      await using stack = new AsyncDisposableStack();
      const times = 20;
      // The overlay makes a private mount of each layer, and of the upper one.
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

/** Makes an overlay's directories, except its layers; returns their path. */
export function makePlace(): string {
  const path = `${SCRATCH}/overlay`;
  for (const name of ["merged", "upper", "work"]) {
    Deno.mkdirSync(`${path}/${name}`, { recursive: true });
  }
  return path;
}

/** Makes this number of layers. */
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
