"""The tab "Paint with units": brush a concept into an image, or out of it (GANPaint)."""

import secrets
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import torch

from apps.editor.easel import EMPTY, Easel, read_wishes
from apps.editor.frame import IN_TURN, Page, said
from apps.editor.marks import LARGEST_SEED
from apps.editor.session import Session
from apps.editor.units import NONE, dissection, dissections
from apps.editor.wall import urls
from dissect.causes.painting import Painting, Stroke, painted, prefix_of
from dissect.units.dissection import Dissection

MOST_PAINTINGS = 32
FIRST_SEED = 3


@dataclass
class Desk:
    """What one browser session paints.

    Attributes:
        seed: The image on the easel.
        layer: The layer whose units are painted with; empty for the first that is dissected.
        edited: Whether the rules that are on hold while it is painted.
        paintings: The paintings so far, by layer and seed.
        turn: The last wish of the page that was done.
    """

    seed: int = FIRST_SEED
    layer: str = ""
    edited: bool = True
    paintings: dict[tuple[str, str, int], Painting] = field(default_factory=dict)
    turn: int = 0

    def painting(self, session: Session) -> Painting:
        """The painting of the layer and seed that are on the easel."""
        model = session.model
        fresh = Painting(model.fingerprint, self.layer, self.seed, truncation=model.generator.truncation)
        return self.paintings.get((fresh.model, self.layer, self.seed), fresh)

    def keep(self, painting: Painting) -> None:
        """Remember a painting; the oldest of very many go."""
        self.paintings[painting.model, painting.layer, painting.seed] = painting
        while len(self.paintings) > MOST_PAINTINGS:
            self.paintings.pop(next(iter(self.paintings)))

    def settle(self, session: Session) -> None:
        """Take a layer that is dissected."""
        known = dissections(session)
        if self.layer not in known:
            self.layer = next(iter(known), "")


def build(page: Page) -> None:
    """Put the tab on the page."""
    new, begun = page.new(), Desk()
    begun.settle(new)
    layers = list(dissections(new))
    desk = gr.State(Desk())
    note = gr.HTML(NONE, visible=not layers, elem_id="paint-note")
    easel = Easel(elem_id="easel", **shown(new, begun))
    with gr.Row(elem_classes="line"):
        seed = gr.Number(begun.seed, label="Seed", precision=0, minimum=0, maximum=LARGEST_SEED, elem_id="paint-seed")
        another = gr.Button("Another image", elem_id="paint-another", min_width=140)
        layer = gr.Dropdown(layers, value=begun.layer or None, label="Layer of the units", elem_id="paint-layer")
        edited = gr.Checkbox(True, label="Paint on the edited model", visible=False, elem_id="paint-edited")
    both = [page.session, desk]
    easel.input(said(brushed), [*both, easel], [easel], api_name="brush", **IN_TURN)
    seed.submit(said(seeded), [*both, seed], [easel, seed], api_name="paint_seed", **IN_TURN)
    seed.blur(said(seeded), [*both, seed], [easel, seed], api_name="paint_seed_left", **IN_TURN)
    another.click(said(next_seed), both, [easel, seed], api_name="paint_another", **IN_TURN)
    layer.input(said(layered), [*both, layer], [easel], api_name="paint_layer", **IN_TURN)
    edited.input(said(chosen), [*both, edited], [easel], api_name="paint_edited", **IN_TURN)
    page.tab.select(said(seen), both, [easel, edited], api_name="paint_seen", **IN_TURN)
    page.opened.change(said(opened), both, [easel, layer, note], api_name="paint_opened", **IN_TURN)


def brushed(session: Session, desk: Desk, value: Any) -> Any:
    """Do what the easel asks for, and show the image."""
    desk.settle(session)
    file: dict[str, Any] = {}
    wishes = read_wishes(value, desk.turn, session.side)
    painting = desk.painting(session)
    for wish in wishes:
        desk.turn = wish.turn
        if wish.do == "save":
            name = f"seed-{painting.seed}-strokes.json"
            file = {"file": {"name": name, "text": painting.to_json(), "turn": secrets.token_hex(8)}}
        else:
            painting = changed(painting, wish.do, wish.index, wish.stroke)
    if wishes:
        picture = shown(session, desk, painting)
        desk.keep(painting)
        return gr.update(**picture, **file)
    return gr.update(turn=desk.turn)


