"""The tab "Paint with units": brush a concept into an image, or out of it (GANPaint)."""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import torch

from apps.editor.data_urls import urls
from apps.editor.easel import EMPTY, Easel, read_strokes
from apps.editor.frame import Page, Updates
from apps.editor.marks import LARGEST_SEED
from apps.editor.requests import Request
from apps.editor.session import Session
from apps.editor.units import NONE, dissection, dissections
from dissect.causes.painting import LARGEST_FILE, Painting, painted, prefix_of
from dissect.causes.stroke import Stroke
from dissect.units.dissection import Dissection

MOST_PAINTINGS = 32
MOST_UNITS = 40
LEAST_AGREEMENT = 0.04
FIRST_SEED = 3
USUAL = "tree"


@dataclass
class PaintState:
    """The paintings of one browser session. Only handlers that run one at a time change it.

    Attributes:
        seed: The image on the easel.
        layer: The layer whose units are used; empty if none is dissected.
        edited: Whether the active rules are applied.
        paintings: The paintings so far, by model, layer and seed.
        turn: The last request of the page that was carried out.
    """

    seed: int = FIRST_SEED
    layer: str = ""
    edited: bool = True
    paintings: dict[tuple[str, str, int], Painting] = field(default_factory=dict)
    turn: int = 0

    def painting(self, session: Session) -> Painting:
        """The painting on the easel."""
        model = session.model
        drawn = {"truncation": model.generator.truncation, "label": model.generator.label}
        fresh = Painting(model.fingerprint, self.layer, self.seed, **drawn)
        return self.paintings.get((fresh.model, self.layer, self.seed), fresh)

    def keep(self, painting: Painting) -> None:
        """Keep a painting, and drop the oldest beyond `MOST_PAINTINGS`."""
        self.paintings[painting.model, painting.layer, painting.seed] = painting
        while len(self.paintings) > MOST_PAINTINGS:
            self.paintings.pop(next(iter(self.paintings)))

    def settle(self, session: Session) -> Sequence[str]:
        """Make sure that the layer is a dissected one; returns all of these."""
        known = list(dissections(session.model))
        if self.layer not in known:
            self.layer = next(iter(known), "")
        return known


class PaintTab:
    """The components of the tab, and its handlers."""

    def __init__(self, page: Page):
        new, first = page.new(), PaintState()
        layers = first.settle(new)
        state = gr.State(PaintState())
        self.note = gr.HTML(NONE, visible=not layers, elem_id="paint-note")
        self.easel = Easel(elem_id="easel", **shown(new, first))
        with gr.Row(elem_classes="line"):
            self.seed = gr.Number(
                first.seed, label="Seed", precision=0, minimum=0, maximum=LARGEST_SEED, elem_id="paint-seed"
            )
            another = gr.Button("Another image", elem_id="paint-another", min_width=140)
            load = gr.UploadButton(
                "Load strokes", file_types=[".json"], type="binary", elem_id="paint-load", min_width=140
            )
            self.layer = gr.Dropdown(
                layers, value=first.layer or None, label="Layer of the units", elem_id="paint-layer"
            )
            self.edited = gr.Checkbox(True, label="Paint on the edited model", visible=False, elem_id="paint-edited")
        connect, image = page.connect, [self.easel, self.seed]
        connect(self.easel.input, self.on_strokes, [state, self.easel], [self.easel])
        for leaving in (self.seed.submit, self.seed.blur):
            connect(leaving, self.on_seed, [state, self.seed], image)
        connect(another.click, self.on_next_image, [state], image)
        connect(load.upload, self.on_load, [state, load], [*image, self.layer])
        connect(self.layer.input, self.on_layer, [state, self.layer], [self.easel])
        connect(self.edited.input, self.on_edited, [state, self.edited], [self.easel])
        connect(page.tab.select, self.on_select, [state], [self.easel, self.edited])
        connect(page.opened.change, self.on_model, [state], [self.easel, self.layer, self.note])

    def on_strokes(self, session: Session, state: PaintState, document: Any) -> Updates:
        """Carry out the requests of the easel."""
        state.settle(session)
        requests, painting, file = read_strokes(document, state.turn, session.draft.side), state.painting(session), {}
        if not requests:
            return {self.easel: gr.update(turn=state.turn)}
        for request in requests:
            state.turn = request.turn
            if request.do == "save":
                name = f"seed-{painting.seed}-strokes.json"
                file = {"file": {"name": name, "text": painting.to_json(), "turn": secrets.token_hex(8)}}
            else:
                painting = changed(painting, request)
        picture = shown(session, state, painting)
        state.keep(painting)
        return {self.easel: gr.update(**picture, **file)}

    def on_seed(self, session: Session, state: PaintState, seed: Any) -> Updates:
        """Put another image on the easel."""
        if isinstance(seed, bool) or not isinstance(seed, int | float) or not 0 <= seed <= LARGEST_SEED:
            raise ValueError(f"a seed is a whole number from 0 to {LARGEST_SEED}")
        state.settle(session)
        state.seed = int(seed)
        return {self.easel: gr.update(**shown(session, state)), self.seed: state.seed}

    def on_next_image(self, session: Session, state: PaintState) -> Updates:
        """Put the next image on the easel."""
        return self.on_seed(session, state, (state.seed + 1) % LARGEST_SEED)

    def on_load(self, session: Session, state: PaintState, content: Any) -> Updates:
        """Show a painting that was saved, on its image."""
        if not isinstance(content, bytes) or len(content) > LARGEST_FILE:
            raise ValueError(f"saved strokes are a file of at most {LARGEST_FILE} bytes")
        painting = Painting.from_json(content.decode("utf-8"))
        with session.model.holding([]) as generator:
            painting.check(generator)
        dissection(session.model, painting.layer)
        state.keep(painting)
        state.seed, state.layer = painting.seed, painting.layer
        return {
            self.easel: gr.update(**shown(session, state)),
            self.seed: state.seed,
            self.layer: gr.update(value=state.layer),
        }

    def on_layer(self, session: Session, state: PaintState, layer: Any) -> Updates:
        """Paint with the units of another layer."""
        if not isinstance(layer, str):
            raise ValueError("choose a layer first")
        state.layer = dissection(session.model, layer).view
        return {self.easel: gr.update(**shown(session, state))}

    def on_edited(self, session: Session, state: PaintState, edited: Any) -> Updates:
        """Paint with the active rules, or without any."""
        state.settle(session)
        state.edited = edited is True
        return {self.easel: gr.update(**shown(session, state))}

    def on_select(self, session: Session, state: PaintState) -> Updates:
        """Show the image with the present rules; the choice to paint without them is hidden if there are none."""
        state.settle(session)
        return {
            self.easel: gr.update(**shown(session, state)),
            self.edited: gr.update(visible=bool(session.rules.held)),
        }

    def on_model(self, session: Session, state: PaintState) -> Updates:
        """Show the model that was opened."""
        state.layer = ""
        layers = state.settle(session)
        return {
            self.easel: gr.update(side=session.draft.side, **shown(session, state)),
            self.layer: gr.update(choices=layers, value=state.layer or None),
            self.note: gr.update(visible=not layers),
        }


