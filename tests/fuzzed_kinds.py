"""Good files of every kind that is opened, and good values of every kind that the page sends, with what opens them."""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from apps.commands import inspect
from apps.dissections import dissection_for
from apps.editor.easel import read_strokes
from apps.editor.marks import read_marks
from apps.editor.proposal_list import read_answers
from apps.editor.rule_list import read_rule_requests
from apps.editor.unit_grid import read_ticked
from apps.seeds import parse_seeds
from dissect import Painting
from dissect.segmenter import PACKAGED, load_segmenter
from dissect.sources.folders import Annotations, Broden
from dissect.sources.images import ImageFolder
from dissect.sources.names import read_names
from dissect.units.dissection import Dissection, save_dissections
from dissect.units.tally import Tally
from dissect.units.tops import Tops
from rewrite import (
    Memory,
    Patch,
    Rule,
    from_peft,
    load_discriminator,
    load_generator,
    measure,
    model_card,
    report_on,
    report_pictures,
    solve,
    to_peft,
)
from rewrite.checkpoints import native
from rewrite.checkpoints.containers import describe
from rewrite.classifiers.loading import load_classifier
from rewrite.classifiers.packaged import save_small
from rewrite.classifiers.rule import ClassifierRule
from rewrite.classifiers.small_cnn import SmallCNN, SmallDesign
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.goals.goal import check_origin
from rewrite.memory.measurement import Measurement
from rewrite.reports.concepts import Concepts
from rewrite.reports.report import load_report
from rewrite.storage.ledger import read as read_ledger
from tests.foreign_files import proggan_state, write_rosinality
from tests.networks import (
    CONFIG,
    PlainGenerator,
    marked_rule,
    patch_of,
    random_discriminator,
    random_stylegan2,
    random_stylegan3,
)
from tests.nvidia_files import discriminator, stylegan2, write_network, write_stylegan3

