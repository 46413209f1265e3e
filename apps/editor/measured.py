"""The effect of the active rules, measured on images that no rule was made from."""

from collections.abc import Sequence
from pathlib import Path

from apps.editor.data_urls import url
from apps.editor.price import percent
from apps.editor.stack import Entry
from apps.editor.work import Work
from rewrite import Report, report_on
from rewrite.reports.effect import MOVED
from rewrite.reports.rendering import render
from rewrite.reports.report import unseen_seeds

TEMPLATE = Path(__file__).parent / "templates" / "measured.html"
COUNT = 100
MOST_TRANSITIONS = 3


def measured(work: Work, entries: Sequence[Entry], first_seed: int) -> Report:
    """Compare images that none of the rules uses, without and with the rules.

    Args:
        work: The work that Stop ends.
        entries: The active rules.
        first_seed: The images are those of the first seeds from here on that no rule uses.

    Raises:
        Stopped: The user pressed Stop.
        ValueError: There are no rules.
    """
    if not entries:
        raise ValueError("there is no rule that is on: rewrite one first")
    rules = [entry.rule for entry in entries if entry.rule is not None]
    with work.running():
        return report_on(
            work.model.generator,
            [entry.patch for entry in entries],
            strengths=[entry.strength for entry in entries],
            seeds=unseen_seeds(rules, COUNT, first=first_seed),
            source=work.model.source,
        )


def card(report: Report) -> str:
    """A report as HTML."""
    verdict, counts, rows = report.verdict, report.effect.counts, []
    if verdict.efficacy is not None:
        rows.append((*_INSIDE[verdict.kind], verdict.efficacy))
    if verdict.strict is not None:
        rows.append((*_STRICT, verdict.strict))
    rows.append((*_OUTSIDE[verdict.kind], verdict.outside))
    effects = [rule.effect for rule in report.rules if rule.effect]
    return render(
        TEMPLATE,
        report=report,
        count=len(report.effect.seeds),
        kind=verdict.kind,
        rows=rows,
        aims=[f"{' or '.join(each['from'])} → {each['to'] or 'anything else'}" for each in effects],
        transitions=[] if counts is None else counts.top_transitions(report.concepts)[:MOST_TRANSITIONS],
        percent=percent,
        url=url,
    )


_INSIDE = {
    "concepts": ("Became what you want", "share of the pixels that the rules speak of, by the segmenter"),
    "places": ("Arrived at the marks", "share of the way to the pasted picture that the marked pixels went"),
}
_STRICT = ("Changed elsewhere, strict", "share of all other pixels that show another concept now")
_OUTSIDE = {
    "concepts": ("Changed elsewhere, lenient", "the same without the pixels that became what you want"),
    "places": ("Changed beside the marks", "share of the unmarked pixels of the marked images whose colour moved"),
    "colours": (
        "Pixels that changed",
        f"share of pixels whose colour moved by more than {MOVED / 2:.0%} of its range",
    ),
}
