"""Edited checkpoints as files: in the container that they came in, as safetensors, or as a state dict for torch."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rewrite.checkpoints import native
from rewrite.checkpoints.archives import NOTE
from rewrite.checkpoints.foreign import ForeignFile
from rewrite.checkpoints.names import NamePath
from rewrite.storage import files
from rewrite.storage.quoting import quoted

Checkpoint = native.NativeFile | ForeignFile

SAME, SAFETENSORS, STATE_DICT = CONTAINERS = ("same", "safetensors", "state-dict")
TORCH = (".pt", ".pth", ".bin", ".ckpt")
ENDINGS = {"zip": TORCH, "stream": TORCH, "pickle": (".pkl", ".pickle"), "safetensors": (".safetensors",)}
NAMES = {
    "zip": "a file of torch.save",
    "stream": "a file of torch.save",
    "pickle": "a pickle",
    "safetensors": "a safetensors file",
}


def check_ending(path: str | Path, container: str, checkpoint: Checkpoint) -> None:
    """Refuse a file name whose ending belongs to another container.

    Raises:
        ValueError: There is no such container, or the ending belongs to another one.
    """
    if container not in CONTAINERS:
        raise ValueError(f"the container is one of {', '.join(CONTAINERS)}, got {quoted(container)}")
    kind = {SAFETENSORS: "safetensors", STATE_DICT: "zip"}.get(container, checkpoint.kind)
    ending = Path(path).suffix.lower()
    kept = container == SAME and ending == checkpoint.path.suffix.lower()
    known = {each for endings in ENDINGS.values() for each in endings}
    if kept or ending not in known or ending in ENDINGS[kind]:
        return
    why = f", as {checkpoint.path.name} is" if container == SAME else ""
    raise ValueError(
        f"{path} would be {NAMES[kind]}{why}, whose name ends in {ENDINGS[kind][0]} and not in {ending}: "
        "give it another name, or another container with --as"
    )


def write(
    checkpoint: Checkpoint,
    path: str | Path,
    tensors: Mapping[str, Tensor],
    edit: Mapping[str, Any],
    container: str,
    *,
    recognised_by_names: bool,
) -> None:
    """Write an edited checkpoint.

    Args:
        checkpoint: The unedited one.
        path: Where to write.
        tensors: The edited tensors, by the names of our network.
        edit: What was edited, for the headers of safetensors.
        container: One of `CONTAINERS`.
        recognised_by_names: Whether a file with only the tensors, by the tool's own names, is recognised on loading.

    Raises:
        ValueError: The file holds no such tensor, or cannot be written.
    """
    if container == STATE_DICT:
        noted = native.family_of(checkpoint.generator) and not recognised_by_names
        write_state_dict(path, checkpoint.state(tensors), native.described(checkpoint.generator) if noted else None)
    elif isinstance(checkpoint, native.NativeFile) or (container == SAME and not _has_header(checkpoint)):
        checkpoint.export(path, tensors, edit)
    elif recognised_by_names:
        history = native.edits_of(checkpoint.path) if _has_header(checkpoint) else []
        about = {"family": checkpoint.family, "edits": [*history, edit]}
        files.save_tensors(path, flat(checkpoint.state(tensors)), native.KIND, about, in_order=True)
    elif native.family_of(checkpoint.generator):
        # Neither names nor shapes say all of its design.
        native.save(path, checkpoint.generator, tensors, source=checkpoint.family, edits=[edit])
    else:
        raise ValueError(f"{checkpoint.path} would not be recognised as safetensors: export it in its own container")


def flat(state: Mapping[NamePath, Any]) -> dict[str, Any]:
    """A state by the last of its names alone."""
    return {path[-1]: tensor for path, tensor in state.items()}


def _has_header(checkpoint: Checkpoint) -> bool:
    """Whether a file has a header of ours, which lists its edits."""
    return checkpoint.kind == "safetensors" and files.metadata(checkpoint.path).get("format") == files.FORMAT


def write_state_dict(path: str | Path, state: Mapping[NamePath, Tensor], about: Mapping[str, Any] | None) -> None:
    """Write what `torch.load(path, weights_only=True)` reads: dictionaries of tensors, nested as in the first file.

    What neither names nor shapes say of the generator goes into an entry of the zip archive that torch does not read.
    """
    nested: dict[str, Any] = {}
    for names, tensor in state.items():
        inner = nested
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
        inner[names[-1]] = tensor.contiguous()
    content = io.BytesIO()
    torch.save(nested, content)
    if about is not None:
        with zipfile.ZipFile(content, "a") as archive:
            folder = archive.namelist()[0].partition("/")[0]
            archive.writestr(f"{folder}/{NOTE}", json.dumps(about))
    files.write_whole(path, lambda temporary: temporary.write_bytes(content.getbuffer()))
