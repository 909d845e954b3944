/**
 * The parts that are needed only after a failure or on request: hints, the
 * search for mounts in the way of an unmount, the rarer strategies. The library
 * loads them at the start. The program's main job rarely needs them: it loads
 * them when something fails, before anything is undone.
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
