"""What the page says to a person: which step comes next, and why layer, rank and strength are what they are."""

from html import escape

from apps.editor.price import carrying
from apps.editor.session import ENOUGH_CONTEXTS, Session


def told(session: Session, text: str = "") -> str:
    """Where a person stands, as HTML: the steps, and one sentence."""
    erase = session.choices.action == "erase"
    copies, places = session.regions("copy"), session.regions("paste") + session.regions("context")
    steps = [] if erase else [("Copy", bool(copies), "")]
    count = len(places) + len(session.more)
    steps.append(("Where it shall go" if erase else "Paste", bool(places), ""))
    steps.append(("Contexts", len(places) > ENOUGH_CONTEXTS, f" {count}" if count else ""))
    chips = "".join(
        f'<li class="{"done" if done else ""}">{"✓ " if done else ""}{name}{extra}</li>' for name, done, extra in steps
    )
    text = text or session.missing or session.advice or "Ready: look at the price, and press Rewrite."
    return f'<div class="told" role="status" aria-live="polite"><ol>{chips}</ol><p>{escape(text)}</p></div>'


def reasons(session: Session) -> str:
    """Why layer and rank are what they are."""
    layer = session.model.generator.layer(session.layer)
    grid = f"{layer.output_grid[0]} × {layer.output_grid[1]}"
    if session.choices.layer is None:
        first = (
            f"<b>{escape(layer.name)}</b> is proposed: the first layer that writes at half the image’s side or more "
            f"({grid} cells), where details have their place and their colour."
        )
    else:
        first = f"<b>{escape(layer.name)}</b> writes {grid} cells of {layer.outputs} numbers."
    return f'<p class="soft">{first} {_rank(session)} {_STRENGTH}</p>'


_STRENGTH = (
    "Strength 1 is proposed: the answer was solved for it. Below it less of everything happens, above it more than was "
    "asked for, the change elsewhere too."
)


def _rank(session: Session) -> str:
    """Why the rank is what it is, with what a lower one costs where the answer is there."""
    if session.choices.rank is not None:
        return f"Rank {session.choices.rank}: what other directions would add is cut away, and the file is smaller."
    text = "The rank is left open: every direction that is cut away costs some of the effect."
    if session.missing or not session.answered(session.rule()):
        return text
    patch = session.answer(session.rule())
    return f"{text} Here {carrying(patch)} of {patch.rank} directions carry 95 % of the change."


def measuring(session: Session, done: float) -> str:
    """How far the measuring of a layer's memory is, 0 to 1."""
    return f"Measuring what layer {session.layer} usually reads, once: {100 * done:.0f} %"
