"""Classifiers of torchvision, timm and transformers by name.

The packages are imported only when one of their networks is asked for. Of torchvision and timm, only weights that are
on this machine already are read: a file that is named, or what the library left in torch's cache.
"""

import importlib
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from torch import nn

from rewrite.checkpoints.huggingface import CLASSIFIES, load_network
from rewrite.classifiers.preparation import Preparation
from rewrite.reports.trunks import hub_folder
from rewrite.storage.quoting import quoted

# Those whose networks are built without weights first.
BUILDERS = ("torchvision", "timm")
HUGGING_FACE = "hf"
LIBRARIES = (*BUILDERS, HUGGING_FACE)


class Built(NamedTuple):
    """A network of a library.

    Attributes:
        network: From prepared images to scores.
        called: What it is called, for messages.
        preparation: How it is shown images.
        classes: Their names; None where the library does not say.
        cached: The file with its weights that the library left in torch's cache; None if there is none, or they are in
            the network already.
    """

    network: nn.Module
    called: str
    preparation: Preparation
    classes: tuple[str, ...] | None = None
    cached: Path | None = None


def build(library: str, name: str, classes: int | None = None) -> Built:
    """A network of torchvision or timm with random weights.

    Args:
        library: One of `BUILDERS`.
        name: What the library calls it.
        classes: How many classes it is to have; those of its published weights if left out.

    Raises:
        FileNotFoundError: The library is not installed.
        LookupError: It has no such classifier.
    """
    return _torchvision(name, classes) if library == "torchvision" else _timm(name, classes)


def of_transformers(name: str) -> Built:
    """A trained network of transformers.

    Args:
        name: A folder, or ORG/NAME on the Hugging Face hub.

    Raises:
        FileNotFoundError: There is no such folder, a file is missing in it, or transformers is not installed.
        ValueError: See `rewrite.checkpoints.huggingface.load_network`.
    """
    network, processor = load_network(name, CLASSIFIES)
    config = network.config
    classes = tuple(str(config.id2label.get(number, number)) for number in range(config.num_labels))
    return Built(network, name, _preparation_of(processor), classes)


def _preparation_of(processor: Any) -> Preparation:
    """How an image processor of transformers prepares images, but for the border that it may crop."""
    crops, size = getattr(processor, "do_center_crop", False), dict(processor.size)
    if crops:
        size = dict(processor.crop_size)
    side = size.get("shortest_edge", 0)
    mean, deviation = (0.0,) * 3, (1.0,) * 3
    if processor.do_normalize:
        mean, deviation = tuple(processor.image_mean), tuple(processor.image_std)
    return Preparation((size.get("height", side), size.get("width", side)), mean, deviation)


def _torchvision(name: str, classes: int | None) -> Built:
    models = _imported("torchvision").models
    _known(name, models.list_models(module=models), "torchvision")
    default = models.get_model_weights(name).DEFAULT
    shown = default.transforms()
    network = _quietly(models.get_model, name, weights=None, **({} if classes is None else {"num_classes": classes}))
    preparation = Preparation((shown.crop_size[0],) * 2, tuple(shown.mean), tuple(shown.std))
    named = tuple(default.meta["categories"]) if classes is None else None
    return Built(network, f"torchvision's {name}", preparation, named, _in_cache(default.url))


def _timm(name: str, classes: int | None) -> Built:
    timm = _imported("timm")
    _known(name.partition(".")[0], timm.list_models(), "timm")
    network = _quietly(
        timm.create_model, name, pretrained=False, **({} if classes is None else {"num_classes": classes})
    )
    config: Mapping[str, Any] = network.pretrained_cfg
    preparation = Preparation(tuple(config["input_size"][1:]), tuple(config["mean"]), tuple(config["std"]))
    return Built(network, f"timm's {name}", preparation, None, _in_cache(config.get("url") or ""))


def _quietly(make: Any, name: str, **how: Any) -> Any:
    with warnings.catch_warnings():
        # Some say that their random weights will be others one day; they are replaced at once.
        warnings.simplefilter("ignore")
        return make(name, **how)


def _in_cache(url: str) -> Path | None:
    path = hub_folder() / Path(url).name
    return path if url and path.is_file() else None


def _imported(library: str) -> ModuleType:
    try:
        return importlib.import_module(library)
    except ImportError:
        raise FileNotFoundError(
            f"networks of {library} need the package {library}: pip install 'model-rewriting[classifiers]'"
        ) from None


def _known(name: str, names: list[str], library: str) -> None:
    if name not in names:
        near = get_close_matches(name, names, 1)
        hint = f": did you mean {near[0]}?" if near else ""
        raise LookupError(f"{library} has no classifier {quoted(name)}{hint}")
