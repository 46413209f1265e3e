"""The editor killed while it keeps a session and exports: what the next run of the server finds.

What a page asks for is asked of the session itself, without a server between them; its files are those of the real one.
"""

import json
import os
import random
import sys
from functools import partial
from pathlib import Path

from apps.editor.exports import KINDS, Export
from apps.editor.models import Models
from apps.editor.options import Options
from apps.editor.session import Session
from apps.editor.snapshot import Snapshot
from rewrite.storage.scratch import scratch
from tests import disks
from tests.editing import WHOLE
from tests.fault_cases import Run, forked, held, temporary

KEY = "00000000-0000-0000-0000-000000000007"
NAME = "mine"


def state(session: Session) -> str:
    """What a user sees of a session, as one line."""
    snapshot = Snapshot.of(session.draft, session.rules.entries, frozenset())
    document = snapshot.document()
    rules = [{name: rule[name] for name in ("name", "strength", "on")} for rule in document["rules"]]
    return json.dumps({**document, "rules": rules}, sort_keys=True)


def say(session: Session) -> None:
    """Say what a user sees of a session."""
    sys.stdout.write(f"{state(session)}\n")
    sys.stdout.flush()


def opened(model: Path) -> Session:
    """The session that the page had before, or a new one."""
    session = Session(Models(Options(str(model), folders=(model.parent,), segmenter="none", samples=30, tiles=6)))
    session.choose(refine=False)
    session.resume(KEY)
    return session


def work(model: Path, place: Path, strength: float, kinds: list[str]) -> int:
    """Mark, rewrite, weigh and export; says the state of the session after each step."""
    session = opened(model)

    def keep() -> None:
        session.keep()
        say(session)

    session.set_marks(WHOLE)
    keep()
    session.begin().rewrite(session.draft.rule("kept"), 0.5)
    keep()
    session.rules.strengthen(0, strength)
    keep()
    with scratch() as private:
        export = Export.of(session, place / "out", private, NAME, kinds)
        for _ in export.steps():
            pass
        session.file([entry.key for entry in session.rules.entries])
        keep()
    return 0


def look(model: Path) -> int:
    """Say what a page that is loaded again has."""
    say(opened(model))
    return 0


class Killed:
    """Kills of the editor, on one model.

    Args:
        folder: Where the model lies, and what a run that is not killed leaves.
        chance: Draws moments.
    """

    def __init__(self, folder: Path, chance: random.Random):
        self.model, self.chance = folder / "model.safetensors", chance
        place, count = folder / "editor", folder / "changes"
        place.mkdir()
        self.changes, self.states, self.files = [], [], []
        for strength in (0.5, 0.8):
            run = self._work(place, strength, lambda: disks.counted(place, count))
            status, said = run.end()
            if status != 0:
                raise RuntimeError(said)
            self.changes.append(count.stat().st_size)
            self.states.append([line for line in said.splitlines() if line.startswith("{")])
            self.files.append(held(place / "out" / NAME))
            count.unlink()

    def kill(self, place: Path) -> str | None:
        """Kill it before one of its changes; what is wrong afterwards."""
        again = self.chance.random() < 0.7
        if again:
            self._work(place, 0.5).end()
        moment = self.chance.randrange(self.changes[again])
        self._work(place, (0.5, 0.8)[again], partial(disks.killed_at, place, moment)).end()
        found = held(place / "out" / NAME)
        if found not in ([self.files[0], self.files[1]] if again else [{}, self.files[0]]):
            return f"of its files, {sorted(found)}, some are new and not all"
        status, said = self._forked(place, partial(look, self.model)).end()
        known = [*self.states[0][-1:], *self.states[1]] if again else self.states[0]
        if status != 0 or "damaged" in said:
            return f"the next page ended with {status}: {said[-300:]}"
        if again and said.strip() not in known:
            return f"the next page has what no page had: {said[-300:]}"
        status, said = self._work(place, 0.5).end()
        if status != 0 or "Traceback" in said:
            return f"the next work ended with {status}: {said[-300:]}"
        left = temporary(place)
        return f"temporary files are left: {left}" if left else None

    def _work(self, place: Path, strength: float, prepare=None) -> Run:
        return self._forked(place, partial(work, self.model, place, strength, sorted(KINDS)), prepare)

    def _forked(self, place: Path, act, prepare=None) -> Run:
        def run() -> int:
            os.environ["REWRITE_CACHE"], os.environ["TMPDIR"] = str(place / "cache"), str(place)
            if prepare is not None:
                prepare()
            return act()

        return forked(run)
