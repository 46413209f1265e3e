"""Real classifiers of other people: their units dissected, what classes lose without them, and a rule rewritten.

    python -m benchmarks.real_classifiers --weights FOLDER --out DIR

FOLDER holds the networks (`networks.py`, `files/`). Of each network one part is dissected, and agreement is held
against a plain count at exact quantiles: every map upsampled, every level from all values sorted, every pair counted
alone. The roles of its units are measured as by `rewrite roles`. Its rule is solved as by `rewrite pairs` from twenty
pictures with and without what confounds the network, in each of a few layers; the best of them on a second set of
pictures is reported on a third.
"""

import argparse
import json
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from apps.commands import pairs, roles
from apps.pictures import pictures_for
from benchmarks.trained_classifiers import TRAINED, Images, Trained
from dissect import ConceptSource, PictureProbe, dissect, write_units
from dissect.sources.classes import ClassedPictures
from dissect.sources.pictures import LabelledBy
from dissect.units.counting import TAIL
from dissect.units.dissection import Dissection
from dissect.units.probe import LEVEL_SHARE, Activations, Observed
from dissect.units.tiles import unit_strips
from dissect.units.upsampling import sampled_pixels, upsampling
from rewrite import Patch
from rewrite.classifiers.effect import Named, named_by
from rewrite.reports.pictures import grid, save_picture, strips, to_pil
from rewrite.storage.files import write_text

PAIRS, MOST_LOST, SHOWN, BATCH = 20, 0.01, 8, 50
ROUNDING = 1e-6
COLUMNS = (
    ("network", "24"), ("part", "14"), ("units", "5d"), ("detectors", "9d"), ("best_iou", "8.3f"), ("identical", "9"),
    ("right", "6.1%"), ("few_off", "7.1%"), ("more_off", "8.1%"), ("confounder", "12"), ("layer", "15"),
    ("wrong_before", "12.1%"), ("wrong_after", "11.1%"), ("elsewhere_before", "16.1%"), ("elsewhere_after", "15.1%"),
)  # fmt: skip


class LabelledOnce(LabelledBy):
    """Pictures that are labelled one at a time, and once: a network labels those of a batch a little otherwise."""

    def __init__(self, pictures: ClassedPictures, source: ConceptSource):
        super().__init__(pictures, source)
        self._known: dict[int, Tensor] = {}

    def labels(self, numbers: Sequence[int]) -> Tensor:
        for number in numbers:
            if number not in self._known:
                self._known[number] = super().labels([number])
        return torch.cat([self._known[number] for number in numbers])


class OneByOne(PictureProbe):
    """A probe that shows a network one picture at a time: in a batch, some numbers are rounded otherwise."""

    def activations(self, numbers: Sequence[int]) -> Activations:
        return self._joined([super(OneByOne, self).activations([number]) for number in numbers])

    def observe(self, numbers: Sequence[int]) -> Observed:
        images, labels = self.pictures.images(numbers), self.pictures.labels(numbers)
        return Observed(self.activations(numbers), images, labels)

    def _joined(self, found: Sequence[Activations]) -> Activations:
        return {name: torch.cat([each[name] for each in found]) for name in self.layers}


def dissected(trained: Trained, pictures: ClassedPictures, out: Path) -> dict[str, Any]:
    """The agreement of units with concepts, by us and by a plain count, and pictures of the best units."""
    labelled = LabelledOnce(pictures, trained.source)
    part, classifier = trained.part, trained.classifier
    probe = OneByOne(classifier.module, [part], labelled, classifier.prepare, insets={part: trained.inset})
    samples, levels = len(pictures.numbers) * (LEVEL_SHARE - 1) // LEVEL_SHARE, len(pictures.numbers)
    began = time.perf_counter()
    found = dissect(probe, samples, level_samples=levels, progress=True)
    seconds = time.perf_counter() - began
    write_units(out / "units", probe, found, f"Units of {trained.part} in {trained.name}")
    one = found[trained.part]
    best = one.scores.iou.max(axis=1)
    shown = np.argsort(-best, kind="stable")[:SHOWN]
    lit = unit_strips(probe, found)[trained.part]
    names = [f"unit {unit}: {one.concepts.names[one.scores.best[unit]]} {best[unit]:.2f}" for unit in shown]
    save_picture(out / "units.png", grid([lit[unit] for unit in shown], names, columns=2, tile=200))
    return {
        "part": trained.part,
        "units": len(best),
        "detectors": int(one.scores.detects(0.04).sum()),
        "best_iou": float(best.max()),
        "dissection_seconds": seconds,
        **against_plain(probe, one, *probe.split(samples, levels)),
    }


