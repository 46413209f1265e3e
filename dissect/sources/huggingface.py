"""Semantic segmentation by any network of the transformers library, from a folder or from the Hugging Face hub.

Only configurations and safetensors files are read. What a folder holds beside them, code and pickled weights among it,
is neither downloaded nor opened.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Int16
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dissect.sources.contract import checked
from dissect.sources.names import unique
from dissect.sources.network import IMAGES_AT_ONCE, most_likely
from rewrite.generators.fingerprint import hash_of
from rewrite.reports.concepts import Concepts, ConceptSource
from rewrite.reports.pictures import to_pil
from rewrite.storage import files
from rewrite.storage.quoting import reason_of

ON_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")
CONFIGURATION, PROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
NEEDED = f"{CONFIGURATION}, {PROCESSOR} and {WEIGHTS}"
SHARDS = "model-?????-of-?????.safetensors"
OFFLINE = {"trust_remote_code": False, "local_files_only": True}
# Pixels that the network sees at once.
PIXELS_AT_ONCE = 2**21


class HuggingFaceSource(ConceptSource):
    """A network of transformers' that gives each pixel of an image one concept.

    Args:
        name: A folder with the configurations of a network and of its image processor and with weights in safetensors,
            or ORG/NAME on the Hugging Face hub, whose files are downloaded once into that hub's cache.
        device: Where to put the network.

    Raises:
        FileNotFoundError: There is no such folder, a file is missing in it, or transformers is not installed.
        ValueError: The hub cannot be reached, or what is there is no such network, is damaged, or needs code of its
            own.
    """

    def __init__(self, name: str | Path, device: str = "cpu"):
        need_transformers(str(name))
        folder = _folder(str(name))
        self.model = _model(folder).float().eval().requires_grad_(False).to(device)
        self._processor = _processor(folder)
        self.concepts = Concepts.of(_names(self.model.config))
        digest = hashlib.sha256(self._processor.to_json_string().encode()).hexdigest()[:8]
        self.identity = f"{type(self.model).__name__} {hash_of(self.model.state_dict())} {digest}"

    @torch.no_grad()
    def label(self, images: Tensor, numbers: Sequence[int]) -> Int16[Tensor, "images layers height width"]:
        size = (int(images.shape[2]), int(images.shape[3]))
        found = [labels for part in images.split(IMAGES_AT_ONCE) for labels in self._labels(part, size)]
        return checked(torch.stack(found), len(images), self.concepts)

    def _labels(self, images: Tensor, size: tuple[int, int]) -> list[Tensor]:
        seen = self._processor(images=to_pil(images), return_tensors="pt", **_uncropped(self._processor))
        seen, found = seen["pixel_values"], []
        for part in seen.split(max(1, PIXELS_AT_ONCE // (seen.shape[-2] * seen.shape[-1]))):
            logits = self.model(pixel_values=part.to(self.model.device)).logits
            found += [most_likely(each, size) for each in logits]
        return found


def need_transformers(name: str) -> None:
    """Import transformers, on behalf of what is called `name`.

    Raises:
        FileNotFoundError: It is not installed.
        ValueError: It is, and fails as it is imported.
    """
    if find_spec("transformers") is None:
        raise FileNotFoundError(
            f'{name} needs the transformers package, which is not installed: pip install "model-rewriting[segmenters]"'
        )
    if "transformers" not in sys.modules:
        _without_broken_torchvision()
    try:
        from transformers import AutoConfig, AutoImageProcessor  # noqa: F401
    except Exception as error:  # whatever the packages raise that it imports in turn
        raise ValueError(f"{name} needs the transformers package, which cannot be imported: {_said(error)}") from None


def _without_broken_torchvision() -> None:
    """Hide a torchvision that cannot be imported: transformers does without one, but not with such a one.

    One that was built for another torch than the one installed fails so.
    """
    try:
        import torchvision  # noqa: F401
    except ImportError:
        pass
    except Exception:
        cast(dict[str, Any], sys.modules)["torchvision"] = None


def _folder(name: str) -> Path:
    """Where the files of a network are."""
    folder = Path(name).expanduser()
    if not name or not folder.is_dir():
        if not ON_HUB.fullmatch(name):
            raise FileNotFoundError(f"there is no folder {name!r}, and a name on the Hugging Face hub is ORG/NAME")
        folder = _downloaded(name)
    missing = [needed for needed in (CONFIGURATION, PROCESSOR) if not (folder / needed).is_file()]
    if missing:
        raise FileNotFoundError(f"{name} holds no network that segments: it needs {NEEDED}, and has no {missing[0]}")
    if not _weights(folder):
        raise FileNotFoundError(f"{name} needs weights in {WEIGHTS}, and has none: pickled weights are never read")
    return folder


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIGURATION, PROCESSOR, WEIGHTS, SHARDS]))
    except Exception as error:  # its own types, and those of the HTTP library below it, which has changed before
        raise ValueError(
            f"cannot download {name} from the Hugging Face hub: {_said(error)}; if you can get {NEEDED} in another "
            "way, put them into a folder and give its path"
        ) from None


def _weights(folder: Path) -> list[Path]:
    whole = folder / WEIGHTS
    return [whole] if whole.is_file() else sorted(folder.glob(SHARDS))


def _model(folder: Path) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING as KNOWN

    config = _read(folder / CONFIGURATION, lambda: AutoConfig.from_pretrained(folder, **OFFLINE))
    if type(config) not in KNOWN:
        raise ValueError(f"{folder} is a network of the type {config.model_type}, which does not label each pixel")
    if getattr(config, "use_pretrained_backbone", False):
        # All weights are in the folder: none of another network's are wanted.
        config.use_pretrained_backbone = False
    kind: Any = KNOWN[type(config)]
    state = _state(folder)
    # Given the weights, and not the folder, transformers opens no other file in it. Attention is named here because a
    # configuration may name code to download for it.
    with _no_bar():
        model, about = _read(
            folder / CONFIGURATION,
            lambda: kind.from_pretrained(
                None, config=config, state_dict=state, attn_implementation="eager", output_loading_info=True
            ),
        )
    if about["missing_keys"]:
        raise ValueError(
            f"{folder} is not a trained {type(model).__name__}: {len(about['missing_keys'])} of its weights are "
            f"missing, first {min(about['missing_keys'])}"
        )
    return model


@contextmanager
def _no_bar() -> Iterator[None]:
    """Without transformers' bar for what takes an instant."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _state(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for path in _weights(folder):
        try:
            state |= load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged: {reason_of(error)}") from None
    files.finite(state, folder)
    return state


