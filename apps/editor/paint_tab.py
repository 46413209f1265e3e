"""The tab "Paint with units": brush a concept into an image, or out of it (GANPaint)."""

import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

import gradio as gr
import torch

from apps.editor.data_urls import urls
from apps.editor.easel import EMPTY, Easel, read_strokes
from apps.editor.frame import Page, Updates
from apps.editor.marks import LARGEST_SEED
from apps.editor.paintings import Paintings
from apps.editor.requests import Request
from apps.editor.session import Session
from apps.editor.units import NONE, dissection
from dissect.causes.painting import LARGEST_FILE, Painting, painted, prefix_of
from dissect.causes.stroke import Stroke
from dissect.units.dissection import Dissection

MOST_UNITS = 40
LEAST_AGREEMENT = 0.04
USUAL = "tree"


class PaintTab:
    """The components of the tab, and its handlers."""

    def __init__(self, page: Page):
        new = page.new()
        first, layers = new.paintings, new.paintings.settle(new.model)
        self.note = gr.HTML(NONE, visible=not layers, elem_id="paint-note")
        self.easel = Easel(elem_id="easel", **shown(new))
        with gr.Row(elem_classes="line short"):
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
        connect(self.easel.input, self.on_strokes, [self.easel], [self.easel])
        for leaving in (self.seed.submit, self.seed.blur):
            connect(leaving, self.on_seed, [self.seed], image)
        connect(another.click, self.on_next_image, [], image)
        connect(load.upload, self.on_load, [load], [*image, self.layer])
        connect(self.layer.input, self.on_layer, [self.layer], [self.easel])
        connect(self.edited.input, self.on_edited, [self.edited], [self.easel])
        connect(page.tab.select, self.on_select, [], [self.easel, self.edited])
        connect(page.opened.change, self.on_model, [], [*image, self.layer, self.edited, self.note])

    def on_strokes(self, session: Session, document: Any) -> Updates:
        """Carry out the requests of the easel."""
        state = session.paintings
        state.settle(session.model)
        requests = read_strokes(document, state.turn, session.draft.side)
        painting, file = state.painting(session.model), {}
        if not requests:
            return {self.easel: gr.update(turn=state.turn)}
        for request in requests:
            state.turn = request.turn
            if request.do == "save":
                name = f"seed-{painting.seed}-strokes.json"
                file = {"file": {"name": name, "text": painting.to_json(), "turn": secrets.token_hex(8)}}
            else:
                painting = changed(painting, request)
        picture = shown(session, painting)
        state.keep(painting)
        return {self.easel: gr.update(**picture, **file)}

    def on_seed(self, session: Session, seed: Any) -> Updates:
        """Put another image on the easel."""
        state = session.paintings
        if isinstance(seed, bool) or not isinstance(seed, int | float) or not 0 <= seed <= LARGEST_SEED:
            raise ValueError(f"a seed is a whole number from 0 to {LARGEST_SEED}")
        state.settle(session.model)
        state.seed = int(seed)
        return {self.easel: gr.update(**shown(session)), self.seed: state.seed}

    def on_next_image(self, session: Session) -> Updates:
        """Put the next image on the easel."""
        return self.on_seed(session, (session.paintings.seed + 1) % LARGEST_SEED)

    def on_load(self, session: Session, content: Any) -> Updates:
        """Show a painting that was saved, on its image."""
        state = session.paintings
        if not isinstance(content, bytes) or len(content) > LARGEST_FILE:
            raise ValueError(f"saved strokes are a file of at most {LARGEST_FILE} bytes")
        painting = Painting.from_json(content.decode("utf-8"))
        with session.model.holding([]) as generator:
            painting.check(generator)
        dissection(session.model, painting.layer)
        state.keep(painting)
        state.seed, state.layer = painting.seed, painting.layer
        return {
            self.easel: gr.update(**shown(session)),
            self.seed: state.seed,
            self.layer: gr.update(value=state.layer),
        }

    def on_layer(self, session: Session, layer: Any) -> Updates:
        """Paint with the units of another layer."""
        state = session.paintings
        if not isinstance(layer, str):
            raise ValueError("choose a layer first")
        state.layer = dissection(session.model, layer).view
        return {self.easel: gr.update(**shown(session))}

    def on_edited(self, session: Session, edited: Any) -> Updates:
        """Paint with the active rules, or without any."""
        state = session.paintings
        state.settle(session.model)
        state.edited = edited is True
        return {self.easel: gr.update(**shown(session))}

    def on_select(self, session: Session) -> Updates:
        """Show the image with the present rules; the choice to paint without them is hidden if there are none."""
        state = session.paintings
        state.settle(session.model)
        return {
            self.easel: gr.update(**shown(session)),
            self.edited: gr.update(visible=bool(session.rules.held)),
        }

    def on_model(self, session: Session) -> Updates:
        """Show the model that was opened."""
        state = session.paintings
        layers = state.settle(session.model)
        return {
            self.easel: gr.update(side=session.draft.side, **shown(session)),
            self.seed: state.seed,
            self.edited: gr.update(value=state.edited, visible=bool(session.rules.held)),
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


def shown(session: Session, painting: Painting | None = None) -> dict[str, Any]:
    """The properties of the easel."""
    state = session.paintings
    if not state.layer:
        return {**EMPTY, "turn": state.turn}
    painting, one = painting or state.painting(session.model), dissection(session.model, state.layer)
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


def most_used(state: Paintings, known: Sequence[str]) -> str:
    """The concept that most strokes of this session name; without strokes trees, which show best, or the first."""
    strokes = Counter(each.concept for painting in state.paintings.values() for each in painting.strokes)
    used = [concept for concept, _ in strokes.most_common() if concept in known]
    return next((concept for concept in (*used, USUAL, *known) if concept in known), "")


def line(stroke: Stroke) -> str:
    """A stroke as a line of the history."""
    does = "Add" if stroke.action == "add" else "Remove"
    weaker = "" if stroke.strength == 1 else f", strength {stroke.strength:.2f}"
    return f"{does} {stroke.concept}, {stroke.count} units{weaker}"
