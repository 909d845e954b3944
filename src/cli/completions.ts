/** The subcommand `completions`: a script for each shell, from the descriptions. */
import {
  type Command,
  type CommandDescription,
  COMMON_OPTIONS,
  expectPositionals,
  type Operand,
  type OptionDescription,
  shownOptions,
} from "./command.ts";
import { printData, UsageError } from "./print.ts";
import { quote } from "../base/text.ts";
import { nearest } from "../base/check.ts";

const SHELLS = { bash: formatBash, fish: formatFish, zsh: formatZsh } as const;

type Shell = keyof typeof SHELLS;

const NAMES = Object.keys(SHELLS);

function isShell(name: string): name is Shell {
  return Object.hasOwn(SHELLS, name);
}

/**
 * `mountat completions bash|fish|zsh`.
 *
 * @param describe Describes all subcommands.
 */
export function completions(
  describe: () => Promise<CommandDescription[]>,
): Command<Shell> {
  return {
    description: {
      name: "completions",
      synopsis: [`completions ${NAMES.join("|")}`],
      summary: `Print a script that completes mountat's arguments in a shell

The script is complete in itself: mountat is not run when Tab is pressed. Run one of
these commands in a shell, or write it into the file that the shell reads at its start:

  source <(mountat completions bash)
  source <(mountat completions zsh)         after compinit
  mountat completions fish | source

Or write the script to the file where the shell looks for it:

  ~/.local/share/bash-completion/completions/mountat
  _mountat in a directory of zsh's $fpath
  ~/.config/fish/completions/mountat.fish`,
      operands: [NAMES],
      examples: [{
        call: "mountat completions bash > mountat.bash && . ./mountat.bash",
        does: "from now on the Tab key completes what begins with mountat",
      }],
    },
    failureStatus: 1,
    parse({ positionals }) {
      expectPositionals(this.description, positionals, 1, 1);
      const [name] = positionals as [string];
      if (isShell(name)) return name;
      throw new UsageError(
        `There are completions for ${NAMES.join(", ")}, not for ${quote(name)}${
          nearest(name, NAMES)
        }`,
      );
    },
    async run(shell) {
      printData(SHELLS[shell]((await describe()).map(toSubcommand)));
      return 0;
    },
  };
}

/** The kinds of words. */
export type Kind =
  | Exclude<Operand, readonly string[]>
  | "type"
  | "words";

/** The word that is expected at some place. */
export interface Expected {
  readonly kind: Kind;
  /** Those of the kind `words`. */
  readonly words: readonly string[];
  /** True if there may be several, separated by commas. */
  readonly list: boolean;
}

/** An option to complete. */
export interface Option {
  /** Its names as they are written: the long one, then the short one. */
  readonly names: readonly string[];
  /** A line that says what it does. */
  readonly help: string;
  /** True if it may be given several times. */
  readonly repeat: boolean;
  /** The name of its value; null for a switch. */
  readonly value: string | null;
  readonly expected: Expected;
  /** True if its value may be missing; if not, it is in the same word. */
  readonly optional: boolean;
}

/** A subcommand to complete. */
export interface Subcommand {
  readonly name: string;
  /** A line that says what it does. */
  readonly help: string;
  readonly options: readonly Option[];
  readonly operands: readonly Expected[];
  /** The number of arguments before a command line. */
  readonly beforeCommand: number | null;
}

/** The subcommand that a directory stands for. */
export const DEFAULT = "bb_mounter_at";

/** The kinds of values that are called so. */
const VALUE_KINDS: Readonly<Record<string, Kind>> = {
  directory: "directory",
  file: "file",
  path: "file",
  type: "type",
  types: "type",
};

/** Takes from a description what completion needs of it. */
export function toSubcommand(description: CommandDescription): Subcommand {
  const { name, summary, options, operands, beforeCommand } = description;
  return {
    name,
    help: summary.split("\n")[0]!,
    options: shownOptions({ ...options, ...COMMON_OPTIONS }).map(toOption),
    operands: (operands ?? ["directory"]).map((operand) =>
      typeof operand === "string"
        ? { kind: operand, words: [], list: false }
        : { kind: "words", words: operand, list: false }
    ),
    beforeCommand: beforeCommand ?? null,
  };
}

