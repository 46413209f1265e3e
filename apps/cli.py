"""The command line: one program, `rewrite`, with one command for each step.

The arguments are in `apps/parsers`. A command's module is imported when the command runs, so that `--help` answers at
once. By argparse, which is there without an installation or an import that takes time; what click or typer add to it
(groups, prompts, colours) is not used here.
"""

import importlib
import json
import os
import sys
from argparse import Action, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from difflib import get_close_matches

from apps import ignored
from apps.parsers import (
    bench,
    causes,
    classifiers,
    dissection,
    editing,
    editor,
    effects,
    painting,
    photographs,
    program,
)
from apps.parsers.parser import Parser

COMMANDS = {
    **editing.COMMANDS,
    **dissection.COMMANDS,
    **causes.COMMANDS,
    **classifiers.COMMANDS,
    **effects.COMMANDS,
    **painting.COMMANDS,
    **photographs.COMMANDS,
    **editor.COMMANDS,
    **bench.COMMANDS,
    **program.COMMANDS,
}

# Of a message; two paths of the greatest length fit.
LONGEST = 10_000
EXAMPLES = """examples:
  rewrite demo --out demo
  rewrite sample towers --seeds 0-15 --out grid.png
  rewrite solve tree-on-towers --out patch.safetensors
  rewrite report patch.safetensors --out report
  rewrite export towers patch.safetensors --out edited.safetensors
"""


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="rewrite",
        description="Change a rule of a trained image generator by editing one weight.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="say which version this is")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, add in COMMANDS.items():
        add(commands)
        command = parser.commands[name] = commands.choices[name]
        command.add_argument("--json", action="store_true", help="print the result for programs, as JSON on stdout")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 1 if a report's expectations failed, 2 for bad input, 130 after Ctrl-C.
    """
    try:
        return _run(_parse(list(sys.argv[1:] if argv is None else argv)))
    except KeyboardInterrupt as error:
        print(f"rewrite: interrupted; {str(error) or 'nothing half-written was left'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of stdout has gone; what is left of it must not complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, LookupError, OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):  # torch says so in this way
            raise
        if os.environ.get("REWRITE_TRACEBACK"):
            raise
        print(f"rewrite: {_sentence(error)}", file=sys.stderr)
        return 2


class _Version(Action):
    """Say the version; only a checkout that is not installed has to import the library, and torch, for it."""

    def __call__(self, parser: ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version  # which takes a third of the time of `--help`

        try:
            found = version("model-rewriting")
        except PackageNotFoundError:
            from rewrite import __version__ as found
        print(f"rewrite {found}")
        parser.exit()


def _run(options: Namespace) -> int:
    command = importlib.import_module(f"apps.commands.{options.command}")
    importlib.import_module("apps.outputs").check(options)
    with importlib.import_module("rewrite.interrupts").raised_as_such(), _sharing(options):
        result = command.run(options)
    print(json.dumps(result, indent=1) if options.json else command.tell(result), flush=True)
    return 1 if result.get("failed") else 0


def _sharing(options: Namespace) -> AbstractContextManager[None]:
    """Whoever shares the work, of the commands that can be shared."""
    return importlib.import_module("apps.workers").shared(options) if "workers" in options else nullcontext()


def _parse(arguments: list[str]) -> Namespace:
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        near = get_close_matches(arguments[0], COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        raise LookupError(f"there is no command {arguments[0]!r}: {hint}")
    parser = build_parser()
    options = parser.parse_args(arguments)
    ignored.check(options.command, parser.commands[options.command].actions, arguments, options)
    return options


def _sentence(error: BaseException) -> str:
    """What an error says, on one line."""
    from rewrite.storage.quoting import plain, without_addresses

    if isinstance(error, RuntimeError) or (isinstance(error, MemoryError) and not error.args):
        return "there is not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return plain(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    text = without_addresses(plain(" ".join(str(error.args[0] if error.args else "").split())))
    return text[:LONGEST] or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
