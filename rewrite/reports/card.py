"""A model card: what was edited, on which base, how well by what was measured, and how to use it again, as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rewrite.checkpoints.downloads import sha256_of
from rewrite.checkpoints.loading import open_checkpoint, path_of
from rewrite.classifiers.card import classifier_card
from rewrite.classifiers.classifier import Classifier
from rewrite.generators.contract import Generator
from rewrite.patch import Patch, held_at
from rewrite.reports.card_entries import UNKNOWN, figure, interval, quoted_text
from rewrite.reports.figures import figures_of
from rewrite.reports.forecast import Summary, summary_of
from rewrite.reports.markdown import code
from rewrite.reports.rendering import render
from rewrite.reports.report import is_report_of
from rewrite.rules.rule import Rule

TEMPLATE = Path(__file__).parent / "templates" / "card.md"


def model_card(
    generator: Generator | Classifier,
    patches: Patch | Sequence[Patch],
    *,
    model: str | Path | None = None,
    strengths: Sequence[float] | None = None,
    report: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    container: str = "same",
) -> str:
    """Write the card of an edited generator or classifier.

    Nothing stands in it that is not in the patches, the base's file or the report; what is in none of them is called
    "not measured" or "not stated". Texts from rules and reports are shown as they are, and never as Markdown or HTML.

    Args:
        generator: The unedited generator or classifier.
        patches: The patch or patches.
        model: Name or path of its checkpoint; the one that it was loaded from if left out.
        strengths: The strength of each patch; 1 if left out.
        report: A report on these patches at these strengths, from `rewrite.load_report`.
        out: The file or folder that the card goes with.
        container: What that is: `same`, `safetensors`, `state-dict` or `peft`.

    Returns:
        The card, in Markdown with a header of YAML.

    Raises:
        FileNotFoundError, LookupError: There is no such checkpoint, or no such layer in it.
        ValueError: The checkpoint is another one's, a patch is of another weight, or the report is on other patches.
    """
    held = held_at(patches, strengths)
    if isinstance(generator, Classifier):
        return classifier_card(generator, held, model=model, report=report, out=out, container=container)
    checkpoint = open_checkpoint(path := path_of(generator, model))
    if checkpoint.generator.fingerprint != generator.fingerprint:
        raise ValueError(f"{path} is not the checkpoint that this generator was loaded from")
    for patch, _ in held:
        patch.check(generator)
    if report is not None and not is_report_of(report, generator.fingerprint, held):
        raise ValueError("the report was not measured with these patches, in this order and strength, on this model")
    rules = [Rule.from_json(text) for text in dict.fromkeys(rule for patch, _ in held for rule in patch.rules)]
    return render(
        TEMPLATE,
        path=path,
        base=quoted_text(path.name),
        family=checkpoint.family,
        sha256=sha256_of(path),
        generator=generator,
        held=held,
        rules=rules,
        **_of_forecasts([(patch.layer, summary_of(patch.forecast)) for patch, _ in held]),
        rescaled=any(strength != 1 for _, strength in held),
        container=container,
        out=quoted_text(Path(out or path.name).name.replace("`", "?"), ascii_only=True),
        code=code,
        figure=figure,
        interval=interval,
        **_of_report(report),
    )


def _of_report(report: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the card shows of a report, which may hold anything."""
    known = report or {}
    look, notes = known.get("lpips"), known.get("notes")
    return {
        "report": report,
        "figures": figures_of(known),
        "look": look if isinstance(look, Mapping) else {},
        "notes": notes if isinstance(notes, list) else (),
        "measured": partial(_measured, known),
    }


def _of_forecasts(found: Iterable[tuple[str, Summary]]) -> dict[str, Any]:
    """What the card shows of what the solver expected, each line with its layer."""
    found = list(found)
    return {
        "forecast": [(layer, each) for layer, about in found for each in (*about.unmarked, *about.marks)],
        "forecast_notes": [(layer, note) for layer, about in found for note in about.notes],
    }


def _measured(report: Mapping[str, Any], rule: str, name: str) -> tuple[str, bool | None]:
    """What was measured of an expectation, and whether it is met, if it was."""
    listed = report.get("expectations")
    entries = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    found = next((each for each in entries if (each.get("rule"), each.get("measure")) == (rule, name)), {})
    value = figure(found.get("found"))
    return value, None if value == UNKNOWN else found.get("met") is True
