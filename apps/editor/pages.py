"""Which page is served: the editor of a generator, or that of a classifier."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from apps.editor import page, questions_page
from apps.editor.models import Models
from apps.editor.options import Options
from apps.editor.questions import Questions
from apps.models import model_or

# Options of what a generator draws.
DRAWN = ("tiles", "folders", "segmenter", "samples", "truncation", "label")
WRITTEN = {"folders": "models", "label": "class"}


class Served(NamedTuple):
    """A page, and what it is of.

    Attributes:
        models: What is open; it knows how to stop.
        blocks: The page.
        look: How it looks, as Gradio takes it.
    """

    models: Models | Questions
    blocks: gr.Blocks
    look: Mapping[str, Any]


def page_of(options: Options, private: Path) -> Served:
    """Open what the options name, and assemble its page.

    Args:
        options: What the server is started with.
        private: The folder of files that the page may download.

    Raises:
        FileNotFoundError: There is no such model, or there are no such pictures.
        LookupError, ValueError: It cannot be opened, the pictures are of other classes, or an option is not for it.
    """
    found = model_or(lambda: Models(options), options.model, options.architecture, options.device)
    if not isinstance(found, Models):
        _refuse(options, DRAWN, "generator", "classifier")
        questions = Questions(options, found)
        return Served(questions, questions_page.build(questions), questions_page.LOOK)
    _refuse(options, ("pictures", "training", "test"), "classifier", "generator")
    return Served(found, page.build(found, private), page.LOOK)


def _refuse(options: Options, names: Sequence[str], wanted: str, given: str) -> None:
    """Refuse options that are of no use for what was opened."""
    usual = Options()
    for name in names:
        if getattr(options, name) != getattr(usual, name):
            raise ValueError(f"--{WRITTEN.get(name, name)} is for a {wanted}, and {options.model} is a {given}")
