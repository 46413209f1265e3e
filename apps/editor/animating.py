"""The handler that gives the wall as an animation, before and after in turn."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from apps.editor.frame import Updates
from apps.editor.rewrite_view import RewriteView
from apps.editor.session import Session
from rewrite.reports.animation import animated
from rewrite.reports.pictures import to_pil

NAME = "wall.webp"
# The file is there; the browser asks for it as if the hidden button was pressed.
FETCH = "() => setTimeout(() => document.querySelector('#animation').click(), 100)"


@dataclass(frozen=True)
class Animating:
    """The handler of the wall's animation.

    Attributes:
        view: The components of the tab.
        private: The folder of files that the page may download.
    """

    view: RewriteView
    private: Path

    def on_animate(self, session: Session) -> Updates:
        """Make the file."""
        if not session.rules.active:
            raise ValueError("there is no rule that is on: rewrite one first")
        place = self.private / secrets.token_hex(16)
        place.mkdir()
        (place / NAME).write_bytes(animated(to_pil(session.before()), to_pil(session.after())))
        return {self.view.animation: str(place / NAME)}
