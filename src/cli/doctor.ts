import { type Command, expectPositionals, type Manner } from "./command.ts";
import { printData } from "./data.ts";
import { type Check, diagnose, type Diagnosis } from "./diagnosis.ts";
import { formatTable } from "./table.ts";

/** What the arguments of `doctor` mean. */
export interface DoctorArguments {
  /** The directory whose mount is looked at. */
  readonly directory: string;
}

/** `mountat doctor [DIR]`. */
export const doctor: Command<DoctorArguments> = {
  description: {
    name: "doctor",
    synopsis: ["doctor [directory]"],
    summary: `Tell what works here, and what to do about what does not

Looks at Deno's permissions, the kernel, this process's capabilities, and at how
the mount that holds the directory (by default the current one) passes mounts
on. Each thing is tried; nothing is attached anywhere or left behind. Permissions
are not asked for.

Exit status: 0 when /proc and /sys can be mounted here, 1 when not.`,
    examples: [{
      call: "mountat doctor /srv/root",
      does: "a table of what is there, and for what is missing what to do",
    }, {
      call: "mountat doctor --json | jq .features",
      does: "what features() of the library finds",
    }],
  },
  failureStatus: 1,
  parse({ positionals }) {
    expectPositionals(this.description, positionals, 0, 1);
    return { directory: positionals[0] ?? "." };
  },
  async run({ directory }, manner) {
    const diagnosis = diagnose(directory);
    if (manner.json) printData(formatJson(diagnosis));
    else await print(diagnosis, manner);
    return diagnosis.works ? 0 : 1;
  },
};

async function print(diagnosis: Diagnosis, { quiet }: Manner): Promise<void> {
  const colored = Deno.stdout.isTerminal() && !Deno.noColor;
  const paint = colored ? await painter() : (_: unknown, text: string) => text;
  printData(formatDiagnosis(diagnosis, paint));
  if (quiet) return;
  printData(
    `\nMounting /proc and /sys ${
      diagnosis.works ? "works" : "does not work"
    } here.`,
  );
}

type Paint = (status: Check["status"], text: string) => string;

async function painter(): Promise<Paint> {
  const { green, red, yellow } = await import("@std/fmt/colors");
  const paints = { ok: green, missing: red, unknown: yellow };
  return (status, text) => paints[status](text);
}

/** The table, then what to do. */
export function formatDiagnosis({ checks }: Diagnosis, paint: Paint): string {
  const table = formatTable(
    checks.map(({ status, name, detail }) => [status, name, detail]),
  );
  const lines = table.split("\n").map((line, i) => {
    const { status } = checks[i]!;
    return paint(status, status) + line.slice(status.length);
  });
  const advised = checks.filter(({ advice }) => advice !== undefined);
  if (advised.length > 0) lines.push("", "What to do:");
  for (const { name, advice } of advised) lines.push(`  ${name}: ${advice}`);
  return lines.join("\n");
}

/** Null stands for what could not be told. */
function formatJson(diagnosis: Diagnosis): string {
  const told = (_: string, value: unknown) => value ?? null;
  return JSON.stringify(diagnosis, told, 2);
}
