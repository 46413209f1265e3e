"""A model card: what was edited, on which base, how well by what was measured, and how to use it again, as Markdown."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewrite.checkpoints.downloads import hash_of
from rewrite.checkpoints.loading import open_checkpoint, path_of
from rewrite.generators.contract import Generator
from rewrite.patch import Patch, held_at
from rewrite.reports.page import FORECAST, MEASURED
from rewrite.reports.report import is_report_of
from rewrite.rules.rule import Rule

LIBRARY = "model-rewriting"
TAGS = ("model-editing", "model-rewriting", "image-generation")
LONGEST = 300
LARGEST = 1e15
UNKNOWN = "not measured"
UNSAID = "not stated"
PEFT = "peft"
MARKS = re.compile(r"([\\`*_{}\[\]()#+.!|~:@$^=]|^-)")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
LOADED = """from rewrite import load_generator

generator = load_generator({name})
images = generator.sample(range(16))"""
TENSORS = """from safetensors.torch import load_file

state = load_file({name})"""
STATE_DICT = """import torch

state = torch.load({name}, weights_only=True)"""
ADAPTER = """from peft import PeftModel

module = PeftModel.from_pretrained(module, {name})  # module: the network of the base"""
USES = {"same": LOADED, "safetensors": TENSORS, "state-dict": STATE_DICT, PEFT: ADAPTER}
FIGURES = {"efficacy": "Efficacy", "outside": "Outside"}
LOOKS = {"whole": "LPIPS, whole image", "outside": "LPIPS, outside"}


def model_card(
    generator: Generator,
    patches: Patch | Sequence[Patch],
    *,
    model: str | Path | None = None,
    strengths: Sequence[float] | None = None,
    report: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    container: str = "same",
) -> str:
    """Write the card of an edited generator.

    Nothing stands in it that is not in the patches, the base's file or the report; what is in none of them is called
    "not measured" or "not stated". Texts from rules and reports are shown as they are, and never as Markdown or HTML.

    Args:
        generator: The unedited generator.
        patches: The patch or patches.
        model: Name or path of the generator's checkpoint; the one that it was loaded from if left out.
        strengths: The strength of each patch; 1 if left out.
        report: A report on these patches at these strengths, from `rewrite.reports.report.load_report`.
        out: The file or folder that the card goes with.
        container: What that is: `same`, `safetensors`, `state-dict` or `peft`.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        LookupError: The generator has no such layer.
        ValueError: The checkpoint is another generator's, a patch was made for another weight, or the report is one on
            other patches.
    """
    path, held = path_of(generator, model), held_at(patches, strengths)
    checkpoint = open_checkpoint(path)
    if checkpoint.generator.fingerprint != generator.fingerprint:
        raise ValueError(f"{path} is not the checkpoint that this generator was loaded from")
    for patch, _ in held:
        patch.check(generator)
    if report is not None and not is_report_of(report, generator.fingerprint, held):
        raise ValueError("the report was not measured with these patches, in this order and strength, on this model")
    rules = [Rule.from_json(text) for text in dict.fromkeys(rule for patch, _ in held for rule in patch.rules)]
    use = "same" if container == "safetensors" else container
    base = {
        "File": _text(path.name),
        "Family": _text(checkpoint.family),
        "Fingerprint": _code(generator.fingerprint),
        "SHA-256": _code(hash_of(path)),
    }
    sections = [
        _front(path.name),
        f"# {_text(path.stem)}, edited: {', '.join(_text(rule.name) for rule in rules) or 'patches without a rule'}",
        _introduction(held, container),
        f"## Base\n\n{_table(('', ''), base.items())}",
        f"## Edited layers\n\n{_layers(generator, held)}",
        f"## Rules\n\n{_rules(rules, report)}",
        f"## Forecast\n\nWhat the solver expected, before any image was drawn.\n\n{_forecasts(held)}",
        f"## Measured\n\n{_measured(report)}",
        _use(out or path.name, use),
    ]
    return "\n\n".join(sections) + "\n"


def _front(base: str) -> str:
    """The YAML header; texts in it are quoted as in JSON, which YAML reads alike."""
    fields = {"base_model": _quoted(base), "library_name": LIBRARY, "pipeline_tag": "unconditional-image-generation"}
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "tags:", *(f"- {tag}" for tag in TAGS), "---"])


def _introduction(held: Sequence[tuple[Patch, float]], container: str) -> str:
    count = len({patch.layer for patch, _ in held})
    weights = "the weight of one layer" if count == 1 else f"the weights of {count} layers"
    if container == PEFT:
        return f"An adapter that changes {weights} of an image generator, by low-rank patches."
    return f"An image generator in which {weights} {'was' if count == 1 else 'were'} changed by low-rank patches."


