"""`rewrite pairs`: a rule of a classifier from pairs of pictures, solved, with what it does elsewhere."""

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from apps.pictures import pictures_for
from dissect.segmenter import images_of
from dissect.sources.classes import ClassedPictures
from dissect.sources.folders import ENDINGS
from dissect.sources.rasters import read_colours
from rewrite import Classifier, ClassifierRule, load_classifier, measure_pictures, solve_pictures
from rewrite.classifiers.effect import named_by
from rewrite.storage.files import together, write_text
from rewrite.storage.walks import files_in

BATCH = 64


def run(options: Namespace) -> dict:
    """Write the rule, solve it, and measure it on pictures that it does not know."""
    classifier = load_classifier(options.classifier, architecture=options.architecture, device=options.device)
    keys, values = paired(options.keys, options.values)
    kept = [] if options.keep is None else list(files_in(options.keep, ENDINGS))
    settings = {} if options.rank is None else {"rank": options.rank}
    rule = ClassifierRule.of(
        classifier,
        options.layer,
        read(keys, classifier),
        read(values, classifier),
        keep=read(kept, classifier) if kept else None,
        name=options.name or options.keys.name,
        **settings,
    )
    pictures = pictures_for(options.pictures, classifier, options.training + options.test)
    split = pictures.split(options.training, options.test)
    batches = (images for images, _ in shown(pictures, split.training))
    memory = measure_pictures(classifier, options.layer, batches, len(split.training))
    patch = solve_pictures(classifier, memory, rule)
    elsewhere = named_by(classifier, patch, lambda: shown(pictures, split.test))
    mended = named_by(
        classifier, patch, lambda: [(read(keys, classifier), classifier.predict(read(values, classifier)))]
    )
    result = {
        "out": str(options.out),
        "layer": patch.layer,
        "rank": patch.rank,
        "left_out": patch.forecast.get("left_out"),
        "pairs": mended.counts(),
        "elsewhere": elsewhere.counts(),
        "classes": elsewhere.by_class(classifier.classes),
    }
    with together():
        rule.save(options.out / "rule.json")
        patch.save(options.out / "patch.safetensors")
        write_text(options.out / "effect.json", json.dumps(result, indent=1) + "\n")
    return result


def tell(result: dict) -> str:
    """What the rule does to its pairs, to pairs that were left out, and elsewhere."""
    pairs, elsewhere, left_out = result["pairs"], result["elsewhere"], result["left_out"]
    lines = [
        f"{pairs['pictures']} pairs: {pairs['before']} named as wanted before, {pairs['after']} after; "
        f"rank {result['rank']} on {result['layer']}",
        f"{elsewhere['pictures']} other pictures: {elsewhere['before']} right before, {elsewhere['after']} after "
        f"({elsewhere['mended']} mended, {elsewhere['broken']} broken)",
        f"patch: {result['out']}/patch.safetensors",
    ]
    if left_out:
        lines.insert(1, f"pairs that were left out: {left_out['right']:.0%} named as wanted")
    return "\n".join(lines)


def paired(keys: Path, values: Path) -> tuple[list[Path], list[Path]]:
    """The pictures of two folders that have the same names.

    Raises:
        FileNotFoundError: A folder is missing.
        ValueError: A picture of one folder is not in the other, or there are none.
    """
    found = []
    for folder in (keys, values):
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        found.append({path.stem: path for path in files_in(folder, ENDINGS)})
    alone = sorted(found[0].keys() ^ found[1].keys())
    if alone or not found[0]:
        said = f"{alone[0]} is in one of them alone" if alone else "there are none"
        raise ValueError(f"pairs are pictures of the same name in {keys} and {values}: {said}")
    return [found[0][name] for name in sorted(found[0])], [found[1][name] for name in sorted(found[0])]


def read(paths: list[Path], classifier: Classifier) -> Tensor:
    """Pictures as images of the classifier's size."""
    height, width = classifier.size
    sized = [read_colours(path).resize((width, height), Image.Resampling.BICUBIC) for path in paths]
    return images_of(np.stack([np.asarray(picture) for picture in sized]))


def shown(pictures: ClassedPictures, numbers) -> Iterator[tuple[Tensor, Tensor]]:
    """Pictures with their classes, some at a time."""
    for start in range(0, len(numbers), BATCH):
        part = numbers[start : start + BATCH]
        yield pictures.images(part), pictures.classes(part)
