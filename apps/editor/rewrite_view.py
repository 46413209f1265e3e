"""The components of the tab "Rewrite a rule", and what they show of a session."""

from typing import Any

import gradio as gr
from gradio.blocks import Block

from apps.editor.choices import MOST_CAUTION, Choices
from apps.editor.draft import Draft
from apps.editor.drawer import COUNTS
from apps.editor.drawing import lasting
from apps.editor.example import TITLE, example_of
from apps.editor.frame import Updates
from apps.editor.guide import reasons, status
from apps.editor.look import MOST_TRUNCATION, classes_of, truncates
from apps.editor.model import Model
from apps.editor.proposal_list import ProposalList
from apps.editor.rule_list import RuleList, rows
from apps.editor.session import Session
from apps.editor.wall import Role, Wall, given
from rewrite.generators.latent_files import KINDS
from rewrite.rules import BUILT_IN

ROLES = (
    Role("copy", "Copy", "C", "#2f7de1", True, "what you want more of"),
    Role("paste", "Paste", "P", "#d9480f", True, "where it goes first"),
    Role("context", "Context", "X", "#8e44ad", False, "more places of that kind"),
    Role("protect", "Protect", "S", "#0b7a5b", False, "what must stay as it is"),
)
FURTHER_IMAGES = 12


class RewriteView:
    """The components of the tab. The methods `show_…` return the updates that show a session."""

    def __init__(self, new: Session):
        self.status = gr.HTML(status(new.draft), elem_id="status")
        with gr.Row():
            with gr.Column(scale=7, min_width=320):
                self._add_wall(new)
            with gr.Column(scale=4, min_width=320):
                self._add_rules(new.model)
                self._add_concepts(new.model)
                self._add_choices(new.draft)
                self._add_latents(new)
                self._add_files()

    def _add_wall(self, new: Session) -> None:
        self.wall = Wall(ROLES, heat_label="Where would it fire?", elem_id="wall", **wall_of(new))
        with gr.Row(elem_classes="line short"):
            self.seeds = gr.Textbox(new.draft.text, label="Seeds", max_lines=1, scale=1, min_width=100)
            chosen, text = counts(new), "Images on the wall"
            self.count = gr.Dropdown(
                chosen["choices"], value=chosen["value"], label=text, scale=1, min_width=180, elem_id="count"
            )
            self.previous_seeds = gr.Button("Back", scale=1, min_width=80, size="md", elem_id="old-seeds")
            self.next_seeds = gr.Button("New seeds", scale=1, min_width=120, size="md", elem_id="new-seeds")
            self.preview = gr.Button("Show the paste", scale=1, min_width=150, size="md", elem_id="show-paste")
            self.more = gr.Button("Propose more places", scale=2, min_width=190, size="md", elem_id="more-places")
        # The wall's own button presses the first, and the page the second once the file is there.
        self.animate = gr.Button(visible="hidden", elem_id="animate")
        self.animation = gr.DownloadButton(visible="hidden", elem_id="animation")
        self.proposals = ProposalList(elem_id="proposals")

    def _add_rules(self, model: Model) -> None:
        self.example = gr.Button(f"Try it: {TITLE}", elem_id="try", size="md", visible=example_of(model) is not None)
        self.action = gr.Radio(
            [("Paste a copy", "paste"), ("Erase", "erase")], value="paste", show_label=False, elem_id="action"
        )
        with gr.Row(elem_classes="line"):
            self.rewrite = gr.Button("Rewrite", variant="primary", interactive=False, elem_id="rewrite", scale=3)
            self.stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80)
        self.rules = RuleList(elem_id="rules")
        self.price = gr.HTML(elem_id="price")
        self.measure = gr.Button("Measure on new images", elem_id="measure-rules")
        self.report = gr.HTML(elem_id="report")

    def _add_concepts(self, model: Model) -> None:
        with gr.Accordion("Contexts by concept", open=False, visible=model.source is not None) as self.concepts:
            self.concept = gr.Dropdown(concepts_of(model), value=None, label="Mark every", elem_id="concept")
            text = f"Also in {FURTHER_IMAGES} images that are not shown (better, a little slower)"
            self.further = gr.Checkbox(True, label=text)
            self.find = gr.Button("Mark them as context", elem_id="find")

    def _add_choices(self, draft: Draft) -> None:
        with gr.Accordion("Where and how", open=False):
            self.layer = gr.Dropdown(layers_of(draft.model), value="", label="Layer", elem_id="layer")
            self.caution = gr.Slider(
                -MOST_CAUTION,
                MOST_CAUTION,
                value=0,
                step=0.1,
                elem_id="caution",
                label="Caution: change less elsewhere (right), or more of what you want (left)",
            )
            with gr.Row(elem_classes="line"):
                text = "Rank (empty: as many directions as the marks ask for)"
                self.rank = gr.Number(None, label=text, precision=0, elem_id="rank", min_width=160)
                self.propose = gr.Button("Propose a rank", elem_id="propose", min_width=120)
            self.refine = gr.Checkbox(True, label="Adjust the copy until the image itself shows it")
            self.why = gr.HTML(reasons(draft), elem_id="why")
        self.choices = (self.action, self.layer, self.caution, self.rank, self.refine)

    def _add_files(self) -> None:
        with gr.Accordion("Files: rules, latents", open=False, elem_id="files"):
            with gr.Row(elem_classes="line"):
                self.load = gr.UploadButton("Load a rule", file_types=[".json"], type="binary", elem_id="load")
                self.save = gr.Button("Save the marks as a rule", elem_id="save")
            text = "Load latents (w, W+ or z) onto the wall"
            self.latents = gr.UploadButton(text, file_types=list(KINDS), elem_id="load-latents")
            self.ready = gr.Dropdown(list(BUILT_IN), value=None, label="A rule that comes with the library")
            self.take = gr.Button("Load it", elem_id="take")

    def _add_latents(self, new: Session) -> None:
        """Truncation and class of the whole wall, and the latent of one image."""
        look = looks(new)
        with gr.Accordion("Truncation, class, latents", open=False, elem_id="latents"):
            self.truncation = gr.Slider(
                0,
                MOST_TRUNCATION,
                value=look["truncation"]["value"],
                step=0.05,
                label="Truncation ψ of the seeds on the wall",
                visible=look["truncation"]["visible"],
                elem_id="truncation",
            )
            text = "Class of the seeds on the wall (empty: as the model was opened)"
            self.label = gr.Number(
                None, label=text, precision=0, visible=look["label"]["visible"], elem_id="draw-class"
            )
            with gr.Row(elem_classes="line"):
                self.image = gr.Textbox("0", label="Latent of", max_lines=1, min_width=80, elem_id="latent-of")
                self.latent = gr.Button("Show it", elem_id="show-latent", min_width=100)
            self.latent_text = gr.Textbox(
                label="Its numbers", max_lines=3, interactive=False, buttons=["copy"], elem_id="latent-numbers"
            )
            self.latent_file = gr.Files(label="Download", interactive=False, visible=False, elem_id="latent-file")

    # Updates ----------------------------------------------------------------------------------------------------------

    def show_status(self, session: Session, text: str = "") -> Updates:
        """The status."""
        return {self.status: status(session.draft, text)}

    def show_readiness(self, session: Session, text: str = "") -> Updates:
        """The status, and whether the rule can be solved."""
        return {**self.show_status(session, text), self.rewrite: gr.update(interactive=not session.draft.missing)}

    def show_reasons(self, session: Session) -> Updates:
        """The reasons for layer, rank and strength."""
        draft = session.draft
        return {self.why: reasons(draft, session.solved(draft))}

    def show_choices(self, choices: Choices) -> Updates:
        """The options beside the marks."""
        values = choices.action, choices.layer or "", choices.caution, choices.rank, choices.refine
        return dict(zip(self.choices, values, strict=True))

    def show_rules(self, session: Session, **more: Any) -> Updates:
        """The list of rules."""
        with session.lock:
            rules = session.rules
            listed = {"rules": rows(rules.entries), "can_undo": rules.can_undo, "can_redo": rules.can_redo}
            listed["unsaved"] = session.unfiled
        return {self.rules: gr.update(**listed, **more)}

    def show_edited(self, session: Session, **more: Any) -> Updates:
        """The wall with the active rules."""
        return {self.wall: gr.update(**session.wall().edited(), **more)}

    def show_seeds(self, session: Session, **more: Any) -> Updates:
        """The wall with other seeds."""
        wall = session.wall()
        return {
            self.wall: gr.update(tiles=wall.tiles(), **wall.edited(), heat=[], **more),
            **self._show_images(session),
        }

    @property
    def seen(self) -> list[Block]:
        """What says which images are on the wall: the outputs of `show_seeds`."""
        return [self.wall, self.seeds, self.count, self.truncation, self.label]

    def _show_images(self, session: Session) -> Updates:
        look = looks(session)
        return {
            self.seeds: session.draft.text,
            self.count: counts(session),
            self.truncation: gr.update(**look["truncation"]),
            self.label: gr.update(**look["label"]),
        }

    def show_model(self, session: Session) -> Updates:
        """Everything of a model that was just opened."""
        model, choices = session.model, session.draft.choices
        return {
            **self.show_readiness(session),
            **self.show_rules(session),
            **self.show_reasons(session),
            self.wall: gr.update(**wall_of(session), **given(session.draft), heat=[], offered=[]),
            **self._show_images(session),
            self.proposals: gr.update(proposals=[]),
            self.price: "",
            **self.show_choices(choices),
            self.layer: gr.update(choices=layers_of(model), value=choices.layer or ""),
            self.example: gr.update(visible=example_of(model) is not None),
            self.concept: gr.update(choices=concepts_of(model), value=None),
            self.concepts: gr.update(visible=model.source is not None),
        }


