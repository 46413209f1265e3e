"""`rewrite inspect`: what a file holds, without running it."""

from argparse import Namespace
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from apps.commands.models import describe
from dissect.causes.painting import SCHEMA as PAINTING
from dissect.causes.painting import Painting
from dissect.photographs import photograph
from dissect.photographs import unfinished as search
from dissect.segmenter import load_segmenter
from dissect.units import dissection
from rewrite import ClassifierRule, Rule, memory, patch
from rewrite.checkpoints import containers, discriminators, hub, registry
from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import CHOICE, split_choice
from rewrite.checkpoints.foreign import ForeignFile
from rewrite.checkpoints.loading import BUILT_IN as GENERATORS
from rewrite.checkpoints.loading import open_checkpoint
from rewrite.checkpoints.native import NativeFile
from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.loading import open_classifier
from rewrite.classifiers.packaged import BUILT_IN as CLASSIFIERS
from rewrite.generators.contract import Generator
from rewrite.generators.network import Network
from rewrite.memory import unfinished
from rewrite.reports.report import OF_CLASSIFIER as PICTURE_REPORT
from rewrite.reports.report import SCHEMA as REPORT
from rewrite.rules import BUILT_IN as RULES
from rewrite.rules.documents import OF_CLASSIFIER
from rewrite.rules.marks import SCHEMA as MARKS
from rewrite.rules.marks import Marks
from rewrite.rules.rule import LARGEST_FILE
from rewrite.storage import files, ledger
from rewrite.storage.quoting import quoted

LONGEST_OPTION = 120
MOST_CLASSES = 20
OUTSIDE = ("outside_strict", "outside_lenient", "outside")


def run(options: Namespace) -> dict:
    """Read the file. Of a published one that is not in the cache, say what the registry knows."""
    name, key = split_choice(options.file)
    path = {**GENERATORS, **CLASSIFIERS, **RULES}.get(name, Path(name))
    if options.file in registry.PUBLISHED and not path.is_file():
        published = registry.find(options.file)
        if not published.path.is_file():
            known = describe(published)
            return {"kind": "published checkpoint", **known, "size": known["size"] or "unknown"}
        path = published.path
    elif options.file.startswith(hub.SCHEME):
        path = hub.cached(options.file)
    _check(path)
    start = files.start_of(path, 4096).lstrip()
    # A safetensors file begins with its length, which may look like a brace too, but holds zeros.
    if start[:1] in (b"{", b"[") and b"\0" not in start[:8]:
        return {"file": str(path), **_document(path)}
    return {"file": options.file if key else str(path), **(_foreign(path, key) if key else _binary(path))}


def tell(result: dict) -> str:
    """The facts, one per line."""
    return "\n".join(_lines(result))


def _check(path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a file")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file")
    if not path.exists():
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, [*siblings, *GENERATORS, *CLASSIFIERS, *RULES, *registry.PUBLISHED], 1)
        raise FileNotFoundError(f"there is no file {path}" + (f": did you mean {near[0]}?" if near else ""))


def _document(path: Path) -> dict[str, Any]:
    """A JSON file: a rule, a report, a painting, or something else."""
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path} is a JSON file of more than {LARGEST_FILE} bytes, which none of ours is")
    document = files.read_json(path, "JSON file")
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema == REPORT:
        figures = ("efficacy", *(name for name in OUTSIDE if name in document))
        names = ("rules", "model", "images", "measured_by", *figures, "expectations", "notes")
        return {"kind": "report", **{name: document.get(name) for name in names}}
    if schema == PICTURE_REPORT:
        names = ("rules", "model", "pictures", "error_before", "error_after", "other_classes", "mended", "broken")
        return {"kind": "report on a classifier", **{name: document.get(name) for name in names}}
    if isinstance(schema, str) and schema.startswith("rewrite-rule/"):
        return {"kind": "rule", **_rule(Rule.load(path))}
    if schema == OF_CLASSIFIER:
        return {"kind": "rule of a classifier", **_pairs(ClassifierRule.load(path))}
    if schema == PAINTING:
        painting = Painting.load(path)
        names = ("model", "layer", "seed", "truncation", "label")
        return {
            "kind": "painting",
            **{name: getattr(painting, name) for name in names},
            "strokes": len(painting.strokes),
        }
    if schema == MARKS:
        marks = Marks.load(path)
        about = {name: getattr(marks, name) for name in ("model", "truncation", "label")}
        return {"kind": "marks", **about, "images": len(marks.images), "regions": len(marks.regions)}
    return {"kind": "JSON file of another tool"}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "model": rule.model,
        "layer": rule.layer,
        "action": rule.action,
        "copies": len(rule.copy),
        "places": len(rule.places),
        "images": len({place.latent for place in rule.places}),
        "protected": len(rule.protect),
        "effect": dict(rule.effect),
        "expect": dict(rule.expect),
    }


def _pairs(rule: ClassifierRule) -> dict[str, Any]:
    pictures = {"pairs": len(rule.keys), "kept": len(rule.keep), "size": list(rule.keys.shape[1:3])}
    return {"name": rule.name, "model": rule.model, "layer": rule.layer, **pictures}


