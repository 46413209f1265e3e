"""The parser, and the arguments that several commands share."""

import os
from argparse import Action, ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

AUTO = "auto"
Place = Callable[[str], Path]
Files = tuple[str, ...] | None
LARGEST_COUNT = 2**32 - 1
KEY_SPACES = ("patch", "channel")
MIXED, OF_FILE = "mixed", "rule"
DEVICES = ("auto", "cpu", "cuda", "mps")
PATCH = "a patch that rewrite solve wrote, or the folder of an adapter that PEFT can load"
SEGMENTER = (
    "source of concepts: towers, a segmenter's file, hf:NAME of a transformers model, or text:tree,dome for what has "
    "a name"
)
MODEL = "towers, a checkpoint's file, a name that rewrite models lists, or hf://owner/name/file"


class Parser(ArgumentParser):
    """A parser whose errors are one sentence.

    Attributes:
        commands: The parsers of its commands.
    """

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self.commands: dict[str, Parser] = {}

    @property
    def actions(self) -> Sequence[Action]:
        """Its options and arguments."""
        return self._actions

    def error(self, message: str) -> NoReturn:
        """Raise the sentence, which `main` prints."""
        raise ValueError(f"{message} (see {self.prog} --help)")


def add_command(commands, name: str, text: str, details: str = "") -> Parser:
    """Add a command with its one-line text."""
    return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}. {details}".strip())


def add_out(
    parser: Parser,
    place: Place,
    text: str,
    *,
    default: str | None = None,
    required: bool = True,
    writes: Files = None,
) -> None:
    """Where to write, and whether over a checkpoint.

    Args:
        parser: The command's.
        place: One of the functions below: a file, a folder or either.
        text: What it is, for the help.
        default: Where, if it is left out.
        required: Whether it must be given where there is no default.
        writes: Names of the files that are written into a folder; None where the place is a file.
    """
    hint, needed = "" if default is None else f" (default: {default})", required and default is None
    parser.add_argument("--out", type=place, default=default, required=needed, help=f"{text}{hint}")
    parser.add_argument("--force", action="store_true", help="overwrite a checkpoint, if that is what is there")
    parser.set_defaults(writes=writes)


def whole(text: str) -> int:
    """A whole number, no larger than any count of images, units or steps."""
    try:
        number = int(text)
    except ValueError:
        raise ArgumentTypeError(f"a whole number, got {text[:40]!r}") from None
    if abs(number) > LARGEST_COUNT:
        raise ArgumentTypeError(f"a whole number of at most {LARGEST_COUNT}, got {text[:40]}")
    return number


def new_file(text: str) -> Path:
    """The path of a file to write; an error, before any work is done, if it cannot be written."""
    path = Path(text)
    if path.is_dir():
        raise ArgumentTypeError(f"cannot write {path}: it is a folder")
    if path.exists() and not path.is_file():
        raise ArgumentTypeError(f"cannot write {path}: it is not a file, but a pipe, a socket or a device")
    return _placed(path, path.parent)


def new_folder(text: str) -> Path:
    """The path of a folder to write into; an error if it cannot be written."""
    return _placed(Path(text), Path(text))


def images_or_auto(text: str) -> int | str:
    """A number of images, or `auto`."""
    if text == AUTO:
        return text
    if not text.lstrip("+-").isdecimal():
        raise ArgumentTypeError(f"a number of images or {AUTO}, got {text[:40]!r}")
    return whole(text)


def new_place(text: str) -> Path:
    """The path of a file to write, or of a folder to write into; an error if it cannot be written."""
    return new_folder(text) if Path(text).is_dir() else new_file(text)