def changed(painting: Painting, request: Request) -> Painting:
    """A painting after one request."""
    match request.do:
        case "stroke":
            return painting.add(request.to)
        case "remove":
            return painting.without(request.index)
        case "undo":
            return painting.undo()
        case "redo":
            return painting.redo()
        case _:
            return painting.cleared()


def shown(session: Session, state: PaintState, painting: Painting | None = None) -> dict[str, Any]:
    """The properties of the easel."""
    if not state.layer:
        return {**EMPTY, "turn": state.turn}
    painting, one = painting or state.painting(session), dissection(session.model, state.layer)
    held, key, model = session.rules.held if state.edited else [], ("easel", state.layer, state.seed), session.model
    with model.holding(held) as generator:
        # Rules may change layers before this one, so that a run with rules cannot be shared.
        prefix = prefix_of(generator, painting) if held else model.shared(key, lambda: prefix_of(generator, painting))
        pair = torch.cat([prefix.images(), painted(prefix, painting, one)])
    before, after = urls(pair)
    return {
        "before": before,
        "image": after,
        "seed": state.seed,
        "history": [line(stroke) for stroke in painting.strokes],
        "concepts": brushes(one),
        "first": most_used(state, brushes(one)),
        "most": min(len(one.levels), MOST_UNITS),
        "can_undo": bool(painting.past),
        "can_redo": bool(painting.future),
        "turn": state.turn,
    }


def brushes(one: Dissection) -> list[str]:
    """The concepts that units agree with, the best first."""
    best = one.scores.iou.max(axis=0)
    order = sorted(range(len(best)), key=lambda number: -best[number])
    return [one.concepts.names[number] for number in order if best[number] > LEAST_AGREEMENT]


def most_used(state: PaintState, known: Sequence[str]) -> str:
    """The concept that most strokes of this session name; without strokes trees, which show best, or the first."""
    strokes = Counter(each.concept for painting in state.paintings.values() for each in painting.strokes)
    used = [concept for concept, _ in strokes.most_common() if concept in known]
    return next((concept for concept in (*used, USUAL, *known) if concept in known), "")


def line(stroke: Stroke) -> str:
    """A stroke as a line of the history."""
    does = "Add" if stroke.action == "add" else "Remove"
    weaker = "" if stroke.strength == 1 else f", strength {stroke.strength:.2f}"
    return f"{does} {stroke.concept}, {stroke.count} units{weaker}"
