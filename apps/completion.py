"""Scripts by which shells complete the words of the program, written from its parser.

They are static: a shell that had to start Python for each press of a key would be slow. Words that are no command,
option or choice are names of files.
"""

import shlex
from argparse import Action
from collections.abc import Iterable, Iterator

from apps.parsers.parser import Parser

BASH = """\
_rewrite() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
  local command="${{COMP_WORDS[1]}}" offered=""
  case "$command $before" in
{values}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    offered={commands}
  elif [ -z "$offered" ]; then
    case "$command" in
{words}
    esac
  fi
  COMPREPLY=($(compgen -W "$offered" -- "$word"))
}}
complete -o default -F _rewrite rewrite
"""
ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def bash(parser: Parser) -> str:
    """The script for bash."""
    values, words = [], []
    for name, command in parser.commands.items():
        for action in command.actions:
            if action.choices and action.option_strings:
                calls = "|".join(f'"{name} {option}"' for option in action.option_strings)
                values.append(f"    {calls}) offered={_list(_choices(action))} ;;")
        words.append(f"      {name}) offered={_list([*_positional(command), *_options(command)])} ;;")
    return BASH.format(values="\n".join(values), commands=_list(parser.commands), words="\n".join(words))


def zsh(parser: Parser) -> str:
    """The script for zsh, which reads that of bash."""
    return ZSH + bash(parser)


def fish(parser: Parser) -> str:
    """The script for fish, which shows what each word means."""
    lines = []
    for name, command in parser.commands.items():
        said = shlex.quote((command.description or "").partition(". ")[0].rstrip("."))
        lines.append(f"complete -c rewrite -n __fish_use_subcommand -f -a {name} -d {said}")
    for name, command in parser.commands.items():
        here = f"complete -c rewrite -n '__fish_seen_subcommand_from {name}'"
        lines += [f"{here} {words}" for action in command.actions for words in _fish_words(action)]
    return "\n".join(lines) + "\n"


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}


def _fish_words(action: Action) -> Iterator[str]:
    chosen = f" -a {_list(_choices(action))}" if action.choices else ""
    if not action.option_strings and chosen:
        yield f"-f{chosen}"
    for option in action.option_strings:
        if option.startswith("--"):
            takes = "" if action.nargs == 0 else " -x" if chosen else " -r"
            yield f"-l {option[2:]}{takes}{chosen} -d {shlex.quote(action.help or '')}"


def _positional(command: Parser) -> list[str]:
    return [word for action in command.actions if not action.option_strings for word in _choices(action)]


def _options(command: Parser) -> list[str]:
    return [option for action in command.actions for option in action.option_strings if option.startswith("--")]


def _choices(action: Action) -> list[str]:
    return [str(choice) for choice in action.choices or ()]


def _list(words: Iterable[str]) -> str:
    return shlex.quote(" ".join(words))
