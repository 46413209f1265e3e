"""The tab "Rewrite a rule": brush copy, paste and context, see the price, rewrite, and take it back."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from apps.editor import price as prices
from apps.editor.frame import AT_ONCE, IN_TURN, Page, only, said
from apps.editor.guide import measuring, reasons, told
from apps.editor.heat import Heat
from apps.editor.rule_list import RuleList
from apps.editor.rule_panel import granted, loaded, saved_marks, told_measured, took
from apps.editor.session import MOST_CAUTION, Session, careful
from apps.editor.shown import after, hung, listed, rehung, remarked, spelled
from apps.editor.wall import Role, Wall, given, url, urls
from apps.seeds import parse_seeds
from rewrite.rules import BUILT_IN

ROLES = (
    Role("copy", "Copy", "C", "#2f7de1", True, "what you want more of"),
    Role("paste", "Paste", "P", "#d9480f", True, "where it goes first"),
    Role("context", "Context", "X", "#8e44ad", False, "more places of that kind"),
    Role("protect", "Protect", "S", "#0b7a5b", False, "what must stay as it is"),
)
FIRST_TILES = 4
FURTHER_IMAGES = 12
CURVE = {"concurrency_id": "curve", "concurrency_limit": 1, "trigger_mode": "always_last", "show_progress": "hidden"}


def build(page: Page) -> None:
    """Put the tab on the page."""
    new = page.new()
    status = gr.HTML(told(new), elem_id="status")
    with gr.Row():
        with gr.Column(scale=7, min_width=320):
            wall = Wall(ROLES, heat_label="Where would it fire?", elem_id="wall", **hung(new))
            with gr.Row(elem_classes="line"):
                seeds = gr.Textbox(spelled(new), label="Seeds on the wall", max_lines=1, scale=2, min_width=120)
                others = gr.Button("New seeds", scale=1, min_width=120, size="md", elem_id="new-seeds")
                show = gr.Button("Show the paste", scale=1, min_width=150, size="md", elem_id="show-paste")
        with gr.Column(scale=4, min_width=320):
            action = gr.Radio(
                [("Paste a copy", "paste"), ("Erase", "erase")], value="paste", show_label=False, elem_id="action"
            )
            with gr.Row(elem_classes="line"):
                go = gr.Button("Rewrite", variant="primary", interactive=False, elem_id="rewrite", scale=3)
                stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80)
            price = gr.HTML(elem_id="price")
            rules = RuleList(elem_id="rules")
            measure = gr.Button("Measure on new images", elem_id="measure-rules")
            report = gr.HTML(elem_id="report")
            with gr.Accordion("Contexts by concept", open=False, visible=new.model.source is not None) as concepts:
                concept = gr.Dropdown(_concepts(new), value=None, label="Mark every", elem_id="concept")
                more = gr.Checkbox(
                    True, label=f"Also in {FURTHER_IMAGES} images that are not shown (better, a little slower)"
                )
                find = gr.Button("Mark them as context", elem_id="find")
            with gr.Accordion("Where and how", open=False):
                layer = gr.Dropdown(_layers(new), value="", label="Layer", elem_id="layer")
                caution = gr.Slider(
                    -MOST_CAUTION,
                    MOST_CAUTION,
                    value=0,
                    step=0.1,
                    elem_id="caution",
                    label="Caution: change less elsewhere (right), or more of what you want (left)",
                )
                with gr.Row(elem_classes="line"):
                    rank = gr.Number(
                        None,
                        label="Rank (empty: as many directions as the marks ask for)",
                        precision=0,
                        elem_id="rank",
                        min_width=160,
                    )
                    propose = gr.Button("Propose a rank", elem_id="propose", min_width=120)
                refine = gr.Checkbox(True, label="Adjust the copy until the image itself shows it")
                why = gr.HTML(reasons(new), elem_id="why")
            with gr.Accordion("Rule files", open=False, elem_id="files"):
                with gr.Row(elem_classes="line"):
                    load = gr.UploadButton("Load a rule", file_types=[".json"], type="binary", elem_id="load")
                    save = gr.Button("Save the marks as a rule", elem_id="save")
                ready = gr.Dropdown(list(BUILT_IN), value=None, label="A rule that comes with the library")
                take = gr.Button("Load it", elem_id="take")
    choices = [action, layer, caution, rank, refine]
    chosen = [page.session, *choices]

    # The price follows whatever changed the marks or the choices; the curve follows the price.
    changed = (
        wall.input(said(marked, only(0, 3, stopped)), [page.session, wall], [status, go, wall], **AT_ONCE),
        gr.on([choice.input for choice in choices], said(chose), chosen, [status, go, why], **AT_ONCE),
        find.click(
            said(found, only(1, 3, stopped)), [page.session, wall, concept, more], [wall, status, go], **IN_TURN
        ),
        propose.click(said(proposed, only(1, 3, stopped)), [page.session], [rank, status, why], **IN_TURN),
    )
    for number, event in enumerate(changed):
        told_price = event.then(
            said(priced, only(1, 3, stopped)),
            [page.session],
            [price, status, why],
            api_name=f"priced{number or ''}",
            **IN_TURN,
        )
        told_price.then(said(curved), [page.session], [price], api_name=f"curved{number or ''}", **CURVE)
    go.click(said(rewrote, only(2, 3, stopped)), [page.session, wall], [wall, rules, status], **IN_TURN)
    stop.click(said(stopped), [page.session], [status], **AT_ONCE)
    rules.input(
        said(granted), [page.session, rules], [wall, rules, status, seeds, action, layer], api_name="wish", **IN_TURN
    )
    measure.click(said(told_measured, only(1, 2, stopped)), [page.session], [report, status], **IN_TURN)
    # What was measured holds for the rules that were on then.
    gr.on(
        [go.click, rules.input, load.upload, take.click, page.stacked.change, page.opened.change],
        None,
        None,
        [report],
        js="() => ''",
    )
    seeds.submit(said(looked), [page.session, wall, seeds], [wall, seeds], **IN_TURN)
    others.click(said(looked_on), [page.session, wall], [wall, seeds], **IN_TURN)
    show.click(said(wanted), [page.session, wall], [wall, status], **IN_TURN)
    load.upload(said(loaded, only(2, 4, stopped)), [page.session, load], [wall, rules, status, seeds], **IN_TURN)
    take.click(said(took, only(2, 4, stopped)), [page.session, ready], [wall, rules, status, seeds], **IN_TURN)
    save.click(said(saved_marks), [page.session, wall], [rules], api_name="save", **AT_ONCE)
    page.opened.change(
        said(opened), [page.session], [wall, rules, status, go, price, seeds, layer, concept, concepts, why], **IN_TURN
    )
    page.stacked.change(
        said(lambda session: (after(session), listed(session))),
        [page.session],
        [wall, rules],
        api_name="stacked",
        **IN_TURN,
    )


def marked(session: Session, value: Any) -> Iterator[tuple]:
    """Take the marks: what is missing is told at once, the heat-map follows."""
    session.mark(value)
    hot = isinstance(value, dict) and value.get("heat") is True
    places = session.regions("paste") + session.regions("context") if hot else ()
    if not places or not session.model.measured(session.layer):
        yield told(session), gr.update(interactive=not session.missing), gr.skip() if hot else gr.update(heat=[])
    if places:
        for done in session.measuring(session.layer):
            yield told(session, measuring(session, done)), gr.skip(), gr.skip()
        heat = [url(picture) for picture in Heat.of(session.model, session.layer).pictures(places, session.seeds)]
        yield told(session), gr.update(interactive=not session.missing), gr.update(heat=heat)


def chose(session: Session, action: Any, layer: Any, caution: Any, rank: Any, refine: Any) -> tuple:
    """Take what was chosen beside the marks."""
    session.choose(action=action, layer=layer or None, caution=caution, rank=rank or None, refine=refine is True)
    return told(session), gr.update(interactive=not session.missing), reasons(session)


def proposed(session: Session) -> Iterator[tuple]:
    """Choose the fewest directions that carry nearly all of the change of the answer of full rank."""
    session.choose(rank=None)
    rule = session.rule()
    session.begin()
    for done in session.measuring(session.layer):
        yield gr.skip(), told(session, measuring(session, done)), gr.skip()
    rank = prices.carrying(session.answer(rule))
    session.choose(rank=rank)
    yield rank, told(session), reasons(session)


def priced(session: Session) -> Iterator[tuple]:
    """Solve the rule of the marks, without changing anything, and say what it would cost."""
    if session.missing:
        yield "", gr.skip(), gr.skip()
        return
    session.begin()
    for done in session.measuring(session.layer):
        yield gr.skip(), told(session, measuring(session, done)), gr.skip()
    rule = session.rule()
    if not session.answered(rule):
        yield gr.skip(), told(session, "Reckoning the price …"), gr.skip()
    price = prices.Price.of(session.answer(rule), session.choices.caution)
    yield prices.card(price, waiting=True), told(session), reasons(session)


def curved(session: Session) -> Iterator[Any]:
    """Try bolder and more careful answers, one after the other, as long as the marks stay what they are."""
    if session.missing:
        return
    rule, version, caution, curve = session.rule(), session.version, session.choices.caution, []
    chosen = prices.Price.of(session.answer(rule), caution)
    for step in prices.STEPS:
        patch = session.answer(replace(rule, settings=careful(rule.settings, step)))
        if session.version != version:
            return
        curve.append(prices.Price.of(patch, caution + step))
    yield prices.card(chosen, curve)


def rewrote(session: Session, value: Any) -> Iterator[tuple]:
    """Put the rule of the marks on the stack, and show the first tiles before the rest."""
    session.mark(value)
    session.begin()
    for done in session.measuring(session.layer):
        yield gr.skip(), gr.skip(), told(session, measuring(session, done))
    session.rewrite()
    yield gr.update(after=urls(session.after(FIRST_TILES))), gr.skip(), gr.skip()
    yield (
        after(session),
        listed(session),
        told(session, "Done. Wipe between before and after, or change the strength."),
    )


def stopped(session: Session) -> str:
    """End whatever the session does."""
    session.stop()
    return told(session, "Stopped; nothing of it is kept.")


def found(session: Session, value: Any, concept: Any, more: Any) -> Iterator[tuple]:
    """Mark every region of a concept as context."""
    if not isinstance(concept, str):
        raise ValueError("choose a concept first")
    session.mark(value)
    session.begin()
    yield gr.skip(), told(session, f"Looking for every {concept} …"), gr.skip()
    count = session.find(concept, FURTHER_IMAGES if more is True else 0)
    text = f"{count} places with {concept} are context now." if count else f"No {concept} on the wall."
    yield gr.update(given=remarked(session)), told(session, text), gr.update(interactive=not session.missing)


def wanted(session: Session, value: Any) -> tuple:
    """Show what the marked images would look like if all that is wanted arrived."""
    session.mark(value)
    session.begin()
    images = session.wanted()
    after = [urls(images[seed][None])[0] if seed in images else None for seed in session.seeds]
    text = "This is the paste itself, at the marks alone. Press Rewrite to make it a rule of all images."
    return gr.update(after=after), told(session, text)


def looked(session: Session, value: Any, text: Any) -> tuple:
    """Put the seeds on the wall that a person wrote."""
    session.mark(value)
    if not isinstance(text, str) or len(text) > 400:
        raise ValueError("seeds are numbers and ranges such as 0-15 or 0-3,7")
    session.look_at(parse_seeds(text))
    return rehung(session), spelled(session)


def looked_on(session: Session, value: Any) -> tuple:
    """Put the next seeds on the wall."""
    session.mark(value)
    first = (max(session.seeds) + 1) % 2**31
    session.look_at(range(first, first + session.models.options.tiles))
    return rehung(session), spelled(session)


def opened(session: Session) -> tuple:
    """Show the model that the session looks at now."""
    return (
        gr.update(**hung(session), after=[], heat=[], given=given(session.version, [])),
        listed(session),
        told(session),
        gr.update(interactive=False),
        "",
        spelled(session),
        gr.update(choices=_layers(session), value=""),
        gr.update(choices=_concepts(session), value=None),
        gr.update(visible=session.model.source is not None),
        reasons(session),
    )


def _layers(session: Session) -> list[tuple[str, str]]:
    generator = session.model.generator
    named = [
        (f"{name} ({layer.output_grid[0]} × {layer.output_grid[1]})", name)
        for name, layer in generator.layers.items()
        if layer.outputs > 4
    ]
    return [(f"Automatic: {session.model.layer}", ""), *named]


def _concepts(session: Session) -> list[str]:
    return [] if session.model.source is None else list(session.model.source.concepts.names)
