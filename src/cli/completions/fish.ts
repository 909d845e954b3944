import {
  DEFAULT,
  type Expected,
  type Option,
  type Subcommand,
} from "./model.ts";

/** Puts text between quotes. */
function quoted(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}

/** Options of `complete` for what is expected somewhere. */
function formatExpected({ kind, words, list }: Expected): string {
  if (kind === "file") return " -r -F";
  const candidates = {
    directory: "__fish_complete_directories (commandline -ct)",
    name: "__mountat_names",
    "mount point": "__mountat_mount_points",
    nothing: null,
    type: "__mountat_types",
    words: `printf '%s\\n' ${words.join(" ")}`,
  }[kind];
  if (candidates === null) return " -x";
  return ` -x -a ${
    quoted(`(${candidates}${list ? " | __mountat_list" : ""})`)
  }`;
}

function formatOption(condition: string, option: Option): string {
  const { names, help, value, expected, optional } = option;
  const [long, short] = names as [string, string?];
  return `complete -c mountat -n ${quoted(condition)}` +
    (short === undefined ? "" : ` -s ${short.slice(1)}`) +
    ` -l ${long.slice(2)} -d ${quoted(help)}` +
    (value === null || optional ? "" : formatExpected(expected));
}

function formatSubcommand(
  { name, options, operands, beforeCommand }: Subcommand,
): string {
  const condition = `__mountat_in ${name}` +
    (beforeCommand === null
      ? ""
      : `; and test (count (__mountat_words)) -le ${beforeCommand + 1}`);
  const lines = [
    ...options.map((option) => formatOption(condition, option)),
    ...operands.map((expected, i) =>
      `complete -c mountat -n ${quoted(`__mountat_in ${name} ${i}`)}${
        formatExpected(expected)
      }`
    ),
  ];
  return lines.join("\n");
}

/** The script for fish. */
export function formatFish(subcommands: readonly Subcommand[]): string {
  const valued = subcommands.flatMap(({ name, options }) =>
    options.filter(({ value, optional }) => value !== null && !optional)
      .flatMap(({ names }) => names.map((option) => `'${name} ${option}'`))
  );
  return `# Completion of mountat for fish, 3.5 or later.

# The subcommand and the arguments before the cursor, a line each.
function __mountat_words
    set -l command
    set -l skip 0
    set -l ended 0
    set -l words
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
        else if test $ended = 0; and test "$word" = --
            set ended 1
        else if test $ended = 0; and string match -q -- '-?*' $word
            contains -- "$command $word" ${valued.join(" ")}; and set skip 1
        else if not set -q command[1]
            if contains -- $word ${
    subcommands.map(({ name }) => name).join(" ")
  }
                set command $word
            else
                set command ${DEFAULT}
                set words $word
            end
        else
            set -a words $word
        end
    end
    set -q command[1]; or set command none
    printf '%s\\n' $command $words
end

# Whether the subcommand is $argv[1], and after $argv[2] arguments.
function __mountat_in
    set -l words (__mountat_words)
    test $words[1] = none; and set words[1] ${DEFAULT}
    test $words[1] = $argv[1]; or return
    not set -q argv[2]; or test (count $words) -eq (math $argv[2] + 1)
end

function __mountat_types
    string replace -r '.*\\t' '' </proc/filesystems
end

function __mountat_directory
    string replace -r '^~(?=/|$)' -- $HOME $argv[1]
end

# Directories in the one that the last argument names.
function __mountat_names
    set -l directory (__mountat_directory (__mountat_words)[-1])
    if not test -d $directory
        __fish_complete_directories (commandline -ct)
        return
    end
    set -l typed (commandline -ct | string unescape)
    for path in $directory/$typed*/
        string replace -- $directory/ '' $path | string trim -r -c /
    end
end

# What is mounted below the directory that the first argument names.
function __mountat_mount_points
    set -l directory (path resolve -- (__mountat_directory (__mountat_words)[2]) | string trim -r -c /)
    string split -f 5 ' ' </proc/self/mountinfo |
        string replace -a '\\\\' '\\\\0' | while read -l target
            # A space is \\040 there.
            set target (printf %b $target)
            string match -q -- "$directory/?*" $target
            and string sub -s (math (string length -- $directory/) + 1) -- $target
        end
end

# Each, behind what there is of the list already.
function __mountat_list
    set -l head (commandline -ct | string replace -r '^(--[^=]*=|-\\\\w)' '' | string match -r '.*,')
    while read -l word
        echo "$head$word"
    end
end

complete -c mountat -f
${
    subcommands.map(({ name, help }) =>
      `complete -c mountat -n 'test (__mountat_words)[1] = none' -a ${name} -d ${
        quoted(help)
      }`
    ).join("\n")
  }
${subcommands.map(formatSubcommand).join("\n")}`;
}
