import type { MountInfo } from "../../src/list/mount_info.ts";
import {
  ALL,
  COLUMNS,
  parseColumns,
  toObject,
} from "../../src/cli/list_format.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/cli/print.ts";

const MOUNT: MountInfo = {
  id: 2148384949n,
  parentId: 2148384948n,
  tableId: 30,
  parentTableId: 0,
  target: "/mnt",
  root: "/sub",
  type: "tmpfs",
  source: "",
  options: ["rw", "nosuid", "relatime"],
  superOptions: ["ro", "size=1m"],
  propagation: "shared",
  peerGroup: 7,
  master: 8,
  propagateFrom: 9,
  deviceNumber: "0:40",
};

function names(list: string | null | typeof ALL, watch = false): string {
  return parseColumns(list, watch).map(({ name }) => name).join(" ");
}

Deno.test("parseColumns() takes findmnt's names, in any case and order", () => {
  assertEquals(names(null), "TARGET SOURCE FSTYPE OPTIONS");
  assertEquals(names("maj:min,TARGET,maj:min"), "MAJ:MIN TARGET MAJ:MIN");
  assertEquals(names("+id"), "TARGET SOURCE FSTYPE OPTIONS ID");
  assertEquals(
    names(null, true),
    "ACTION TARGET SOURCE FSTYPE OPTIONS OLD-TARGET",
  );
  const all = COLUMNS.map(({ name }) => name);
  assertEquals(names(ALL, true), all.join(" "));
  assertEquals(names(ALL), all.slice(0, -2).join(" "));
});

Deno.test("parseColumns() throws for what is no column", () => {
  for (const list of ["nope", "", "+", "TARGET,", "TARGET, ID", "ACTION"]) {
    assertThrows(() => parseColumns(list, false), UsageError, "TARGET, SOURCE");
  }
});

Deno.test("toObject() has findmnt's names, and null for nothing", () => {
  assertEquals(toObject({ mount: MOUNT }, parseColumns(ALL, false)), {
    target: "/mnt",
    source: "[/sub]",
    fstype: "tmpfs",
    options: "ro,nosuid,relatime,size=1m",
    "vfs-options": "rw,nosuid,relatime",
    "fs-options": "ro,size=1m",
    fsroot: "/sub",
    "maj:min": "0:40",
    propagation: "shared,slave",
    "opt-fields": "shared:7 master:8 propagate_from:9",
    id: 30,
    parent: 0,
    "uniq-id": 2148384949,
  });
  const other: MountInfo = {
    ...MOUNT,
    id: 30n,
    source: "/dev/sda",
    root: "/",
    propagation: "unbindable",
  };
  delete other.peerGroup;
  delete other.master;
  delete other.propagateFrom;
  const columns = parseColumns("SOURCE,PROPAGATION,OPT-FIELDS,UNIQ-ID", false);
  assertEquals(toObject({ mount: other }, columns), {
    source: "/dev/sda",
    propagation: "private,unbindable",
    "opt-fields": "unbindable",
    "uniq-id": null,
  });
});

Deno.test("toObject() has what is known of an event", () => {
  const columns = parseColumns("ACTION,UNIQ-ID,TARGET,OLD-TARGET", true);
  const { id } = MOUNT;
  assertEquals(
    toObject(
      { mount: null, event: { kind: "mount", id, mount: null } },
      columns,
    ),
    {
      action: "mount",
      "uniq-id": 2148384949,
      target: null,
      "old-target": null,
    },
  );
  const from = { ...MOUNT, target: "/was" };
  const event = { kind: "move" as const, id, mount: MOUNT, from };
  assertEquals(toObject({ mount: MOUNT, event }, columns), {
    action: "move",
    "uniq-id": 2148384949,
    target: "/mnt",
    "old-target": "/was",
  });
});
