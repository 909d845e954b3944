import {
  DEFAULT,
  type Expected,
  type Option,
  type Subcommand,
} from "./model.ts";

/** Puts text between quotes. */
function quoted(text: string): string {
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

function formatOption(option: Option): string {
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
  return written.map((name) => quoted(`${repeat ? "*" : others}${name}${what}`))
    .join(" ");
}

/** The call that completes a subcommand. */
function formatCall(
  { name, options, operands, beforeCommand }: Subcommand,
): string {
  const lines = [
    // Options of the command are not ours to complete.
    `_arguments -s -S -C${beforeCommand === null ? "" : " -A '-*'"}`,
    ...options.map(formatOption),
    ...operands.map((expected, i) =>
      name === DEFAULT && i === 0
        ? "'1: :_mountat_first'"
        : quoted(`${i + 1}: :${formatAction(expected, i)}`)
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
      `    ${quoted(`${escaped(name)}:${escaped(help)}`)}`
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
