"""The tab "Units": what each unit draws, the wall without those that are ticked, and that as a patch."""

from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr
from torch import Tensor

from apps.editor.frame import IN_TURN, Page, said
from apps.editor.session import Session
from apps.editor.stack import Entry
from apps.editor.unit_grid import EMPTY, UnitGrid, read_ticked
from apps.editor.units import NONE, dissection, dissections, strips
from apps.editor.wall import urls
from dissect.causes.ablation import ablation_patch, notes_of
from dissect.causes.intervention import Intervention, Prefix

COMPARED = 4
HELP = (
    "Tick units that draw artifacts, or anything else: the images show the model without them. Hold one to see before."
)


def build(page: Page) -> None:
    """Put the tab on the page."""
    new = page.new()
    layers = list(dissections(new))
    note = gr.HTML(NONE, visible=not layers, elem_id="units-note")
    with gr.Row(elem_classes="line"):
        layer = gr.Dropdown(layers, value=next(iter(layers), None), label="Layer", elem_id="units-layer")
        draw = gr.Button("Show what drives each unit", elem_id="units-draw", min_width=200)
        keep = gr.Button("Keep them off", variant="primary", elem_id="units-keep", min_width=160)
    grid = UnitGrid(elem_id="units", **listed(new, next(iter(layers), "")))
    grid.input(said(ticked), [page.session, grid], [grid], api_name="tick", **IN_TURN)
    layer.input(said(layered), [page.session, layer], [grid], api_name="units_layer", **IN_TURN)
    draw.click(said(drawn), [page.session, grid, layer], [grid], api_name="units_draw", **IN_TURN)
    keep.click(said(kept), [page.session, grid, page.stacked], [grid, page.stacked], api_name="units_keep", **IN_TURN)
    page.opened.change(said(opened), [page.session], [grid, layer, note], api_name="units_opened", **IN_TURN)


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


def layered(session: Session, layer: Any) -> Any:
    """Show the units of another layer."""
    if not isinstance(layer, str):
        raise ValueError("choose a layer first")
    return gr.update(**listed(session, layer))


def drawn(session: Session, value: Any, layer: Any) -> Iterator[Any]:
    """Draw the images that drive each unit most."""
    if not isinstance(layer, str):
        raise ValueError("choose a layer first")
    dissection(session, layer)
    session.begin()
    yield gr.update(said="Drawing the images that drive each unit most …")
    with session.working():
        found = strips(session, layer)
    yield gr.update(strips=found, said=HELP)


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


def opened(session: Session) -> tuple:
    """Show the model that the session looks at now."""
    layers = list(dissections(session))
    first = next(iter(layers), "")
    return (
        gr.update(**listed(session, first)),
        gr.update(choices=layers, value=first or None),
        gr.update(visible=not layers),
    )


def listed(session: Session, layer: str) -> dict[str, Any]:
    """What the grid shows of a layer."""
    if not layer:
        return dict(EMPTY)
    one = dissection(session, layer)
    scores, names = one.scores, one.concepts.names
    units = [
        {"unit": unit, "concept": names[best], "iou": round(float(scores.iou[unit, best]), 4)}
        for unit, best in enumerate(scores.best.tolist())
    ]
    return {**EMPTY, "layer": layer, "units": units, "tiles": tiles(session), "said": HELP}


def tiles(session: Session, without: Tensor | None = None) -> list[dict[str, Any]]:
    """The wall, and what it is without some units."""
    after = [None] * len(session.seeds) if without is None else urls(without)
    shown = urls(session.after())
    return [
        {"seed": seed, "image": image, "after": edited}
        for seed, image, edited in zip(session.seeds, shown, after, strict=True)
    ]
