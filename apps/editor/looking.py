"""Handlers of the latents of the wall: truncation and class, and the latent of one image as text and as a file."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import torch
from torch import Tensor

from apps.editor.frame import Updates
from apps.editor.given import SEEDS, parse_images
from apps.editor.look import Look, classes_of
from apps.editor.rewrite_view import RewriteView
from apps.editor.session import Session
from rewrite import Generator
from rewrite.generators.latents import Latents

LONGEST = 40


@dataclass(frozen=True)
class Looking:
    """Handlers of the latents of the wall.

    Attributes:
        view: The components of the tab.
        private: The folder of files that the page may download.
    """

    view: RewriteView
    private: Path

    def on_look(self, session: Session, document: Any, truncation: Any, label: Any) -> Updates:
        """Draw the seeds of the wall with another truncation or class."""
        session.set_marks(document)
        generator = session.model.generator
        label = int(label) if isinstance(label, float) and label.is_integer() else label
        if label is not None and not (type(label) is int and 0 <= label < classes_of(generator)):
            raise ValueError(f"this generator draws classes 0 to {classes_of(generator) - 1}")
        session.show_look(Look(None if truncation == generator.truncation else truncation, label))
        return self.view.show_seeds(session)

    def on_latent(self, session: Session, text: Any) -> Updates:
        """Show the latent of an image as text, and give it as a file."""
        if not isinstance(text, str) or len(text) > LONGEST:
            raise ValueError("name one image, such as 3 or w1")
        draft = session.draft
        numbers = parse_images(text, draft.given)
        if len(numbers) != 1:
            raise ValueError(f"name one image, such as 3 or w1: these are {len(numbers)}")
        latents = self._latents(session, numbers[0])
        kind, values = values_of(draft.model.generator, latents)
        (place := self.private / secrets.token_hex(16)).mkdir()
        path = place / f"{text.strip()}_{kind}.npz"
        np.savez(path, **{kind: values.numpy()})
        return {
            self.view.latent_text: json.dumps(values[0].tolist()),
            self.view.latent_file: gr.update(value=[str(path)], visible=True),
        }

    def _latents(self, session: Session, number: int) -> Latents:
        model, look = session.model, session.draft.look
        if number < SEEDS:
            return look.drawn(model.generator, [number])
        return model.given.latents(model.generator, [number])


@torch.no_grad()
def values_of(generator: Generator, latents: Latents) -> tuple[str, Tensor]:
    """The numbers of a latent, of shape (1, layers, width) for w, else (1, size); and `w` or `z`."""
    if not generator.styles_shape[1]:
        return "z", latents.z.float().cpu()
    w = (generator.styles(latents) if latents.w is None else latents.w).float().cpu()
    return "w", w[:, :1] if bool((w == w[:, :1]).all()) else w
