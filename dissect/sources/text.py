"""Concepts by their names alone: a network that reads a text and an image says how much each pixel is of the text."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int16
from torch import Tensor

from dissect.sources.contract import checked
from dissect.sources.huggingface import uncropped
from dissect.sources.network import IMAGES_AT_ONCE
from rewrite.checkpoints.huggingface import load_prompted
from rewrite.generators.fingerprint import hash_of
from rewrite.reports.concepts import NONE, Concepts, ConceptSource
from rewrite.reports.pictures import to_pil
from rewrite.storage.quoting import quoted

# CLIPSeg of its authors (Lüddecke and Ecker, CVPR 2022), refined for fine borders.
PUBLISHED = "CIDAS/clipseg-rd64-refined"
MOST_PROMPTS = 256
# The share of a pixel, by the sigmoid of its logit, from which on it is of a concept at all.
LEAST = 0.5


class TextSource(ConceptSource):
    """CLIPSeg of transformers': each pixel is of the text that it agrees with most, or of none.

    Args:
        prompts: The texts, such as `tree` or `a striped dress`.
        name: A folder with the network, its image processor and its tokenizer, or ORG/NAME on the Hugging Face hub.
        device: Where to put the network.

    Raises:
        FileNotFoundError: There is no such folder, a file is missing in it, or transformers is not installed.
        ValueError: There are no texts, too many, or two alike; the hub cannot be reached; or what is there is no such
            network, is damaged, or needs code of its own.
    """

    def __init__(self, prompts: Sequence[str], name: str | Path = PUBLISHED, device: str = "cpu"):
        texts = [prompt.strip() for prompt in prompts]
        if not (all(texts) and 1 <= len(texts) == len(set(texts)) <= MOST_PROMPTS):
            raise ValueError(f"concepts by text are 1 to {MOST_PROMPTS} different texts, got {quoted(list(prompts))}")
        network, self._processor, tokenizer = load_prompted(str(name))
        self.model, self.concepts = network.to(device), Concepts.of(tuple(texts))
        self._tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(device)
        settings = hashlib.sha256(self._processor.to_json_string().encode()).hexdigest()[:8]
        self.identity = f"{type(network).__name__} {hash_of(network.state_dict())} {settings} {','.join(texts)}"

    @torch.no_grad()
    def label(self, images: Tensor, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        size = (int(images.shape[2]), int(images.shape[3]))
        found = [self._labels(image[None], size) for part in images.split(IMAGES_AT_ONCE) for image in part]
        return checked(torch.stack(found), len(images), self.concepts)

    def _labels(self, image: Tensor, size: tuple[int, int]) -> Int16[Tensor, "height width"]:
        logits = self._logits(image)
        sized = torch.nn.functional.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
        greatest = sized.max(dim=0)
        return torch.where(greatest.values.sigmoid() >= LEAST, greatest.indices, NONE).short().cpu()

    def _logits(self, image: Tensor) -> Tensor:
        """How much each pixel is of each text, at the size that the network sees."""
        seen: Any = self._processor(images=to_pil(image), return_tensors="pt", **uncropped(self._processor))
        shown = seen["pixel_values"].to(self.model.device).expand(len(self.concepts), -1, -1, -1)
        logits = self.model(pixel_values=shown, **self._tokens).logits
        return logits.reshape(len(self.concepts), *logits.shape[-2:])
