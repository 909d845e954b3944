import type { Figure, Results } from "../../bench/results.ts";

function spread(median: number) {
  return { min: median / 2, low: median / 2, median, high: median * 2 };
}

function figure(ratio: number, more: Partial<Figure>): Figure {
  return {
    what: "proc",
    unit: "µs",
    name: "mountat",
    ours: spread(100 * ratio),
    against: "C loop",
    theirs: spread(100),
    ratio: spread(ratio),
    pairs: 9,
    ...more,
  };
}

/** Results that someone made up. */
export const RESULTS: Results = {
  machine: { processor: "Z80", processors: 1, linux: "6.18.0", deno: "2.9.6" },
  rows: [
    {
      row: 1,
      work: 'Mounts & "more"',
      figures: [
        figure(1.04, { limit: 1.05 }),
        figure(1.5, { against: "C, twice", limit: 1.05 }),
        figure(0.01, { what: "bind", against: "umount(8)", limit: 0.05 }),
      ],
    },
    {
      row: 5,
      work: "Unmounts",
      figures: [
        figure(1, { what: "10 more", scale: 10 }),
        figure(2, { what: "1,000 more", scale: 1000 }),
        figure(1, {
          what: "1,000 more",
          scale: 1000,
          against: "mountat at 10",
        }),
      ],
    },
    {
      row: 7,
      work: "Runs",
      figures: [{
        what: "one",
        unit: "µs",
        name: "run",
        ours: spread(2000),
        against: "bwrap(1)",
        missing: "bwrap is not installed",
        limit: 1,
      }],
    },
    {
      row: 10,
      work: "Memory",
      figures: [{
        what: "own",
        unit: "KiB",
        name: "mountat",
        ours: spread(3000),
        limit: 2048,
      }],
    },
  ],
};