def _processor(folder: Path) -> Any:
    from transformers import AutoImageProcessor

    # By Pillow, so that labels do not depend on whether torchvision is there.
    return _read(folder / PROCESSOR, lambda: AutoImageProcessor.from_pretrained(folder, backend="pil", **OFFLINE))


def _uncropped(processor: Any) -> dict[str, Any]:
    """What makes an image processor show the network the whole image: labels belong to all of its pixels."""
    changed: dict[str, Any] = {}
    if getattr(processor, "do_center_crop", None):
        changed = {"do_center_crop": False, "size": dict(processor.crop_size)}
    if getattr(processor, "do_pad", None):
        changed["do_pad"] = False
    return changed


def _names(config: Any) -> tuple[str, ...]:
    named = [str(config.id2label.get(number, "")).strip() for number in range(config.num_labels)]
    return unique(name or f"label {number}" for number, name in enumerate(named))


def _read(path: Path, load: Callable[[], Any]) -> Any:
    """What transformers makes of a configuration."""
    document = files.read_json(path, "configuration")
    try:
        return load()
    except Exception as error:  # whatever its many families raise
        if isinstance(document, dict) and "auto_map" in document:
            raise ValueError(f"{path} asks for code that comes with the network, which is never run") from None
        raise ValueError(f"transformers does not read {path}: {_said(error)}") from None


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(". ")