function toOption(
  [name, option]: [string, OptionDescription],
): Option {
  const { short, value, implied, repeat, choices, list, help } = option;
  return {
    names: [`--${name}`, ...short === undefined ? [] : [`-${short}`]],
    help,
    repeat: repeat === true,
    value: value ?? null,
    expected: {
      kind: choices === undefined
        ? VALUE_KINDS[value ?? ""] ?? "nothing"
        : "words",
      words: choices ?? [],
      list: list === true,
    },
    optional: implied !== undefined,
  };
}

/** Formats the words that subcommands take, for `_mountat_expected`. */
function formatTables(subcommands: readonly Subcommand[]): string {
  const cases = subcommands.map(({ name, options, operands, beforeCommand }) =>
    `  ${name})
    options=(${options.flatMap(({ names }) => names).join(" ")})
    operands=(${operands.map(formatBashExpected).join(" ")})
    limit=${beforeCommand ?? ""}
    ;;`
  );
  const values = subcommands.flatMap(({ name, options }) =>
    options.filter(({ value, optional }) => value !== null && !optional)
      .map(({ names, expected }) =>
        `  ${names.map((option) => `"${name} ${option}"`).join(" | ")}) ` +
        `expected=${formatBashExpected(expected)} ;;`
      )
  );
  return `# What the subcommand $1 takes.
_mountat_takes() {
  case $1 in
${cases.join("\n")}
  esac
}

# What follows the option $2 of the subcommand $1.
_mountat_value() {
  case "$1 $2" in
${values.join("\n")}
  *) expected= ;;
  esac
}`;
}

function formatBashExpected({ kind, words, list }: Expected): string {
  const name = kind.replace(" ", "-");
  return `'${[list ? "list" : "one", name, ...words].join(" ")}'`;
}