def _layers(generator: Generator, held: Sequence[tuple[Patch, float]]) -> str:
    rows = []
    for patch, strength in held:
        shape = " x ".join(map(str, generator.weight(patch.layer).shape))
        rows.append((_code(patch.layer), shape, str(patch.rank), f"{strength:g}", _code(patch.base)))
    return _table(("Layer", "Weight", "Rank", "Strength", "Hash of the unedited weight"), rows)


def _rules(rules: Sequence[Rule], report: Mapping[str, Any] | None) -> str:
    found = _objects((report or {}).get("expectations"))
    parts = []
    for rule in rules:
        facts = {
            "Layer": _code(rule.layer),
            "Action": _text(rule.action),
            "Effect": _effect(rule),
            "Places": f"{len(rule.places)}, on {len({place.latent for place in rule.places})} images",
        }
        lines = [f"- {name}: {fact}" for name, fact in facts.items()]
        lines += [f"- {line}" for line in _expectations(rule, found)]
        parts.append("\n".join([f"### {_text(rule.name)}", "", *lines]))
    return "\n\n".join(parts) or "The patches carry no rules."


def _effect(rule: Rule) -> str:
    if not rule.effect:
        return UNSAID
    source, target = [_text(name) for name in rule.effect.get("from", ())], rule.effect.get("to")
    return f"{', '.join(source) or 'anything'} becomes {_text(target) if target else 'something else'}"


def _expectations(rule: Rule, found: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    if not rule.expect:
        yield f"Expected: {UNSAID}"
    for name, bound in sorted(rule.expect.items()):
        side = "at least" if name == "efficacy" else "at most"
        measured = next((each for each in found if (each.get("rule"), each.get("measure")) == (rule.name, name)), {})
        value = _number(measured.get("found"))
        verdict = "" if value == UNKNOWN else f" ({'met' if measured.get('met') is True else 'not met'})"
        yield f"Expected {name}: {side} {bound:g}; measured: {value}{verdict}"


def _forecasts(held: Sequence[tuple[Patch, float]]) -> str:
    rows = []
    for patch, _ in held:
        rows += [
            (_code(patch.layer), name.capitalize(), _number(patch.forecast[name]), FORECAST[name])
            for name in FORECAST
            if name in patch.forecast
        ]
    text = _table(("Layer", "Forecast", "Value", "Meaning"), rows) if rows else f"The forecast is {UNSAID}."
    scaled = rows and any(strength != 1 for _, strength in held)
    return f"{text}\n\nAt strength 1, which is not the strength here." if scaled else text


def _measured(report: Mapping[str, Any] | None) -> str:
    if report is None:
        return f"Efficacy: {UNKNOWN}. Outside: {UNKNOWN}."
    meanings = dict(zip(FIGURES, MEASURED.get(str(report.get("measured_by")), (UNSAID, UNSAID)), strict=True))
    rows = [
        (shown, _number(report.get(name)), _interval(report.get(f"{name}_interval")), meanings[name])
        for name, shown in FIGURES.items()
    ]
    look = report.get("lpips")
    look = look if isinstance(look, Mapping) else {}
    trunk = f"By the trunk {_text(look['trunk'])}." if "trunk" in look else ""
    rows += [(shown, _number(look.get(name)), "", trunk) for name, shown in LOOKS.items()]
    lines = [f"On {_number(report.get('images'))} images, at truncation {_number(report.get('truncation'))}."]
    lines.append(_table(("Figure", "Value", "Interval", "Meaning"), rows))
    notes = report.get("notes")
    lines += [f"- {_text(note)}" for note in (notes if isinstance(notes, list) else ())]
    return "\n\n".join(lines)


def _use(out: str | Path, container: str) -> str:
    name = json.dumps(_plain(Path(out).name).replace("`", "?"))
    return f"## Use\n\n```python\n{USES[container].format(name=name)}\n```"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _number(value: Any) -> str:
    """A figure, or that there is none: a report may hold anything."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        return UNKNOWN
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def _interval(value: Any) -> str:
    if not isinstance(value, list) or len(value) != 2 or UNKNOWN in map(_number, value):
        return ""
    return f"{_number(value[0])} to {_number(value[1])}"


def _plain(value: Any) -> str:
    """A text on one line, of characters that can be seen; long ones are cut."""
    text = "".join(sign if sign.isprintable() else " " for sign in str(value))
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _text(value: Any) -> str:
    """A text of someone else as Markdown that shows it and does nothing else."""
    marked = MARKS.sub(r"\\\1", _plain(value))
    return "".join(ENTITIES.get(sign, sign) for sign in marked)


def _code(value: Any) -> str:
    """A name as code; a code span knows no escapes, so that what would end it is left out."""
    return f"`{_plain(value).replace('`', '').replace('|', '') or UNSAID}`"


def _quoted(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False)
