"""What patches of a classifier do to what given pictures are named: by class, and picture by picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from rewrite.classifiers.effect import Named
from rewrite.classifiers.rule import ClassifierRule
from rewrite.patch import Patch
from rewrite.reports.document import patch_document, plain
from rewrite.reports.interval import Interval, counted
from rewrite.reports.pictures import grid, png
from rewrite.reports.rendering import render
from rewrite.reports.report import OF_CLASSIFIER
from rewrite.storage import files
from rewrite.version import __version__

TEMPLATE = Path(__file__).parent / "templates" / "picture_report.html"
MENDED, BROKEN, OTHER = "mended", "broken", "wrong before and after"
# Of each kind.
MOST_SHOWN = 24


class Flip(NamedTuple):
    """A picture that is named otherwise after an edit.

    Attributes:
        number: Its number.
        kind: Whether it was mended or broken, or is wrong before and after.
        caption: Its class, and what it was and is named.
        picture: It.
    """

    number: int
    kind: str
    caption: str
    picture: Image.Image


@dataclass(frozen=True)
class PictureReport:
    """Everything that is known of the side effects of patches of a classifier.

    Attributes:
        classes: The name of each class.
        model: Fingerprint of the classifier.
        patches: The patches with their strengths.
        rules: The rules that they answer.
        own: The numbers of the classes that the pictures of the rules are named.
        pairs: For each rule by name, what its pictures are named, held against what the wanted ones were.
        named: What the given pictures are named.
        numbers: Their numbers.
        pictures: What tells the given pictures from others.
        flips: Those that are named otherwise after the edit; of each kind so many as are shown.
        first: Some pictures with captions, for where none is named otherwise.
    """

    classes: tuple[str, ...]
    model: str
    patches: tuple[tuple[Patch, float], ...]
    rules: tuple[ClassifierRule, ...]
    own: frozenset[int]
    pairs: Mapping[str, Named]
    named: Named
    numbers: tuple[int, ...]
    pictures: str
    flips: tuple[Flip, ...]
    first: tuple[Flip, ...]

    def __repr__(self) -> str:
        counts = self.named.counts()
        changed = f"mended={counts['mended']}, broken={counts['broken']}"
        return f"<PictureReport on {counts['pictures']} pictures: {changed}>"

    def document(self) -> dict[str, Any]:
        """The report as plain numbers and texts; what could not be measured is None."""
        named = self.named
        others = torch.tensor([number not in self.own for number in named.truth.tolist()])
        return plain(
            {
                "schema": OF_CLASSIFIER,
                "library": __version__,
                "rules": [rule.name for rule in self.rules],
                "model": self.model,
                "patches": [document_of(patch, strength) for patch, strength in self.patches],
                "source": self.pictures,
                **errors(named, torch.ones_like(others)),
                "own_classes": [self.classes[number] for number in sorted(self.own)],
                "other_classes": errors(named, others) if others.any() else None,
                "classes": [
                    {
                        "class": self.classes[number],
                        "of_rule": number in self.own,
                        **errors(named, named.truth == number),
                    }
                    for number in named.truth.unique().tolist()
                ],
                "pairs": [{"rule": name, **found.counts()} for name, found in self.pairs.items()],
                "renamed": self._renamed(),
            }
        )

    def save(self, folder: str | Path) -> None:
        """Write report.json, before-after.png and report.html into a folder: all of them, or none.

        Raises:
            ValueError: The folder cannot be written to.
        """
        document = self.document()
        contents = {
            "report.json": (json.dumps(document, indent=1, allow_nan=False) + "\n").encode(),
            "before-after.png": png(self._sheet()),
            "report.html": self._page(document).encode(),
        }
        files.write_together(folder, contents)

    def _renamed(self) -> list[dict[str, Any]]:
        """Every picture whose name changed."""
        named, rows = self.named, []
        for place in (named.before != named.after).nonzero().flatten().tolist():
            three = [int(each[place]) for each in (named.truth, named.before, named.after)]
            rows.append({"picture": self.numbers[place], **_called(three, self.classes)})
        return rows

    def _sheet(self) -> Image.Image:
        """The pictures whose name changed, or the first ones if none did."""
        shown = self.flips or self.first
        return grid([each.picture for each in shown], [each.caption for each in shown], columns=6, tile=180)

    def _page(self, document: Mapping[str, Any]) -> str:
        kinds = {kind: [each for each in self.flips if each.kind == kind] for kind in (BROKEN, MENDED, OTHER)}
        return render(
            TEMPLATE,
            document=document,
            title=" + ".join(document["rules"]) or "A patch without a rule",
            kinds={kind: each for kind, each in kinds.items() if each},
        )


def errors(named: Named, which: Bool[Tensor, " pictures"]) -> dict[str, Any]:
    """Of some pictures: how many are named wrong before and after, with intervals, and how many changed."""
    mine = Named(named.truth[which], named.before[which], named.after[which])
    counts = mine.counts()
    shares = {side: _wrong(counts, side) for side in ("before", "after")}
    return {
        "pictures": counts["pictures"],
        **{f"error_{side}": share.value for side, share in shares.items()},
        **{f"error_{side}_interval": [share.low, share.high] for side, share in shares.items()},
        "mended": counts["mended"],
        "broken": counts["broken"],
        "renamed": int((mine.before != mine.after).sum()),
    }


def document_of(patch: Patch, strength: float) -> dict[str, Any]:
    """What a report says of one patch of a classifier."""
    return patch_document(patch, strength, [ClassifierRule.from_json(rule).name for rule in patch.rules])


def is_report_of(document: Mapping[str, Any], model: str, held: Sequence[tuple[Patch, float]]) -> bool:
    """Whether what a report.json holds was measured on this classifier with exactly these patches and strengths."""
    patches = json.loads(json.dumps([plain(document_of(patch, strength)) for patch, strength in held]))
    same = document.get("model") == model and document.get("patches") == patches
    return document.get("schema") == OF_CLASSIFIER and same


def flip_of(number: int, three: Sequence[int], classes: Sequence[str], picture: Image.Image) -> Flip:
    """A picture with what it is, was named and is named.

    Args:
        number: Its number.
        three: The number of its class, and of those that it is named before and after.
        classes: Their names.
        picture: It.
    """
    truth, before, after = three
    kind = MENDED if after == truth else BROKEN if before == truth else OTHER
    called = _called(three, classes)
    return Flip(number, kind, f"{called['class']}: {called['before']}, now {called['after']}", picture)


def _called(three: Sequence[int], classes: Sequence[str]) -> dict[str, str]:
    truth, before, after = (classes[number] for number in three)
    return {"class": truth, "before": before, "after": after}


def _wrong(counts: Mapping[str, int], side: str) -> Interval[float]:
    return counted(counts["pictures"] - counts[side], counts["pictures"])
