"""An edited classifier as a file: its own one written again, or its tensors alone."""

from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
from torch import Tensor

from rewrite.checkpoints import exports
from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.loading import checkpoint_of, open_classifier
from rewrite.patch import Patch, Stack
from rewrite.storage import files
from rewrite.storage.quoting import quoted


def export_classifier(
    classifier: Classifier,
    held: Sequence[tuple[Patch, float]],
    path: str | Path,
    *,
    model: str | Path | None = None,
    container: str = exports.SAME,
) -> None:
    """Write a classifier with patches folded in; see `rewrite.export`.

    Args:
        classifier: The unedited classifier.
        held: The patches and their strengths.
        path: Where to write.
        model: Name or path of its file; the one that it was loaded from if left out. Only `same` needs it.
        container: `same` for its own file, in which every byte that does not belong to an edited number stays as it
            was; `safetensors` or `state-dict` for its tensors by the names of its module.

    Raises:
        ValueError: A patch was made for another weight, the file is not the classifier's, or it cannot be written.
    """
    if container == exports.SAME:
        _write_again(classifier, held, path, model)
        return
    if container not in exports.CONTAINERS:
        raise ValueError(f"the container is one of {', '.join(exports.CONTAINERS)}, got {quoted(container)}")
    with Stack(classifier).holding(held):
        state = {name: tensor.detach().cpu().clone() for name, tensor in classifier.state().items()}
    if container == exports.STATE_DICT:
        exports.write_state_dict(path, {(name,): tensor for name, tensor in state.items()}, None)
    else:
        content = safetensors.torch.save(
            {name: tensor.contiguous() for name, tensor in state.items()}, {"format": "pt"}
        )
        files.write_whole(path, lambda temporary: temporary.write_bytes(content))


def _write_again(
    classifier: Classifier, held: Sequence[tuple[Patch, float]], path: str | Path, model: str | Path | None
) -> None:
    base = classifier.checkpoint if model is None else checkpoint_of(model)
    if base is None:
        raise ValueError("this classifier was not loaded from a file: name one with model, or another container")
    opened = open_classifier(base, classifier.architecture)
    exports.check_ending(path, exports.SAME, opened)
    if opened.generator.fingerprint != classifier.fingerprint:
        raise ValueError(f"{base} is not the file that this classifier was loaded from, or its weights were edited")
    opened.export(path, _edited(classifier, held), {})


def _edited(classifier: Classifier, held: Sequence[tuple[Patch, float]]) -> dict[str, Tensor]:
    with Stack(classifier).holding(held):
        tensors = {name: tensor for patch, _ in held for name, tensor in patch.tensors(classifier).items()}
        return {name: tensors[name].detach().cpu().clone() for name in sorted(tensors)}
