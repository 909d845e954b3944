import { DEFAULT, type Expected, type Subcommand } from "./model.ts";

/** What the subcommands take, for `_mountat_expected`. */
function formatTables(subcommands: readonly Subcommand[]): string {
  const cases = subcommands.map(({ name, options, operands, beforeCommand }) =>
    `  ${name})
    options=(${options.flatMap(({ names }) => names).join(" ")})
    operands=(${operands.map(formatExpected).join(" ")})
    limit=${beforeCommand ?? ""}
    ;;`
  );
  const values = subcommands.flatMap(({ name, options }) =>
    options.filter(({ value, optional }) => value !== null && !optional)
      .map(({ names, expected }) =>
        `  ${names.map((option) => `"${name} ${option}"`).join(" | ")}) ` +
        `expected=${formatExpected(expected)} ;;`
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

function formatExpected({ kind, words, list }: Expected): string {
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
