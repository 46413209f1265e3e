"""The tab "Artifacts": mark what looks wrong in a few images, see which units draw it, and keep what takes it away."""

from collections.abc import Iterator
from typing import Any

import gradio as gr
from torch import Tensor

from apps.editor.artifacts import MOST_SHOWN, Brushed, compare, find, quality_of, strange_seeds, top_pictures
from apps.editor.data_urls import urls
from apps.editor.frame import AT_ONCE, WORK, Page, Updates, message
from apps.editor.given import names_of
from apps.editor.marks import read_marks
from apps.editor.session import Session
from apps.editor.stack import Entry
from apps.editor.unit_grid import EMPTY, UnitGrid, read_ticked
from apps.editor.wall import Role, Wall
from dissect.quality.repairs import UNITS
from rewrite import Patch

# The places of a rule are its contexts: marks become a rule as they are.
ROLES = (Role("context", "Looks wrong", "✗", "#c2255c", False, "whatever is drawn badly"),)
FIRST = (
    "Brush over what looks wrong in a few images, eight at most. "
    "“Show the strangest” brings images that are least like good ones."
)
READY = "Marked in {count}. “Find what draws it” switches the units off that draw it."
SAID = {UNITS: "units off", "rule": "an erasing rule"}
KEPT = "Kept: it stands in the list of rules on the tab Rewrite, where it can be weakened, taken off or exported."
NONE_HELPS = (
    "No unit that draws it brings images nearer to good ones when it is off. Tick some, or compare with erasing."
)


class ArtifactsTab:
    """The components of the tab, and its handlers."""

    def __init__(self, page: Page):
        self.page, new = page, page.new()
        self.state = gr.State(Brushed())
        self.status = gr.HTML(message(FIRST), elem_id="artifacts-told")
        with gr.Row(elem_classes="line short"):
            self.strange = gr.Button("Show the strangest", elem_id="strangest", min_width=160)
            self.layer = gr.Dropdown(layers_of(new), value=new.model.layer, label="Layer", elem_id="artifacts-layer")
            self.find = gr.Button("Find what draws it", variant="primary", elem_id="find-artifacts", min_width=170)
            self.compare = gr.Button("Compare with erasing", elem_id="compare-artifacts", min_width=180)
            self.stop = gr.Button("Stop", elem_id="artifacts-stop", min_width=80)
        with gr.Row(elem_classes="line short"):
            self.way = gr.Radio([], label="Take it away by", visible=False, elem_id="artifacts-way")
            self.keep = gr.Button("Keep it so", elem_id="keep-artifacts", min_width=140, interactive=False)
        with gr.Row():
            with gr.Column(scale=7, min_width=320):
                self.wall = Wall(ROLES, elem_id="bad", **wall_of(new, Brushed()))
            with gr.Column(scale=4, min_width=320):
                self.grid = UnitGrid(elem_id="bad-units", **EMPTY)
        self._connect()

    def _connect(self) -> None:
        page, state, connect = self.page, self.state, self.page.connect
        found = [self.status, self.wall, self.grid, self.way, self.keep]
        connect(self.wall.input, self.on_marks, [state, self.wall], found, AT_ONCE)
        connect(page.tab.select, self.on_select, [state], [self.wall])
        connect(self.strange.click, self.on_strangest, [state], [self.status, self.wall], WORK)
        connect(self.find.click, self.on_find, [state, self.wall, self.layer], found, WORK, self.reset)
        connect(self.grid.input, self.on_ticks, [state, self.grid], found)
        connect(self.compare.click, self.on_compare, [state, self.wall, self.layer], found, WORK, self.reset)
        connect(self.way.input, self.on_way, [state, self.way], [self.wall, self.status])
        connect(self.keep.click, self.on_keep, [state, self.way, page.stacked], [self.status, self.keep, page.stacked])
        page.connect_stop(self.stop, self.reset, self.status)
        connect(page.opened.change, self.on_model, [state], [*found, self.layer])

    def reset(self, session: Session, text: str) -> Updates:
        """What the page says after work has ended early."""
        return {self.status: message(text or FIRST)}

    def on_marks(self, session: Session, state: Brushed, document: Any) -> Updates:
        """Take the marks."""
        before = state.marks
        state.mark(read_marks(document, session.draft.side))
        if state.marks == before:
            return {self.status: gr.update()}
        return {self.status: message(told(state)), **self._nothing_found()}

    def on_select(self, session: Session, state: Brushed) -> Updates:
        """Show the images with the present rules."""
        return {self.wall: gr.update(**shown(session, state))}

    def on_strangest(self, session: Session, state: Brushed) -> Iterator[Updates]:
        """Put the images on the wall that lie farthest from good ones."""
        yield {self.status: message("Looking for the images that are least like good ones …")}
        state.seeds = strange_seeds(session.begin(), session.count)
        good = "drawn scenes" if quality_of(session.model).drawn else "what this model usually draws"
        text = f"These are the images least like {good}: brush over what looks wrong."
        yield {self.status: message(text), self.wall: gr.update(**wall_of(session, state))}

    def on_find(self, session: Session, state: Brushed, document: Any, layer: Any) -> Iterator[Updates]:
        """Propose units that draw what is marked, and show the wall without the best of them."""
        self._take(session, state, document, layer)
        work = session.begin()
        yield {self.status: message("Switching units off, one by one, in the marked images …")}
        find(work, state)
        units = [
            {"unit": each.unit, "concept": "marked", "iou": round(each.agreement, 4)}
            for each in state.proposed[:MOST_SHOWN]
        ]
        grid = {**EMPTY, "layer": state.layer, "units": units, "ticked": list(state.units)}
        yield {**self._shown(session, state), self.grid: gr.update(**grid)}
        yield {self.grid: gr.update(strips=top_pictures(work, state))}

    def on_ticks(self, session: Session, state: Brushed, document: Any) -> Updates:
        """Show the wall without the ticked units."""
        layer, units, turn = read_ticked(document)
        if layer != state.layer or not set(units) <= {each.unit for each in state.proposed}:
            raise ValueError("these units were not proposed: press Find what draws it")
        state.units, state.offers = units, ()
        return {**self._shown(session, state), self.grid: gr.update(turn=turn)}

    def on_compare(self, session: Session, state: Brushed, document: Any, layer: Any) -> Iterator[Updates]:
        """Hold the units against an erasing rule on images that nobody marked; the better is offered first."""
        self._take(session, state, document, layer)
        for _ in compare(session.begin(), state):
            yield {self.status: message("Solving the marks as a rule that erases …")}
        ways = [(f"{SAID[repair.kind]}: {spoken(fall)}", repair.kind) for repair, fall in state.offers]
        first, fall = state.offers[0]
        text = f"On images that nobody marked, {SAID[first.kind]} does better and is offered first."
        if fall <= 0:
            text = "On images that nobody marked, neither way brings them nearer to good ones: look before you keep it."
        yield {
            self.status: message(text),
            self.way: gr.update(choices=ways, value=first.kind, visible=True),
            self.wall: gr.update(**shown(session, state, first.patch)),
            self.keep: gr.update(interactive=True),
        }

    def on_way(self, session: Session, state: Brushed, kind: Any) -> Updates:
        """Show the wall with one of the ways."""
        return {self.wall: gr.update(**shown(session, state, patch_for(session, state, kind)))}

    def on_keep(self, session: Session, state: Brushed, kind: Any, stacked: Any) -> Updates:
        """Put the way that is shown on the stack of rules."""
        patch = patch_for(session, state, kind)
        if patch is None:
            raise ValueError("tick at least one unit first")
        rule = next((each.rule for each, _ in state.offers if each.kind == kind), None)
        named = "What I marked, erased" if rule else f"{state.layer} without {', '.join(map(str, state.units))}"
        session.rules.add(Entry(named[:60], patch, rule=rule))
        return {
            self.status: message(KEPT),
            self.keep: gr.update(interactive=False),
            self.page.stacked: (stacked or 0) + 1,
        }

    def on_model(self, session: Session, state: Brushed) -> Updates:
        """Show the model that was opened."""
        state.mark(())
        state.seeds, state.layer = (), ""
        return {
            self.status: message(FIRST),
            **self._nothing_found(),
            self.wall: gr.update(**wall_of(session, state)),
            self.layer: gr.update(choices=layers_of(session), value=session.model.layer),
        }

    def _take(self, session: Session, state: Brushed, document: Any, layer: Any) -> None:
        state.mark(read_marks(document, session.draft.side))
        if not state.marks:
            raise ValueError("brush over what looks wrong first, in one image or a few")
        named = session.model.generator.layer(layer if isinstance(layer, str) else session.model.layer).name
        if named != state.layer:
            state.layer, state.proposed, state.units, state.offers = named, (), (), ()

    def _shown(self, session: Session, state: Brushed) -> Updates:
        return {
            self.status: message(told(state)),
            self.wall: gr.update(**shown(session, state)),
            self.way: gr.update(choices=[], value=None, visible=False),
            self.keep: gr.update(interactive=bool(state.units)),
        }

    def _nothing_found(self) -> Updates:
        return {
            self.wall: gr.update(after=[]),
            self.grid: gr.update(**EMPTY),
            self.way: gr.update(choices=[], value=None, visible=False),
            self.keep: gr.update(interactive=False),
        }


