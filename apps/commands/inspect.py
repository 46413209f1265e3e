"""`rewrite inspect`: what a file holds, without running it."""

import json
from argparse import Namespace
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dissect.segmenter import load_segmenter
from rewrite import Rule, files, memory, patch
from rewrite.checkpoints import containers, native
from rewrite.checkpoints.loading import BUILT_IN as GENERATORS
from rewrite.report import SCHEMA
from rewrite.rule import LARGEST_FILE
from rewrite.rules import BUILT_IN as RULES


def run(options: Namespace) -> dict:
    """Look into the file."""
    path = {**GENERATORS, **RULES}.get(options.file, Path(options.file))
    _check(path)
    with path.open("rb") as file:
        start = file.read(4096).lstrip()
    # The length that a safetensors file begins with may look like a brace too, but holds zeros.
    if start[:1] in (b"{", b"[") and b"\0" not in start[:8]:
        return {"file": str(path), **_document(path)}
    return {"file": str(path), **_binary(path)}


def tell(result: dict) -> str:
    """Say what the file holds, one fact a line."""
    return "\n".join(_lines(result))


def _check(path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a file")
    if not path.exists():
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, [*siblings, *GENERATORS, *RULES], 1)
        raise FileNotFoundError(f"there is no file {path}" + (f": did you mean {near[0]}?" if near else ""))


def _document(path: Path) -> dict[str, Any]:
    """A JSON file: a rule, a report, or something else."""
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path} is a JSON file of more than {LARGEST_FILE} bytes, which none of ours is")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} looks like JSON, but is damaged: {error}") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema == SCHEMA:
        names = ("rules", "model", "images", "measured_by", "efficacy", "outside", "expectations", "notes")
        return {"kind": "report", **{name: document.get(name) for name in names}}
    if isinstance(schema, str) and schema.startswith("rewrite-rule/"):
        return {"kind": "rule", **_rule(Rule.load(path))}
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


def _binary(path: Path) -> dict[str, Any]:
    try:
        kind, about = files.read_header(path)
    except ValueError:
        return containers.describe(path)
    known = {"generator": _generator, "memory": memory.describe, "patch": patch.describe, "segmenter": _segmenter}
    if kind not in known:
        raise ValueError(f"{path} is a file of this library, but holds a {kind!r}, which this version does not know")
    details = known[kind](path) if kind in ("memory", "patch") else known[kind](path, about)
    return {"kind": kind, **details}


def _generator(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    generator = native.load(path)
    layers = {
        name: f"{layer.inputs} to {layer.outputs} channels at {layer.output_grid[0]} x {layer.output_grid[1]}"
        for name, layer in generator.layers.items()
    }
    return {
        "family": about["family"],
        "model": generator.fingerprint,
        "size": list(generator.size),
        "weights": sum(parameter.numel() for parameter in generator.module.parameters()),
        "layers": layers,
        "training": about.get("training", {}),
        "edits": [{"layers": each.get("layers")} for each in about.get("edits", [])],
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
