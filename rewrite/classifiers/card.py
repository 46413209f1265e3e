"""The model card of an edited classifier, as `rewrite.model_card` writes it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rewrite.checkpoints.downloads import sha256_of
from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.loading import checkpoint_of, open_classifier
from rewrite.classifiers.report import is_report_of
from rewrite.classifiers.rule import ClassifierRule
from rewrite.patch import Patch
from rewrite.reports.card_entries import figure, interval, quoted_text
from rewrite.reports.markdown import code
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "classifier_card.md"
# Of the classes of a report.
MOST_CLASSES = 50


def classifier_card(
    classifier: Classifier,
    held: Sequence[tuple[Patch, float]],
    *,
    model: str | Path | None = None,
    report: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    container: str = "same",
) -> str:
    """Write the card of an edited classifier; see `rewrite.model_card`.

    Args:
        classifier: The unedited classifier.
        held: The patches with their strengths.
        model: Name or path of its file; the one that it was loaded from if left out.
        report: A report on these patches, from `rewrite.load_report`.
        out: The file or folder that the card goes with.
        container: What that is.

    Raises:
        FileNotFoundError, LookupError, ValueError: As of `rewrite.model_card`.
    """
    path = classifier.checkpoint if model is None else checkpoint_of(model)
    if path is None:
        raise ValueError("this classifier was not loaded from a file: name one with model")
    opened = open_classifier(path, classifier.architecture)
    if opened.generator.fingerprint != classifier.fingerprint:
        raise ValueError(f"{path} is not the file that this classifier was loaded from")
    for patch, _ in held:
        patch.check(classifier)
    if report is not None and not is_report_of(report, classifier.fingerprint, held):
        raise ValueError("the report was not measured with these patches, in this order and strength, on this model")
    rules = [
        ClassifierRule.from_json(text) for text in dict.fromkeys(rule for patch, _ in held for rule in patch.rules)
    ]
    return render(
        TEMPLATE,
        path=path,
        base=quoted_text(path.name),
        family=opened.family,
        architecture=None if classifier.architecture is None else quoted_text(classifier.architecture, ascii_only=True),
        sha256=sha256_of(path),
        classifier=classifier,
        held=held,
        rules=rules,
        container=container,
        out=quoted_text(Path(out or path.name).name.replace("`", "?"), ascii_only=True),
        code=code,
        figure=figure,
        interval=interval,
        report=report,
        rows=_rows(report or {}),
    )


def _rows(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The lines of the table of errors; a report may hold anything."""
    others, listed = report.get("other_classes"), report.get("classes")
    rows = [("all classes", report)]
    if isinstance(others, Mapping):
        rows.append(("classes that the rules are not of", others))
    found = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    return rows + [(str(each.get("class")), each) for each in found[:MOST_CLASSES]]
