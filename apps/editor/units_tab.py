"""The tab "Units": what each unit draws and does, the wall without those that are ticked, and that as a patch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from torch import Tensor

from apps.editor.frame import AT_ONCE, IN_TURN, Page, progress, said
from apps.editor.model import Stopped
from apps.editor.session import Session
from apps.editor.stack import Entry
from apps.editor.unit_effects import Effects
from apps.editor.unit_grid import EMPTY, UnitGrid, read_ticked
from apps.editor.units import NONE, dissection, dissections, drawing, strips
from apps.editor.wall import urls
from dissect.causes.ablation import ablation_patch, notes_of
from dissect.causes.intervention import Intervention, Prefix

COMPARED = 4
HELP = (
    "Tick units that draw artifacts, or anything else: the images show the model without them. Hold one to see before."
)
OWN = "own concept"
STOPPED = "Stopped. "
# Its own queue: between two steps others get their turn with the model.
ASIDE = {"concurrency_id": "effects", "concurrency_limit": 1, "trigger_mode": "once", "show_progress": "hidden"}


@dataclass
class Look:
    """What one browser session looks at in this tab.

    Attributes:
        layer: The layer whose units are shown; empty for none.
        concept: The concept whose pixels effects are shares of; empty for each unit's own.
        lit: Whether the page has the lit images of the layer.
    """

    layer: str = ""
    concept: str = ""
    lit: bool = False


def build(page: Page) -> None:
    """Put the tab on the page."""
    new = page.new()
    layers = list(dissections(new))
    begun = Look(next(iter(layers), ""))
    look = gr.State(begun)
    note = gr.HTML(NONE, visible=not layers, elem_id="units-note")
    with gr.Row(elem_classes="line"):
        layer = gr.Dropdown(layers, value=begun.layer or None, label="Layer", elem_id="units-layer")
        concept = gr.Dropdown(_concepts(new), value="", label="Effect on", elem_id="units-concept")
        measure = gr.Button(
            "Measure effects", elem_id="units-measure", min_width=180, interactive=_measurable(new, begun)
        )
        stop = gr.Button("Stop", elem_id="units-stop", min_width=80)
        keep = gr.Button("Keep them off", variant="primary", elem_id="units-keep", min_width=160)
    told = gr.HTML(elem_id="units-told")
    grid = UnitGrid(elem_id="units", **listed(new, begun))
    both = [page.session, look]
    grid.input(said(ticked), [page.session, grid], [grid], api_name="tick", **IN_TURN)
    shown = layer.input(said(layered), [*both, layer], [grid, told], api_name="units_layer", **IN_TURN)
    shown.then(said(lit), both, [grid, told], api_name="units_lit", **IN_TURN)
    page.tab.select(said(lit), both, [grid, told], api_name="units_seen", **IN_TURN)
    concept.input(said(concerned), [*both, concept], [grid, told], api_name="units_concept", **AT_ONCE)
    measure.click(said(measured), both, [grid, told], api_name="units_measure", **ASIDE)
    stop.click(said(stopped), both, [grid, told], api_name="units_stop", **AT_ONCE)
    keep.click(said(kept), [page.session, grid, page.stacked], [grid, page.stacked], api_name="units_keep", **IN_TURN)
    page.opened.change(
        said(opened), both, [grid, layer, note, concept, measure, told], api_name="units_opened", **IN_TURN
    )


def ticked(session: Session, value: Any) -> Any:
    """Show the wall without the ticked units."""
    layer, units, turn = read_ticked(value)
    if not units:
        return gr.update(tiles=tiles(session), said=HELP, turn=turn)
    without = images_without(session, layer, units)
    many = "1 unit is" if len(units) == 1 else f"{len(units)} units are"
    return gr.update(tiles=tiles(session, without), said=f"{many} off. Keep them off to make that a patch.", turn=turn)


def images_without(session: Session, layer: str, units: Sequence[int]) -> Tensor:
    """The images of the wall with the rules that are on and some units at zero.

    Raises:
        LookupError: The layer is not dissected.
        ValueError: It has no such units.
    """
    dissection(session, layer)
    with session.model.holding(session.rules.held) as generator:
        return Prefix.of(generator, layer, session.seeds).images(Intervention.off(units)).cpu()


def layered(session: Session, look: Look, layer: Any) -> tuple:
    """Show the units of another layer."""
    if not isinstance(layer, str):
        raise ValueError("choose a layer first")
    dissection(session, layer)
    look.layer, look.lit = layer, False
    return gr.update(**listed(session, look)), measured_so(session, look)


def lit(session: Session, look: Look) -> Iterator[tuple]:
    """Show the images that drive each unit most; drawn once, when somebody looks."""
    if not look.layer or look.lit:
        return
    session.begin()
    for share in drawing(session, look.layer):
        yield gr.skip(), progress(share, "Drawing the images that drive each unit most")
    look.lit = True
    yield gr.update(strips=strips(session, look.layer)), measured_so(session, look)


def concerned(session: Session, look: Look, concept: Any) -> tuple:
    """Show the effects on another concept."""
    if not isinstance(concept, str):
        raise ValueError("choose a concept first")
    if concept:
        Effects.of(session, look.layer).wanted(concept)
    look.concept = concept
    return gr.update(effects=effects(session, look)), measured_so(session, look)


def measured(session: Session, look: Look) -> Iterator[tuple]:
    """Measure what each unit does, and show what is known after every few images."""
    if not look.layer:
        raise ValueError("choose a layer first")
    model, layer = session.model, look.layer
    known = Effects.of(session, layer)
    session.begin()
    try:
        for step in known.measuring(session, known.wanted(look.concept)):
            # Whoever looks at something else meanwhile is not shown this; what was measured stays.
            if session.model is not model or look.layer != layer:
                return
            figures = gr.update(effects=effects(session, look)) if step.news else gr.skip()
            yield figures, gr.skip() if step.news else progress(step.share, step.text)
        yield gr.update(effects=effects(session, look)), measured_so(session, look)
    except Stopped:
        yield gr.skip(), measured_so(session, look, STOPPED)


def stopped(session: Session, look: Look) -> tuple:
    """End the work; the figures that are shown stay."""
    session.stop()
    return gr.skip(), measured_so(session, look, STOPPED)


def effects(session: Session, look: Look) -> list[dict[str, Any] | None]:
    """What is known of each unit's effect; nothing where nothing names the pixels."""
    if not _measurable(session, look):
        return []
    known = Effects.of(session, look.layer)
    return known.figures(known.wanted(look.concept)) if known.told else []


