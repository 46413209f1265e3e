"""What the sessions of browser tabs keep on disk: a page, or a server, that is started again goes on where it was.

Each session has a folder, named by a random, secret key of its browser tab:

    session.json        {"open": fingerprint, "models": {fingerprint: a document of `Snapshot`, …}}
    KEY.safetensors     one patch of a stack, by `Entry.key`
    latent-NUMBER.json  one latent of a file, by its number on the wall
"""

import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from apps.editor.given import number_of
from apps.editor.snapshot import Snapshot
from rewrite import Latent, Patch
from rewrite.rules.regions import latent_from
from rewrite.storage.caches import cache_folder
from rewrite.storage.files import read_json, write_text
from rewrite.storage.quoting import lacking

KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PATCH = re.compile(r"[0-9a-f]{16}")
STATE, FOLDER = "session.json", "editor-sessions"
MOST_KEPT = 64


class Shelf:
    """The folder of one session.

    Raises:
        ValueError: The key is none, or there is no place for a cache.
    """

    def __init__(self, key: Any):
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise ValueError("a session is known by a random key of its browser tab")
        self.folder = cache_folder() / FOLDER / key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shelf) and self.folder == other.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    def put(self, fingerprint: str, snapshots: Mapping[str, Snapshot]) -> None:
        """Keep what a session has of its models; the fingerprint is that of the open one.

        Raises:
            OSError, ValueError: The disk is full, or the folder cannot be written to.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        entries = [entry for snapshot in snapshots.values() for entry in snapshot.entries]
        for entry in entries:
            if not self._path(entry.key).exists():
                entry.patch.save(self._path(entry.key))
        latents = [latent for snapshot in snapshots.values() for latent in snapshot.given]
        for latent in latents:
            if not self._latent_path(latent).exists():
                write_text(self._latent_path(latent), json.dumps(asdict(latent)))
        models = {known: snapshot.document() for known, snapshot in snapshots.items()}
        write_text(self.folder / STATE, json.dumps({"open": fingerprint, "models": models}))
        used = {*(self._path(entry.key) for entry in entries), *map(self._latent_path, latents)}
        for path in (*self.folder.glob("*.safetensors"), *self.folder.glob("latent-*.json")):
            if path not in used:
                path.unlink(missing_ok=True)

    def take(self) -> tuple[str, dict[str, Snapshot]]:
        """The name of the model that was open, empty if nothing is kept, and the snapshots by fingerprint.

        Raises:
            ValueError: What is kept is damaged.
        """
        if not (self.folder / STATE).exists():
            return "", {}
        document = read_json(self.folder / STATE, "session")
        try:
            snapshots = {
                known: Snapshot.read(each, self._patch, self._latent) for known, each in document["models"].items()
            }
            return snapshots[document["open"]].name, snapshots
        except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            raise ValueError(
                f"what this page had before is damaged, so that it starts empty: {lacking(error)}"
            ) from None

    def _patch(self, key: str) -> Patch:
        return Patch.load(self._path(key))

    def _latent(self, number: int) -> Latent:
        return latent_from(read_json(self._latent_path(number), "latent"))

    def _latent_path(self, latent: Latent | int) -> Path:
        number = latent if isinstance(latent, int) else number_of(latent)
        return self.folder / f"latent-{number:d}.json"

    def _path(self, key: str) -> Path:
        if not PATCH.fullmatch(key):
            raise ValueError("a patch on the shelf is known by a key of 16 digits")
        return self.folder / f"{key}.safetensors"


def tidy() -> None:
    """Take away what sessions kept, but for those that were used last."""
    with suppress(OSError, ValueError):
        folders = [each for each in (cache_folder() / FOLDER).iterdir() if KEY.fullmatch(each.name)]
        for folder in sorted(folders, key=lambda each: each.stat().st_mtime)[:-MOST_KEPT]:
            shutil.rmtree(folder, ignore_errors=True)