def against_plain(probe: PictureProbe, one: Dissection, level_numbers, numbers) -> dict[str, Any]:
    """Whether levels and IoU are those of a plain count: whole maps, all values sorted, a loop over all pairs."""
    values = torch.cat([_enlarged(probe, [number]).flatten(2)[0][:, sampled_pixels([number], _size(probe))[0]]
                        for number in level_numbers], dim=1)  # fmt: skip
    # So many of the sorted values lie above the level.
    above = int(TAIL * values.shape[1])
    levels = torch.from_numpy(np.sort(values.numpy(), axis=1)[:, -1 - above].copy())
    both, either = (np.zeros(one.scores.iou.shape, np.int64) for _ in range(2))
    for number in numbers:
        lit = (_enlarged(probe, [number])[0] > levels[:, None, None]).flatten(1).numpy()
        labels = probe.pictures.labels([number])[0].flatten(1).numpy()
        for concept in range(len(one.concepts)):
            shown = (labels == concept).any(axis=0)
            both[:, concept] += lit[:, shown].sum(axis=1)
            either[:, concept] += lit.sum(axis=1) + shown.sum()
    either -= both
    iou = np.divide(both, either, out=np.zeros(both.shape), where=either > 0)
    return {
        "identical": bool(torch.equal(levels, one.levels) and np.array_equal(iou, one.scores.iou)),
        "largest_difference": float(np.abs(iou - one.scores.iou).max()),
        "levels_apart": float((levels - one.levels).abs().max()),
    }


def _size(probe: PictureProbe) -> tuple[int, int]:
    height, width = probe.pictures.images(probe.pictures.numbers[:1]).shape[-2:]
    return int(height), int(width)


def _enlarged(probe: PictureProbe, numbers: list[int]) -> Tensor:
    """The whole maps of some pictures, upsampled; the operations of torch round otherwise, and no more than that."""
    maps, size = probe.activations(numbers)[probe.layers[0]], _size(probe)
    enlarged = upsampling((maps.shape[-2], maps.shape[-1]), size).everywhere(maps)
    others = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    assert (enlarged - others).abs().max() <= ROUNDING * maps.abs().max()
    return enlarged


def roles_of(trained: Trained, folder: Path, out: Path) -> dict[str, Any]:
    """What classes lose without units; as many pictures of a class choose them as score them."""
    few, more = trained.sizes
    options = Namespace(
        classifier=trained.name, part=trained.part, pictures=str(folder), training=25, test=25, few=few, more=more,
        promising=trained.screen, classes=None, out=out / "roles",
    )  # fmt: skip
    began = time.perf_counter()
    found = roles.measured(trained.classifier, options)
    rows = found["classes"]
    return {
        "right": found["unchanged"]["value"],
        "unchanged": float(np.mean([row["unchanged"]["value"] for row in rows])),
        "few_off": float(np.mean([row["few"]["value"] for row in rows])),
        "more_off": float(np.mean([row["more"]["value"] for row in rows])),
        "roles_seconds": time.perf_counter() - began,
    }


