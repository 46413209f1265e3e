"""What the page says to a person: which step comes next, and why layer, rank and strength are what they are."""

from pathlib import Path

from apps.editor.draft import ENOUGH_CONTEXTS, Draft
from apps.editor.price import carrying
from rewrite import Patch
from rewrite.reports.rendering import render

TEMPLATES = Path(__file__).parent / "templates"


def status(draft: Draft, text: str = "") -> str:
    """Where a person stands, as HTML: the steps, and one sentence."""
    erase = draft.choices.action == "erase"
    copies, places = draft.regions("copy"), draft.regions("paste", "context")
    steps = [] if erase else [("Copy", bool(copies))]
    count = len(places) + len(draft.further)
    steps.append(("Where it shall go" if erase else "Paste", bool(places)))
    steps.append((f"Contexts {count}" if count else "Contexts", len(places) > ENOUGH_CONTEXTS))
    text = text or draft.missing or draft.advice or "Ready: look at the price, and press Rewrite."
    return render(TEMPLATES / "guide.html", steps=steps, text=text)


def reasons(draft: Draft, patch: Patch | None = None) -> str:
    """Why layer and rank are what they are, as HTML.

    Args:
        draft: What is marked and chosen.
        patch: Its answer, if it is solved.
    """
    layer = draft.model.generator.layer(draft.layer)
    proposed = draft.choices.layer is None
    return render(TEMPLATES / "reasons.html", layer=layer, proposed=proposed, rank=_rank(draft, patch))


def _rank(draft: Draft, patch: Patch | None) -> str:
    """Why the rank is what it is, with what a lower one costs where the answer is there."""
    if draft.choices.rank is not None:
        return f"Rank {draft.choices.rank}: what other directions would add is cut away, and the file is smaller."
    text = "The rank is left open: every direction that is cut away costs some of the effect."
    if patch is None:
        return text
    return f"{text} Here {carrying(patch)} of {patch.rank} directions carry 95 % of the change."


def measuring(layer: str, done: float) -> str:
    """How far the measuring of a layer's memory is, 0 to 1."""
    return f"Measuring what layer {layer} usually reads, once: {100 * done:.0f} %"
