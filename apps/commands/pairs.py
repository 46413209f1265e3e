"""`rewrite pairs`: a rule of a classifier from pairs of pictures, solved, with what it does elsewhere."""

import hashlib
import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from apps.pictures import pictures_for
from dissect.segmenter import images_of
from dissect.sources.classes import ClassedPictures, Split
from dissect.sources.folders import ENDINGS
from dissect.sources.rasters import read_colours
from rewrite import Classifier, ClassifierRule, Memory, Patch, __version__, load_classifier, solve_pictures
from rewrite.classifiers.effect import Named, following, named_by, names_of
from rewrite.classifiers.measurement import PictureMeasurement
from rewrite.generators.batches import in_batches
from rewrite.generators.fingerprint import hash_of
from rewrite.interrupts import goes_on_from
from rewrite.progress import stages
from rewrite.storage.files import together, write_text
from rewrite.storage.ledger import Ledger, Tensors
from rewrite.storage.quoting import lacking
from rewrite.storage.walks import files_in

BATCH = 64
# What was summed and named in a run that its user ended.
STATE, KIND, MEMORY, NAMES = "unfinished.safetensors", "pairs", "memory", "pictures"


def run(options: Namespace) -> dict:
    """Write the rule, solve it, and measure it on pictures that it does not know."""
    classifier = load_classifier(options.classifier, architecture=options.architecture, device=options.device)
    return rewritten(classifier, options)


def rewritten(classifier: Classifier, options: Namespace) -> dict:
    """The same for a classifier that is loaded already."""
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
    state = options.out / STATE
    with goes_on_from(state), stages(MEMORY, NAMES):
        ledger = Ledger(state, identity_of(rule, pictures, split), KIND, progress=True)
        memory = memory_of(classifier, options.layer, pictures, split.training, ledger)
        patch = solve_pictures(classifier, memory, rule)
        elsewhere = named_in(classifier, patch, pictures, split.test, ledger)
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
    state.unlink(missing_ok=True)
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


def identity_of(rule: ClassifierRule, pictures: ClassedPictures, split: Split) -> dict[str, Any]:
    """What tells the sums and names of one run from those of another."""
    numbers = {name: torch.tensor(each) for name, each in zip(Split._fields, split, strict=True)}
    return {
        "model": rule.model,
        "layer": rule.layer,
        "rule": hashlib.sha256(rule.to_json().encode()).hexdigest()[:16],
        "pictures": pictures.identity,
        "split": hash_of(numbers),
        "library": __version__,
    }


def memory_of(
    classifier: Classifier, layer: str, pictures: ClassedPictures, numbers: Sequence[int], ledger: Ledger
) -> Memory:
    """The memory of some pictures, gone on from what the ledger has.

    Raises:
        ValueError: The ledger's file is damaged, or see `measure_pictures`.
    """
    measurement = PictureMeasurement(classifier, layer, len(numbers))
    if MEMORY in ledger.stages:
        try:
            measurement.sums.take(ledger.stages[MEMORY].tensors)
        except (KeyError, ValueError, RuntimeError) as error:
            raise ValueError(f"{ledger.path} is damaged: {lacking(error)}") from None

    def measure(places: Sequence[int]) -> Tensors:
        for part, images in in_batches(places, BATCH, lambda part: pictures.images([numbers[place] for place in part])):
            measurement.add(images)
            ledger.seen(len(part))
        # What is kept must not grow with the next pictures.
        return {name: each.clone() for name, each in measurement.sums.tensors().items()}

    ledger.over(MEMORY, range(len(numbers)), measure, join=lambda _, latest: latest)
    return measurement.memory()


def named_in(
    classifier: Classifier, patch: Patch, pictures: ClassedPictures, numbers: Sequence[int], ledger: Ledger
) -> Named:
    """What some pictures are named without and with the patch."""

    def measure(places: Sequence[int]) -> Tensors:
        return names_of(classifier, [(patch, 1.0)], pictures.images([numbers[place] for place in places]))

    found = ledger.over(NAMES, range(len(numbers)), measure, join=following)
    return Named(pictures.classes(numbers), found["before"], found["after"])
