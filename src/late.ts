/**
 * The parts that only a failure needs, or who asks for them: hints, the search
 * for what is in the way of an unmount, the rarer strategies. The library has
 * them from the start. The program's main job, which most often needs none of
 * them, loads them when something fails, before anything is undone.
 */
import { setAdviser } from "./error/error.ts";
import { adviceOn } from "./error/hint.ts";
import { describeObstacle, findObstacle } from "./list/obstacle.ts";
import { setObstacles } from "./unmount/unmountat.ts";
import {
  umountByTable,
  umountInSubprocess,
  umountOnThread,
} from "./unmount/other_ways.ts";
import { setStrategies } from "./unmount/strategy.ts";

setAdviser(adviceOn);
setObstacles({ findObstacle, describeObstacle });
setStrategies({
  worker: umountOnThread,
  subprocess: umountInSubprocess,
  mtab: umountByTable,
});
