"""`rewrite adversarial`: what an attack makes a classifier name pictures, and how the units that matter move."""

from argparse import Namespace
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from apps.pictures import pictures_for
from dissect.adversarial.attack import Attack, default_radius
from dissect.adversarial.confusion import KIND, aims_of, find_confusion
from dissect.adversarial.confusion_page import TOLD, confusion_page, examples
from dissect.adversarial.document import document_of
from dissect.roles.roles import find_roles
from dissect.sources.classes import ClassedPictures, Split
from dissect.units.summary import as_json
from rewrite import Classifier, load_classifier
from rewrite.interrupts import goes_on_from
from rewrite.storage.files import write_together
from rewrite.storage.ledger import Ledger

STATE = f"{KIND}.safetensors"
RANDOM, ANY = "random", "any"


def run(options: Namespace) -> dict:
    """Find the units that matter, attack other pictures, and write what was found."""
    classifier = load_classifier(options.classifier, architecture=options.architecture, device=options.device)
    radius = default_radius(options.norm, classifier.size) if options.radius is None else options.radius
    attack = Attack(options.norm, radius, options.steps, options.attack)
    pictures = pictures_for(options.pictures, classifier, options.training + options.test)
    split = pictures.split(options.training, options.test)
    numbers, aim = aimed(options.target, classifier, pictures, split)
    best = best_units(classifier, options.part, pictures, split, options.few)
    with goes_on_from(options.out / STATE):
        found = find_confusion(classifier, options.part, pictures, numbers, aim, attack, options.out / STATE)
    document = document_of(found, classifier, options.part, attack, best, pictures.identity)
    title = f"{options.classifier} under attack"
    page = confusion_page(document, examples(classifier, found, pictures, attack), title)
    write_together(options.out, {"adversarial.json": as_json(document).encode(), "adversarial.html": page.encode()})
    return {"out": str(options.out), **document}


def tell(result: dict) -> str:
    """What is named right, and how the units move."""
    moved = (f"{TOLD[group]} {found['value']:+.2f}" for group, found in result["moved"].items())
    return "\n".join(
        [
            f"{result['attacked']} pictures: {result['right_before']['value']:.1%} named right, "
            f"{result['right_after']['value']:.1%} under attack; "
            f"{result['reached']['value']:.1%} named what it aims at",
            f"peaks move, in deviations: {', '.join(moved)}",
            f"page: {result['out']}/adversarial.html",
        ]
    )


def aimed(
    target: str, classifier: Classifier, pictures: ClassedPictures, split: Split
) -> tuple[Sequence[int], Int64[Tensor, " pictures"]]:
    """The pictures that are attacked, and the class that each is to be named; none is of the target itself."""
    truth = pictures.classes(split.test)
    if target == ANY:
        return split.test, torch.full_like(truth, -1)
    if target == RANDOM:
        return split.test, aims_of(truth, sorted(set(truth.tolist())))
    number = classifier.class_number(target)
    numbers = [each for each, own in zip(split.test, truth.tolist(), strict=True) if own != number]
    if not numbers:
        raise ValueError(f"all pictures are of {classifier.classes[number]}, which the attack aims at")
    return numbers, torch.full((len(numbers),), number)


def best_units(
    classifier: Classifier, part: str, pictures: ClassedPictures, split: Split, few: int
) -> Mapping[int, Sequence[int]]:
    """The units that matter most for each class; see `rewrite roles`."""
    roles = find_roles(classifier, part, pictures, split, sizes=(few, few), ledger=Ledger(progress=True))
    every = range(len(classifier.classes))
    return {number: roles.best(number, few) if number in roles.classes else [] for number in every}
