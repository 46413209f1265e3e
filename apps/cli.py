"""The command line: one program, `rewrite`, with one command for each step.

Only the parser is here. A command's module is imported when the command runs, so that `--help` answers at once.
"""

import importlib
import json
import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

NOISES = ("seed", "const", "none")
KEY_SPACES = ("patch", "channel")
CONTAINERS = ("container", "safetensors", "state-dict", "peft")
TRUNKS = ("squeeze", "alex", "vgg")
PATCH = "a patch that rewrite solve wrote, or the folder of an adapter that PEFT can load"
MODEL = "towers, a checkpoint's file, a name that rewrite models lists, or hf://owner/name/file"

EXAMPLES = """examples:
  rewrite demo --out demo
  rewrite sample towers --seeds 0-15 --out grid.png
  rewrite solve tree-on-towers --out patch.safetensors
  rewrite report patch.safetensors --out report
  rewrite export towers patch.safetensors --out edited.safetensors
"""


class Parser(ArgumentParser):
    """A parser whose complaints are one sentence."""

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments; `main` prints the sentence."""
        raise ValueError(f"{message} (see {self.prog} --help)")


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="rewrite",
        description="Change a rule of a trained image generator by editing one weight.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, add in COMMANDS.items():
        add(commands)
        command = commands.choices[name]
        command.add_argument("--json", action="store_true", help="print the result for programs, as JSON on stdout")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 1 if a report's expectations failed, 2 for bad input, 130 after Ctrl-C.
    """
    try:
        return _run(_parse(list(sys.argv[1:] if argv is None else argv)))
    except KeyboardInterrupt:
        print("rewrite: interrupted; nothing half-written was left", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read stdout has gone; what is left of it must not complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, LookupError, OSError, MemoryError) as error:
        if os.environ.get("REWRITE_TRACEBACK"):
            raise
        print(f"rewrite: {_sentence(error)}", file=sys.stderr)
        return 2


def _run(options: Namespace) -> int:
    command = importlib.import_module(f"apps.commands.{options.command}")
    result = command.run(options)
    print(json.dumps(result, indent=1) if options.json else command.tell(result), flush=True)
    return 1 if result.get("failed") else 0


