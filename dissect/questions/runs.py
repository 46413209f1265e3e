"""Pictures that have run up to a part of a classifier, and are named with sets of units off.

The runs are kept as far as memory is allowed for them, so that another question runs again only what follows the part.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from dissect.roles.ablations import Ablations, ablations
from dissect.roles.following import NextLayer
from dissect.sources.classes import ClassedPictures
from rewrite.classifiers.classifier import Classifier
from rewrite.generators.batches import batched

BATCH = 64
MOST_BYTES = 512 * 2**20
MOST_ANSWERS = 256


class Runs:
    """Runs of some pictures that go on with sets of units off.

    Args:
        classifier: The classifier.
        part: Path of the part that the units are of.
        pictures: Where the pictures are from.
        numbers: The pictures.
        following: The next layer, where that is what is updated.
        most_bytes: How much memory the kept runs may take.
    """

    def __init__(
        self,
        classifier: Classifier,
        part: str,
        pictures: ClassedPictures,
        numbers: Sequence[int],
        following: NextLayer | None,
        most_bytes: int = MOST_BYTES,
    ):
        self.classifier, self.part, self.pictures, self.following = classifier, part, pictures, following
        self.batches = list(batched(numbers, BATCH))
        self.left = most_bytes
        self._kept: dict[int, Ablations] = {}
        self._known: dict[tuple[int, ...], Int64[Tensor, " pictures"]] = {}

    @torch.no_grad()
    def start(self, place: int, images: Tensor | None = None) -> Ablations:
        """The run of one batch of pictures, which is kept if there is room for it.

        Args:
            place: Which batch.
            images: Its pictures, where they are at hand.
        """
        if place in self._kept:
            return self._kept[place]
        images = self.pictures.images(self.batches[place]) if images is None else images
        started = ablations(self.classifier, self.part, images, self.following)
        size = bytes_of(started)
        if size <= self.left:
            self.left -= size
            self._kept[place] = started
        return started

    @torch.no_grad()
    def named(self, units: Sequence[int]) -> Int64[Tensor, " pictures"]:
        """What the pictures are named without some units; the latest sets are remembered."""
        key = tuple(sorted(units))
        if key not in self._known:
            started = (self.start(place) for place in range(len(self.batches)))
            scores = [each.without(key) if key else each.whole for each in started]
            found = torch.cat([each.argmax(dim=1).cpu() for each in scores])
            while len(self._known) >= MOST_ANSWERS:
                del self._known[next(iter(self._known))]
            self._known[key] = found
        return self._known[key]


def bytes_of(started: Ablations) -> int:
    """About how much memory a run takes, without the network's own weights."""
    seen: dict[int, int] = {}
    _weigh({name: value for name, value in vars(started).items() if name not in ("classifier", "weight")}, seen)
    return sum(seen.values())


def _weigh(value: Any, seen: dict[int, int]) -> None:
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
    elif isinstance(value, dict):
        for each in value.values():
            _weigh(each, seen)
    elif isinstance(value, tuple | list):
        for each in value:
            _weigh(each, seen)
