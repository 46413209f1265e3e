"""Adversarial pictures as one HTML page that needs nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from dissect.adversarial.attack import Attack
from dissect.adversarial.confusion import Confusion, attacked
from dissect.sources.classes import ClassedPictures
from rewrite.classifiers.classifier import Classifier
from rewrite.reports.pictures import strips, to_pil
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "confusion_page.html"
TOLD = {"true": "best for the true class", "target": "best for the class that it is named", "others": "all other units"}
SHOWN, TILE = 8, 96


def examples(
    classifier: Classifier, found: Confusion, pictures: ClassedPictures, attack: Attack
) -> tuple[Image.Image, list[str]] | None:
    """Pictures that the attack reached: as they are, attacked, and the change alone, with what they are named."""
    places = torch.nonzero(found.reached)[:, 0].tolist()
    places = places[:: max(1, len(places) // SHOWN)][:SHOWN]
    if not places:
        return None
    numbers = tuple(found.numbers[place] for place in places)
    images = pictures.images(numbers)
    changed = attacked(classifier, attack, images, found.truth[places], found.aim[places], numbers)
    change = changed - images
    rows = {"as it is": images, "attacked": changed, "change": change / change.abs().amax().clamp(min=1e-12)}
    named = [f"{classifier.classes[found.truth[place]]} → {classifier.classes[found.after[place]]}" for place in places]
    tiles = {name: [_tile(tile) for tile in to_pil(each)] for name, each in rows.items()}
    return strips(tiles, [str(1 + number) for number in range(len(places))], columns=SHOWN, tile=TILE), named


def confusion_page(document: Mapping[str, Any], shown: tuple[Image.Image, list[str]] | None, title: str) -> str:
    """Write what an attack does as HTML.

    Args:
        document: What it does as plain numbers, as `document_of` gives it.
        shown: Some pictures, and what each is named.
        title: What was attacked.
    """
    return render(TEMPLATE, document=document, shown=shown, title=title, told=TOLD)


def _tile(picture: Image.Image) -> Image.Image:
    scale = TILE / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)
