/** Row 6: listing many mounts. */
import { compare, type Match, type Row } from "./row.ts";
import { among, crowd, CROWDS, sizeOf } from "./crowd.ts";
import { command, installed, Rival } from "../programs.ts";
import { stopwatch } from "../measure.ts";
import { listMounts } from "../../mod.ts";

/** Row 6. */
export const list: Row = {
  row: 6,
  work: "Listing all mounts",
  note:
    'The number of mounts is in addition to the system\'s own. The C loop asks statmount(2) for the same fields of each mount that listmount(2) names. "Reading mountinfo" reads the text and parses nothing.',
  missed:
    "Only statmount(2) tells unique ids, and it answers for one mount at a time. The C loop alone takes half as long as findmnt(8), 98 % of that in the kernel: a third of findmnt(8) is less than what the kernel takes.",
  async measure(seconds) {
    await using stack = new AsyncDisposableStack();
    const matches: Match[] = [];
    for (const count of CROWDS) {
      const place = stack.use(crowd(count));
      // Repeat short lists, until a turn is long enough for the clock.
      const times = Math.max(1, Math.round(1000 / count));
      const most = count === Math.max(...CROWDS);
      const loop = await place.inside(() =>
        Rival.start(stack, { name: "C loop", times }, ["list"])
      );
      matches.push({
        what: sizeOf(place),
        scale: count,
        ours: among(place, {
          name: "listMounts",
          times,
          time: stopwatch(() => listMounts()),
        }),
        others: [
          {
            by: among(
              place,
              installed("findmnt", {
                name: "findmnt(8)",
                times: 1,
                time: command("findmnt", ["--list"]).time,
              }),
            ),
            ...most ? { limit: 1 / 3 } : {},
          },
          { by: loop, ...most ? { limit: 2 } : {} },
          {
            by: among(place, {
              name: "reading mountinfo",
              times,
              time: stopwatch(() =>
                Deno.readFileSync("/proc/thread-self/mountinfo")
              ),
            }),
          },
        ],
      });
    }
    return await compare(matches, 8 * seconds);
  },
};
