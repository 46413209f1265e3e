"""Semantic segmentation by any network of the transformers library, from a folder or from the Hugging Face hub.

Only configurations and safetensors files are read. What a folder holds beside them, code and pickled weights among it,
is neither downloaded nor opened.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int16
from torch import Tensor

from dissect.sources.contract import checked
from dissect.sources.names import unique
from dissect.sources.network import IMAGES_AT_ONCE, most_likely
from rewrite.checkpoints.huggingface import SEGMENTS, load_network
from rewrite.generators.fingerprint import hash_of
from rewrite.reports.concepts import Concepts, ConceptSource
from rewrite.reports.pictures import to_pil

# Pixels that the network sees at once.
PIXELS_AT_ONCE = 2**21


class HuggingFaceSource(ConceptSource):
    """A network of transformers' that gives each pixel of an image one concept.

    Args:
        name: A folder with the configurations of a network and of its image processor and with weights in safetensors,
            or ORG/NAME on the Hugging Face hub, whose files are downloaded once into that hub's cache.
        device: Where to put the network.

    Raises:
        FileNotFoundError: There is no such folder, a file is missing in it, or transformers is not installed.
        ValueError: The hub cannot be reached, or what is there is no such network, is damaged, or needs code of its
            own.
    """

    def __init__(self, name: str | Path, device: str = "cpu"):
        network, self._processor = load_network(str(name), SEGMENTS)
        self.model = network.to(device)
        self.concepts = Concepts.of(_names(self.model.config))
        digest = hashlib.sha256(self._processor.to_json_string().encode()).hexdigest()[:8]
        self.identity = f"{type(self.model).__name__} {hash_of(self.model.state_dict())} {digest}"

    @torch.no_grad()
    def label(self, images: Tensor, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        size = (int(images.shape[2]), int(images.shape[3]))
        found = [labels for part in images.split(IMAGES_AT_ONCE) for labels in self._labels(part, size)]
        return checked(torch.stack(found), len(images), self.concepts)

    def _labels(self, images: Tensor, size: tuple[int, int]) -> list[Tensor]:
        seen = self._processor(images=to_pil(images), return_tensors="pt", **uncropped(self._processor))
        seen, found = seen["pixel_values"], []
        for part in seen.split(max(1, PIXELS_AT_ONCE // (seen.shape[-2] * seen.shape[-1]))):
            logits = self.model(pixel_values=part.to(self.model.device)).logits
            found += [most_likely(each, size) for each in logits]
        return found


def uncropped(processor: Any) -> dict[str, Any]:
    """What makes an image processor show the network the whole image: labels belong to all of its pixels."""
    changed: dict[str, Any] = {}
    if getattr(processor, "do_center_crop", None):
        changed = {"do_center_crop": False, "size": dict(processor.crop_size)}
    if getattr(processor, "do_pad", None):
        changed["do_pad"] = False
    return changed


def _names(config: Any) -> tuple[str, ...]:
    named = [str(config.id2label.get(number, "")).strip() for number in range(config.num_labels)]
    return unique(name or f"label {number}" for number, name in enumerate(named))
