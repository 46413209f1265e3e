"""The tab "Rewrite a rule": brush copy, paste and context, see the price, rewrite, and take it back."""

from collections.abc import Iterator
from dataclasses import replace
from html import escape
from typing import Any

import gradio as gr

from apps.editor import price as prices
from apps.editor.frame import AT_ONCE, IN_TURN, Page, only, said
from apps.editor.heat import Heat
from apps.editor.marks import documents
from apps.editor.rule_list import RuleList, Wish, read_wishes, rows, saved
from apps.editor.session import ENOUGH_CONTEXTS, MOST_CAUTION, Session, careful
from apps.editor.wall import Role, Wall, given, tiles, url, urls
from apps.seeds import parse_seeds
from rewrite import Rule
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
LARGEST_FILE = 8 * 2**20


def build(page: Page) -> None:
    """Put the tab on the page."""
    new = page.new()
    status = gr.HTML(told(new), elem_id="status")
    with gr.Row():
        with gr.Column(scale=7, min_width=320):
            wall = Wall(ROLES, heat_label="Where would it fire?", elem_id="wall", **hung(new))
            with gr.Row(elem_classes="line"):
                seeds = gr.Textbox(_spelled(new), label="Seeds on the wall", max_lines=1, scale=2, min_width=120)
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
                rank = gr.Number(None, label="Rank (empty: as many directions as the marks ask for)", precision=0)
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
    )
    for number, event in enumerate(changed):
        told_price = event.then(
            said(priced, only(1, 2, stopped)),
            [page.session],
            [price, status],
            api_name=f"priced{number or ''}",
            **IN_TURN,
        )
        told_price.then(said(curved), [page.session], [price], api_name=f"curved{number or ''}", **CURVE)
    go.click(said(rewrote, only(2, 3, stopped)), [page.session, wall], [wall, rules, status], **IN_TURN)
    stop.click(said(stopped), [page.session], [status], **AT_ONCE)
    rules.input(
        said(granted), [page.session, rules], [wall, rules, status, seeds, action, layer], api_name="wish", **IN_TURN
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
        said(lambda session: (_after(session), listed(session))),
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
            yield told(session, _measuring(session, done)), gr.skip(), gr.skip()
        heat = [url(picture) for picture in Heat.of(session.model, session.layer).pictures(places, session.seeds)]
        yield told(session), gr.update(interactive=not session.missing), gr.update(heat=heat)


def chose(session: Session, action: Any, layer: Any, caution: Any, rank: Any, refine: Any) -> tuple:
    """Take what was chosen beside the marks."""
    session.choose(action=action, layer=layer or None, caution=caution, rank=rank or None, refine=refine is True)
    return told(session), gr.update(interactive=not session.missing), reasons(session)


def priced(session: Session) -> Iterator[tuple]:
    """Solve the rule of the marks, without changing anything, and say what it would cost."""
    if session.missing:
        yield "", gr.skip()
        return
    session.begin()
    for done in session.measuring(session.layer):
        yield gr.skip(), told(session, _measuring(session, done))
    rule = session.rule()
    if not session.answered(rule):
        yield gr.skip(), told(session, "Reckoning the price …")
    price = prices.Price.of(session.answer(rule), session.choices.caution)
    yield prices.card(price, waiting=True), told(session)


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
        yield gr.skip(), gr.skip(), told(session, _measuring(session, done))
    session.rewrite()
    yield gr.update(after=urls(session.after(FIRST_TILES))), gr.skip(), gr.skip()
    yield (
        _after(session),
        listed(session),
        told(session, "Done. Wipe between before and after, or change the strength."),
    )


def stopped(session: Session) -> str:
    """End whatever the session does."""
    session.stop()
    return told(session, "Stopped; nothing of it is kept.")


def granted(session: Session, value: Any) -> tuple:
    """Do what the list of rules asks for."""
    wall: dict[str, Any] = {}
    file: dict[str, Any] = {}
    shown, chosen = gr.skip(), (gr.skip(), gr.skip())
    for wish in read_wishes(value, session.turn):
        session.turn = wish.turn
        if wish.do == "save":
            file = {"file": saved(session.rules.saved(wish.index))}
        elif wish.do == "marks":
            if not session.show(wish.index):
                raise ValueError(
                    "the wall cannot show the marks of this rule: it has too many images, or other latents"
                )
            wall |= {"tiles": tiles(session.seeds, session.before()), "given": _given(session)}
            shown = _spelled(session)
            chosen = session.choices.action, session.choices.layer or ""
        else:
            grant(session, wish)
    after = urls(session.after()) if session.rules.held else []
    return gr.update(after=after, **wall), listed(session, **file), told(session), shown, *chosen


def grant(session: Session, wish: Wish) -> None:
    """One change of the stack."""
    match wish.do:
        case "switch":
            session.rules.switch(wish.index, wish.to)
        case "strength":
            session.rules.strengthen(wish.index, wish.to, keep=not wish.live)
        case "rename":
            session.rules.rename(wish.index, wish.to)
        case "move":
            session.rules.move(wish.index, wish.to)
        case "delete":
            session.rules.delete(wish.index)
        case "undo":
            session.rules.undo()
        case "redo":
            session.rules.redo()


def found(session: Session, value: Any, concept: Any, more: Any) -> Iterator[tuple]:
    """Mark every region of a concept as context."""
    if not isinstance(concept, str):
        raise ValueError("choose a concept first")
    session.mark(value)
    session.begin()
    yield gr.skip(), told(session, f"Looking for every {concept} …"), gr.skip()
    count = session.find(concept, FURTHER_IMAGES if more is True else 0)
    text = f"{count} places with {concept} are context now." if count else f"No {concept} on the wall."
    yield gr.update(given=_given(session)), told(session, text), gr.update(interactive=not session.missing)


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
    return _hung(session), _spelled(session)


def looked_on(session: Session, value: Any) -> tuple:
    """Put the next seeds on the wall."""
    session.mark(value)
    first = (max(session.seeds) + 1) % 2**31
    session.look_at(range(first, first + session.models.options.tiles))
    return _hung(session), _spelled(session)


def loaded(session: Session, content: Any) -> Iterator[tuple]:
    """Solve a rule from a file, and put it on the stack."""
    if not isinstance(content, bytes) or len(content) > LARGEST_FILE:
        raise ValueError(f"a rule is a file of at most {LARGEST_FILE} bytes")
    yield from _loading(session, Rule.from_json(content.decode("utf-8")))


def took(session: Session, name: Any) -> Iterator[tuple]:
    """Solve a rule that comes with the library, and put it on the stack."""
    if name not in BUILT_IN:
        raise ValueError("choose one of the rules in the list")
    yield from _loading(session, Rule.load(BUILT_IN[name]))


def _loading(session: Session, rule: Rule) -> Iterator[tuple]:
    session.begin()
    session.model.generator.layer(rule.layer)
    for done in session.measuring(rule.layer):
        yield gr.skip(), gr.skip(), told(session, _measuring(session, done)), gr.skip()
    yield gr.skip(), gr.skip(), told(session, f"Solving “{rule.name[:60]}” …"), gr.skip()
    session.load(rule)
    shown = session.show(len(session.rules) - 1)
    wall = _hung(session) | ({"given": _given(session)} if shown else {})
    yield wall, listed(session), told(session, f"“{rule.name[:60]}” is on the stack."), _spelled(session)


def saved_marks(session: Session, value: Any) -> Any:
    """The rule of the marks as a file."""
    session.mark(value)
    return gr.update(file=saved(session.rule()))


def opened(session: Session) -> tuple:
    """Show the model that the session looks at now."""
    return (
        gr.update(**hung(session), after=[], heat=[], given=given(session.version, [])),
        listed(session),
        told(session),
        gr.update(interactive=False),
        "",
        _spelled(session),
        gr.update(choices=_layers(session), value=""),
        gr.update(choices=_concepts(session), value=None),
        gr.update(visible=session.model.source is not None),
        reasons(session),
    )


def hung(session: Session) -> dict[str, Any]:
    """What the wall shows of a session's model."""
    return {
        "side": session.side,
        "tiles": tiles(session.seeds, session.before()),
        "store": f"rewrite-marks-{session.model.generator.fingerprint}",
    }


def listed(session: Session, **more: Any) -> Any:
    """What the list of rules shows."""
    return gr.update(
        **more, rules=rows(session.rules.entries), can_undo=session.rules.can_undo, can_redo=session.rules.can_redo
    )


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
    return (
        f'<p class="soft">{first} The rank is left open because every direction that is cut away costs some of the '
        "effect; a low rank makes a smaller file.</p>"
    )


def _after(session: Session) -> Any:
    return gr.update(after=urls(session.after()) if session.rules.held else [])


def _hung(session: Session) -> Any:
    after = urls(session.after()) if session.rules.held else []
    return gr.update(tiles=tiles(session.seeds, session.before()), after=after, heat=[])


def _given(session: Session) -> dict[str, Any]:
    return given(session.version, documents(session.marks))


def _measuring(session: Session, done: float) -> str:
    return f"Measuring what layer {session.layer} usually reads, once: {100 * done:.0f} %"


def _spelled(session: Session) -> str:
    seeds = session.seeds
    if seeds == tuple(range(seeds[0], seeds[0] + len(seeds))) and len(seeds) > 1:
        return f"{seeds[0]}-{seeds[-1]}"
    return ",".join(map(str, seeds))


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
