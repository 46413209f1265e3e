"""What the sessions of browser tabs keep on disk: a page, or a server, that is started again goes on where it was.

Each session has a folder, named by a random, secret key of its browser tab:

    session.json        {"open": fingerprint, "models": {fingerprint: a document of `Snapshot`, …}}
    KEY.safetensors     one patch of a stack, by `Entry.key`
    latent-NUMBER.json  one latent of a file, by its number on the wall
    pictures.json       the strokes on images, a document of `Pictures`
    photograph-KEY.bin  one picture of the user's, with how it is drawn

Only the user who runs the server may read it. Nothing of it leaves the machine.
"""

import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from apps.editor.given import number_of
from apps.editor.pictures import Pictures
from apps.editor.snapshot import Snapshot
from dissect.photographs.photograph import Photograph
from rewrite import Latent, Patch
from rewrite.rules.regions import latent_from
from rewrite.storage.caches import cache_folder
from rewrite.storage.files import read_json, write_text
from rewrite.storage.quoting import lacking

KEY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PATCH = re.compile(r"[0-9a-f]{16}")
STATE, FOLDER = "session.json", "editor-sessions"
PICTURES = "pictures.json"
# Sessions that are kept, the photographs of each, and all of it together.
MOST_KEPT, MOST_BYTES, MOST_OF_ALL = 64, 64 * 2**20, 2**30


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

    def put(self, fingerprint: str, snapshots: Mapping[str, Snapshot], pictures: Pictures | None = None) -> None:
        """Keep what a session has of its models, and its pictures; the fingerprint is that of the open model.

        Raises:
            OSError, ValueError: The disk is full, or the folder cannot be written to.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        entries = [entry for snapshot in snapshots.values() for entry in snapshot.entries]
        for entry in entries:
            if not self._path(entry.key).exists():
                entry.patch.save(self._path(entry.key))
        latents = [latent for snapshot in snapshots.values() for latent in (*snapshot.given, *snapshot.looked)]
        for latent in latents:
            if not self._latent_path(latent).exists():
                write_text(self._latent_path(latent), json.dumps(asdict(latent)))
        models = {known: snapshot.document() for known, snapshot in snapshots.items()}
        write_text(self.folder / STATE, json.dumps({"open": fingerprint, "models": models}))
        used = {*(self._path(entry.key) for entry in entries), *map(self._latent_path, latents)}
        for path in (*self.folder.glob("*.safetensors"), *self.folder.glob("latent-*.json")):
            if path not in used:
                path.unlink(missing_ok=True)
        if pictures is not None:
            self._put_pictures(pictures)

    def _put_pictures(self, pictures: Pictures) -> None:
        """Keep paintings and photographs; of these only the latest, as far as they take no more than `MOST_BYTES`."""
        left, kept = MOST_BYTES, []
        for key, photograph in reversed(pictures.photographs):
            path = self._photograph_path(key)
            if not path.exists():
                photograph.save(path)
            left -= path.stat().st_size
            if left >= 0:
                kept.insert(0, (key, photograph))
        text = json.dumps(replace(pictures, photographs=tuple(kept)).document())
        write_text(self.folder / PICTURES, text)
        used = {self._photograph_path(key) for key, _ in kept}
        for path in self.folder.glob("photograph-*"):
            if path not in used:
                path.unlink(missing_ok=True)

    def take(self) -> tuple[str, dict[str, Snapshot], Pictures | None]:
        """The name of the model that was open, empty if nothing is kept; the snapshots by fingerprint; the pictures.

        Raises:
            ValueError: What is kept is damaged.
        """
        if not (self.folder / STATE).exists():
            return "", {}, None
        document = read_json(self.folder / STATE, "session")
        try:
            snapshots = {
                known: Snapshot.read(each, self._patch, self._latent) for known, each in document["models"].items()
            }
            return snapshots[document["open"]].name, snapshots, self._pictures()
        except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            raise ValueError(
                f"what this page had before is damaged, so that it starts empty: {lacking(error)}"
            ) from None

    def _pictures(self) -> Pictures | None:
        path = self.folder / PICTURES
        if not path.exists():
            return None
        return Pictures.read(read_json(path, "session"), lambda key: Photograph.load(self._photograph_path(key)))

    def _photograph_path(self, key: str) -> Path:
        if not PATCH.fullmatch(key):
            raise ValueError("a photograph on the shelf is known by a key of 16 digits")
        return self.folder / f"photograph-{key}.bin"

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
    """Take away what sessions kept, but for those that were used last and together take no more than `MOST_OF_ALL`."""
    with suppress(OSError, ValueError):
        folders = [each for each in (cache_folder() / FOLDER).iterdir() if KEY.fullmatch(each.name)]
        left = MOST_OF_ALL
        for place, folder in enumerate(sorted(folders, key=lambda each: -each.stat().st_mtime)):
            left -= sum(path.stat().st_size for path in folder.iterdir())
            if place >= MOST_KEPT or left < 0:
                shutil.rmtree(folder, ignore_errors=True)
