"""What the marks of a rule say in words: which concepts it turns into which.

A mark takes in some of what stands around the thing that is meant, sky beside a tower's top. So a concept is meant
where it holds several times more of the marks than of ordinary images.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int16
from torch import Tensor

from rewrite.reports.concepts import Concepts
from rewrite.rules.masks import Mask
from rewrite.rules.regions import Latent, Region
from rewrite.rules.rule import Rule

LEAST = 0.1
LIFT = 3.0

Labels = Int16[Tensor, "layers height width"]


def marked_concepts(
    rule: Rule, label: Callable[[Latent], Labels], ordinary: Iterable[Labels], concepts: Concepts
) -> dict[str, Any]:
    """A rule's `effect`, from what stands under its marks.

    Args:
        rule: The rule.
        label: The label maps of one image.
        ordinary: The label maps of some other images.
        concepts: What the numbers of the maps stand for.

    Returns:
        `from`, a list of names, and `to`, a name or None for a rule that erases; empty where the marks mean nothing
        that these concepts know.
    """
    usual = _mean([_shares(each, np.ones(each.shape[1:], dtype=bool), len(concepts)) for each in ordinary])
    meant = _meant(rule.places, label, usual)
    target = None
    if rule.action == "paste":
        copied = _meant(rule.copy, label, usual)
        if not copied.any():
            return {}
        target = int(copied.argmax())
        meant[target] = 0
    sources = [concepts.names[number] for number in np.argsort(-meant, kind="stable") if meant[number]]
    return {"from": sources, "to": None if target is None else concepts.names[target]} if sources else {}


def _meant(
    regions: Iterable[Region], label: Callable[[Latent], Labels], usual: Float[np.ndarray, " concepts"]
) -> Float[np.ndarray, " concepts"]:
    """The share of the marks that each concept holds, 0 for those that are not meant."""
    found = []
    for region in regions:
        labels = label(region.latent)
        found.append(_shares(labels, _at_middles(region.mask, labels.shape[1:]), len(usual)))
    shares = _mean(found)
    return np.where((shares >= LEAST) & (shares > LIFT * usual), shares, 0.0)


def _shares(labels: Labels, mask: np.ndarray, concepts: int) -> Float[np.ndarray, " concepts"]:
    under = labels.cpu().numpy()[:, mask]
    counts = np.bincount(under[under >= 0], minlength=concepts).astype(np.float64)
    return counts / max(1, mask.sum())


def _at_middles(mask: Mask, size: Sequence[int]) -> np.ndarray:
    """A mask read at the middle of each pixel of a label map, of whatever size that is."""
    array = mask.array()
    rows, columns = (((np.arange(n) + 0.5) * old / n).astype(int) for n, old in zip(size, array.shape, strict=True))
    return array[np.ix_(rows, columns)]


def _mean(shares: list[np.ndarray]) -> Float[np.ndarray, " concepts"]:
    return np.mean(shares, axis=0)
