"""Guidance for the user: which step comes next, and the reasons for layer, rank and strength."""

import time
from collections.abc import Iterator
from pathlib import Path

from apps.editor.draft import ENOUGH_CONTEXTS, Draft
from apps.editor.price import carrying
from apps.editor.remaining import Remaining
from apps.editor.work import Work
from rewrite import Patch, Rule
from rewrite.reports.rendering import render

DONE = "Done. Wipe between before and after, or change the strength."
TEMPLATES = Path(__file__).parent / "templates"


def status(draft: Draft, text: str = "") -> str:
    """The steps that are done and one sentence on the next, as HTML."""
    erase = draft.choices.action == "erase"
    copies, places = draft.regions("copy"), draft.regions("paste", "context")
    steps = [] if erase else [("Copy", bool(copies))]
    count = len(places) + len(draft.further)
    steps.append(("What to remove" if erase else "Paste", bool(places)))
    steps.append((f"Contexts {count}" if count else "Contexts", len(places) > ENOUGH_CONTEXTS))
    text = text or draft.missing or draft.advice or "Ready: look at the price, and press Rewrite."
    return render(TEMPLATES / "guide.html", steps=steps, text=text)


def reasons(draft: Draft, patch: Patch | None = None) -> str:
    """The reasons for layer, rank and strength, as HTML.

    Args:
        draft: The draft of the rule.
        patch: Its patch, if it is solved.
    """
    layer = draft.model.generator.layer(draft.layer)
    proposed = draft.choices.layer is None
    return render(TEMPLATES / "reasons.html", layer=layer, proposed=proposed, rank=_rank(draft, patch))


def _rank(draft: Draft, patch: Patch | None) -> str:
    """The reason for the rank, with what a lower one would cost if the rule is solved."""
    if draft.choices.rank is not None:
        return f"Rank {draft.choices.rank}: what other directions would add is cut away, and the file is smaller."
    text = "The rank is left open: every direction that is cut away costs some of the effect."
    if patch is None:
        return text
    return f"{text} Here {carrying(patch)} of {patch.rank} directions carry 95 % of the change."


def measuring(done: float) -> str:
    """The progress of measuring a layer's memory; `done` is 0 to 1."""
    return f"Measuring what the model usually draws, once: {100 * done:.0f} %"


def solving(work: Work, rule: Rule, caution: float = 0.0) -> Iterator[str]:
    """Solve a rule unless it is known, and say what is done meanwhile.

    Raises:
        LookupError, Stopped, ValueError: See `Work.solve`.
    """
    remaining = Remaining()
    for done in work.measuring(rule.layer):
        yield remaining.after(measuring(done), done)
    begun, remaining = time.monotonic(), Remaining()
    for done in work.solving(rule, caution):
        text = remaining.after(_solving(done), done)
        yield f"{text} ({time.monotonic() - begun:.0f} s so far; Stop ends it)"


def _solving(done: float) -> str:
    if done == 0:
        return "Looking at what the marks ask for"
    return f"Choosing how much may change elsewhere, by marked images that are left out: {100 * done:.0f} %"
