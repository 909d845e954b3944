/** Row 11: overlays of many layers. */
import { Directory, mountat, unmountat } from "../../mod.ts";
import { SCRATCH } from "../../tests/support.ts";
import { stopwatch } from "../measure.ts";
import { Rival } from "../programs.ts";
import type { Figure } from "../results.ts";
import { compare, type Row } from "./row.ts";

const COUNTS = [16, 32, 64, 128];

/** Row 11. */
export const overlay: Row = {
  row: 11,
  work: "An overlay, up and down",
  note:
    "mountat sets each layer by itself (lowerdir+): what the C loop takes longer with the same calls, one fsconfig(2) for each layer, is the price of that. The options of mount(2) have to fit into one page, which limits how many layers it can name.",
  async measure(seconds) {
    const path = `${SCRATCH}/overlay`;
    for (const name of ["merged", "upper", "work"]) {
      Deno.mkdirSync(`${path}/${name}`, { recursive: true });
    }
    using root = Directory.open(path);
    const figures: Figure[] = [];
    for (const count of COUNTS) {
      const layers = Array.from(
        { length: count },
        (_, i) => `${path}/layers/${i}/fs`,
      );
      for (const layer of layers) Deno.mkdirSync(layer, { recursive: true });
      const options = [
        ...layers.map((layer) => `lowerdir+=${layer}`),
        `upperdir=${path}/upper`,
        `workdir=${path}/work`,
      ];
      await using stack = new AsyncDisposableStack();
      const times = 20;
      const inC = (name: string, how: "path" | "exact") =>
        Rival.start(stack, name, times, ["overlay", how, path, ...layers]);
      figures.push(
        ...await compare([{
          what: `${count} layers`,
          scale: count,
          ours: {
            name: "mountat, unmountat",
            times,
            time: stopwatch(() => {
              mountat(root, "merged", { type: "overlay", options }).keep();
              unmountat(root, "merged");
            }),
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
