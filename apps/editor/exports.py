"""The files of an export: made in a private folder first, then written to their place all together or not at all."""

import os
import re
import secrets
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apps.editor.measured import COUNT, measuring
from apps.editor.session import Session
from apps.editor.stack import Entry
from apps.editor.work import Work
from rewrite import Patch, export, model_card
from rewrite.checkpoints.candidates import split_choice
from rewrite.checkpoints.loading import checkpoint_path
from rewrite.reports.report import load_report
from rewrite.storage.files import write_text, write_together

KINDS = {
    "checkpoint": "The edited checkpoint, in the container that the model came in",
    "patch": "The patches, which take a fraction of the space",
    "rule": "The rules, to load again or to change",
    "report": f"A report with pictures and figures of {COUNT} new images",
    "card": "A model card",
}
# Each of these is enough to have the rules again.
FILES = frozenset({"checkpoint", "patch", "rule"})
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")


@dataclass
class Export:
    """One export of the rules that are on.

    Attributes:
        work: The work that Stop ends; its model is exported.
        entries: The rules that are on.
        first_seed: The report's images are those of seeds from here on.
        name: The common name of the files.
        kinds: Which of `KINDS` are wanted.
        folder: Where the files are written at the end.
        private: Where they are made, and downloaded from.
        written: The files in the folder afterwards.
    """

    work: Work
    entries: tuple[Entry, ...]
    first_seed: int
    name: str
    kinds: Collection[str]
    folder: Path
    private: Path
    written: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, session: Session, out: Path, private: Path, name: Any, kinds: Any) -> "Export":
        """The export that a page asks for.

        Raises:
            ValueError: There is nothing to export, or the name or a kind is invalid.
        """
        if not isinstance(name, str) or not NAME.fullmatch(name.strip()):
            raise ValueError(
                "a name has letters, digits, - and _, at most 60 of them, and begins with a letter or digit"
            )
        if (
            not isinstance(kinds, list)
            or not kinds
            or not all(isinstance(kind, str) and kind in KINDS for kind in kinds)
        ):
            raise ValueError(f"an export writes one or more of {', '.join(KINDS)}")
        with session.lock:
            work, entries, draft = session.begin(), session.rules.active, session.draft
        if not entries:
            raise ValueError("there is no rule that is on: rewrite one first")
        name = name.strip()
        model = checkpoint_path(work.model.name)
        if (out / name / f"{name}{model.suffix}").resolve() == model.resolve():
            raise ValueError(f"an export named {name} would overwrite the model that it is of: give it another name")
        check_folder(out / name)
        return cls(work, entries, draft.following(1)[0], name, set(kinds), out / name, private / secrets.token_hex(16))

    @property
    def replaced(self) -> list[Path]:
        """The files that are there already and would be replaced."""
        planned = names_of(self.work.model.name, self.entries, self.name, self.kinds)
        return [self.folder / name for name in planned if (self.folder / name).exists()]

    def steps(self) -> Iterator[str]:
        """Make the files; yields a text before each, and how far it is while it measures.

        Raises:
            Stopped: The user pressed Stop; nothing was written.
            ValueError: The folder cannot be written to.
        """
        steps = {
            "checkpoint": ("Writing the checkpoint", self._checkpoint),
            "patch": ("Writing the patches", self._patch),
            "rule": ("Writing the rules", self._rule),
            "report": (f"Measuring on {COUNT} new images", self._report),
            "card": ("Writing the model card", self._card),
        }
        for kind, (text, make) in steps.items():
            if kind in self.kinds:
                yield text
                self.work.check()
                yield from make() or ()
        self.work.check()
        made = sorted(path for path in self.private.iterdir() if path.is_file())
        write_together(self.folder, {path.name: path.read_bytes() for path in made})
        self.written = [self.folder / path.name for path in made]

    @property
    def offered(self) -> list[Path]:
        """The same files, where the page may download them."""
        return [self.private / path.name for path in self.written]

    def _checkpoint(self) -> None:
        model = self.work.model
        path = self.private / checkpoint_name(model.name, self.name)
        with model.lock:
            export(model.generator, self._patches, path, model=model.name, strengths=self._strengths)

    def _patch(self) -> None:
        for number, patch in enumerate(self._patches, 1):
            patch.save(self.private / f"{self.name}-patch-{number}.safetensors")

    def _rule(self) -> None:
        for number, entry in enumerate(self.entries, 1):
            if entry.rule is not None:
                entry.saved().save(self.private / f"{self.name}-rule-{number}.json")

    def _report(self) -> Iterator[str]:
        report = yield from measuring(self.work, self.entries, self.first_seed)
        report.save(self.private)

    def _card(self) -> None:
        model, report = self.work.model, load_report(self.private) if "report" in self.kinds else None
        about = {"strengths": self._strengths, "report": report}
        out = checkpoint_name(model.name, self.name)
        with model.lock:
            text = model_card(model.generator, self._patches, model=model.name, out=out, **about)
        write_text(self.private / "README.md", text)

    @property
    def _patches(self) -> list[Patch]:
        return [entry.patch for entry in self.entries]

    @property
    def _strengths(self) -> list[float]:
        return [entry.strength for entry in self.entries]


def slug(name: Any) -> Any:
    """A name of files from what somebody wrote: letters and digits stay, what lies between becomes a dash."""
    if not isinstance(name, str):
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_]+", "-", plain).strip("-_")[:60]


def checkpoint_name(model: str, name: str) -> str:
    """The name of an exported checkpoint."""
    return f"{name}{checkpoint_path(split_choice(model)[0]).suffix}"


def names_of(model: str, entries: Sequence[Entry], name: str, kinds: Collection[str]) -> list[str]:
    """The names of the files that an export writes.

    Args:
        model: The name that the model was opened by.
        entries: The rules that are on.
        name: The common name of the files.
        kinds: Which of `KINDS` are wanted.
    """
    numbered = list(enumerate(entries, 1))
    files = {
        "checkpoint": [checkpoint_name(model, name)],
        "patch": [f"{name}-patch-{number}.safetensors" for number, _ in numbered],
        "rule": [f"{name}-rule-{number}.json" for number, entry in numbered if entry.rule is not None],
        "report": ["report.html", "report.json", "before-after.png"],
        "card": ["README.md"],
    }
    return [each for kind in KINDS if kind in kinds for each in files[kind]]


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written to, before there is anything to write; nothing is made.

    Raises:
        ValueError: There is a file in its place or above it, or this user may not write there.
    """
    there = next(each for each in (folder.resolve(), *folder.resolve().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write into {folder}: {there} is {'closed to you' if there.is_dir() else 'a file'}")