Act = Callable[[Path], object]
INPUT = "input"


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        seeds: Good files.
        acts: What opens them.
    """

    seeds: tuple[bytes, ...]
    acts: tuple[Act, ...]


def kinds(folder: Path) -> dict[str, Kind]:
    """Good files of every kind, made in a folder; what is tried is to be written there as `INPUT`."""
    return {**_of_files(folder), **_of_the_page(), **_of_folders(folder), "adapter": _adapter(folder)}


def looked_at(path: Path) -> object:
    """What `rewrite inspect` does."""
    return inspect.run(argparse.Namespace(file=str(path)))


def _of_files(folder: Path) -> dict[str, Kind]:
    path = folder / "seed"

    def saved(save: Callable[[Path], object]) -> bytes:
        save(path)
        return path.read_bytes()

    native.save_stylegan2(path, random_stylegan2().state_dict(), CONFIG, {})
    model = folder / "model.safetensors"
    model.write_bytes(path.read_bytes())
    generator, rule = load_generator(model), marked_rule(model)
    memory = measure(generator, rule.layer, 10)
    patch = solve(generator, memory, rule, rank=2)
    report = report_on(generator, patch, seeds=range(5, 8))
    report.save(folder / "report")
    stroke = {"action": "remove", "units": [1, 2], "strength": 1.0, "mask": {"size": [16, 16], "runs": [[0, 4]]}}
    about = {"schema": "rewrite-painting/1", "model": generator.fingerprint, "layer": rule.layer, "seed": 1}
    painting = json.dumps({**about, "strokes": [stroke]}).encode()
    dissection = saved(lambda each: save_dissections(each, {"b8.conv1": _dissection(generator.fingerprint)}))
    state = partial(Measurement, generator, rule.layer, 50)
    return {
        "checkpoint": Kind(_checkpoints(path), (load_generator, load_discriminator, describe, looked_at)),
        "memory": Kind((saved(memory.save),), (lambda each: Memory.load(each).check(generator, rule.layer), looked_at)),
        "part of a memory": Kind((_ended(state(), path),), (lambda each: state().go_on(each), looked_at)),
        "patch": Kind((saved(patch.save),), (lambda each: Patch.load(each).check(generator), looked_at)),
        "rule": Kind((saved(rule.save),), (lambda each: check_origin(generator, Rule.load(each)), looked_at)),
        "report": Kind(
            ((folder / "report" / "report.json").read_bytes(),),
            (lambda each: model_card(generator, patch, report=load_report(each), model=model), looked_at),
        ),
        "painting": Kind((painting,), (Painting.load, looked_at)),
        "segmenter": Kind((PACKAGED.read_bytes(),), (load_segmenter, looked_at)),
        "dissection": Kind(
            (dissection,), (partial(dissection_for, layer="b8.conv1", model=generator.fingerprint), looked_at)
        ),
        "state of a run": Kind((dissection,), (partial(read_ledger, kind="dissection"),)),
        **_of_classifiers(path),
        "names of labels": Kind((b"Idx\tName\n1\ttree\n2\tdome; spire\n", b"tree\ndome\n"), (read_names,)),
    }


def _of_classifiers(path: Path) -> dict[str, Kind]:
    network = SmallCNN(SmallDesign(("cat", "dog", "owl"), (4, 6), size=(16, 16), norm=True))
    save_small(path, network, {"seed": 1})
    own, classifier = path.read_bytes(), load_classifier(path)
    # One whose networks of torchvision are tried, as it has the weights of a head.
    torch.save({"conv.weight": torch.ones(2, 3, 3, 3), "fc.weight": torch.ones(4, 2), "fc.bias": torch.ones(4)}, path)
    unknown, images = path.read_bytes(), torch.rand(2, 3, 16, 16) * 2 - 1
    ClassifierRule.of(classifier, "conv2", images, -images, keep=images[:1]).save(path)
    ruled, patch = path.read_bytes(), patch_of(classifier, "conv2", ruled=False)
    report_pictures(classifier, patch, _Held(), range(2)).save(path.parent / "picture report")
    report, model = path.parent / "picture report" / "report.json", path.parent / "classifier.safetensors"
    model.write_bytes(own)
    return {
        "report on a classifier": Kind(
            (report.read_bytes(),),
            (lambda each: model_card(classifier, patch, report=load_report(each), model=model), looked_at),
        ),
        "classifier": Kind((own, unknown), (load_classifier, looked_at)),
        "rule of a classifier": Kind((ruled,), (ClassifierRule.load, looked_at)),
    }


class _Held:
    """Two pictures in memory."""

    identity = "two pictures"

    def images(self, numbers: Sequence[int]) -> torch.Tensor:
        return torch.zeros(len(numbers), 3, 16, 16)

    def classes(self, numbers: Sequence[int]) -> torch.Tensor:
        return torch.zeros(len(numbers), dtype=torch.long)


def _dissection(model: str) -> Dissection:
    """A small one, so that what is found with it may be kept."""
    concepts = Concepts(("sky", "tree"), ("background", "object"))
    found = Dissection("b8.conv1", concepts, torch.ones(3), Tally.empty(3, concepts), Tops.empty(3))
    return replace(found, numbers=((0, 2), (4, 5)), identity={"model": model, "source": "towers", "truncation": 1.0})


def _checkpoints(path: Path) -> tuple[bytes, ...]:
    native.save_stylegan2(path, random_stylegan2().state_dict(), CONFIG, {})
    generator, made = load_generator(path), [path.read_bytes()]
    scaled = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, conv_gain=True)), noise="const")
    made.append(write_rosinality(path, scaled).read_bytes())
    torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=False)
    made.append(path.read_bytes())
    made.append(write_network(path, stylegan2(generator.network), D=discriminator(random_discriminator())).read_bytes())
    made.append(write_stylegan3(path, random_stylegan3()).read_bytes())
    torch.save(proggan_state(), path)
    made.append(path.read_bytes())
    return tuple(made)


def _ended(measurement: Measurement, path: Path) -> bytes:
    """What is left of a measurement that was ended."""

    def end(_: int) -> None:
        raise KeyboardInterrupt

    try:
        with measurement.kept(path):
            measurement.memory(on_progress=end)
    except KeyboardInterrupt:
        return path.read_bytes()
    raise AssertionError("nothing ended it")


def _of_the_page() -> dict[str, Kind]:
    runs = [[34, 4], [50, 4]]
    stroke = {"do": "stroke", "turn": 3, "runs": runs, "concept": "tree", "action": "draw", "strength": 0.5, "count": 4}
    values: dict[str, tuple[Any, Callable[[Any], object]]] = {
        "marks of the page": (
            {"marks": [{"seed": 1, "role": "copy", "runs": runs}], "heat": False},
            lambda value: read_marks(value, 16),
        ),
        "requests of the page": (
            {"requests": [{"do": "strength", "turn": 1, "index": 0, "to": 0.5}, {"do": "undo", "turn": 2}]},
            lambda value: read_rule_requests(value, 0),
        ),
        "strokes of the page": ({"requests": [stroke]}, lambda value: read_strokes(value, 0, 16)),
        "answers of the page": ({"requests": [{"do": "accept", "turn": 1}]}, lambda value: read_answers(value, 0)),
        "ticks of the page": ({"layer": "b8.conv1", "ticked": [1, 2], "turn": 4}, read_ticked),
        "seeds of the page": (["0-3,7"], lambda value: parse_seeds(value[0]) if _is_text(value) else None),
    }
    return {name: Kind((json.dumps(good).encode(),), (partial(_sent, read),)) for name, (good, read) in values.items()}


def _is_text(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and isinstance(value[0], str)


def _sent(read: Callable[[Any], object], path: Path) -> object:
    """A value of the page, as it comes from the socket."""
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ValueError("the socket refuses what is no JSON") from None
    return read(document)


def _of_folders(folder: Path) -> dict[str, Kind]:
    """Folders of pictures, of which one file is the input: the picture, the label map, a table."""
    colours = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    made = {}
    for name, written in {"photo.jpg": colours, "photo.png": colours, "map.png": colours[:, :, 0] % 3}.items():
        Image.fromarray(written).save(folder / name)
        made[name] = (folder / name).read_bytes()
    red_green = np.dstack([colours[:, :, 0] % 3, np.zeros((16, 16, 2), dtype=np.uint8)])
    Image.fromarray(red_green).save(folder / "red-green.png")
    made["red-green.png"] = (folder / "red-green.png").read_bytes()
    ade = {"images/a.jpg": made["photo.jpg"], "annotations/a.png": made["map.png"], "names.txt": b"tree\ndome\n"}
    broden = {
        "images/a.jpg": made["photo.jpg"],
        "images/a.png": made["red-green.png"],
        "index.csv": b"image,split,object,scene\na.jpg,train,a.png,1;2\n",
        "label.csv": b"number,name,category\n1,tree,object(2)\n2,street,scene(1);object(3)\n",
    }
    photos = (made["photo.jpg"], made["photo.png"])
    return {
        "picture": Kind(photos, (_of_folder(folder, "photos", {}, "a.png", lambda at: ImageFolder(at, (8, 8))),)),
        "label map": Kind((made["map.png"],), (_of_folder(folder, "ade", ade, "annotations/a.png", Annotations),)),
        "label map of Broden": Kind(
            (made["red-green.png"],), (_of_folder(folder, "broden", broden, "images/a.png", Broden),)
        ),
        "index of pictures": Kind((broden["index.csv"],), (_of_folder(folder, "index", broden, "index.csv", Broden),)),
        "table of labels": Kind((broden["label.csv"],), (_of_folder(folder, "labels", broden, "label.csv", Broden),)),
    }


def _of_folder(folder: Path, name: str, files: dict[str, bytes], tried: str, read: Callable[[Path], Any]) -> Act:
    """What opens a folder of which one file is the input: another name of it, since links that lead out are refused."""
    place = folder / name
    for file, content in files.items():
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_bytes(content)
    (place / tried).parent.mkdir(parents=True, exist_ok=True)
    (place / tried).unlink(missing_ok=True)
    (folder / INPUT).touch()
    os.link(folder / INPUT, place / tried)

    def act(_: Path) -> None:
        pictures = read(place)
        pictures.images(pictures.numbers[:1])
        if hasattr(pictures, "labels"):
            pictures.labels(pictures.numbers[:1])

    return act


def _adapter(folder: Path) -> Kind:
    """The weights of an adapter, whose other file is good."""
    to_peft(wrapped := PlainGenerator(), patch_of(wrapped, next(iter(wrapped.layers))), folder / "adapter")
    weights = folder / "adapter" / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    weights.symlink_to(folder / INPUT)
    return Kind((content,), (lambda path: from_peft(wrapped, path.parent / "adapter"),))
