/**
 * What the library's part of the table costs, for a look while it is changed:
 * `deno bench -A bench/mount_bench.ts`. Ratios are what `deno task bench` is for.
 */
import { listMounts } from "../mod.ts";
import {
  enterPrivateNamespace,
  leavePrivateNamespace,
} from "../tests/support.ts";
import { crowd } from "./rows/crowd.ts";
import {
  KINDS,
  openRoot,
  rootUpAndDown,
  treeUpAndDown,
  upAndDown,
} from "./rows/mounts.ts";

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

const crowded = crowd(1_000);

Deno.bench({
  name: "listMounts, 1,000 more",
  group: "listing all mounts",
  fn() {
    crowded.inside(() => listMounts());
  },
});
