import type { Step, StepOf } from "./cases.ts";

/** Whether src/sys can make the call: it takes no NULL and no size of a struct. */
export function isExpressible(step: Step): boolean {
  switch (step.op) {
    case "fsconfig":
      return isCommand(step);
    case "listmount":
      return !step.req_null && !step.buf_null && step.req_size !== 0;
    case "openat2":
      return step.path !== null && step.size === undefined &&
        step.how.raw_extra === undefined;
    case "statmount":
      // The library's buffer grows: it is too small for nothing.
      return !step.buf_null && step.expect?.errno !== "EOVERFLOW";
    case "umount2":
      return step.path !== null;
    default:
      return true;
  }
}

/** The arguments that each command of fsconfig(2) takes, and must be given. */
const FSCONFIG_ARGUMENTS: { readonly [command: string]: string[] } = {
  FSCONFIG_SET_FLAG: ["key"],
  FSCONFIG_SET_STRING: ["key", "value"],
  FSCONFIG_SET_BINARY: ["key", "value", "aux"],
  FSCONFIG_SET_PATH: ["key", "value", "aux"],
  FSCONFIG_SET_PATH_EMPTY: ["key", "value", "aux"],
  FSCONFIG_SET_FD: ["key", "aux"],
  FSCONFIG_CMD_CREATE: [],
  FSCONFIG_CMD_RECONFIGURE: [],
};

function isCommand(step: StepOf<"fsconfig">): boolean {
  const given = ["key", "value", "aux"].filter((name) => name in step);
  return given.join() === FSCONFIG_ARGUMENTS[step.cmd]?.join();
}
