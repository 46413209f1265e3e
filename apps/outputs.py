"""What a command writes, held against what it reads and what is there, before any work is done."""

from argparse import Namespace
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from rewrite.checkpoints import adapters, candidates, containers, hub, registry
from rewrite.checkpoints.loading import BUILT_IN as GENERATORS
from rewrite.rules import BUILT_IN as RULES
from rewrite.storage import files

# The options that name what is read, and those that name what is written.
READ = (
    *("model", "rule", "heat", "patches", "strokes", "memory", "dissection", "weights", "lpips", "segmenter"),
    *("reference", "training", "report", "file", "models", "latents", "classifier"),
    *("networks", "keys", "values", "keep", "pictures", "picture", "marks", "peer"),
)
WRITTEN = ("out", "card", "each", "strip")
# Of these, the folders that files of any names are written into.
FOLDERS = ("each",)
ADAPTER = "peft"
# Kinds of files that hold weights, beside those in which a generator is looked for.
MODELS = (*containers.OF_WEIGHTS, containers.TORCHSCRIPT, containers.HDF5)
OURS = ("generator", "segmenter", "classifier")


def check(options: Namespace) -> None:
    """Refuse a command that would destroy what it reads, or a checkpoint that it was not told to overwrite.

    Raises:
        ValueError: An output is an input or another output, is no place for a file, or is a checkpoint without --force.
    """
    outputs = list(outputs_of(options))
    if not outputs:
        return
    for (first, one), (second, other) in combinations(outputs, 2):
        if _same(one, other):
            raise ValueError(f"--{first} and --{second} name the same file {other}")
    inputs = list(inputs_of(options))
    for option, path in outputs:
        if option not in FOLDERS:
            files.check_place(path)
        for named, read in inputs:
            if path.exists() and (_same(path, read) or _within(path, read)):
                raise ValueError(f"--{option} would overwrite {path}, which is read as {named}: name another")
        if not options.force and is_checkpoint(path):
            raise ValueError(f"{path} is a checkpoint: --force overwrites it")


def outputs_of(options: Namespace) -> Iterator[tuple[str, Path]]:
    """The files that a command writes, each with the option that says where."""
    for option in WRITTEN:
        path = getattr(options, option, None)
        if path is not None:
            folder = getattr(options, "writes", None)
            if getattr(options, "container", None) == ADAPTER:
                folder = (adapters.CONFIG, adapters.WEIGHTS)
            names = folder if option == "out" else None
            yield from ((option, file) for file in ([path] if names is None else (path / name for name in names)))


def inputs_of(options: Namespace) -> Iterator[tuple[str, Path]]:
    """The files and folders that a command reads and that are there, each with the name of its option."""
    for option in READ:
        given = getattr(options, option, None)
        for named in given if isinstance(given, list) else [given]:
            path = None if named is None else path_of(str(named), option)
            if path is not None and path.exists():
                yield option.removesuffix("es").upper() if option == "patches" else option.upper(), path


def path_of(named: str, option: str) -> Path | None:
    """The file or folder that a word on the command line stands for; None where there is none on this machine."""
    if named.startswith(hub.SCHEME):
        try:
            return hub.cached(named)
        except (FileNotFoundError, ValueError):
            return None
    known = RULES if option in ("rule", "heat") else GENERATORS
    if named in registry.PUBLISHED and not Path(named).is_file():
        return registry.find(named).path
    return known.get(named, Path(named.removeprefix("hf:").partition(candidates.CHOICE)[0]))


def is_checkpoint(path: Path) -> bool:
    """Whether a file holds the weights of a model, by its content; nothing in it is run, and no weight is read."""
    if not path.is_file():
        return False
    try:
        found = containers.describe(path)
    except (ValueError, OSError):
        return False
    about = found.get("metadata", {})
    if about.get("format") == files.FORMAT:
        return about.get("kind") in OURS
    return found["kind"] in MODELS and adapters.OURS not in about


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, through links too."""
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


def _within(path: Path, folder: Path) -> bool:
    return folder.is_dir() and path.resolve().is_relative_to(folder.resolve())
