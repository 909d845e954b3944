import { assert, assertEquals } from "@std/assert";
import {
  type Contestant,
  ratios,
  spread,
  takeTurns,
} from "../../bench/measure.ts";

Deno.test("spread() says where the values lie", () => {
  const values = [11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  assertEquals(spread(values), { min: 1, low: 2, median: 6, high: 10 });
  assertEquals(spread([1, 2]).median, 1.5);
  assertEquals(spread([3]), { min: 3, low: 3, median: 3, high: 3 });
});

Deno.test("ratios() compares what was measured in the same round", () => {
  assertEquals(ratios([1, 4], [2, 2]), [0.5, 2]);
  assertEquals(ratios([1, 0, 4], [0, 0, 2]), [2]);
});

Deno.test("takeTurns() alternates the order, and keeps rounds together", async () => {
  const order: string[] = [];
  let rounds = 0;
  const contestant = (name: string, times: number): Contestant => ({
    name,
    times,
    time(times) {
      order.push(name);
      if (name === "a") rounds++;
      return times * rounds;
    },
  });
  const [a, b] = await takeTurns([contestant("a", 1), contestant("b", 10)], 0);
  assert(a!.length >= 5);
  assertEquals(order.slice(0, 4), ["a", "b", "b", "a"]);
  // Once, in microseconds. In every second round it is b who begins.
  assertEquals(a!.slice(0, 2), [1000, 2000]);
  assertEquals(b!.slice(0, 2), [1000, 1000]);
  assertEquals(a!.length, b!.length);
});

Deno.test("takeTurns() does not count the first tenth", async () => {
  const seconds = 0.2;
  let turns = 0;
  let early = 0;
  const begin = performance.now();
  const contestant: Contestant = {
    name: "a",
    times: 1,
    time() {
      turns++;
      if (performance.now() < begin + seconds * 100) early++;
      return turns;
    },
  };
  const [counted] = await takeTurns([contestant], seconds);
  // Each turn says which it was, here in microseconds.
  assert(counted![0]! / 1000 > early, `${counted![0]! / 1000} of ${early}`);
  assertEquals(counted!.at(-1), turns * 1000);
});
