/** Results as SVG charts, for light and dark surroundings. */
import { type Figure, quantity, type RowResult } from "./results.ts";
import type { Spread } from "./measure.ts";

/** The name of a row's chart. */
export function chartName({ row }: RowResult): string {
  return `row-${row}.svg`;
}

/** A row's chart: lines if the row has a scale, bars otherwise. */
export function chart(row: RowResult): string {
  const hasScale = row.figures.some(({ scale }) => scale !== undefined);
  return hasScale ? lines(row) : bars(row);
}

const WIDTH = 760;

const MARGIN = 16;

const TOP = 44;

// The chart has a background: a page may be light though the system is dark.
const STYLE = `text { font: 13px system-ui, sans-serif; fill: #1f2328; }
text.title { font-size: 15px; }
text.title, text.group { font-weight: 600; }
text.end { text-anchor: end; }
text.middle { text-anchor: middle; }
rect.card { fill: #ffffff; }
rect.ours, circle.ours { fill: #0969da; }
rect.others, circle.others { fill: #818b98; }
path { fill: none; stroke-width: 1.5; stroke: #1f2328; }
path.grid { stroke: #d1d9e0; stroke-width: 1; }
path.ours { stroke: #0969da; }
path.others { stroke: #818b98; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
rect.card { fill: #0d1117; }
rect.ours, circle.ours { fill: #4493f8; }
path { stroke: #f0f6fc; }
path.grid { stroke: #3d444d; }
path.ours { stroke: #4493f8; }
}`;

function svg(title: string, height: number, body: string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${
      escape(title)
    }">`,
    `<style>${STYLE}</style>`,
    `<rect class="card" width="${WIDTH}" height="${height}" rx="6"/>`,
    text(MARGIN, 27, title, "title"),
    ...body,
    "</svg>\n",
  ].join("\n");
}

function text(x: number, y: number, content: string, style = ""): string {
  const escaped = escape(content);
  return `<text class="${style}" x="${round(x)}" y="${
    round(y)
  }">${escaped}</text>`;
}

function path(style: string, ...points: [x: number, y: number][]): string {
  const d = points.map(([x, y]) => `${round(x)} ${round(y)}`).join("L");
  return `<path class="${style}" d="M${d}"/>`;
}