def _binary(path: Path) -> dict[str, Any]:
    try:
        kind, about = files.read_header(path)
    except ValueError:
        return _foreign(path)
    known = {
        "generator": lambda: _generator(path, about),
        "memory": lambda: memory.describe(path),
        unfinished.KIND: lambda: unfinished.describe(path),
        "patch": lambda: patch.describe(path),
        "segmenter": lambda: _segmenter(path, about),
        "classifier": lambda: {**_classifier(open_classifier(path)), "training": about.get("training", {})},
        "dissection": lambda: dissection.describe(path),
        photograph.KIND: lambda: photograph.describe(path),
        search.KIND: lambda: search.describe(path),
    }
    if kind in known:
        return {"kind": kind, **known[kind]()}
    if "done" in about:
        return {"kind": f"{kind} of a run, which can go on from it", **ledger.describe(path, kind)}
    raise ValueError(f"{path} is a file of this library, but holds a {quoted(kind)}, which this version does not know")


def _foreign(path: Path, key: str | None = None) -> dict[str, Any]:
    """A file of another tool: its generator, or the kind of file and why its generator cannot be read."""
    described = containers.describe(path)
    if described["kind"] not in containers.OF_WEIGHTS:
        return described
    try:
        opened = open_checkpoint(path if key is None else Path(f"{path}{CHOICE}{key}"))
    except ValueError as error:
        return _of_classifier(path, key, described) or {**described, "generator": f"not read: {error}"}
    found = {"kind": "generator", "container": described["kind"], "family": opened.family, **_network(opened.generator)}
    return found if isinstance(opened, NativeFile) else {**found, **_beside(opened.archive)}


def _of_classifier(path: Path, key: str | None, described: Mapping[str, Any]) -> dict[str, Any] | None:
    """A state dict of a classifier that is known by its tensors; None if it is none."""
    try:
        opened = open_classifier(path if key is None else Path(f"{path}{CHOICE}{key}"))
    except (ValueError, LookupError, FileNotFoundError):
        return None
    return {"kind": "classifier", "container": described["kind"], **_classifier(opened)}


def _classifier(opened: ForeignFile[Classifier]) -> dict[str, Any]:
    classifier = opened.generator
    shown = list(classifier.classes[:MOST_CLASSES])
    more = len(classifier.classes) - len(shown)
    return {
        "family": opened.family,
        "model": classifier.fingerprint,
        "size": list(classifier.size),
        "classes": [*shown, *([f"and {more} more"] if more else [])],
        "weights": sum(parameter.numel() for parameter in classifier.module.parameters()),
        "layers": _layers(classifier),
    }


def _beside(archive: Archive) -> dict[str, Any]:
    """What else a training checkpoint holds: the discriminator, and options that are plain values."""
    found: dict[str, Any] = {}
    try:
        judge = discriminators.describe(archive)
    except ValueError as error:
        judge = f"not read: {error}"
    if judge is not None:
        found["discriminator"] = judge
    content = archive.content if isinstance(archive.content, dict) else {}
    plain = {name: _plain(value) for name, value in content.items() if isinstance(value, dict)}
    options = {str(name): value for name, value in plain.items() if value}
    return {**found, "training options": options} if options else found


def _plain(options: Mapping) -> dict[str, Any]:
    """The entries of a dictionary that are text or numbers."""
    kept = {str(name): value for name, value in options.items() if isinstance(value, str | int | float)}
    return {name: value[:LONGEST_OPTION] if isinstance(value, str) else value for name, value in kept.items()}


def _generator(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_native(path, about),
        "training": about.get("training", {}),
        "edits": _edits(about),
    }


def _native(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    opened = open_checkpoint(path)
    return {"family": about.get("family", opened.family), **_network(opened.generator)}


def _edits(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    edits = about.get("edits", [])
    return [{"layers": each.get("layers")} for each in edits if isinstance(each, Mapping)] if edits else []


def _network(generator: Generator) -> dict[str, Any]:
    return {
        "model": generator.fingerprint,
        "size": list(generator.size),
        **({"classes": generator.classes} if generator.classes else {}),
        **({"assumed": list(generator.assumed)} if generator.assumed else {}),
        "weights": sum(parameter.numel() for parameter in generator.module.parameters()),
        "layers": _layers(generator),
    }


def _layers(network: Network) -> dict[str, str]:
    return {
        name: f"{layer.inputs} to {layer.outputs} channels at {layer.output_grid[0]} x {layer.output_grid[1]}"
        for name, layer in network.layers.items()
    }


def _segmenter(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    segmenter = load_segmenter(path)
    weights = sum(parameter.numel() for parameter in segmenter.parameters())
    return {"concepts": list(segmenter.concepts), "weights": weights, "training": about.get("provenance", {})}


def _lines(value: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            lines += [f"{indent}{name}:", *_lines(item, f"{indent}  ")]
        elif isinstance(item, list) and item and isinstance(item[0], Mapping):
            lines += [f"{indent}{name}:", *(line for each in item for line in _lines(each, f"{indent}  "))]
        else:
            lines.append(f"{indent}{name}: {_text(item)}")
    return lines


def _text(item: Any) -> str:
    if isinstance(item, list):
        return ", ".join(map(_text, item)) or "none"
    if isinstance(item, float):
        return f"{item:.6g}"
    return "none" if item is None or item == {} else str(item)
