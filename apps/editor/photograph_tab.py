"""The tab "Photo": a picture of the user's, drawn by the model, rewritten by its rules, painted on with units."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from apps.editor.data_urls import urls
from apps.editor.easel import EMPTY, Easel, read_strokes
from apps.editor.frame import WORK, Page, Updates, hint, message, progress
from apps.editor.paint_tab import MOST_UNITS, brushes, changed, line
from apps.editor.photographs import FILE, image_of, painted_image, read, searching
from apps.editor.remaining import Remaining
from apps.editor.session import Session
from apps.editor.units import dissection, dissections
from dissect.photographs.photograph import Photograph
from dissect.photographs.search import Search
from rewrite import Latent
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "photograph.html"
KINDS = [".jpg", ".jpeg", ".png", FILE]
# What the stages are called beside their images; others are not shown.
CALLED = {"start": "similar image", "z": "latent", "w": "latent", "w+": "latent for each layer", "weights": "as drawn"}
NAME = "photograph"
NOTHING = (
    "No picture yet. It stays on this machine, where a reload finds it again until you forget it. "
    "It is cut to the shape of the model's images."
)


class PhotographTab:
    """The components of the tab, and its handlers."""

    def __init__(self, page: Page):
        self.page = page
        gr.Markdown("## A picture of yours")
        with gr.Row(elem_classes="line short"):
            self.file = gr.UploadButton(
                "Choose a picture", file_types=KINDS, variant="primary", elem_id="photograph-file", scale=2
            )
            self.stop = gr.Button("Stop", elem_id="photograph-stop", scale=1, min_width=80)
            self.onto_wall = gr.Button("Put it on the wall", interactive=False, elem_id="photograph-wall", scale=2)
            self.forget = gr.Button("Forget it", elem_id="photograph-forget", scale=1, min_width=100)
        self.status = gr.HTML(message(NOTHING), elem_id="photograph-status")
        self.stages = gr.HTML(elem_id="photograph-stages")
        with gr.Row(elem_classes="line"):
            self.edited = gr.Checkbox(True, label="With the rules that are on", elem_id="photograph-edited")
            text = "With the change of weights for this picture"
            self.adapted = gr.Checkbox(True, label=text, elem_id="photograph-adapted")
        self.easel = Easel(elem_id="photograph-easel", side=page.new().draft.side)
        self.files = gr.Files(label="Download", interactive=False, elem_id="photograph-files", visible=False)
        gr.HTML(hint("The file is for rewrite sample and rewrite paint --latents, and can be loaded here again."))
        self._connect(page)

    def _connect(self, page: Page) -> None:
        connect, shown = page.connect, [self.stages, self.easel, self.onto_wall]
        found = [self.status, *shown, self.files]
        connect(self.file.upload, self.on_file, [self.file], found, WORK, self.show_ended)
        page.connect_stop(self.stop, self.show_ended, self.status)
        connect(self.easel.input, self.on_strokes, [self.easel], shown)
        choices = [self.edited, self.adapted]
        for choice in (self.edited, self.adapted):
            connect(choice.input, self.on_choices, choices, shown)
        connect(page.tab.select, self.on_select, [], shown)
        connect(page.opened.change, self.on_model, [], [*found, *choices])
        connect(self.onto_wall.click, self.on_wall, [], [page.opened, self.status])
        connect(self.forget.click, self.on_forget, [], found)

    def on_file(self, session: Session, path: Any) -> Iterator[Updates]:
        """Find the photograph of a picture, or take one that was found before."""
        if not isinstance(path, str):
            raise ValueError("choose a JPEG or PNG file")
        work = session.begin()
        found, remaining, drawn = read(Path(path), work), Remaining(), {}
        if isinstance(found, Search):
            for text, done in searching(found, work):
                yield {self.status: progress(done, remaining.after(f"{text[0].upper()}{text[1:]}", done))}
            found, drawn = found.run(), found.found.drawn
        session.photographs.keep(found, drawn)
        if session.model is not work.model:
            yield {self.status: message("Found, for the model that was open before.")}
            return
        yield {
            self.status: message(nearness(found)),
            **self.show(session),
            **self.show_file(session),
        }

    def on_strokes(self, session: Session, document: Any) -> Updates:
        """Carry out the requests of the easel."""
        state = session.photographs
        requests, layer = read_strokes(document, state.turn, session.draft.side), layer_of(session)
        photograph = state.found.get(session.model.fingerprint)
        if not requests or not layer or photograph is None:
            return {self.easel: gr.update(turn=state.turn)}
        painting, file = state.painting(photograph, layer), {}
        for request in requests:
            state.turn = request.turn
            if request.do == "save":
                text, turn = painting.to_json(), secrets.token_hex(8)
                file = {"file": {"name": f"{NAME}-strokes.json", "text": text, "turn": turn}}
            else:
                painting = changed(painting, request)
        state.paintings[photograph.model, layer] = painting
        return self.show(session, **file)

    def on_forget(self, session: Session) -> Updates:
        """Keep nothing of the picture, here or on disk."""
        session.photographs.forget(session.model.fingerprint)
        return {self.status: message(NOTHING), **self.show(session), **self.show_file(session)}

    def on_choices(self, session: Session, edited: Any, adapted: Any) -> Updates:
        """Draw it with or without rules, with or without its change of weights."""
        state = session.photographs
        state.edited, state.adapted = edited is True, adapted is True
        return self.show(session)

    def on_select(self, session: Session) -> Updates:
        """Draw it with the present rules."""
        return self.show(session)

    def on_model(self, session: Session) -> Updates:
        """Show the photograph of the model that was opened, if there is one."""
        state = session.photographs
        photograph = state.found.get(session.model.fingerprint)
        text = NOTHING if photograph is None else nearness(photograph)
        chosen = {self.edited: state.edited, self.adapted: state.adapted}
        return {self.status: message(text), **self.show(session), **self.show_file(session), **chosen}

    def on_wall(self, session: Session) -> Updates:
        """Put its latent first on the wall, where rules can be marked on it."""
        photograph = session.photographs.found.get(session.model.fingerprint)
        if photograph is None:
            raise ValueError("choose a picture first")
        with session.lock:
            session.show_latents(Latent.each(photograph.latent))
            session.opened += 1  # so that all tabs show the session anew
        text = "It is the first image on the wall of the tab Rewrite, there without its change of weights."
        return {self.page.opened: session.opened, self.status: message(text)}

    def show(self, session: Session, **more: Any) -> Updates:
        """The photograph of the open model."""
        model, state = session.model, session.photographs
        photograph = state.found.get(model.fingerprint)
        if photograph is None:
            return {self.stages: "", self.easel: gr.update(**EMPTY), self.onto_wall: gr.update(interactive=False)}
        layer, rules = layer_of(session), session.rules.held
        one = dissection(model, layer) if layer else None
        painting = state.painting(photograph, layer)
        with model.holding(state.held(photograph, rules)) as generator:
            drawn = image_of(generator, photograph)
            image = drawn if one is None else painted_image(generator, photograph, painting, one)
        tiles = tiles_of(photograph, state.drawn.get(photograph.model, {}))
        if (rules and state.edited) or len(tiles) == 1:
            tiles.append(("with the rules" if rules and state.edited else "as drawn", urls(drawn)[0], ""))
        easel = {
            "side": session.draft.side,
            "before": tiles[0][1],
            "image": urls(image)[0],
            "name": NAME,
            "history": [line(stroke) for stroke in painting.strokes],
            "concepts": [] if one is None else brushes(one),
            "most": 1 if one is None else min(len(one.levels), MOST_UNITS),
            "can_undo": bool(painting.past),
            "can_redo": bool(painting.future),
            "turn": state.turn,
        }
        return {
            self.stages: render(TEMPLATE, tiles=tiles),
            self.easel: gr.update(**easel, **more),
            self.onto_wall: gr.update(interactive=True),
        }

    def show_file(self, session: Session) -> Updates:
        """The file of the photograph, if there is one."""
        file = session.photographs.file(session.model.fingerprint, self.page.private, f"{NAME}{FILE}")
        return {self.files: gr.update(value=None if file is None else [str(file)], visible=file is not None)}

    def show_ended(self, session: Session, text: str) -> Updates:
        """The updates after Stop or an error."""
        return {self.status: message(text or NOTHING)}


def layer_of(session: Session) -> str:
    """The layer whose units paint: the first that is dissected; empty if none is."""
    return next(iter(dissections(session.model)), "")


def tiles_of(photograph: Photograph, drawn: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The picture and what the stages drew, each with its name and how far it is off."""
    tiles = [("your picture", urls(photograph.picture[None])[0], "")]
    for near in photograph.near:
        if near.stage in drawn:
            image = urls(drawn[near.stage].float().cpu())[0]
            tiles.append((CALLED[near.stage], image, f"colours {100 * near.colours:.1f} % off"))
    return tiles


def nearness(photograph: Photograph) -> str:
    """How near it came, as a sentence."""
    if not photograph.near:
        return "It is drawn below."
    first, last = 100 * photograph.near[0].colours, 100 * photograph.near[-1].colours
    nearest = f"the nearest image that the model draws by itself, {first:.1f} %"
    return f"Drawn with colours {last:.1f} % off on average; {nearest}."