def _placed(path: Path, folder: Path) -> Path:
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        raise ArgumentTypeError(f"cannot write {path}: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ArgumentTypeError(f"cannot write {path}: nothing may be written into {there}")
    return path


def add_model(parser: Parser, *, option: bool = False, of: str = "") -> None:
    """MODEL, as an argument or as --model, its class, by default perhaps that of a rule or painting, and the device."""
    text = f"{MODEL} (default: towers)"
    if option:
        parser.add_argument("--model", metavar="MODEL", default="towers", help=text)
    else:
        parser.add_argument("model", metavar="MODEL", nargs="?", default="towers", help=text)
    add_class(parser, of)
    add_device(parser)


def class_number(text: str) -> int | str | None:
    """A class of a generator of several, or a text for the classes of seeds, which is read with the generator."""
    return None if text == MIXED else int(text) if text.isdecimal() else text


def add_class(parser: Parser, of: str) -> None:
    """The class that a generator of several draws."""
    parser.add_argument(
        "--class",
        metavar="N",
        dest="label",
        type=class_number,
        default=OF_FILE if of else 0,
        help=f"class to draw, of a generator of several; {MIXED} or 3,5 for all or some in turn, by the seeds, and "
        f"0-4:2 for some seeds alone, as in {MIXED},0-4:2 (default: {f'that of the {of}' if of else 0})",
    )


def add_device(parser: Parser) -> None:
    """Where networks run. Not by itself where it is fastest: figures would be those of one machine."""
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default="cpu",
        help="where networks run; auto is the fastest that is there (default: cpu)",
    )


def add_truncation(parser: Parser) -> None:
    """The truncation of latents."""
    parser.add_argument(
        "--truncation",
        type=float,
        default=1.0,
        help="truncation of latents: 0 draws the mean image, 1 the full variety (default: 1)",
    )


def add_latents(parser: Parser) -> None:
    """Latents of a file in place of seeds."""
    parser.add_argument(
        "--latents",
        metavar="FILE",
        type=Path,
        help="the w or W+ of a file, such as projected_w.npz, in place of seeds",
    )


def add_segmenter(parser: Parser) -> None:
    """The source of concepts."""
    parser.add_argument(
        "--segmenter",
        default="towers",
        help=f"{SEGMENTER} (default: towers)",
    )


def add_patches(parser: Parser) -> None:
    """Patches to apply, with their strengths."""
    parser.add_argument(
        "--patch",
        metavar="PATCH",
        dest="patches",
        type=Path,
        action="append",
        default=[],
        help=f"{PATCH}; may be repeated",
    )
    add_strength(parser)


def add_strength(parser: Parser) -> None:
    """Strengths of patches."""
    parser.add_argument(
        "--strength",
        metavar="X",
        dest="strengths",
        type=float,
        action="append",
        help="factor on the patches: one for all, or one for each, in order (default: 1)",
    )


def add_memory_options(parser: Parser) -> None:
    """How a memory is measured."""
    parser.add_argument(
        "--samples",
        type=images_or_auto,
        metavar="N",
        default=AUTO,
        help="images to measure the memory on, or auto for as many as its forecast needs (default: auto)",
    )
    parser.add_argument(
        "--key-space",
        choices=KEY_SPACES,
        help="keys are whole receptive fields, or single positions (default: as in the rule, or patch)",
    )


def add_architecture(parser: Parser) -> None:
    """What network the file of a classifier is of."""
    parser.add_argument(
        "--architecture", help="torchvision:NAME or timm:NAME, for weights that do not say their network"
    )


def add_pictures(parser: Parser) -> None:
    """Pictures of known classes."""
    parser.add_argument(
        "--pictures",
        help="scenes, digits (with the package scikit-learn), a folder with a folder of pictures for each class, or "
        "one with files of IDX such as MNIST's (default: what the built-in classifiers name)",
    )


def add_workers(parser: Parser) -> None:
    """Who shares the work."""
    parser.add_argument(
        "--workers", type=whole, metavar="N", help="processes of this machine that share the images (default: 1)"
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="share the images among the workers of a Dask scheduler, such as tcp://login1:8786; see docs/cluster.md",
    )
