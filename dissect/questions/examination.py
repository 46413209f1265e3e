"""A part of a classifier, examined on pictures: what is asked of it later runs again only what follows the part."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dissect.questions.answer import Answer
from dissect.questions.gallery import Gallery
from dissect.questions.question import Question, about
from dissect.questions.runs import BATCH, Runs
from dissect.questions.seen import Seen
from dissect.questions.subset import Lit
from dissect.roles.detectors import peaks_of
from dissect.roles.following import next_layer
from dissect.roles.screen import guessed, margins_of
from dissect.roles.tally import Tally
from dissect.sources.classes import ClassedPictures, Split
from dissect.specialties.subclasses import otsu
from rewrite.classifiers.classifier import Classifier
from rewrite.generators.batches import batched

TRIED = 4
OnProgress = Callable[[float], object]


@dataclass(frozen=True, eq=False)
class Examination:
    """What is known of a part of a classifier, and of pictures; see `examine`.

    Attributes:
        classifier: The classifier.
        part: Path of the part.
        pictures: Where pictures are from.
        split: Those that units and levels are chosen on, and those that answers are counted on.
        training: What is known of the former.
        test: The same of the latter.
        matters: By how much each class's balanced accuracy falls without each unit, guessed by one gradient on the
            pictures to choose on, by soft counts; shape (units, classes), NaN for classes without pictures.
        runs: The runs of the pictures that are counted.
        gallery: The same pictures, as they are shown.
    """

    classifier: Classifier
    part: str
    pictures: ClassedPictures
    split: Split
    training: Seen
    test: Seen
    matters: Float[np.ndarray, "units classes"] = field(repr=False)
    runs: Runs = field(repr=False)
    gallery: Gallery = field(repr=False)

    def __repr__(self) -> str:
        return f"<Examination of {self.part}: {self.units} units, {len(self.test.numbers)} pictures>"

    @property
    def units(self) -> int:
        """How many units the part gives."""
        return self.test.peaks.shape[1]

    @property
    def about(self) -> dict[str, str]:
        """What links to this examination are of."""
        return about(self.classifier, self.pictures, self.split)

    def ask(self, question: Question) -> Answer:
        """Answer a question: what the pictures are named with the units off.

        Args:
            question: The question.

        Returns:
            The answer, counted on the pictures of `split.test`.

        Raises:
            LookupError: The part has no such unit, or there is no such class or picture.
            ValueError: The question is of another part, or no picture is as it says.
        """
        self.check(question)
        chosen = question.subset.holds(self.test)
        if not chosen.any():
            raise ValueError(f"none of the pictures is so: {question.subset.told(self.classifier.classes)}")
        after = self.test.named if not question.off else self.runs.named(question.off)
        return Answer(question, tuple(self.classifier.classes), self.test, after, chosen)

    def check(self, question: Question) -> None:
        """Hold a question against what there is.

        Args:
            question: The question.

        Raises:
            LookupError: The part has no such unit, or there is no such class or picture.
            ValueError: The question is of another part.
        """
        subset, classes = question.subset, len(self.classifier.classes)
        if question.part != self.part:
            raise ValueError(f"this question is about part {question.part}, not about {self.part}")
        for unit in (*question.off, *(each.unit for each in subset.lit)):
            if not 0 <= unit < self.units:
                raise LookupError(f"part {self.part} has units 0 to {self.units - 1}, got {unit}")
        for number in (question.number, subset.of, subset.named):
            if number is not None and not 0 <= number < classes:
                raise LookupError(f"there are classes 0 to {classes - 1}, got {number}")
        known = set(self.test.numbers)
        for number in (*(subset.only or ()), *(() if question.at is None else (question.at,))):
            if number not in known:
                raise LookupError(f"picture {number} is none of those that answers are counted on")

    def lights(self, chosen: Bool[Tensor, " pictures"]) -> Float[Tensor, " units"]:
        """By how many deviations the mean peak of each unit lies above its mean over all pictures.

        Args:
            chosen: Some of the pictures that answers are counted on; at least one.

        Returns:
            A number for each unit, 0 for units whose peak is always the same.
        """
        peaks = self.test.peaks.double()
        spread, above = peaks.std(dim=0, unbiased=False), peaks[chosen].mean(dim=0) - peaks.mean(dim=0)
        return torch.where(spread > 0, above / spread.clamp(min=1e-300), 0.0).float()

    def most_important(self, number: int, count: int) -> tuple[int, ...]:
        """The units that matter most for a class, by the guess on the pictures to choose on.

        Args:
            number: The number of the class.
            count: How many.

        Returns:
            The units, the most important first.
        """
        guess = np.nan_to_num(self.matters[:, number], nan=-np.inf)
        return tuple(np.argsort(-guess, kind="stable")[:count].tolist())

    def lit(self, unit: int, number: int | None = None, *, above: bool = True) -> Lit:
        """A condition on a unit at the level that splits its peaks best into two groups (Otsu 1979).

        Args:
            unit: The unit.
            number: The class whose pictures to choose on the level is of; all classes if left out.
            above: Whether the peak is to lie above the level.

        Returns:
            The condition.

        Raises:
            LookupError: There is no such unit.
            ValueError: The class has fewer than two pictures to choose on.
        """
        if not 0 <= unit < self.units:
            raise LookupError(f"part {self.part} has units 0 to {self.units - 1}, got {unit}")
        seen = self.training
        mine = torch.ones(len(seen.numbers), dtype=torch.bool) if number is None else seen.truth == number
        if int(mine.sum()) < 2:
            raise ValueError("a level is chosen on two pictures or more")
        return Lit(unit, float(f"{otsu(seen.peaks[mine, unit].numpy())[0]:.9g}"), above)


def examine(
    classifier: Classifier,
    part: str,
    pictures: ClassedPictures,
    split: Split,
    *,
    on_progress: OnProgress | None = None,
) -> Examination:
    """Run pictures up to a part of a classifier, so that questions about its units are answered at once.

    Args:
        classifier: The classifier.
        part: Path of any part of it that gives maps, vectors or tokens.
        pictures: Pictures with their classes.
        split: Those that units and levels are chosen on, and those that answers are counted on.
        on_progress: Called again and again with the share that is done; may raise to end the work.

    Returns:
        The examination.

    Raises:
        LookupError: The classifier has no such part.
        ValueError: It gives no units.
    """
    told = on_progress or (lambda share: None)
    # A picture to choose on also costs a gradient, one to count on another run.
    learning, counting = (list(batched(numbers, BATCH)) for numbers in (split.training, split.test))
    done, whole = 0, len(split.training) + len(split.test)
    following = next_layer(classifier, part, pictures.images(split.test[:TRIED]))
    runs = Runs(classifier, part, pictures, split.test, following)
    learnt, gallery = _Learning(classifier, part), Gallery(classifier, part, pictures)
    peaks = list[Tensor]()
    for place, numbers in enumerate((*learning, *counting)):
        told(done / whole)
        images = pictures.images(numbers)
        if place < len(learning):
            learnt.add(images, pictures.classes(numbers))
        else:
            with torch.no_grad():
                output = classifier.stop(part, images).output
            peaks.append(peaks_of(output).cpu().float())
            gallery.keep(numbers, images, output)
            runs.start(place - len(learning), images)
        done += len(numbers)
    training = Seen(split.training, pictures.classes(split.training), *learnt.found)
    test = Seen(split.test, pictures.classes(split.test), runs.named(()), torch.cat(peaks))
    return Examination(classifier, part, pictures, split, training, test, learnt.matters, runs, gallery)


class _Learning:
    """What is gathered of the pictures to choose on: names and peaks, and a guess of what each unit matters."""

    def __init__(self, classifier: Classifier, part: str):
        self.classifier, self.part = classifier, part
        self.named, self.peaks = list[Tensor](), list[Tensor]()
        self.whole: Tally | None = None
        self.without: Tally | None = None

    def add(self, images: Tensor, truth: Tensor) -> None:
        """Take some pictures up."""
        classes = len(self.classifier.classes)
        with torch.no_grad():
            stopped = self.classifier.stop(self.part, images)
        self.peaks.append(peaks_of(stopped.output).cpu().float())
        margins = margins_of(self.classifier, self.part, stopped)
        self.named.append(margins.classes[:, 0])
        whole = Tally(1, classes)
        whole.begin(truth)
        whole.add_margins(0, margins.margin, margins.classes, truth)
        without = guessed(margins, classes, truth)
        self.whole = whole if self.whole is None else self.whole + whole
        self.without = without if self.without is None else self.without + without

    @property
    def found(self) -> tuple[Tensor, Tensor]:
        """What the pictures are named, and the peaks of the units in them."""
        return torch.cat(self.named), torch.cat(self.peaks)

    @property
    def matters(self) -> Float[np.ndarray, "units classes"]:
        """The guess."""
        assert self.whole is not None
        assert self.without is not None
        return self.whole.soft_accuracy - self.without.soft_accuracy
