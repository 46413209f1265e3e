"""The tab "Units": images and effects of each unit, the wall without the ticked ones, and that as a patch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from apps.editor.data_urls import urls
from apps.editor.frame import AT_ONCE, EFFECTS, Page, Updates, message, progress
from apps.editor.model import Model
from apps.editor.removals import Removals
from apps.editor.session import Session
from apps.editor.stack import Entry
from apps.editor.unit_grid import EMPTY, UnitGrid, read_ticked
from apps.editor.units import NONE, dissection, dissections, strips
from apps.editor.work import Stopped
from dissect.causes.ablation import FADES, NOISE, NORM, READER, ablation_patch, notes_of
from dissect.causes.intervention import Intervention, Prefix
from rewrite.generators.batches import batched

COMPARED = 4
HELP = (
    "Tick units that draw artifacts, or anything else: the images show the model without them. Hold one to see before."
)
# What `notes_of` says, for people who only look at images.
PLAIN = {
    FADES: "Leave the strength at 1: at less than that, they stay nearly as strong as they were.",
    NOISE: "A little of the random texture that this network adds to every unit stays.",
    NORM: "They become an even tone there, and not nothing.",
    READER: "The next layer does not listen to them any more; they themselves go on.",
}
OWN = "own concept"
STOPPED = "Stopped."


@dataclass
class UnitsState:
    """The state of this tab in one browser session. Layer and concept are read together, under the session's lock.

    Attributes:
        layer: The layer whose units are shown; empty for none.
        concept: The concept that effects are on; empty for each unit's own.
        drawn: Whether the page has the images of the units.
    """

    layer: str = ""
    concept: str = ""
    drawn: bool = False


class UnitsTab:
    """The components of the tab, and its handlers."""

    def __init__(self, page: Page):
        self.page, new = page, page.new()
        layers = list(dissections(new.model))
        first = UnitsState(next(iter(layers), ""))
        self.state = gr.State(first)
        self.note = gr.HTML(NONE, visible=not layers, elem_id="units-note")
        with gr.Row(elem_classes="line short"):
            self.layer = gr.Dropdown(layers, value=first.layer or None, label="Layer", elem_id="units-layer")
            self.concept = gr.Dropdown(concepts_of(new.model), value="", label="Effect on", elem_id="units-concept")
            self.measure = gr.Button(
                "Measure effects", elem_id="units-measure", min_width=180, interactive=bool(removals_of(new, first)[0])
            )
            self.stop = gr.Button("Stop", elem_id="units-stop", min_width=80)
            self.keep = gr.Button("Keep them off", variant="primary", elem_id="units-keep", min_width=160)
        self.status = gr.HTML(elem_id="units-status")
        self.grid = UnitGrid(elem_id="units", **layer_of(new, first))
        self._connect()

    def _connect(self) -> None:
        page, state, shown = self.page, self.state, [self.grid, self.status]
        connect = page.connect
        connect(self.grid.input, self.on_ticks, [self.grid], [self.grid])
        layer = connect(self.layer.input, self.on_layer, [state, self.layer], shown)
        connect(layer.then, self.on_select, [state], shown)
        connect(page.tab.select, self.on_select, [state, self.grid], shown)
        connect(self.concept.input, self.on_concept, [state, self.concept], shown, AT_ONCE)
        connect(self.measure.click, self.on_measure, [state], shown, EFFECTS)
        connect(self.stop.click, self.on_stop, [state], shown, AT_ONCE)
        connect(self.keep.click, self.on_keep_off, [self.grid, page.stacked], [self.grid, page.stacked])
        connect(page.opened.change, self.on_model, [state], [*shown, self.layer, self.note, self.concept, self.measure])

    def on_ticks(self, session: Session, document: Any) -> Updates:
        """Show the wall without the ticked units."""
        layer, units, turn = read_ticked(document)
        if not units:
            return {self.grid: gr.update(tiles=tiles(session), note=HELP, turn=turn)}
        without = images_without(session, layer, units)
        many = "1 unit is" if len(units) == 1 else f"{len(units)} units are"
        text = f"{many} off. Keep them off to make that a patch."
        return {self.grid: gr.update(tiles=tiles(session, without), note=text, turn=turn)}

    def on_layer(self, session: Session, state: UnitsState, layer: Any) -> Updates:
        """Show the units of another layer."""
        if not isinstance(layer, str):
            raise ValueError("choose a layer first")
        dissection(session.model, layer)
        with session.lock:
            state.layer, state.drawn = layer, False
        return {self.grid: gr.update(**layer_of(session, state)), self.status: explanation(session, state)}

    def on_select(self, session: Session, state: UnitsState, document: Any = None) -> Iterator[Updates]:
        """Show the wall with the present rules; draw the images that drive each unit most, the first time."""
        if state.drawn:
            # The rules may have changed since the last tick.
            yield self.on_ticks(session, document)
        if not state.layer or state.drawn:
            return
        work, one = session.begin(), dissection(session.model, state.layer)
        for share in work.following(partial(strips, work.model, one)):
            yield {self.status: progress(share, "Drawing the images that drive each unit most")}
        state.drawn = True
        yield {self.grid: gr.update(strips=strips(work.model, one)), self.status: explanation(session, state)}

    def on_concept(self, session: Session, state: UnitsState, concept: Any) -> Updates:
        """Show the effects on another concept."""
        if not isinstance(concept, str):
            raise ValueError("choose a concept first")
        with session.lock:
            if concept and session.model.source is not None:
                session.model.source.concepts.number(concept)
            state.concept = concept
        return {self.grid: gr.update(effects=figures(session, state)), self.status: explanation(session, state)}

    def on_measure(self, session: Session, state: UnitsState) -> Iterator[Updates]:
        """Measure the effect of each unit, and show the figures after every few units."""
        with session.lock:
            layer, concept, work = state.layer, state.concept, session.begin()
        if not layer:
            raise ValueError("choose a layer first")
        removals = Removals.of(work.model, layer)
        try:
            for step in removals.measuring(work, removals.wanted(concept)):
                # If the page shows something else meanwhile, the figures are kept but not shown.
                if session.model is not work.model or state.layer != layer:
                    return
                if step.news:
                    yield {self.grid: gr.update(effects=figures(session, state))}
                else:
                    yield {self.status: progress(step.share, step.text)}
            yield {self.grid: gr.update(effects=figures(session, state)), self.status: explanation(session, state)}
        except Stopped:
            yield {self.status: explanation(session, state, STOPPED)}

    def on_stop(self, session: Session, state: UnitsState) -> Updates:
        """Stop the work; the figures that are shown stay."""
        session.stop()
        return {self.status: explanation(session, state, STOPPED)}

    def on_keep_off(self, session: Session, document: Any, stacked: Any) -> Updates:
        """Put a patch on the stack that switches the ticked units off."""
        layer, units, _ = read_ticked(document)
        if not units:
            raise ValueError("tick at least one unit first")
        dissection(session.model, layer)
        named = ", ".join(map(str, units[:6])) + (" …" if len(units) > 6 else "")
        work = session.begin()
        with work.model.holding([]) as generator:
            seeds = session.draft.plain_seeds[:COMPARED] or range(COMPARED)
            patch = ablation_patch(generator, layer, units, seeds=seeds)
            notes = notes_of(generator, layer)
        work.rules.add(Entry(f"{layer} without {named}", patch))
        text = f"Units {named} are off for good: they stand in the list of rules, and can be exported."
        note = " ".join([text, *(PLAIN[note] for note in notes if note in PLAIN)])
        return {self.grid: gr.update(note=note, tiles=tiles(session)), self.page.stacked: (stacked or 0) + 1}

    def on_model(self, session: Session, state: UnitsState) -> Updates:
        """Show the model that was opened."""
        layers = list(dissections(session.model))
        with session.lock:
            state.layer, state.concept, state.drawn = next(iter(layers), ""), "", False
        return {
            self.grid: gr.update(**layer_of(session, state)),
            self.layer: gr.update(choices=layers, value=state.layer or None),
            self.note: gr.update(visible=not layers),
            self.concept: gr.update(choices=concepts_of(session.model), value=""),
            self.measure: gr.update(interactive=bool(removals_of(session, state)[0])),
            self.status: explanation(session, state),
        }


def images_without(session: Session, layer: str, units: Sequence[int]) -> Tensor:
    """The images on the wall with the active rules and some units at zero.

    Raises:
        LookupError: The layer is not dissected.
        ValueError: It has no such units.
    """
    dissection(session.model, layer)
    with session.model.holding(session.rules.held) as generator:
        drawer, off = session.model.drawer, Intervention.off(units)
        parts = [drawer.given.latents(generator, part) for part in batched(session.draft.seeds, drawer.together)]
        return torch.cat([drawer.reduced(Prefix.of(generator, layer, part).images(off).cpu()) for part in parts])


def removals_of(session: Session, state: UnitsState) -> tuple[Removals | None, str]:
    """The known removals of the units (None without a source of concepts), and the concept to show them for."""
    with session.lock:
        model, layer, concept = session.model, state.layer, state.concept
    return Removals.of(model, layer) if layer and model.source is not None else None, concept


def figures(session: Session, state: UnitsState) -> list[dict[str, Any] | None]:
    """The figures of all units; empty if nothing was measured."""
    removals, concept = removals_of(session, state)
    return removals.figures(removals.wanted(concept)) if removals and removals.explanation else []


def explanation(session: Session, state: UnitsState, before: str = "") -> str:
    """How the figures were made or can be made, as HTML."""
    removals, _ = removals_of(session, state)
    if removals is None:
        return ""
    text = removals.explanation or "Measure effects to see what goes from the images without each unit."
    return message(f"{before} {text}".strip(), soft=True)


def layer_of(session: Session, state: UnitsState) -> dict[str, Any]:
    """The properties of the grid for a layer."""
    if not state.layer:
        return dict(EMPTY)
    one = dissection(session.model, state.layer)
    scores, names = one.scores, one.concepts.names
    units = [
        {"unit": unit, "concept": names[best], "iou": round(float(scores.iou[unit, best]), 4)}
        for unit, best in enumerate(scores.best.tolist())
    ]
    shown = {"tiles": tiles(session), "effects": figures(session, state), "note": HELP}
    return {**EMPTY, "layer": state.layer, "units": units, **shown}


def tiles(session: Session, without: Tensor | None = None) -> list[dict[str, Any]]:
    """The images on the wall, each with what it is without some units."""
    names = session.draft.names
    after = [None] * len(names) if without is None else urls(without)
    return [
        {"name": name, "image": image, "after": edited}
        for name, image, edited in zip(names, urls(session.at_hand()), after, strict=True)
    ]


def concepts_of(model: Model) -> list[tuple[str, str]]:
    """The concepts that effects may be on, as (label, name)."""
    return [(OWN, ""), *((name, name) for name in ([] if model.source is None else model.source.concepts.names))]
