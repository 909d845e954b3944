import { programTest } from "../support/program.ts";
import { Interrupt } from "../../src/cli/interrupt.ts";
import { assertEquals } from "@std/assert";

programTest(
  "Interrupt tells what came while the event loop stood",
  async () => {
    using interrupt = new Interrupt();
    const told = interrupt.told();
    Deno.kill(Deno.pid, "SIGTERM");
    // For much longer than the first timer: it is due when the loop turns.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    await told;
    assertEquals(interrupt.status, 143);
  },
);
