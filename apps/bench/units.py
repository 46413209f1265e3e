"""Units: counting them against concepts, and what each of them causes or is needed for."""

from collections.abc import Iterator, Sequence
from itertools import count

import torch

from apps.bench.clock import seconds
from apps.bench.lines import Line, Pair, SkippedError
from apps.bench.plain_counting import blobs, plain_counts
from apps.bench.subject import BUILT_IN, Subject
from dissect.causes.experiment import Experiment, measure_removals
from dissect.roles.following import next_layer
from dissect.roles.roles import Asked, scored_of
from dissect.sources.classes import ClassedPictures, SceneClasses
from dissect.sources.towers import SegmenterSource
from dissect.units.tally import tally_of
from dissect.units.upsampling import Upsampling
from rewrite import load_classifier
from rewrite.reports.concepts import Concepts

# Of a unit, a segmenter and an image as the papers have them, and of a quick run.
UNITS, LABELS, SIDE, GRID, TAIL = 512, 330, 256, 16, 0.01
UNITS_QUICK, SIDE_QUICK = 128, 128
EFFECTS_LAYER, IMAGES, IMAGES_QUICK = "b32.conv0", 4, 2
# At its last layer, relu5, the pass is so short that counting what is named what takes some five times as long.
CLASSIFIER, PART, PICTURES, PICTURES_QUICK = "scenes", "relu3", 64, 32


class Counted:
    """Maps of units, their levels and label maps, drawn at random: neighbouring cells agree, as in trained networks."""

    def __init__(self, units: int, side: int, images: int):
        draws = torch.Generator().manual_seed(0)
        wide = torch.randn(images, units, GRID + 2, GRID + 2, generator=draws)
        self.maps = torch.nn.functional.avg_pool2d(wide, 3, stride=1)
        self.levels = torch.quantile(self.maps.transpose(0, 1).flatten(1), 1 - TAIL, dim=1)
        self.labels = blobs(images, side, LABELS, draws)
        self.upsampling = Upsampling((GRID, GRID), (side, side))
        self.concepts = Concepts.of([f"concept {number}" for number in range(LABELS)])

    @classmethod
    def sized(cls, subject: Subject) -> "Counted":
        """As large as in the papers, or smaller for a quick run."""
        return cls(UNITS_QUICK, SIDE_QUICK, 4) if subject.quick else cls(UNITS, SIDE, 4)

    def ours(self, number: int) -> torch.Tensor:
        """Pixels that a unit and a concept share in one image, as the library counts them."""
        chosen = slice(number, number + 1)
        lit = self.upsampling.above(self.maps[chosen], self.levels)
        return tally_of(lit, self.labels[chosen], len(self.levels), self.concepts, draws=0).both


def counting(subject: Subject) -> Iterator[Pair]:
    """Counting image by image, ours beside plain counting; the counts must be the same."""
    counted = Counted.sized(subject)
    counted.ours(0)
    for number in count():
        image, found = number % len(counted.maps), list[torch.Tensor]()
        given = (counted.maps[image], counted.levels, counted.labels[image, 0], LABELS, counted.upsampling)
        plain = seconds(lambda given=given, found=found: found.append(plain_counts(*given)[2]))
        ours = seconds(lambda image=image, found=found: found.append(counted.ours(image)))
        yield Pair(ours, plain, {"same counts": float(torch.equal(*found))})


def effects(subject: Subject) -> Iterator[Pair]:
    """The exact effect of every unit, beside as many passes from the layer on."""
    if not subject.built_in:
        raise SkippedError(f"the built-in segmenter names what {BUILT_IN} draws, and nothing of another generator")
    experiment = Experiment(subject.generator, EFFECTS_LAYER, SegmenterSource())
    seeds = tuple(range(IMAGES_QUICK if subject.quick else IMAGES))
    prefix, units = experiment.prefix(seeds), range(experiment.units)
    experiment.labels(prefix, seeds)
    for _ in count():
        passes = seconds(lambda: [experiment.labels(prefix, seeds) for _ in units])
        ours = seconds(lambda: measure_removals(experiment, seeds, batch=len(seeds)))
        yield Pair(ours, passes, {"units": len(units), "images": len(seeds)})


class Drawn(ClassedPictures):
    """Some pictures of others, drawn before anything is timed."""

    def __init__(self, pictures: ClassedPictures, total: int):
        self.numbers, self.names, self.identity = pictures.numbers[:total], pictures.names, pictures.identity
        self._images, self._classes = pictures.images(self.numbers), pictures.classes(self.numbers)

    def images(self, numbers: Sequence[int]) -> torch.Tensor:
        """The pictures of some numbers."""
        return self._images[[self.numbers.index(number) for number in numbers]]

    def classes(self, numbers: Sequence[int]) -> torch.Tensor:
        """The number of the class of each picture."""
        return self._classes[[self.numbers.index(number) for number in numbers]]


def roles(subject: Subject) -> Iterator[Pair]:
    """The exact importance of every unit of a classifier, beside as many passes from the layer on."""
    classifier, total = load_classifier(CLASSIFIER), PICTURES_QUICK if subject.quick else PICTURES
    pictures = Drawn(SceneClasses(-(-total // len(classifier.classes)), size=classifier.size[0]), total)
    numbers = tuple(pictures.numbers)
    with torch.no_grad():
        state, _, output = classifier.stop(PART, pictures.images(numbers))
    units = tuple((unit,) for unit in range(output.shape[1]))
    following = next_layer(classifier, PART, pictures.images(numbers[:4]))
    asked, places = Asked(classifier, PART, pictures, following), range(len(numbers))

    @torch.no_grad()
    def passes() -> None:
        for _ in units:
            classifier.go_on(PART, state, output.clone())

    scored_of(asked, places[:4], numbers, units[:1])
    for _ in count():
        plain = seconds(passes)
        ours = seconds(lambda: scored_of(asked, places, numbers, units))
        yield Pair(ours, plain, {"units": len(units), "pictures": len(numbers)})


LINES = (
    Line(
        "dissection",
        f"counting {UNITS} units against {LABELS} concepts on one image of {SIDE}x{SIDE}, with what intervals need "
        f"({UNITS_QUICK} units on {SIDE_QUICK}x{SIDE_QUICK} of a quick run)",
        "plain counting: upsample every unit, compare, loop over the concepts",
        counting,
        rounds=(3, 2),
        notes="maps and labels are drawn at random, whatever the generator",
    ),
    Line(
        "effects",
        f"the exact effect of every unit of {EFFECTS_LAYER} on every concept",
        "units x the pass from the layer on, through the segmenter, to labels",
        effects,
        rounds=(3, 2),
    ),
    Line(
        "roles",
        f"the exact importance of every unit of {PART} of the classifier {CLASSIFIER} for every class",
        "units x the pass from the layer on, to scores",
        roles,
        notes="of a classifier that comes with the library, whatever the generator; at its last layer, relu5, a pass is"
        " so short that counting what is named what takes several times as long",
    ),
)