def rewritten(trained: Trained, out: Path) -> dict[str, Any]:
    """The rule in each layer; of those that cost little elsewhere the one that mends most, on pictures of neither."""
    said, confound = trained.confounder
    images, truth = trained.given
    paired = torch.zeros(len(images), dtype=torch.bool)
    paired[:: len(images) // PAIRS] = True
    for name, shown in (("keys", confound(images[paired])), ("values", images[paired])):
        write_pictures(out / name, shown)
    ordinary = out / "ordinary"
    write_classes(ordinary, images[~paired], truth[~paired])
    tried, least = [], None
    for layer in trained.layers:
        options = Namespace(
            layer=layer, keys=out / "keys", values=out / "values", keep=None, rank=None, name=said,
            pictures=str(ordinary), training=30, test=1, out=out / "rules" / layer,
        )  # fmt: skip
        began = time.perf_counter()
        pairs.rewritten(trained.classifier, options)
        seconds, patch = time.perf_counter() - began, Patch.load(options.out / "patch.safetensors")
        confounded, plain = (effect_of(trained, patch, change, *trained.validation) for change in (confound, None))
        lost = (plain["before"] - plain["after"]) / plain["pictures"]
        order = (0.0, -confounded["after"]) if lost <= MOST_LOST else (lost, -confounded["after"])
        tried.append({"layer": layer, "confounded": confounded, "plain": plain, "seconds": seconds})
        print(json.dumps(tried[-1]), flush=True)
        if least is None or order < least[0]:
            least = order, layer, patch
    assert least is not None
    _, layer, patch = least
    confounded, plain = (effect_of(trained, patch, change, *trained.test) for change in (confound, None))
    shown_pictures(trained, patch).save(out / "rule.png")
    shares = {
        "wrong_before": 1 - confounded["before"] / confounded["pictures"],
        "wrong_after": 1 - confounded["after"] / confounded["pictures"],
        "elsewhere_before": plain["before"] / plain["pictures"],
        "elsewhere_after": plain["after"] / plain["pictures"],
    }
    return {"confounder": said, "layer": layer, **shares, "confounded": confounded, "plain": plain, "tried": tried}


def effect_of(trained: Trained, patch: Patch, change, images: Images, truth: Tensor) -> dict[str, int]:
    """How many of some pictures are named right before and after."""
    return _named(trained, patch, images if change is None else change(images), truth).counts()


def _named(trained: Trained, patch: Patch, images: Images, truth: Tensor) -> Named:
    return named_by(trained.classifier, patch, lambda: zip(images.split(BATCH), truth.split(BATCH), strict=True))


def shown_pictures(trained: Trained, patch: Patch):
    """Some pictures of the third set as they are and confounded, with what they were named and are named."""
    images, truth = (each[:: max(1, len(trained.test[0]) // SHOWN)][:SHOWN] for each in trained.test)
    confounded = trained.confounder[1](images)
    named, names = _named(trained, patch, confounded, truth), trained.classifier.classes
    captions = [f"{names[one]}, then {names[other]}" for one, other in zip(named.before, named.after, strict=True)]
    return strips({"plain": to_pil(images), trained.confounder[0]: to_pil(confounded)}, captions, tile=120)


def write_pictures(folder: Path, images: Images) -> None:
    """Pictures as PNG, by number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(to_pil(images)):
        picture.save(folder / f"{number:04d}.png")


def write_classes(folder: Path, images: Images, truth: Tensor) -> None:
    """Pictures as PNG, in a folder for each class."""
    for number in truth.unique().tolist():
        write_pictures(folder / str(number), images[truth == number])


def measure(trained: Trained, out: Path) -> dict[str, Any]:
    """All that is asked of one network."""
    images, truth = trained.test
    write_classes(out / "pictures", images[:500], truth[:500])
    images, truth = (torch.cat(both)[:500] for both in zip(trained.test, trained.given, strict=True))
    write_classes(out / "dissected", images, truth)
    pictures = pictures_for(str(out / "dissected"), trained.classifier, 0)
    row = {"network": trained.name, **dissected(trained, pictures, out)}
    row |= roles_of(trained, out / "pictures", out)
    row |= rewritten(trained, out)
    write_text(out / "result.json", json.dumps(row, indent=1) + "\n")
    return row


def table(rows: list[Mapping[str, Any]]) -> str:
    """The rows, one network a line."""
    lines = [" ".join(f"{name:>{_width(name, form)}}" for name, form in COLUMNS)]
    lines += [" ".join(f"{_text(row[name], form):>{_width(name, form)}}" for name, form in COLUMNS) for row in rows]
    return "\n".join(lines)


def _text(value: Any, form: str) -> str:
    return str(value) if form.isdecimal() else f"{value:{form}}"


def _width(name: str, form: str) -> int:
    return max(len(name), int(form.split(".")[0].rstrip("d")))


@torch.no_grad()
def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="folder of the networks")
    parser.add_argument("--networks", default=",".join(TRAINED), help=f"some of {', '.join(TRAINED)}")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(TRAINED[name](options.weights), options.out / name) for name in options.networks.split(",")]
    print(table(rows))


if __name__ == "__main__":
    main()