/** The script for bash, 4.4 or later. */
export function formatBash(subcommands: readonly Subcommand[]): string {
  return `# Completion of mountat for bash.

${formatTables(subcommands)}

# Text as the shell would take it: without quotes and backslashes.
_mountat_unquote() {
  REPLY=\${1//[\\\\\\"\\']/}
  [[ $REPLY != '~' && $REPLY != '~/'* ]] || REPLY=$HOME\${REPLY:1}
}

# Text so that the shell takes it as it is, into REPLY. For what it can't show,
# as é in the locale C, %q gives $'…', which begins like nothing that is typed.
_mountat_quote() {
  local i character special=$' \\t\\\\\\'"\`!$&()*;<>?[]^{|}'
  REPLY=
  [[ $1 != ['~#']* ]] || REPLY=\\\\
  for ((i = 0; i < \${#1}; i++)); do
    character=\${1:i:1}
    if [[ $character == $'\\n' ]]; then
      character="$'\\\\n'"
    elif [[ $special == *"$character"* ]]; then
      character=\\\\$character
    fi
    REPLY+=$character
  done
}

# What begins like $2 and is of the kind that $1 names, into candidates.
_mountat_candidates() {
  local kind words directory first second target
  read -r _ kind words <<<"$1"
  case $kind in
  words) read -ra candidates <<<"$words" ;;
  type)
    while read -r first second; do
      candidates+=("\${second:-$first}")
    done </proc/filesystems
    ;;
  name)
    _mountat_unquote "$before"
    directory=$REPLY
    _mountat_unquote "$2"
    [[ -d $directory ]] || return
    while IFS= read -r target; do
      _mountat_quote "$target"
      candidates+=("$REPLY")
    done < <(CDPATH= cd -- "$directory" && compgen -d -- "$REPLY")
    ;;
  mount-point)
    _mountat_unquote "$holder"
    directory=$(CDPATH= cd -P -- "$REPLY" 2>/dev/null && pwd -P) || return
    directory=\${directory%/}
    while read -r _ _ _ _ target _; do
      # A space is \\040 there.
      printf -v target %b "\${target//\\\\/\\\\0}"
      [[ $target == "$directory"/?* ]] || continue
      _mountat_quote "\${target#"$directory"/}"
      candidates+=("$REPLY")
    done </proc/self/mountinfo
    ;;
  esac
}

_mountat() {
  local i word line=$COMP_LINE words=()
  # COMP_WORDBREAKS splits --option=value.
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if ((i == 0)) || [[ $line == [[:space:]]* ]]; then
      words+=("$word")
    else
      words[-1]+=$word
    fi
    line=\${line#*"$word"}
  done

  local command= expected= ended= holder= before= count=0
  local options=() operands=() limit=
  local subcommands='${subcommands.map(({ name }) => name).join(" ")}'
  _mountat_takes ${DEFAULT}
  for word in "\${words[@]:1:\${#words[@]}-2}"; do
    if [[ $expected ]]; then
      expected=
    elif [[ ! $ended && $word == -- ]]; then
      ended=1
    elif [[ ! $ended && $word == -?* ]]; then
      _mountat_value "\${command:-${DEFAULT}}" "$word"
    elif [[ ! $command && " $subcommands " == *" $word "* ]]; then
      command=$word
      _mountat_takes "$command"
    else
      command=\${command:-${DEFAULT}}
      ((count++)) || holder=$word
      before=$word
      [[ $limit && $count -gt $limit ]] && ended=1
    fi
  done

  local whole=\${words[-1]} current=\${words[-1]} candidates=()
  if [[ ! $expected && ! $ended && $current == --*=* ]]; then
    _mountat_value "\${command:-${DEFAULT}}" "\${current%%=*}"
    [[ $expected ]] || return
    current=\${current#*=}
  elif [[ ! $expected && ! $ended && $current == -* ]]; then
    candidates=("\${options[@]}")
  elif [[ ! $expected && ! $command ]]; then
    read -ra candidates <<<"$subcommands"
    compopt -o plusdirs
  elif [[ ! $expected ]]; then
    expected=\${operands[count]-}
  fi
  if [[ $expected == 'list '* ]]; then
    current=\${current##*,}
    compopt -o nospace
  fi
  # Readline itself knows best how names of files are quoted.
  case $expected in
  '') ;;
  'one directory') compopt -o dirnames ;;
  'one file') compopt -o default ;;
  *) _mountat_candidates "$expected" "$current" ;;
  esac

  # Readline replaces what is behind the last break.
  local head=\${whole%"$current"} broken=\${COMP_WORDS[COMP_CWORD]}
  [[ $broken != = && $broken != : ]] || broken=
  COMPREPLY=()
  for word in "\${candidates[@]}"; do
    [[ $word == "$current"* ]] || continue
    word=$head$word
    COMPREPLY+=("\${word:\${#whole}-\${#broken}}")
  done
}

complete -F _mountat mountat`;
}

/** Puts text between quotes. */
function fishQuoted(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}

/** Options of `complete` for what is expected somewhere. */
function formatFishExpected({ kind, words, list }: Expected): string {
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
    fishQuoted(`(${candidates}${list ? " | __mountat_list" : ""})`)
  }`;
}

function formatFishOption(condition: string, option: Option): string {
  const { names, help, value, expected, optional } = option;
  const [long, short] = names as [string, string?];
  return `complete -c mountat -n ${fishQuoted(condition)}` +
    (short === undefined ? "" : ` -s ${short.slice(1)}`) +
    ` -l ${long.slice(2)} -d ${fishQuoted(help)}` +
    (value === null || optional ? "" : formatFishExpected(expected));
}

function formatSubcommand(
  { name, options, operands, beforeCommand }: Subcommand,
): string {
  const condition = `__mountat_in ${name}` +
    (beforeCommand === null
      ? ""
      : `; and test (count (__mountat_words)) -le ${beforeCommand + 1}`);
  const lines = [
    ...options.map((option) => formatFishOption(condition, option)),
    ...operands.map((expected, i) =>
      `complete -c mountat -n ${fishQuoted(`__mountat_in ${name} ${i}`)}${
        formatFishExpected(expected)
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
        fishQuoted(help)
      }`
    ).join("\n")
  }
${subcommands.map(formatSubcommand).join("\n")}`;
}

/** Puts text between quotes. */
function zshQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Text in a specification of `_arguments` or `_describe`. */
function escaped(text: string): string {
  return text.replace(/[\\:[\]]/g, "\\$&");
}

