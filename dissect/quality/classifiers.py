"""Feature spaces of classifiers of torchvision and timm, with weights that are on this machine already."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from dissect.quality.features import ClassifierFeatures
from rewrite.classifiers.libraries import BUILDERS as LIBRARIES
from rewrite.classifiers.libraries import build
from rewrite.reports.trunks import hub_folder
from rewrite.storage.files import existing

__all__ = ["LIBRARIES", "classifier_features"]


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
    built = build(library, name)
    path = built.cached if weights is None else weights
    if path is None:
        raise FileNotFoundError(
            f"the weights of {library}'s {name} are not in torch's cache ({hub_folder()}): name a file with them"
        )
    path = existing(path)
    try:
        built.network.load_state_dict(read_state(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n\t")[1:2]) or str(error)
        raise ValueError(f"{path} holds no weights of {library}'s {name}: {' '.join(reason.split())}") from None
    return ClassifierFeatures(built.network, built.called, built.preparation)


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
