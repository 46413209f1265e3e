"""The classifiers that come with the library, and their files: what they name, how they were trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewrite.classifiers.small_cnn import SmallCNN, SmallDesign
from rewrite.storage import files

KIND = "classifier"
FOLDER = Path(__file__).parent / "weights"
BUILT_IN = {
    name: FOLDER / f"{name}.safetensors"
    for name in (
        *("scenes", "scenes-norm", "scenes-dropout", "scenes-seed2", "scenes-random", "scenes-shortcut"),
        "digits",
    )
}


def save_small(path: Path | str, network: SmallCNN, training: Mapping[str, Any]) -> None:
    """Write a classifier with the story of its training; its weights are stored as float16."""
    state = network.state_dict()
    stored = {name: tensor.half() if tensor.dim() >= 2 else tensor for name, tensor in state.items()}
    design = network.design
    about = {
        "family": "small_cnn",
        "classes": design.classes,
        "widths": design.widths,
        "norm": design.norm,
        "dropout": design.dropout,
        "size": design.size,
        **({"hidden": design.hidden} if design.hidden else {}),
        "training": dict(training),
    }
    files.save_tensors(path, stored, KIND, about)


def design_of(about: Mapping[str, Any]) -> SmallDesign:
    """The shape that a header names.

    Raises:
        KeyError, TypeError, ValueError: It names none.
    """
    classes, widths, size = (tuple(about[name]) for name in ("classes", "widths", "size"))
    hidden = tuple(about.get("hidden", ()))
    if not all(isinstance(name, str) and name for name in classes):
        raise ValueError("classes have names")
    if not all(isinstance(number, int) and number > 0 for number in (*widths, *size, *hidden)) or len(size) != 2:
        raise ValueError("widths and size are numbers")
    return SmallDesign(classes, widths, bool(about["norm"]), float(about["dropout"]), (size[0], size[1]), hidden)
