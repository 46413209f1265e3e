"""What the rules that are on do to images that no rule was made from: measured, not expected."""

from collections.abc import Sequence
from html import escape

import numpy as np
from torch import Tensor

from apps.editor.price import percent
from apps.editor.stack import Entry
from apps.editor.wall import url
from apps.editor.work import Work
from dissect.concepts import NONE
from dissect.sources.contract import ConceptSource
from rewrite import Report, report_on
from rewrite.reports.aims import Interval, Labeller
from rewrite.reports.effect import MOVED
from rewrite.reports.pictures import Pair
from rewrite.reports.report import unseen_seeds

COUNT = 100
NOTHING = "nothing"
MOST_TRANSITIONS = 3


def measured(work: Work, entries: Sequence[Entry], first_seed: int) -> Report:
    """Draw images that none of the rules uses, without and with the rules, and compare them.

    Args:
        work: Runs the generator.
        entries: The rules, all of them on.
        first_seed: The images are those of the first seeds from here on that no rule uses.

    Raises:
        Stopped: Somebody pressed Stop.
        ValueError: There are none.
    """
    if not entries:
        raise ValueError("there is no rule that is on: rewrite one first")
    label, concepts = labeller(work.model.source)
    rules = [entry.rule for entry in entries if entry.rule is not None]
    with work.running():
        return report_on(
            work.model.generator,
            [entry.patch for entry in entries],
            strengths=[entry.strength for entry in entries],
            seeds=unseen_seeds(rules, COUNT, first=first_seed),
            label=label,
            concepts=concepts,
        )


def labeller(source: ConceptSource | None) -> tuple[Labeller | None, tuple[str, ...]]:
    """A source as a report counts by it: one name for each pixel, of at most 255; none where it gives more."""
    if source is None or len(source.concepts) >= np.iinfo(np.uint8).max:
        return None, ()
    blank = len(source.concepts)

    def label(images: Tensor) -> np.ndarray:
        found = source.label(images, range(len(images)))[:, 0].cpu().numpy()
        return np.where(found == NONE, blank, found).astype(np.uint8)

    return label, (*source.concepts.names, NOTHING)


def card(report: Report) -> str:
    """A report as HTML."""
    verdict, rows = report.verdict, []
    if verdict.efficacy is not None:
        rows.append((*_INSIDE[verdict.kind], verdict.efficacy))
    rows.append((*_OUTSIDE[verdict.kind], verdict.outside))
    table = "".join(
        f"<div><dt>{escape(name)}<small>{escape(text)}</small></dt><dd>{_interval(found)}</dd></div>"
        for name, text, found in rows
    )
    count = len(report.effect.seeds)
    return (
        f'<div class="price measured" data-images="{count}"><h3>Measured on {count} new images</h3>'
        f"{_aims(report)}<dl>{table}</dl>{_transitions(report)}{_worst(report)}</div>"
    )


_INSIDE = {
    "concepts": ("Became what you want", "share of the pixels that the rules speak of, by the segmenter"),
    "places": ("Arrived at the marks", "share of the wanted change that the layer writes in the marked images"),
}
_OUTSIDE = {
    "concepts": ("Changed elsewhere", "share of all other pixels that show another concept now"),
    "places": ("Changed beside the marks", "share of the unmarked pixels of the marked images whose colour moved"),
    "colours": (
        "Pixels that changed",
        f"share of pixels whose colour moved by more than {MOVED / 2:.0%} of its range",
    ),
}
_NO_AIM = (
    '<p class="soft">No concept stands out under the marks, so that nobody can count what became of it in new images: '
    "the figures are those of the marked images.</p>"
)


def _interval(found: Interval) -> str:
    low, high = found.low, found.high
    return percent(found.value) + (
        "" if low is None or high is None else f"<small>{percent(low)} to {percent(high)}</small>"
    )


def _aims(report: Report) -> str:
    """What the rules turn into what, where that was counted."""
    if report.verdict.kind != "concepts":
        return _NO_AIM if report.concepts and report.verdict.kind == "places" else ""
    texts = [
        f"{' or '.join(rule.effect['from'])} → {rule.effect['to'] or 'anything else'}"
        for rule in report.rules
        if rule.effect
    ]
    return f"<p>{escape('; '.join(texts))}</p>"


def _transitions(report: Report) -> str:
    """The most frequent changes elsewhere."""
    found = [] if report.effect.counts is None else report.effect.counts.top_transitions(report.concepts)
    if not found:
        return ""
    texts = (f"{each['from']} → {each['to']} ({100 * each['share']:.1f} %)" for each in found[:MOST_TRANSITIONS])
    return f'<p class="soft">Most of what changed elsewhere: {escape(", ".join(texts))}</p>'


def _worst(report: Report) -> str:
    """The images with the most change elsewhere, before and after."""
    if not report.worst:
        return ""
    pairs = "".join(map(_pair, report.worst))
    return f'<p class="soft">Where most changed elsewhere, before and after:</p><div class="pairs">{pairs}</div>'


def _pair(pair: Pair) -> str:
    name = escape(pair.caption)
    return (
        f'<figure><img src="{url(pair.before)}" alt="{name} before"><img src="{url(pair.after)}" alt="{name} after">'
        f"<figcaption>{name}</figcaption></figure>"
    )