/** The function that completes what is expected at an argument's place. */
function formatAction({ kind, words, list }: Expected, place = 0): string {
  // Behind a colon there would be another argument.
  const written = words.join(" ").replaceAll(":", "\\:");
  const function_ = {
    directory: "_directories",
    file: "_files",
    // Behind a space _arguments adds no arguments of its own.
    name: ` _mountat_names ${place}`,
    "mount point": "_mountat_mount_points",
    nothing: "()",
    type: "_mountat_types",
    words: list ? `compadd - ${written}` : `(${written})`,
  }[kind];
  return list ? `_sequence ${function_}` : function_;
}

function formatZshOption(option: Option): string {
  const { names, help, repeat, value, expected, optional } = option;
  const others = names.length > 1 && !repeat ? `(${names.join(" ")})` : "";
  const written = names.map((name) => {
    if (value === null) return name;
    const long = name.startsWith("--");
    return optional
      ? (long ? `${name}=-` : `${name}-`)
      : name + (long ? "=" : "+");
  });
  const what = `[${escaped(help)}]${
    value === null
      ? ""
      : `${optional ? "::" : ":"}${escaped(value)}:${formatAction(expected)}`
  }`;
  return written.map((name) =>
    zshQuoted(`${repeat ? "*" : others}${name}${what}`)
  )
    .join(" ");
}

/** The call that completes a subcommand. */
function formatCall(
  { name, options, operands, beforeCommand }: Subcommand,
): string {
  const lines = [
    // Options of the command are not ours to complete.
    `_arguments -s -S -C${beforeCommand === null ? "" : " -A '-*'"}`,
    ...options.map(formatZshOption),
    ...operands.map((expected, i) =>
      name === DEFAULT && i === 0
        ? "'1: :_mountat_first'"
        : zshQuoted(`${i + 1}: :${formatAction(expected, i)}`)
    ),
    ...beforeCommand === null ? [] : ["'*::command:()'"],
  ];
  return lines.join(" \\\n      ");
}

/** The script for zsh. */
export function formatZsh(subcommands: readonly Subcommand[]): string {
  return `#compdef mountat
# Completion of mountat for zsh.

_mountat_subcommands() {
  local -a names=(
${
    subcommands.map(({ name, help }) =>
      `    ${zshQuoted(`${escaped(name)}:${escaped(help)}`)}`
    ).join("\n")
  }
  )
  _describe -t subcommands subcommand names
}

_mountat_first() {
  _alternative 'subcommands:subcommand:_mountat_subcommands' \\
    'directories:directory:_directories'
}

_mountat_types() {
  local expl
  _wanted types expl 'file system type' \\
    compadd "$@" - \${\${(f)"$(</proc/filesystems)"}##*$'\\t'}
}

# Directories in the one that the argument $1 names, if it names one.
_mountat_names() {
  local directory=\${(Q)line[$1]}
  directory=\${directory/#\\~\\//$HOME/}
  if [[ -d $directory ]]; then
    local -a within=("\${directory:A}")
    _path_files -W within -/
  else
    _directories
  fi
}

_mountat_mount_points() {
  local directory=\${(Q)line[1]} target expl
  local -a found
  directory=\${directory/#\\~\\//$HOME/}
  directory=\${\${directory:A}%/}
  while read -r _ _ _ _ target _; do
    # A space is \\040 there.
    target=\${(g:o:)target}
    [[ $target == $directory/?* ]] && found+=("\${target#$directory/}")
  done </proc/self/mountinfo
  _wanted mount-points expl 'mount point' compadd -a found
}

_mountat() {
  local curcontext=$curcontext command=${DEFAULT} line
  local -A opt_args
  integer at=2
  while (( at < CURRENT )) && [[ $words[at] == -* ]]; do
    (( at++ ))
  done
  if (( at < CURRENT )) && [[ $words[at] == (${
    subcommands.map(({ name }) => name).join("|")
  }) ]]; then
    command=$words[at]
    words[at]=()
    (( CURRENT-- ))
  fi
  case $command in
${
    subcommands.map((subcommand) =>
      `  (${subcommand.name})
    ${formatCall(subcommand)}
    ;;`
    ).join("\n")
  }
  esac
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _mountat "$@"
else
  compdef _mountat mountat
fi`;
}