def _parse(arguments: list[str]) -> Namespace:
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        near = get_close_matches(arguments[0], COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        raise LookupError(f"there is no command {arguments[0]!r}: {hint}")
    return build_parser().parse_args(arguments)


def _sentence(error: BaseException) -> str:
    """What an error says, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    text = " ".join(str(error.args[0] if error.args else "").split())
    return text or ("there is not enough memory" if isinstance(error, MemoryError) else type(error).__name__)


def _command(commands, name: str, text: str, details: str = "") -> Parser:
    return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}. {details}".strip())


def _demo(commands) -> None:
    parser = _command(
        commands,
        "demo",
        "rewrite the built-in rule of the built-in generator",
        "Writes before-after.png, patch.safetensors, towers-edited.safetensors, report.json and report.html.",
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write into (default: demo)")


def _sample(commands) -> None:
    parser = _command(commands, "sample", "draw images of some seeds")
    _model(parser)
    _truncation(parser)
    parser.add_argument("--seeds", default="0-15", help="such as 0-15 or 0-3,7 (default: 0-15)")
    parser.add_argument("--noise", choices=NOISES, help="where noise inputs come from (default: the seed)")
    _patches(parser)
    parser.add_argument("--compare", action="store_true", help="also show the images without the patches, above")
    parser.add_argument("--heat", metavar="RULE", help="show where this rule would fire")
    _memory_options(parser)
    parser.add_argument("--columns", type=int, default=8, help="images in one row (default: 8)")
    parser.add_argument("--out", type=Path, required=True, help="the PNG file to write")


def _inspect(commands) -> None:
    parser = _command(commands, "inspect", "say what a file holds, without running it")
    parser.add_argument("file", metavar="FILE", help="a file of this library, a foreign checkpoint, or its name")


def _models(commands) -> None:
    _command(
        commands,
        "models",
        "list the generators that MODEL may name, with their licences",
        "Nothing is downloaded until a command is given such a name. The files lie in the user's cache folder, or in "
        "REWRITE_CACHE where that is set.",
    )


def _measure(commands) -> None:
    parser = _command(commands, "measure", "measure what a layer usually reads: its memory")
    _model(parser)
    parser.add_argument("--layer", required=True, help="name of the layer; rewrite inspect MODEL lists them")
    _memory_options(parser)
    _truncation(parser)
    parser.add_argument("--out", type=Path, required=True, help="the file to write")


def _solve(commands) -> None:
    parser = _command(
        commands,
        "solve",
        "turn a rule into a patch",
        "Without --memory, the memory of the rule's layer is measured once and kept in the user's cache folder.",
    )
    parser.add_argument("rule", metavar="RULE", help="a rule file, or the name of a built-in rule")
    _model(parser, option=True)
    parser.add_argument("--memory", type=Path, help="a memory that rewrite measure wrote")
    _memory_options(parser)
    parser.add_argument("--rank", type=int, help="number of directions (default: what the rule says)")
    parser.add_argument(
        "--out", type=Path, default=Path("patch.safetensors"), help="the file to write (default: patch.safetensors)"
    )


def _report(commands) -> None:
    parser = _command(
        commands,
        "report",
        "forecast and measure the side effects of patches",
        "Writes report.json, before-after.png and report.html. The exit status is 1 if the rule's expectations fail.",
    )
    parser.add_argument("patches", metavar="PATCH", nargs="+", type=Path, help=PATCH)
    _model(parser, option=True)
    _strength(parser)
    parser.add_argument("--seeds", help="such as 0-199 (default: the first 200 that no rule uses)")
    parser.add_argument(
        "--segmenter",
        default="towers",
        help="a segmenter's file, or none (default: that of towers, where it knows the rule's concepts)",
    )
    parser.add_argument("--lpips", metavar="FILE", type=Path, help="weights of a trunk in torchvision's layout")
    parser.add_argument(
        "--download-lpips", choices=TRUNKS, help="download the weights of this trunk (squeeze has 5 MB), once"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")


def _export(commands) -> None:
    parser = _command(
        commands,
        "export",
        "fold patches into a checkpoint",
        "By default in the container that MODEL came in, every byte that is not edited the same. The other containers "
        "hold the generator alone, under the tensor names of the tool that made MODEL; peft writes a LoRA adapter.",
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("patches", metavar="PATCH", nargs="+", type=Path, help=PATCH)
    _strength(parser)
    parser.add_argument(
        "--as",
        dest="container",
        choices=CONTAINERS,
        default=CONTAINERS[0],
        help="what to write (default: container, that of MODEL)",
    )
    parser.add_argument("--card", metavar="FILE", type=Path, help="also write a model card, such as README.md")
    parser.add_argument("--report", type=Path, help="a report on these patches, whose figures the card shows")
    parser.add_argument("--out", type=Path, required=True, help="the file to write; for peft, the folder")


def _units(commands) -> None:
    parser = _command(
        commands,
        "units",
        "find which units of a layer agree with which concepts",
        "Writes units.html, units.json, units.csv and units.safetensors. A run that was interrupted goes on from where "
        "it was when it is started again with the same folder.",
    )
    _model(parser)
    parser.add_argument(
        "--layer", dest="layers", action="append", required=True, help="name of a layer, or all; may be repeated"
    )
    _dissection(parser)
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first image (default: 0)")
    parser.add_argument(
        "--tail", type=float, default=0.01, help="share of the pixels that pass a unit's level (default: 0.01)"
    )
    parser.add_argument(
        "--informative", action="store_true", help="also find the most informative level of every unit and concept"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")


def _rotation(commands) -> None:
    parser = _command(
        commands,
        "rotation",
        "compare a layer's units with random directions, and with random weights",
        "Writes rotation.html, rotation.json, rotation.csv and rotation.safetensors. A run that was interrupted goes "
        "on.",
    )
    _model(parser)
    parser.add_argument("--layer", required=True, help="name of the layer")
    _dissection(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of the rotation and of the weights (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")


def _rule(commands) -> None:
    parser = _command(
        commands,
        "rule",
        "write a rule from the names of concepts",
        "The segmenter finds the regions in the images of some seeds. Without --copy the rule erases the context.",
    )
    _model(parser)
    _truncation(parser)
    parser.add_argument("--context", required=True, help="concepts to replace, such as dome,spire")
    parser.add_argument("--copy", help="concepts to put there, such as tree")
    parser.add_argument("--protect", help="concepts that must stay, such as cloud,path")
    parser.add_argument("--protect-units", help="units that must stay, by number or by concept, such as 3,17 or cloud")
    parser.add_argument(
        "--dissection", metavar="FILE", type=Path, help="units.safetensors, where units are of concepts"
    )
    parser.add_argument("--seeds", default="0-200", help="images to look at (default: 0-200)")
    parser.add_argument("--layer", help="where to solve it (default: the first at half the image's side)")
    parser.add_argument("--name", help="what to call the rule (default: that of the file)")
    _segmenter(parser)
    parser.add_argument("--out", type=Path, required=True, help="the rule file to write")


def _segmenter(parser: Parser) -> None:
    parser.add_argument(
        "--segmenter",
        default="towers",
        help="what names the pixels: towers, a segmenter's file, or hf:NAME of a model for transformers "
        "(default: towers)",
    )


def _dissection(parser: Parser) -> None:
    _truncation(parser)
    _segmenter(parser)
    parser.add_argument("--samples", type=int, default=1000, help="images to count (default: 1000)")
    parser.add_argument("--level-samples", type=int, default=400, help="other images for the levels (default: 400)")
    parser.add_argument("--iou", type=float, default=0.04, help="agreement above which a unit detects (default: 0.04)")


def _model(parser: Parser, *, option: bool = False) -> None:
    text = f"{MODEL} (default: towers)"
    if option:
        parser.add_argument("--model", metavar="MODEL", default="towers", help=text)
    else:
        parser.add_argument("model", metavar="MODEL", nargs="?", default="towers", help=text)


def _truncation(parser: Parser) -> None:
    parser.add_argument("--truncation", type=float, default=1.0, help="0 draws the mean image, 1 any (default: 1)")


def _patches(parser: Parser) -> None:
    parser.add_argument(
        "--patch",
        metavar="PATCH",
        dest="patches",
        type=Path,
        action="append",
        default=[],
        help=f"{PATCH}; may be repeated",
    )
    _strength(parser)


def _strength(parser: Parser) -> None:
    parser.add_argument(
        "--strength",
        metavar="X",
        dest="strengths",
        type=float,
        action="append",
        help="factor on the patches: one for all, or one for each in their order (default: 1)",
    )


def _memory_options(parser: Parser) -> None:
    parser.add_argument("--samples", type=int, default=2000, help="images to measure the memory on (default: 2000)")
    parser.add_argument(
        "--key-space",
        choices=KEY_SPACES,
        help="whole receptive fields, or single positions (default: the rule's, or patch)",
    )


COMMANDS = {
    "demo": _demo,
    "sample": _sample,
    "inspect": _inspect,
    "models": _models,
    "measure": _measure,
    "solve": _solve,
    "report": _report,
    "export": _export,
    "units": _units,
    "rotation": _rotation,
    "rule": _rule,
}


if __name__ == "__main__":
    sys.exit(main())
