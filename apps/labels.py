"""Pictures for a classifier with labels of their pixels: their own, or those of a segmenter."""

import math

from apps.pictures import pictures_for
from apps.sources import source_for
from dissect.sources.pictures import LabelledBy, LabelledPictures
from dissect.units.probe import LEVEL_SHARE
from rewrite import Classifier

SAMPLES = 320


def labelled(named: str | None, segmenter: str | None, classifier: Classifier, samples: int | None) -> LabelledPictures:
    """The pictures with their labels: those of the segmenter, or their own.

    Args:
        named: What a user writes after `--pictures`.
        segmenter: What stands after `--segmenter`; None for labels of their own.
        classifier: What they are shown to.
        samples: How many are to be counted, beside those for levels.

    Raises:
        ValueError: They have no labels, and no segmenter is named.
    """
    pictures = pictures_for(named, classifier, math.ceil((samples or SAMPLES) * 1.25 / len(classifier.classes)) + 1)
    if segmenter is not None:
        return LabelledBy(pictures, source_for(segmenter, classifier))
    if not isinstance(pictures, LabelledPictures):
        raise ValueError("these pictures have no labels: name what labels them with --segmenter")
    return pictures


def counted(pictures: LabelledPictures, samples: int | None) -> tuple[int, int]:
    """How many pictures are counted, and how many the levels are taken from."""
    levels = math.ceil(len(pictures.numbers) / LEVEL_SHARE)
    rest = len(pictures.numbers) - levels
    return rest if samples is None else min(samples, rest), levels