def told(state: Brushed) -> str:
    """What comes next, in one sentence."""
    if state.units:
        count = "1 unit is" if len(state.units) == 1 else f"{len(state.units)} units are"
        return f"{count} off on the wall. Tick others below, compare with erasing the marks, or keep it so."
    if state.proposed:
        return NONE_HELPS
    count = len({mark.seed for mark in state.marks})
    return READY.format(count="1 image" if count == 1 else f"{count} images") if count else FIRST


def patch_for(session: Session, state: Brushed, kind: Any) -> Patch | None:
    """The patch of a way that was compared; else of the units that are off."""
    found = [repair.patch for repair, _ in state.offers if repair.kind == kind]
    return found[0] if found else state.patch_of(session.model)


def shown(session: Session, state: Brushed, patch: Patch | None = None) -> dict[str, Any]:
    """The tiles with the present rules, and with a patch beside, or else with the units off."""
    model, seeds = session.model, state.seeds or session.draft.plain_seeds
    held, patch = session.rules.held, patch or state.patch_of(model)
    after: Tensor | None = model.drawer.tiles(seeds, [*held, (patch, 1.0)]) if patch else None
    named = names_of(seeds, session.draft.given)
    tiles = zip(seeds, named, urls(model.drawer.tiles(seeds, held)), strict=True)
    return {
        "tiles": [{"seed": seed, "name": name, "image": image} for seed, name, image in tiles],
        "after": [] if after is None else urls(after),
    }


def wall_of(session: Session, state: Brushed) -> dict[str, Any]:
    """All properties of the wall."""
    return {"side": session.draft.side, "model": session.model.fingerprint, **shown(session, state)}


def layers_of(session: Session) -> list[str]:
    """The layers whose units can be looked at."""
    return [name for name, layer in session.model.generator.layers.items() if layer.outputs > 4]


def spoken(fall: float) -> str:
    """What a fall of the distance means."""
    return "images come nearer to good ones" if fall > 0 else "images go farther from good ones"