function escape(content: string): string {
  return content.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** A contestant of a figure, drawn as ours or as another. */
interface Drawn {
  readonly label: string;
  readonly style: "ours" | "others";
  readonly spread: Spread;
  readonly unit: Figure["unit"];
}

/** Our contestant, and all that it is compared to. */
function drawn(figures: readonly Figure[]): Drawn[] {
  const [{ name, what, unit, ours, against }] = figures as [Figure];
  const label = against === undefined ? what : name;
  return [
    ...ours ? [{ label, style: "ours", spread: ours, unit } as const] : [],
    ...figures.flatMap(({ against, theirs }) =>
      theirs === undefined
        ? []
        : [{ label: against!, style: "others", spread: theirs, unit } as const]
    ),
  ];
}

const LABELS = 250;

const VALUES = 90;

const BAR = 24;

function bars({ work, figures }: RowResult): string {
  const groups = [...Map.groupBy(figures, ({ what }) => what)];
  const highest = Math.max(
    ...figures.flatMap((
      { ours, theirs },
    ) => [ours?.high ?? 0, theirs?.high ?? 0]),
  );
  const scale = (WIDTH - LABELS - VALUES - 2 * MARGIN) / highest;
  const body: string[] = [];
  let y = TOP;
  for (const [what, figures] of groups) {
    const all = drawn(figures);
    if (all.length !== 1 || all[0]!.label !== what) {
      body.push(text(MARGIN, y + 16, what, "group"));
      y += BAR;
    }
    for (const { label, style, spread, unit } of all) {
      const { low, median, high } = spread;
      const from = MARGIN + LABELS;
      const middle = y + BAR / 2 - 2;
      const value = quantity(median, unit);
      body.push(
        text(from - 8, y + 15, label, "end"),
        `<rect class="${style}" x="${from}" y="${y}" width="${
          round(median * scale)
        }" height="${BAR - 4}"/>`,
        path("", [from + low * scale, middle], [from + high * scale, middle]),
        text(from + Math.max(median, high) * scale + 6, y + 15, value),
      );
      y += BAR;
    }
    y += 8;
  }
  return svg(work, y + 8, body);
}

/** The height of a line of text. */
const LINE = 17;

const PLOT = { left: 80, right: WIDTH - 250, top: TOP, bottom: 330 };

function lines({ work, figures }: RowResult): string {
  const series = new Map<string, { style: Drawn["style"]; points: Point[] }>();
  for (const [scale, group] of Map.groupBy(figures, ({ scale }) => scale!)) {
    // A comparison of ours with itself at the least scale makes no series.
    const others = group.filter(({ name, against }) =>
      !against?.startsWith(name)
    );
    for (const { label, style, spread } of groupsOf(others)) {
      const { points } = series.get(label) ?? { points: [] };
      series.set(label, { style, points: [...points, { scale, spread }] });
    }
  }
  const points = [...series.values()].flatMap(({ points }) => points);
  const scales = [...new Set(points.map(({ scale }) => scale))];
  const x = logarithmic(scales, PLOT.left + 20, PLOT.right - 20);
  const spreads = points.flatMap(({ spread }) => [spread.low, spread.high]);
  const decades = decadesAround(spreads);
  const y = logarithmic(decades, PLOT.bottom, PLOT.top);
  const body = [
    ...decades.flatMap((value) => [
      path("grid", [PLOT.left, y(value)], [PLOT.right, y(value)]),
      text(PLOT.left - 8, y(value) + 4, quantity(value, "µs"), "end"),
    ]),
    ...scales.map((scale) => {
      const { what } = figures.find((figure) => figure.scale === scale)!;
      return text(x(scale), PLOT.bottom + 20, what, "middle");
    }),
  ];
  const labels: { label: string; y: number }[] = [];
  for (const [label, { style, points }] of series) {
    const places = points.map(({ scale, spread }): [number, number] => [
      x(scale),
      y(spread.median),
    ]);
    body.push(path(style, ...places));
    for (const { scale, spread } of points) {
      const at = x(scale);
      body.push(
        path("", [at, y(spread.low)], [at, y(spread.high)]),
        `<circle class="${style}" cx="${round(at)}" cy="${
          round(y(spread.median))
        }" r="4"/>`,
      );
    }
    const { scale, spread } = points.at(-1)!;
    const early = scale < Math.max(...scales) ? ` at ${scale}` : "";
    const value = quantity(spread.median, "µs");
    labels.push({
      label: `${label}${early}: ${value}`,
      y: y(spread.median) + 4,
    });
  }
  labels.sort((a, b) => a.y - b.y);
  // Place labels from the lowest up: the names of the scale are below the plot.
  let highest = PLOT.bottom + LINE;
  for (const label of labels.toReversed()) {
    highest = label.y = Math.min(label.y, highest - LINE);
  }
  for (const { label, y } of labels) body.push(text(PLOT.right + 8, y, label));
  return svg(work, PLOT.bottom + 36, body);
}

interface Point {
  readonly scale: number;
  readonly spread: Spread;
}

function groupsOf(figures: readonly Figure[]): Drawn[] {
  return [...Map.groupBy(figures, ({ name }) => name).values()].flatMap(drawn);
}

/** Maps values to places between two others, by their logarithms. */
function logarithmic(
  values: readonly number[],
  from: number,
  to: number,
): (value: number) => number {
  const least = Math.log(Math.min(...values));
  const most = Math.log(Math.max(...values));
  return (value) =>
    from + (to - from) * (Math.log(value) - least) / (most - least);
}

function decadesAround(values: readonly number[]): number[] {
  const least = Math.floor(Math.log10(Math.min(...values)));
  const most = Math.ceil(Math.log10(Math.max(...values)));
  return Array.from({ length: most - least + 1 }, (_, i) => 10 ** (least + i));
}
