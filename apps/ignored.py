"""Options that a command would not look at beside the others that are given: refused, and not ignored."""

from argparse import Action, Namespace
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class Unused(NamedTuple):
    """When some options of a command are of no use.

    Attributes:
        options: Their names in the parsed arguments.
        when: Whether they are of no use beside the others.
        why: What would have to be different.
    """

    options: tuple[str, ...]
    when: Callable[[Namespace], bool]
    why: str


LATENTS = Unused(("seeds",), lambda given: given.latents is not None, "names images, and --latents names others")
UNUSED = {
    "sample": [
        LATENTS,
        Unused(("samples", "key_space"), lambda given: given.heat is None, "measures a memory for --heat: name a rule"),
        Unused(
            ("columns", "compare", "heat"), lambda given: given.out is None, "is for the picture of --out: name one"
        ),
    ],
    "solve": [
        Unused(("samples",), lambda given: given.memory is not None, "measures a memory, and --memory names one"),
    ],
    "propose": [
        Unused(("contexts", "layer", "seeds"), lambda given: given.layers is not None, "is for contexts, not --layers"),
    ],
    "check": [LATENTS],
    "report": [
        LATENTS,
        Unused(("download_lpips",), lambda given: given.lpips is not None, "fetches weights, and --lpips names some"),
    ],
    "rule": [
        LATENTS,
        Unused(("dissection",), lambda given: not given.protect_units, "names units for --protect-units: name some"),
    ],
    "ablate": [
        Unused(
            ("count", "dissection"),
            lambda given: all(part.strip().isdecimal() for part in given.units.split(",")),
            "is for units that are named by concept",
        ),
    ],
    "invert": [
        Unused(("weights",), lambda given: given.features is None, "is for the network of --features: name one"),
    ],
    "artifacts": [
        Unused(
            ("units", "rank", "truncation", "label"),
            lambda given: given.marks is not None,
            "is for a search without marks, and --marks names some",
        ),
        Unused(
            ("rank", "most"), lambda given: given.units is not None, "orders candidates, and --units names the units"
        ),
    ],
    "omissions": [
        Unused(("layer", "steps"), lambda given: given.invert == 0, "is for --invert: say how many images"),
    ],
}


def check(command: str, actions: Iterable[Action], arguments: Sequence[str], options: Namespace) -> None:
    """Refuse options that are given and would not be looked at.

    Args:
        command: The command.
        actions: Its options.
        arguments: What was written on the command line.
        options: What was parsed from it.

    Raises:
        ValueError: One is.
    """
    written = {part.partition("=")[0] for part in arguments if part.startswith("--")}
    names = {action.dest: action.option_strings[0] for action in actions if _given(action, written)}
    for unused in UNUSED.get(command, ()):
        for option in unused.options:
            if option in names and unused.when(options):
                raise ValueError(f"{names[option]} {unused.why}, or leave it out")


def _given(action: Action, written: set[str]) -> bool:
    """Whether an option stands on the command line, perhaps shortened."""
    return any(full.startswith(part) for full in action.option_strings for part in written if len(part) > 2)
