"""Handlers of the wall: marks, choices, contexts by concept, seeds, and the preview of the paste."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr

from apps.editor.contexts import find_regions
from apps.editor.data_urls import url, urls
from apps.editor.frame import Updates
from apps.editor.given import parse_images, uploaded
from apps.editor.guide import measuring
from apps.editor.heat import Heat
from apps.editor.marks import whole
from apps.editor.options import MOST_TILES
from apps.editor.rewrite_view import FURTHER_IMAGES, RewriteView
from apps.editor.session import Session
from apps.editor.wall import given
from apps.editor.work import Stopped

LONGEST_SEEDS = 400


@dataclass(frozen=True)
class Marking:
    """Handlers of the wall."""

    view: RewriteView

    def on_draw(self, session: Session) -> Iterator[Updates]:
        """Draw the wall tile by tile where it takes time, until the session shows something else."""
        drawing = session.draw()

        def check() -> None:
            if not session.wants(drawing):
                raise Stopped

        # Gradio clears the outputs of a generator that yields nothing, and sends the last ones again at its end.
        nothing = {self.view.wall: gr.update()}
        yield nothing
        if drawing.missing and not drawing.drawer.quick(len(drawing.seeds)):
            with suppress(Stopped):
                for _ in drawing.steps(check):
                    check()
                    yield {self.view.wall: gr.update(tiles=drawing.tiles(), **drawing.edited())}
            yield nothing

    def on_marks(self, session: Session, document: Any) -> Iterator[Updates]:
        """Take the marks; the status is updated at once, and the heat-map when it is ready."""
        view, draft = self.view, session.set_marks(document)
        hot = isinstance(document, dict) and document.get("heat") is True
        places = draft.regions("paste", "context") if hot else ()
        if not places or not draft.model.measured(draft.layer):
            yield view.show_readiness(session) | ({} if hot else {view.wall: gr.update(heat=[])})
        if places:
            for done in session.begin().measuring(draft.layer):
                yield view.show_status(session, measuring(done))
            pictures = Heat.of(draft.model, draft.layer).pictures(places, draft.seeds)
            yield view.show_readiness(session) | {view.wall: gr.update(heat=[url(picture) for picture in pictures])}

    def on_choices(self, session: Session, action: Any, layer: Any, caution: Any, rank: Any, refine: Any) -> Updates:
        """Take the choices."""
        session.choose(action=action, layer=layer or None, caution=caution, rank=rank or None, refine=refine is True)
        return self.view.show_readiness(session) | self.view.show_reasons(session)

    def on_find(self, session: Session, document: Any, concept: Any, further: Any) -> Iterator[Updates]:
        """Mark every region of a concept as context."""
        if not isinstance(concept, str):
            raise ValueError("choose a concept first")
        draft, work = session.set_marks(document), session.begin()
        yield self.view.show_status(session, f"Looking for every {concept} …")
        found = find_regions(work, draft, concept, FURTHER_IMAGES if further is True else 0)
        session.add_contexts(*found)
        count = sum(map(len, found))
        text = f"{count} places with {concept} are context now." if count else f"No {concept} on the wall."
        yield self.view.show_readiness(session, text) | {self.view.wall: gr.update(**given(session.draft))}

    def on_preview(self, session: Session, document: Any) -> Updates:
        """Show the marked images with the pasted values, before anything is solved."""
        draft = session.set_marks(document)
        images = session.begin().preview(draft.rule())
        after = [urls(images[seed][None])[0] if seed in images else None for seed in draft.seeds]
        text = "This is the paste itself, at the marks alone. Press Rewrite to make it a rule of all images."
        return self.view.show_status(session, text) | {self.view.wall: gr.update(after=after)}

    def on_seeds(self, session: Session, document: Any, text: Any) -> Updates:
        """Put the seeds of the text field on the wall."""
        session.set_marks(document)
        if not isinstance(text, str) or len(text) > LONGEST_SEEDS:
            raise ValueError("seeds are numbers and ranges such as 0-15 or 0-3,7")
        session.show_seeds(parse_images(text, session.draft.given))
        return self.view.show_seeds(session)

    def on_latents(self, session: Session, document: Any, path: Any) -> Updates:
        """Put the latents of a file on the wall."""
        session.set_marks(document)
        if not isinstance(path, str):
            raise ValueError("choose a file of latents")
        latents = uploaded(path, session.model.generator)
        session.show_latents(latents)
        shown = f"{min(len(latents), MOST_TILES)} of {len(latents)} latents are on the wall."
        return self.view.show_seeds(session) | self.view.show_status(session, shown)

    def on_count(self, session: Session, document: Any, count: Any) -> Updates:
        """Put more or fewer images on the wall."""
        session.set_marks(document)
        if not whole(count):
            raise ValueError("choose a number of images")
        session.show_count(count)
        return self.view.show_seeds(session)

    def on_previous_seeds(self, session: Session, document: Any) -> Updates:
        """Put the seeds before those of the wall on it, down to the first."""
        session.set_marks(document)
        with session.lock:
            first = max(0, min(session.draft.plain_seeds, default=0) - session.count)
            session.show_seeds(range(first, first + session.count))
        return self.view.show_seeds(session)

    def on_next_seeds(self, session: Session, document: Any) -> Updates:
        """Put the next seeds on the wall."""
        session.set_marks(document)
        session.show_next()
        return self.view.show_seeds(session)