def measured_so(session: Session, look: Look, before: str = "") -> str:
    """How the figures came to be, as HTML; or what would give some."""
    if not _measurable(session, look):
        return ""
    text = Effects.of(session, look.layer).told or "Measure effects to see what goes from the images without each unit."
    return f'<p class="soft" role="status">{before}{text}</p>'


def kept(session: Session, value: Any, stacked: Any) -> tuple:
    """Put a patch on the stack that keeps the ticked units off."""
    layer, units, _ = read_ticked(value)
    if not units:
        raise ValueError("tick at least one unit first")
    dissection(session, layer)
    named = ", ".join(map(str, units[:6])) + (" …" if len(units) > 6 else "")
    with session.model.holding([]) as generator:
        patch = ablation_patch(generator, layer, units, seeds=session.seeds[:COMPARED])
        notes = notes_of(generator, layer)
    session.rules.add(Entry(f"{layer} without {named}", patch))
    told = f"Units {named} are off for good: the patch stands in the list of rules, and can be exported."
    return gr.update(said=" ".join([told, *(f"Note: {note}." for note in notes)])), (stacked or 0) + 1


def opened(session: Session, look: Look) -> tuple:
    """Show the model that the session looks at now."""
    layers = list(dissections(session))
    look.layer, look.concept, look.lit = next(iter(layers), ""), "", False
    return (
        gr.update(**listed(session, look)),
        gr.update(choices=layers, value=look.layer or None),
        gr.update(visible=not layers),
        gr.update(choices=_concepts(session), value=""),
        gr.update(interactive=_measurable(session, look)),
        measured_so(session, look),
    )


def listed(session: Session, look: Look) -> dict[str, Any]:
    """What the grid shows of a layer."""
    if not look.layer:
        return dict(EMPTY)
    one = dissection(session, look.layer)
    scores, names = one.scores, one.concepts.names
    units = [
        {"unit": unit, "concept": names[best], "iou": round(float(scores.iou[unit, best]), 4)}
        for unit, best in enumerate(scores.best.tolist())
    ]
    shown = {"tiles": tiles(session), "effects": effects(session, look), "said": HELP}
    return {**EMPTY, "layer": look.layer, "units": units, **shown}


def tiles(session: Session, without: Tensor | None = None) -> list[dict[str, Any]]:
    """The wall, and what it is without some units."""
    after = [None] * len(session.seeds) if without is None else urls(without)
    shown = urls(session.after())
    return [
        {"seed": seed, "image": image, "after": edited}
        for seed, image, edited in zip(session.seeds, shown, after, strict=True)
    ]


def _measurable(session: Session, look: Look) -> bool:
    return bool(look.layer) and session.model.source is not None


def _concepts(session: Session) -> list[tuple[str, str]]:
    source = session.model.source
    return [(OWN, ""), *((name, name) for name in ([] if source is None else source.concepts.names))]
