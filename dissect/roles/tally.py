"""What is counted of the scores of many pictures: for each set of units that is off, what is named what."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dissect.roles.accuracy import balanced


class Tally:
    """Counts over pictures, by sets of units that are off.

    A picture that is named another class counts as one. Where hardly any are, softer counts still say which units
    matter: a picture counts for its two likeliest classes, by the softmax between both.

    Attributes:
        pictures: How many of each class.
    """

    def __init__(self, sets: int, classes: int):
        self.pictures = np.zeros(classes, dtype=np.int64)
        self._hits, self._named = (np.zeros((2, sets, classes)) for _ in range(2))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Tally":
        """Take up what `tensors` gave.

        Raises:
            KeyError: Something of it is missing.
        """
        found = cls(*tensors["hits"].shape[1:])
        found.pictures = tensors["pictures"].numpy()
        found._hits, found._named = tensors["hits"].numpy(), tensors["named"].numpy()
        return found

    def tensors(self) -> dict[str, Tensor]:
        """All counts by name; those of other pictures can be added to them."""
        counts = {"pictures": self.pictures, "hits": self._hits, "named": self._named}
        return {name: torch.from_numpy(each) for name, each in counts.items()}

    def __add__(self, other: "Tally") -> "Tally":
        """The counts of these pictures and of others."""
        return Tally.of({name: each + other.tensors()[name] for name, each in self.tensors().items()})

    def begin(self, truth: Int64[Tensor, " images"]) -> None:
        """Count pictures of some classes."""
        self.pictures += np.bincount(truth.numpy(), minlength=len(self.pictures))

    def add(self, number: int, scores: Float[Tensor, "images classes"], truth: Int64[Tensor, " images"]) -> None:
        """Count the scores of these pictures with one set off."""
        likeliest = scores.topk(2, dim=1)
        margin = (likeliest.values[:, 0] - likeliest.values[:, 1]).double().cpu()
        self.add_margins(number, margin, likeliest.indices.cpu(), truth)

    def add_margins(
        self,
        number: int,
        margin: Float[Tensor, " images"],
        classes: Int64[Tensor, "images 2"],
        truth: Int64[Tensor, " images"],
    ) -> None:
        """Count pictures by how far the first of two classes is ahead of the second; below zero, that one is."""
        sure = torch.sigmoid(margin)
        for kind, first in enumerate(((margin >= 0).double(), sure)):
            for column, share in ((0, first), (1, 1 - first)):
                named = classes[:, column]
                self._count(self._named[kind, number], named, share)
                right = named == truth
                self._count(self._hits[kind, number], named[right], share[right])

    @property
    def accuracy(self) -> Float[np.ndarray, "sets classes"]:
        """Balanced accuracy of each class with each set off."""
        return balanced(self._hits[0], self._named[0], self.pictures)

    @property
    def soft_accuracy(self) -> Float[np.ndarray, "sets classes"]:
        """The same by the softer counts."""
        return balanced(self._hits[1], self._named[1], self.pictures)

    @property
    def right(self) -> Int64[np.ndarray, " sets"]:
        """How many pictures are named right with each set off."""
        return self._hits[0].sum(axis=1).astype(np.int64)

    def hits(self, number: int) -> tuple[Int64[np.ndarray, " classes"], Int64[np.ndarray, " classes"]]:
        """Of each class, with one set off: its pictures that are named it, and all pictures that are."""
        return self._hits[0, number].astype(np.int64), self._named[0, number].astype(np.int64)

    def _count(self, row: np.ndarray, named: Tensor, share: Tensor) -> None:
        row += np.bincount(named.numpy(), weights=share.numpy(), minlength=len(row))
