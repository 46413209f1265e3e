"""Classifiers of torchvision and timm by name, with weights that are on this machine already.

Both packages are imported only here and only when one of their networks is asked for (extra `classifiers`). Nothing is
downloaded.
"""

import importlib
import pickle
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dissect.quality.features import ClassifierFeatures, Seen
from rewrite.reports.trunks import hub_folder
from rewrite.storage.files import existing

LIBRARIES = ("torchvision", "timm")


def classifier_features(library: str, name: str, weights: str | Path | None = None) -> ClassifierFeatures:
    """The feature space of a classifier.

    Args:
        library: `torchvision` or `timm`.
        name: What the library calls the network.
        weights: A file with its state dict; what the library left in torch's cache if left out.

    Raises:
        FileNotFoundError: The library is not installed, or there are no weights.
        LookupError: The library has no such classifier.
        ValueError: The file holds no weights of this network.
    """
    network, seen, cached = _torchvision(name) if library == "torchvision" else _timm(name)
    path = cached if weights is None else weights
    if path is None:
        raise FileNotFoundError(
            f"the weights of {library}'s {name} are not in torch's cache ({hub_folder()}): name a file with them"
        )
    path = existing(path)
    try:
        network.load_state_dict(read_state(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n\t")[1:2]) or str(error)
        raise ValueError(f"{path} holds no weights of {library}'s {name}: {' '.join(reason.split())}") from None
    return ClassifierFeatures(network, f"{library}'s {name}", seen)


def read_state(path: Path) -> Mapping[str, Tensor]:
    """The state dict in a file of torch or safetensors; nothing in it is run.

    Raises:
        ValueError: The file is damaged, or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, ValueError, EOFError, OSError) as error:
        reason = (str(error).splitlines() or ["it is empty"])[0]
        raise ValueError(f"{path} cannot be read as weights: {reason}") from None
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} holds a {type(state).__name__}, not the weights of a network")
    return state


def _torchvision(name: str) -> tuple[nn.Module, Seen, Path | None]:
    models = _imported("torchvision").models
    _known(name, models.list_models(module=models), "torchvision")
    default = models.get_model_weights(name).DEFAULT
    shown = default.transforms()
    network = _built(models.get_model, name, weights=None)
    seen = Seen((shown.crop_size[0],) * 2, tuple(shown.mean), tuple(shown.std))
    return network, seen, _in_cache(default.url)


def _timm(name: str) -> tuple[nn.Module, Seen, Path | None]:
    timm = _imported("timm")
    _known(name.partition(".")[0], timm.list_models(), "timm")
    network = _built(timm.create_model, name, pretrained=False)
    config: Mapping[str, Any] = network.pretrained_cfg
    seen = Seen(tuple(config["input_size"][1:]), tuple(config["mean"]), tuple(config["std"]))
    return network, seen, _in_cache(config.get("url") or "")


def _built(build: Any, name: str, **how: Any) -> Any:
    with warnings.catch_warnings():
        # Some say that their random weights will be others one day; they are replaced at once.
        warnings.simplefilter("ignore")
        return build(name, **how)


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
        raise LookupError(f"{library} has no classifier {name!r}{hint}")
