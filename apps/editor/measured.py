"""The effect of the active rules, measured on images that no rule was made from."""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from apps.editor.data_urls import url
from apps.editor.price import percent
from apps.editor.remaining import Remaining
from apps.editor.stack import Entry
from apps.editor.work import Work
from rewrite import Report
from rewrite.goals.pasted import MOVED
from rewrite.reports.rendering import render
from rewrite.reports.report import unseen_seeds
from rewrite.reports.reporting import Reporting
from rewrite.storage.ledger import Ledger, Tensors

TEMPLATE = Path(__file__).parent / "templates" / "measured.html"
COUNT = 100
MOST_TRANSITIONS = 3


class Watched(Ledger):
    """A ledger that is kept nowhere, and says which share of its images were seen; what it tells may raise."""

    def __init__(self, on_progress: Callable[[float], object]):
        super().__init__()
        self._on_progress = on_progress

    def over(self, stage: str, numbers: Sequence[int], measure: Callable, **how: Any) -> Tensors:
        """As of any ledger."""
        seen = 0

        def watched(part: tuple[int, ...]) -> Tensors:
            nonlocal seen
            found, seen = measure(part), seen + len(part)
            self._on_progress(seen / len(numbers))
            return found

        return super().over(stage, numbers, watched, **how)


def measuring(work: Work, entries: Sequence[Entry], first_seed: int) -> Generator[str, None, Report]:
    """Compare images that none of the rules uses, without and with the rules; yields how far it is, as a text.

    Args:
        work: The work that Stop ends.
        entries: The active rules.
        first_seed: The images are those of the first seeds from here on that no rule uses.

    Returns:
        The report.

    Raises:
        Stopped: The user pressed Stop.
        ValueError: There are no rules.
    """
    if not entries:
        raise ValueError("there is no rule that is on: rewrite one first")
    rules = [entry.rule for entry in entries if entry.rule is not None]
    found, remaining = list[Report](), Remaining()

    def run(on_progress: Callable[[float], None]) -> None:
        with work.running():
            reporting = Reporting(
                work.model.generator,
                [entry.patch for entry in entries],
                strengths=[entry.strength for entry in entries],
                seeds=unseen_seeds(rules, COUNT, first=first_seed),
                source=work.model.source,
            )
            found.append(reporting.report(Watched(on_progress)))

    for done in work.following(run):
        yield remaining.after(f"Measuring on {COUNT} new images: {100 * done:.0f} %", done)
    return found[0]


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
