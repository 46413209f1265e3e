"""A rule of a classifier: a document that says, by pictures, what a layer is to write instead of what it writes."""

import base64
import io
import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from rewrite.classifiers.classifier import Classifier
from rewrite.rules import documents
from rewrite.rules.documents import document_in, loaded
from rewrite.rules.entries import only, require, shown, typed
from rewrite.rules.settings import EXACT, Settings, settings_from
from rewrite.storage import files

SCHEMA = documents.OF_CLASSIFIER
MOST_PICTURES, MOST_PIXELS, LARGEST_FILE = 1000, 2**22, 256 * 2**20

Pictures = UInt8[np.ndarray, "pictures height width 3"]


@dataclass(frozen=True, eq=False)
class ClassifierRule:
    """What a layer of a classifier is to write for some pictures: what it writes for others.

    Pictures stand in pairs: the same scene with what confounds the classifier and without it, or before and after any
    other change. At each position, what the layer reads of the first (the keys) is to give what it writes for the
    second (the values).

    Attributes:
        name: The rule's name.
        model: Fingerprint of the classifier that the rule was written on.
        layer: The layer whose weight is to change.
        keys: Pictures whose keys are to give other values.
        values: For each of them, the picture whose values are wanted.
        keep: Pictures for which the layer is to write what it writes.
        settings: How the rule is solved. `protect` is the weight of the pictures that are kept; weights of `marks` are
            chosen by pairs that are left out.

    Raises:
        ValueError: There are no pairs, or pictures differ in number or size.
    """

    name: str
    model: str
    layer: str
    keys: UInt8[np.ndarray, "pairs height width 3"]
    values: UInt8[np.ndarray, "_ height width 3"]
    keep: UInt8[np.ndarray, "kept _ _ 3"]
    settings: Settings = field(default_factory=lambda: Settings(weights="marks"))

    def __post_init__(self) -> None:
        require(len(self.keys) > 0, "a rule has at least one pair of pictures", len(self.keys))
        require(
            self.keys.shape == self.values.shape, "keys and values are as many pictures of one size", self.values.shape
        )
        require(
            self.keep.shape[1:] == self.keys.shape[1:], "pictures that are kept have that size too", self.keep.shape
        )

    def __repr__(self) -> str:
        pictures = f"pairs={len(self.keys)}, keep={len(self.keep)}"
        return f"<ClassifierRule {shown(self.name)} on {self.layer}: {pictures}, model={self.model}>"

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        layer: str,
        keys: Float[Tensor, "pairs 3 height width"],
        values: Float[Tensor, "pairs 3 height width"],
        *,
        keep: Float[Tensor, "kept 3 height width"] | None = None,
        name: str = "",
        **settings: Any,
    ) -> "ClassifierRule":
        """A rule by images in [-1, 1], which are kept as bytes.

        Args:
            classifier: The classifier.
            layer: The layer whose weight is to change.
            keys: Images whose keys are to give other values.
            values: For each of them, the image whose values are wanted.
            keep: Images for which the layer is to write what it writes.
            name: The rule's name.
            settings: Solver settings that are not chosen by pairs that are left out, such as `rank` or `drift`.

        Raises:
            LookupError: The classifier has no such layer.
            ValueError: See the class; or a setting is out of range.
        """
        classifier.layer(layer)
        kept = keys[:0] if keep is None else keep
        rule = cls(name, classifier.fingerprint, layer, bytes_of(keys), bytes_of(values), bytes_of(kept))
        return rule.with_settings(**settings)

    def with_settings(self, **changes: Any) -> "ClassifierRule":
        """The same rule with other solver settings; a weight that is given is not chosen any more."""
        given = {"weights": "given"} if changes.keys() & {"damage", "drift", "others"} else {}
        return replace(self, settings=replace(self.settings, **given | changes))

    def to_json(self) -> str:
        """The rule as a JSON document; equal rules give equal text. Pictures stand in it as PNG."""
        settings = asdict(self.settings)
        if self.settings.protect == math.inf:
            settings["protect"] = EXACT
        pictures = {name: [_written(picture) for picture in getattr(self, name)] for name in ("keys", "values", "keep")}
        about = {"schema": SCHEMA, "name": self.name, "model": self.model, "layer": self.layer, "settings": settings}
        return json.dumps({**about, **pictures}, indent=1, sort_keys=True, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the rule as a JSON file.

        Raises:
            ValueError: The file cannot be written.
        """
        files.write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "ClassifierRule":
        """Read a rule file.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not a valid rule; the message says what is wrong.
        """
        return loaded(path, cls.from_json, called="a rule file", wrong="is not a valid rule", most=LARGEST_FILE)

    @classmethod
    def from_json(cls, text: str) -> "ClassifierRule":
        """Read a rule from a JSON document.

        Raises:
            ValueError: It is not a valid rule; the message says what is wrong.
        """
        document = document_in(text, SCHEMA)
        only(document, {"schema", "name", "model", "layer", "keys", "values", "keep", "settings"}, "rule")
        named = {name: typed(document.get(name), str, name) for name in ("name", "model", "layer")}
        keys, values, keep = (_read_all(document, name) for name in ("keys", "values", "keep"))
        keep = keep.reshape(0, *keys.shape[1:]) if not len(keep) else keep
        settings = settings_from(typed(document.get("settings"), dict, "settings"))
        return cls(**named, keys=keys, values=values, keep=keep, settings=settings)


def bytes_of(images: Float[Tensor, "pictures 3 height width"]) -> Pictures:
    """Images in [-1, 1] as pictures of bytes."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def images_of(pictures: Pictures) -> Float[Tensor, "pictures 3 height width"]:
    """Pictures of bytes as images in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 127.5 - 1


def _written(picture: UInt8[np.ndarray, "height width 3"]) -> str:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def _read_all(document: dict, name: str) -> Pictures:
    listed = typed(document.get(name), list, name)
    require(len(listed) <= MOST_PICTURES, f"{name} holds at most {MOST_PICTURES} pictures", len(listed))
    found = [_read(typed(text, str, name), name) for text in listed]
    if len({picture.shape for picture in found}) > 1:
        raise ValueError(f"{name} holds pictures of one size")
    return np.stack(found) if found else np.zeros((0, 1, 1, 3), np.uint8)


def _read(text: str, name: str) -> UInt8[np.ndarray, "height width 3"]:
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",))
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError(f"it has more than {MOST_PIXELS} pixels")
        return np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"{name} holds a picture that cannot be read: {str(error)[:80]}") from None
