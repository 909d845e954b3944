import { assert, assertEquals } from "@std/assert";
import { parseStatus, privileges } from "../../src/kernel/process.ts";
import {
  gatedTest,
  kernelTest,
  missingPermission,
} from "../support/testing.ts";

const STATUS = `Name:	x
Uid:	1000	1001	1002	1003
CapPrm:	0000000000200000
CapEff:	0000000000200000
NoNewPrivs:	0
Seccomp:	2
Seccomp_filters:	1
`;

Deno.test("parseStatus() takes the effective user and capabilities", () => {
  assertEquals(parseStatus(STATUS), {
    uid: 1001,
    sysAdmin: true,
    capabilities: 1n << 21n,
    filtered: true,
  });
  // All capabilities but that one; a filter's strict mode is none.
  const other = STATUS.replace(/(CapEff:\s*)\w+/, "$1000001ffffdfffff")
    .replace("Seccomp:\t2", "Seccomp:\t1");
  assertEquals(parseStatus(other), {
    uid: 1001,
    sysAdmin: false,
    capabilities: 0x1ff_ffdf_ffffn,
    filtered: false,
  });
});

Deno.test("parseStatus() takes a kernel without seccomp for unfiltered", () => {
  const { filtered } = parseStatus("Uid:\t0\t0\t0\t0\nCapEff:\t0\n");
  assertEquals(filtered, false);
});

gatedTest(
  "privileges() reads those of this thread",
  missingPermission(["ffi"]),
  () => {
    const { uid, initialUserNamespace } = privileges();
    assert(Number.isInteger(uid));
    assertEquals(typeof initialUserNamespace, "boolean");
  },
);

kernelTest("privileges() sees the capability to mount", () => {
  assert(privileges().sysAdmin);
});
