"""Measuring a report on patches of a classifier: what given pictures are named without and with them."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.effect import Named, following, named_by, names_of
from rewrite.classifiers.report import MOST_SHOWN, Flip, PictureReport, flip_of
from rewrite.classifiers.rule import ClassifierRule, images_of
from rewrite.generators.fingerprint import hash_of
from rewrite.patch import Patch, held_at
from rewrite.reports.document import patch_hash
from rewrite.reports.pictures import to_pil
from rewrite.storage.ledger import Ledger, Tensors
from rewrite.version import __version__

STAGE = "pictures"
FIRST = 6


@runtime_checkable
class KnownPictures(Protocol):
    """Numbered pictures of known classes, such as `dissect.sources.classes.ClassedPictures`."""

    identity: str

    def images(self, numbers: Sequence[int]) -> Float[Tensor, "images 3 height width"]:
        """The pictures of some numbers as images in [-1, 1]."""
        ...

    def classes(self, numbers: Sequence[int]) -> Int64[Tensor, " images"]:
        """The number of the class of each."""
        ...


def report_pictures(
    classifier: Classifier,
    patches: Patch | Sequence[Patch],
    pictures: KnownPictures,
    numbers: Sequence[int],
    *,
    strengths: Sequence[float] | None = None,
    progress: bool = False,
) -> PictureReport:
    """Measure what patches do, together, to the names of pictures.

    Args:
        classifier: The classifier without the patches.
        patches: The patch or patches.
        pictures: Pictures of known classes that no rule was made from.
        numbers: Which of them.
        strengths: The strength of each patch; 1 if left out.
        progress: Show a progress bar.

    Returns:
        The report; `save` writes it into a folder.

    Raises:
        LookupError: The classifier has no such layer.
        ValueError: A patch is of another weight, a rule is none of a classifier, or there are no patches or pictures.
    """
    return PictureReporting(classifier, patches, pictures, numbers, strengths=strengths).report(
        Ledger(progress=progress)
    )


class PictureReporting:
    """A report on patches of a classifier that can be ended and gone on with. See `report_pictures`."""

    def __init__(
        self,
        classifier: Classifier,
        patches: Patch | Sequence[Patch],
        pictures: KnownPictures,
        numbers: Sequence[int],
        *,
        strengths: Sequence[float] | None = None,
    ):
        self.classifier, self.held = classifier, held_at(patches, strengths)
        self.pictures, self.numbers = pictures, tuple(numbers)
        if not self.held or not self.numbers:
            raise ValueError(
                f"a report needs a patch and a picture, got {len(self.held)} patches and {len(self.numbers)} pictures"
            )
        for patch, _ in self.held:
            patch.check(classifier)
        texts = dict.fromkeys(rule for patch, _ in self.held for rule in patch.rules)
        self.rules = tuple(ClassifierRule.from_json(text) for text in texts)

    @property
    def identity(self) -> dict[str, Any]:
        """What the names of the pictures depend on."""
        return {
            "model": self.classifier.fingerprint,
            "patches": [[patch.layer, patch_hash(patch), strength] for patch, strength in self.held],
            "pictures": self.pictures.identity,
            "numbers": hash_of({"numbers": torch.tensor(self.numbers)}),
            "library": __version__,
        }

    def report(self, ledger: Ledger) -> PictureReport:
        """Name the pictures that the ledger lacks, and everything else.

        Raises:
            ValueError: The ledger holds other pictures.
        """
        found = ledger.over(STAGE, self.numbers, self._names, join=following)
        named = Named(self.pictures.classes(self.numbers), found["before"], found["after"])
        pairs, own = self._pairs()
        changed = (named.before != named.after).nonzero().flatten().tolist()
        return PictureReport(
            classes=self.classifier.classes,
            model=self.classifier.fingerprint,
            patches=tuple(self.held),
            rules=self.rules,
            own=own,
            pairs=pairs,
            named=named,
            numbers=self.numbers,
            pictures=self.pictures.identity,
            flips=self._flips(named, changed),
            first=self._flips(named, list(range(min(FIRST, len(self.numbers))))),
        )

    def _names(self, numbers: Sequence[int]) -> Tensors:
        """What some pictures are named without and with the patches."""
        return names_of(self.classifier, self.held, self.pictures.images(numbers))

    def _pairs(self) -> tuple[dict[str, Named], frozenset[int]]:
        """What the pictures of each rule are named, and all classes that they or the wanted ones were named.

        Those of a rule that was written on another classifier are left out: it may read pictures of another size.
        """
        found, own = dict[str, Named](), set[int]()
        for rule in self.rules:
            if rule.model == self.classifier.fingerprint:
                wanted = self.classifier.predict(images_of(rule.values))
                found[rule.name] = self._named(images_of(rule.keys), wanted)
                own |= set(torch.cat([found[rule.name].truth, found[rule.name].before]).tolist())
        return found, frozenset(own)

    def _named(self, images: Tensor, wanted: Tensor) -> Named:
        patches, strengths = [patch for patch, _ in self.held], [strength for _, strength in self.held]
        return named_by(self.classifier, patches, lambda: [(images, wanted)], strengths=strengths)

    def _flips(self, named: Named, places: Sequence[int]) -> tuple[Flip, ...]:
        """Pictures at some places, so many of each kind as are shown."""
        shown, left = [], dict[str, int]()
        for place in places:
            number, three = self.numbers[place], [int(each[place]) for each in (named.truth, named.before, named.after)]
            (picture,) = to_pil(self.pictures.images([number]))
            flip = flip_of(number, three, self.classifier.classes, picture)
            left[flip.kind] = left.get(flip.kind, MOST_SHOWN) - 1
            if left[flip.kind] >= 0:
                shown.append(flip)
        return tuple(shown)