def changed(painting: Painting, do: str, index: int, stroke: Stroke | None) -> Painting:
    """A painting after one wish."""
    if do == "stroke" and stroke is not None:
        return painting.add(stroke)
    return {
        "remove": lambda: painting.without(index),
        "undo": painting.undo,
        "redo": painting.redo,
        "clear": painting.cleared,
    }[do]()


def seeded(session: Session, desk: Desk, seed: Any) -> tuple:
    """Put another image on the easel."""
    if isinstance(seed, bool) or not isinstance(seed, int | float) or not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"a seed is a whole number from 0 to {LARGEST_SEED}")
    desk.settle(session)
    desk.seed = int(seed)
    return gr.update(**shown(session, desk)), desk.seed


def next_seed(session: Session, desk: Desk) -> tuple:
    """Put the next image on the easel."""
    return seeded(session, desk, (desk.seed + 1) % LARGEST_SEED)


def layered(session: Session, desk: Desk, layer: Any) -> Any:
    """Paint with the units of another layer."""
    if not isinstance(layer, str):
        raise ValueError("choose a layer first")
    dissection(session, layer)
    desk.layer = layer
    return gr.update(**shown(session, desk))


def chosen(session: Session, desk: Desk, edited: Any) -> Any:
    """Paint with the rules that are on, or without any."""
    desk.settle(session)
    desk.edited = edited is True
    return gr.update(**shown(session, desk))


def seen(session: Session, desk: Desk) -> tuple:
    """Show the image as the rules of now make it; without rules there is nothing to choose."""
    desk.settle(session)
    return gr.update(**shown(session, desk)), gr.update(visible=bool(session.rules.held))


def opened(session: Session, desk: Desk) -> tuple:
    """Show the model that the session looks at now."""
    desk.layer = ""
    desk.settle(session)
    layers = list(dissections(session))
    return (
        gr.update(side=session.side, **shown(session, desk)),
        gr.update(choices=layers, value=desk.layer or None),
        gr.update(visible=not layers),
    )


def shown(session: Session, desk: Desk, painting: Painting | None = None) -> dict[str, Any]:
    """What the easel shows."""
    if not desk.layer:
        return {**EMPTY, "turn": desk.turn}
    painting, one = painting or desk.painting(session), dissection(session, desk.layer)
    held, kept = session.rules.held if desk.edited else [], ("easel", desk.layer, desk.seed)
    with session.model.holding(held) as generator:
        # Rules may change what comes before the layer: then its run serves once.
        prefix = (
            prefix_of(generator, painting) if held else session.model.made(kept, lambda: prefix_of(generator, painting))
        )
        pair = torch.cat([prefix.images(), painted(prefix, painting, one)])
    before, after = urls(pair)
    return {
        "before": before,
        "image": after,
        "seed": desk.seed,
        "history": [line(stroke) for stroke in painting.strokes],
        "concepts": brushes(one),
        "most": min(len(one.levels), 40),
        "can_undo": bool(painting.past),
        "can_redo": bool(painting.future),
        "turn": desk.turn,
    }


def brushes(one: Dissection) -> list[str]:
    """The concepts that some unit agrees with, the best first."""
    best = one.scores.iou.max(axis=0)
    order = sorted(range(len(best)), key=lambda number: -best[number])
    return [one.concepts.names[number] for number in order if best[number] > 0.04]


def line(stroke: Stroke) -> str:
    """What the history says of a stroke."""
    does = "Add" if stroke.action == "add" else "Remove"
    weaker = "" if stroke.strength == 1 else f", strength {stroke.strength:.2f}"
    return f"{does} {stroke.concept}, {stroke.count} units{weaker}"
