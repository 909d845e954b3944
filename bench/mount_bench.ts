/**
 * Measures the library's part of the table, for a look while the library is
 * changed: `deno bench -A bench/mount_bench.ts`. `deno task bench` has ratios.
 */
import {
  enterPrivateNamespace,
  leavePrivateNamespace,
} from "../tests/support/testing.ts";
import {
  KINDS,
  openRoot,
  rootUpAndDown,
  treeUpAndDown,
  upAndDown,
} from "./rows/mounts.ts";
import { crowd, CROWDS, sizeOf } from "./rows/crowd.ts";
import { DIRECTORY, FILE, openHolder } from "./rows/unmount.ts";
import { Directory, listMounts, unmountat } from "../mod.ts";
import {
  COUNTS,
  makeLayers,
  makePlace,
  optionsFor,
  overlayUpAndDown,
} from "./rows/overlay.ts";

enterPrivateNamespace();

addEventListener("unload", leavePrivateNamespace);

const root = openRoot();

for (const spec of KINDS) {
  Deno.bench({
    name: spec.type,
    group: "one mount, up and down",
    fn: () => upAndDown(root, spec),
  });
}

Deno.bench({
  name: "MountTree",
  group: "an action's root of 11 mounts, up and down",
  fn: () => treeUpAndDown(root),
});

Deno.bench({
  name: "applyMounts",
  group: "an action's root of 11 mounts, up and down",
  fn: () => rootUpAndDown(root),
});

for (const place of CROWDS.map(crowd)) {
  const holder = place.inside(openHolder);
  for (const job of [DIRECTORY, FILE]) {
    Deno.bench({
      name: `${job.what}, ${sizeOf(place)}`,
      group: "one unmount among other mounts",
      fn(bench) {
        place.inside(() => {
          job.mount(holder);
          bench.start();
          unmountat(holder, job.target);
          bench.end();
        });
      },
    });
  }
  Deno.bench({
    name: `listMounts, ${sizeOf(place)}`,
    group: "listing all mounts",
    fn() {
      place.inside(() => listMounts());
    },
  });
}

const overlays = Directory.open(makePlace());

for (const count of COUNTS) {
  const options = optionsFor(makeLayers(count));
  Deno.bench({
    name: `${count} layers`,
    group: "an overlay, up and down",
    fn: () => overlayUpAndDown(overlays, options),
  });
}
