import { readFile } from "../../../src/fd/open.ts";

/** A line of the mount table. */
export interface MountinfoEntry {
  mountPoint: string;
  fstype: string;
  source: string;
  /** The mount's options. */
  options: string[];
  /** The file system's options. */
  superOptions: string[];
  /** `shared:1` and the like, by name. */
  tags: Map<string, string>;
}

/** Reads this thread's mount table; see proc_pid_mountinfo(5). */
export function readMountinfo(): MountinfoEntry[] {
  return readFile("/proc/thread-self/mountinfo").trimEnd().split("\n")
    .map(parseLine);
}

// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
function parseLine(line: string): MountinfoEntry {
  const fields = line.split(" ");
  const end = fields.indexOf("-", 6);
  const [fstype, source, superOptions] = fields.slice(end + 1);
  return {
    mountPoint: fields[4]!,
    fstype: fstype!,
    source: source!,
    options: fields[5]!.split(","),
    superOptions: superOptions!.split(","),
    tags: new Map(
      fields.slice(6, end).map((tag) => {
        const [name, value = ""] = tag.split(":");
        return [name!, value];
      }),
    ),
  };
}
