"""Networks of the transformers library, from a folder or from the Hugging Face hub.

Only configurations and safetensors files are read. What a folder holds beside them, code and pickled weights among it,
is neither downloaded nor opened.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, cast

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rewrite.storage import files
from rewrite.storage.quoting import quoted, reason_of

ON_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")
CONFIGURATION, PROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
NEEDED = f"{CONFIGURATION}, {PROCESSOR} and {WEIGHTS}"
SHARDS = "model-?????-of-?????.safetensors"
OFFLINE = {"trust_remote_code": False, "local_files_only": True}


class Task(NamedTuple):
    """What a network is for.

    Attributes:
        mapping: The name of transformers' mapping from configurations to networks for it.
        does: What such a network does, as in "a network that segments".
        not_this: What another one does not do, as the end of a sentence.
    """

    mapping: str
    does: str
    not_this: str


# A tokenizer is one of the first two, with what goes with it.
VOCABULARIES = ("tokenizer.json", "vocab.json")
TOKENIZER = (*VOCABULARIES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
SEGMENTS = Task("MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING", "segments", "does not label each pixel")
CLASSIFIES = Task("MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING", "classifies", "does not name the class of an image")


SEGMENTS_TEXT = Task("", "segments by text", "does not segment by text")


class Prompted(NamedTuple):
    """A network of transformers' that reads a text with each image, what prepares images, and what reads texts."""

    network: Any
    processor: Any
    tokenizer: Any


class Loaded(NamedTuple):
    """A network of transformers' and what prepares images for it."""

    network: Any
    processor: Any


def load_network(name: str, task: Task) -> Loaded:
    """Load a network for a task, in evaluation mode and without gradients of its weights.

    Args:
        name: A folder with the configurations of a network and of its image processor and with weights in safetensors,
            or ORG/NAME on the Hugging Face hub, whose files are downloaded once into that hub's cache.
        task: What it is for.

    Raises:
        FileNotFoundError: There is no such folder, a file is missing in it, or transformers is not installed.
        ValueError: The hub cannot be reached, or what is there is no such network, is damaged, or needs code of its
            own.
    """
    need_transformers(name)
    folder = _folder(name, task)
    return Loaded(_model(folder, task).float().eval().requires_grad_(False), _processor(folder))


def load_prompted(name: str) -> Prompted:
    """Load a network that segments by text; see `load_network`."""
    need_transformers(name)
    folder = _folder(name, SEGMENTS_TEXT, TOKENIZER)
    network = _model(folder, SEGMENTS_TEXT).float().eval().requires_grad_(False)
    return Prompted(network, _processor(folder), _tokenizer(folder))


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


def _folder(name: str, task: Task, more: Sequence[str] = ()) -> Path:
    """Where the files of a network are."""
    folder = Path(name).expanduser()
    if not name or not folder.is_dir():
        if not ON_HUB.fullmatch(name):
            raise FileNotFoundError(
                f"there is no folder {quoted(name)}, and a name on the Hugging Face hub is ORG/NAME"
            )
        folder = _downloaded(name, more)
    missing = [needed for needed in (CONFIGURATION, PROCESSOR) if not (folder / needed).is_file()]
    if missing:
        raise FileNotFoundError(f"{name} holds no network that {task.does}: it needs {NEEDED}, and has no {missing[0]}")
    if not _weights(folder):
        raise FileNotFoundError(f"{name} needs weights in {WEIGHTS}, and has none: pickled weights are never read")
    return folder


def _downloaded(name: str, more: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIGURATION, PROCESSOR, WEIGHTS, SHARDS, *more]))
    except Exception as error:  # its own types, and those of the HTTP library below it, which has changed before
        raise ValueError(
            f"cannot download {name} from the Hugging Face hub: {_said(error)}; if you can get {NEEDED} in another "
            "way, put them into a folder and give its path"
        ) from None


def _weights(folder: Path) -> list[Path]:
    whole = folder / WEIGHTS
    return [whole] if whole.is_file() else sorted(folder.glob(SHARDS))


def _model(folder: Path, task: Task) -> Any:
    from transformers import AutoConfig

    known = _known(task)
    config = _read(folder / CONFIGURATION, lambda: AutoConfig.from_pretrained(folder, **OFFLINE))
    if type(config) not in known:
        raise ValueError(f"{folder} is a network of the type {config.model_type}, which {task.not_this}")
    if getattr(config, "use_pretrained_backbone", False):
        # All weights are in the folder: none of another network's are wanted.
        config.use_pretrained_backbone = False
    kind: Any = known[type(config)]
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


def _known(task: Task) -> Any:
    """From configurations to networks for a task."""
    from transformers.models.auto import modeling_auto

    if task is not SEGMENTS_TEXT:
        return getattr(modeling_auto, task.mapping)
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    return {CLIPSegConfig: CLIPSegForImageSegmentation}


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


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise FileNotFoundError(f"{folder} has no tokenizer: it needs {' or '.join(VOCABULARIES)}")
    return _read(folder / CONFIGURATION, lambda: AutoTokenizer.from_pretrained(folder, **OFFLINE))


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
