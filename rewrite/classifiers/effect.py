"""What a patch of a classifier does to the classes that pictures are named."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from rewrite.classifiers.classifier import Classifier
from rewrite.patch import Patch, Stack, held_at


@dataclass(frozen=True)
class Named:
    """Pictures of known classes, and what they are named before and after an edit.

    Attributes:
        truth, before, after: The class of each picture, by number.
    """

    truth: Int[Tensor, " pictures"]
    before: Int[Tensor, " pictures"]
    after: Int[Tensor, " pictures"]

    def by_class(self, classes: Sequence[str]) -> list[dict]:
        """For each class that has pictures: how many there are, and how many are named right before and after."""
        rows = []
        for number in self.truth.unique().tolist():
            mine = self.truth == number
            right = [int((named[mine] == number).sum()) for named in (self.before, self.after)]
            rows.append({"class": classes[number], "pictures": int(mine.sum()), "before": right[0], "after": right[1]})
        return rows

    def counts(self) -> dict[str, int]:
        """How many pictures there are, are right before and after, and become right or wrong."""
        before, after = self.before == self.truth, self.after == self.truth
        return {
            "pictures": len(self.truth),
            "before": int(before.sum()),
            "after": int(after.sum()),
            "mended": int((after & ~before).sum()),
            "broken": int((before & ~after).sum()),
        }


def names_of(classifier: Classifier, held: Sequence[tuple[Patch, float]], images: Tensor) -> dict[str, Tensor]:
    """What images are named without and with patches, as `before` and `after`.

    Raises:
        ValueError: A patch was made for another weight.
    """
    before = classifier.predict(images)
    with Stack(classifier).holding(held):
        return {"before": before, "after": classifier.predict(images)}


def following(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names of some images, and of those that follow them."""
    return {name: torch.cat([each, theirs[name]]) for name, each in ours.items()}


def named_by(
    classifier: Classifier,
    patches: Patch | Sequence[Patch],
    batches: Callable[[], Iterable[tuple[Tensor, Tensor]]],
    *,
    strengths: Sequence[float] | None = None,
) -> Named:
    """Name pictures without and with patches.

    Args:
        classifier: The unedited classifier.
        patches: The patch or patches.
        batches: Gives images in [-1, 1] with their classes, some at a time; it is called more than once.
        strengths: The strength of each patch; 1 if left out.

    Raises:
        ValueError: A patch was made for another weight.
    """
    truth = [classes for _, classes in batches()]
    before = [classifier.predict(images) for images, _ in batches()]
    with Stack(classifier).holding(held_at(patches, strengths)):
        after = [classifier.predict(images) for images, _ in batches()]
    return Named(torch.cat(truth), torch.cat(before), torch.cat(after))
