"""The tab "Model": open another model, see its layers, measure them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from apps.editor import heap
from apps.editor.frame import AT_ONCE, WORK, Page, Updates, hint, message, progress
from apps.editor.opening import COPIED, Opening
from apps.editor.remaining import Remaining
from apps.editor.session import Session
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "model.html"


class ModelTab:
    """The components of the tab, and its handlers."""

    def __init__(self, page: Page):
        self.page, new = page, page.new()
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                self._add_models()
                self._add_layers(new)
            with gr.Column(scale=7, min_width=320):
                self.about = gr.HTML(described(new), elem_id="about")
                self.cost = gr.HTML(cost(new), elem_id="cost")
        shown = [self.about, self.layer]
        outputs = [page.opened, self.status, *shown]
        page.connect(self.open.click, self.on_open, [self.name], outputs, WORK, self.show_unopened)
        page.connect(page.opened.change, self.on_model, [], shown)
        page.connect(self.look.click, self.on_look, [], [self.name], AT_ONCE)
        outputs = [self.done, self.about]
        page.connect(self.measure.click, self.on_measure, [self.layer], outputs, reset=self.show_ended)
        page.connect(page.tab.select, self.on_select, [], [self.cost], AT_ONCE)
        page.connect_stop(self.stop, self.show_ended, self.done)
        page.connect(self.end.click, self.on_stop_opening, [], [self.status], AT_ONCE)

    def _add_models(self) -> None:
        gr.Markdown("## Open a model")
        self.name = gr.Dropdown(
            self.page.models.names(),
            value=self.page.models.options.model,
            allow_custom_value=True,
            label="Model",
            info="Built in, downloaded before, or in the folders that this server was given",
            elem_id="model",
        )
        with gr.Row(elem_classes="line"):
            self.open = gr.Button("Open", variant="primary", elem_id="open", scale=2)
            self.end = gr.Button("Stop", scale=1, min_width=80, elem_id="stop-opening")
            self.look = gr.Button("Look again", scale=1, min_width=150)
        gr.HTML(hint(_folders(self.page)))
        self.status = gr.HTML(elem_id="opened")

    def _add_layers(self, new: Session) -> None:
        gr.Markdown("## Measure a layer")
        self.layer = gr.Dropdown(
            list(new.model.generator.layers), value=new.model.layer, label="Layer", elem_id="layer-to-measure"
        )
        with gr.Row(elem_classes="line"):
            self.measure = gr.Button("Measure what it reads", elem_id="measure", scale=2)
            self.stop = gr.Button("Stop", scale=1, min_width=80, elem_id="stop-measuring")
        self.done = gr.HTML(elem_id="progress")

    def on_select(self, session: Session) -> Updates:
        """Show what the model costs by now."""
        return {self.cost: cost(session)}

    def on_look(self, session: Session) -> Updates:
        """List the models again: there may be new files."""
        return {self.name: gr.update(choices=session.models.names())}

    def on_open(self, session: Session, name: Any) -> Iterator[Updates]:
        """Open another model."""
        if not isinstance(name, str):
            raise ValueError("choose a model first")
        yield {self.status: message(f"Opening {name} …")}
        work, remaining = session.begin(), Remaining()
        following = []

        def run(on_progress: Callable[[float], None]) -> None:
            following.append(Opening(lambda: on_progress(0.0)))
            session.open(name, following[0])

        for _ in work.following(run):
            for opening in following:
                text = f"{opening.text}: {100 * opening.done:.0f} %"
                # What comes before the first image says nothing of how long that takes.
                text = remaining.after(text, opening.done) if opening.done > COPIED else text
                yield {self.status: progress(opening.done, text)}
        kept = "with the marks and rules that it had" if session.draft.marks or len(session.rules) else "without marks"
        yield {
            self.page.opened: session.opened,
            self.status: message(f"{name} is open. Its wall is in the first tab, {kept}."),
            **self.on_model(session),
        }

    def show_unopened(self, session: Session, text: str) -> Updates:
        """The updates after Stop or an error."""
        return {self.status: message(f"{session.model.name} is still the one that is open.")}

    def on_stop_opening(self, session: Session) -> Updates:
        """End what is being opened."""
        session.stop()
        return {self.status: message("Stopping …")}

    def on_model(self, session: Session) -> Updates:
        """Show the model that was opened."""
        model = session.model
        return {
            self.about: described(session),
            self.layer: gr.update(choices=list(model.generator.layers), value=model.layer),
        }

    def on_measure(self, session: Session, layer: Any) -> Iterator[Updates]:
        """Measure the memory of a layer, with a progress bar."""
        if not isinstance(layer, str):
            raise ValueError("choose a layer first")
        work, remaining = session.begin(), Remaining()
        for share in work.measuring(layer):
            text = f"{100 * share:.0f} % of {work.model.samples} images"
            yield {self.done: progress(share, remaining.after(text, share))}
        memory = work.model.memory(layer)
        text = f"{memory.count} keys of {memory.images} images, seeds {memory.seeds[0][0]} to {memory.seeds[-1][1] - 1}"
        yield {self.done: progress(1.0, text), self.about: described(session)}

    def show_ended(self, session: Session, text: str) -> Updates:
        """The updates after Stop or an error."""
        return {self.done: progress(0.0, text) if text else ""}


def described(session: Session) -> str:
    """What a model holds, as HTML."""
    model = session.model
    generator = model.generator
    numbers = sum(parameter.numel() for parameter in generator.module.parameters())
    facts = (
        ("Model", model.name),
        ("Fingerprint", model.fingerprint),
        ("Images", f"{generator.size[0]} × {generator.size[1]} pixels"),
        ("Latents", f"{generator.z_dim} numbers, truncation {generator.truncation:g}"),
        ("Weights", f"{numbers / 1e6:.2f} million, on {generator.device}"),
        ("Concepts", "none" if model.source is None else ", ".join(model.source.concepts.names)),
    )
    return render(TEMPLATE, model=model, generator=generator, facts=facts)


def cost(session: Session) -> str:
    """How long an image takes, and the memory of the program, as HTML."""
    return hint(f"An image takes {session.model.drawer.seconds:.2g} s. {heap.held()}".strip())


def _folders(page: Page) -> str:
    folders = ", ".join(str(folder) for folder in page.models.options.folders)
    if folders:
        return f"Folders: {folders}."
    return "This server was given no folder; start it with --models DIR to open files of your own."