def wall_of(session: Session) -> dict[str, Any]:
    """The properties of the wall that depend on the model."""
    draft, wall = session.draft, session.wall()
    return {
        "side": draft.side,
        "tiles": wall.tiles(),
        **wall.edited(),
        "model": draft.model.fingerprint,
    }


def looks(session: Session) -> dict[str, dict[str, Any]]:
    """The properties of the choices of truncation and class."""
    generator, look = session.model.generator, session.draft.look
    truncation = generator.truncation if look.truncation is None else look.truncation
    return {
        "truncation": {"value": truncation, "visible": truncates(generator)},
        "label": {"value": look.label, "visible": classes_of(generator) > 1},
    }


def counts(session: Session) -> Any:
    """The choice of how many images are on the wall, with the time that they take where it is noticeable."""
    drawer, count = session.model.drawer, len(session.draft.seeds)

    def named(count: int) -> str:
        return f"{count}" if drawer.quick(count) else f"{count}, {lasting(count * drawer.seconds)}"

    return gr.update(choices=[(named(each), each) for each in sorted({*COUNTS, count})], value=count)


def layers_of(model: Model) -> list[tuple[str, str]]:
    """The layers where a rule may be solved, as (label, name)."""
    named = [
        (f"{name} ({layer.output_grid[0]} × {layer.output_grid[1]})", name)
        for name, layer in model.generator.layers.items()
        if layer.outputs > 4
    ]
    return [(f"Automatic: {model.layer}", ""), *named]


def concepts_of(model: Model) -> list[str]:
    """The names of the concepts of the model's source."""
    return [] if model.source is None else list(model.source.concepts.names)
