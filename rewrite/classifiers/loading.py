"""From a name or a path to a classifier, and the file that its weights came from."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import torch
from torch import Tensor, nn

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate, candidates, chosen, split_choice
from rewrite.checkpoints.foreign import ForeignFile, complete, filled, hollow, shapes
from rewrite.classifiers import libraries
from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.libraries import Built
from rewrite.classifiers.packaged import BUILT_IN, KIND, design_of
from rewrite.classifiers.preparation import as_they_are
from rewrite.classifiers.recognition import recognised
from rewrite.classifiers.small_cnn import SmallCNN
from rewrite.generators.devices import device_named
from rewrite.storage import files
from rewrite.storage.quoting import lacking, quoted

OURS = "classifier of this library"
# Counts of batch normalisation, which old files lack.
COUNTER = "num_batches_tracked"


def load_classifier(
    model: str | Path = "scenes",
    *,
    architecture: str | None = None,
    weights: str | Path | None = None,
    classes: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
) -> Classifier:
    """Load a classifier by name or path. Nothing inside a file is executed.

    Args:
        model: A built-in one (`scenes`, `scenes-norm`, `scenes-dropout`, `scenes-seed2`, `scenes-random`,
            `scenes-shortcut`, `digits`); `torchvision:NAME` or `timm:NAME`, whose weights are on this machine already;
            `hf:NAME` or `hf:FOLDER` of transformers; or the path of a state dict.
        architecture: `torchvision:NAME` or `timm:NAME`, for a state dict whose network its tensors do not say.
        weights: The file of the weights of a network of torchvision or timm; what the library left in torch's cache if
            left out.
        classes: The name of each class; what the network or its library says if left out.
        device: Where to put the network: `cpu`, `cuda`, `mps`, or `auto` for the fastest that is there.

    Returns:
        The classifier, in evaluation mode and without gradients of its weights.

    Raises:
        FileNotFoundError: There is no such file, no weights, or a package is needed that is not installed.
        LookupError: A library has no such classifier.
        ValueError: The file is damaged, or holds no classifier that is known here; or the device is not there.
    """
    place, (library, _, name) = device_named(device), str(model).partition(":")
    if library == libraries.HUGGING_FACE:
        return _of(libraries.of_transformers(name), classes).to(place)
    path: str | Path = model
    if library in libraries.BUILDERS and not Path(model).exists():
        architecture = str(model)
        path = weights or _cached(libraries.build(library, name))
    elif weights is not None:
        raise ValueError(f"weights go with the name of a network of torchvision or timm, got {model}")
    return open_classifier(checkpoint_of(path), architecture, classes).generator.to(place)


def checkpoint_of(model: str | Path) -> Path:
    """The file of a built-in classifier, or the path itself.

    Raises:
        FileNotFoundError: There is no such file.
    """
    path = BUILT_IN.get(str(model), Path(model))
    if not Path(split_choice(path)[0]).exists():
        near = get_close_matches(str(model), BUILT_IN, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(BUILT_IN)}"
        raise FileNotFoundError(f"there is no file {path}, and no built-in classifier of that name: {hint}")
    return path


def open_classifier(
    path: str | Path, architecture: str | None = None, classes: Sequence[str] | None = None
) -> ForeignFile[Classifier]:
    """Open the file of a classifier, to load it or to write it again; see `load_classifier`.

    Args:
        path: The file; `FILE::key` where it holds several networks.
        architecture: `torchvision:NAME` or `timm:NAME`; what the tensors say if left out.
        classes: The name of each class.

    Raises:
        FileNotFoundError, LookupError, ValueError: As of `load_classifier`.
    """
    name, key = split_choice(path)
    archive = Archive(name)
    if archive.kind == "safetensors" and files.metadata(name).get("format") == files.FORMAT:
        return _ours(archive, classes)
    with complete(archive.path, "state dict"):
        held = [each for each in candidates(archive.content, archive.budget) if each.state]
    held = held if key is None else chosen(held, key)
    if not held:
        raise ValueError(f"{path} holds no state dict" + ("" if key is None else f" at {quoted(key)}"))
    candidate = max(held, key=lambda each: len(each.state))
    return _of_library(archive, candidate, architecture, classes)


def _ours(archive: Archive, classes: Sequence[str] | None) -> ForeignFile[Classifier]:
    """A classifier that this library wrote."""
    kind, about = files.read_header(archive.path)
    if kind != KIND:
        raise ValueError(f"{archive.path} holds a {kind}, not a {KIND}")
    try:
        design = design_of(about)
        network = hollow(lambda: SmallCNN(design))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{archive.path} is a damaged classifier: {lacking(error)}") from None
    candidate = next(candidates(archive.content, archive.budget))
    wanted = shapes(network)
    given = {name: tuple(placed.shape) for name, placed in candidate.state.items()}
    wrong = sorted(name for name in wanted | given if wanted.get(name) != given.get(name))
    if wrong:
        raise ValueError(f"{archive.path} is damaged: {len(wrong)} weights do not fit its header, first {wrong[0]}")
    state = archive.read_all(candidate.state)
    files.finite(state, archive.path)
    built = Built(filled(network, state), OURS, as_they_are(design.size), design.classes)
    return _opened(archive, candidate, built, classes)


def _of_library(
    archive: Archive, candidate: Candidate, architecture: str | None, classes: Sequence[str] | None
) -> ForeignFile[Classifier]:
    """A state dict of a network of torchvision or timm."""
    found = {name: tuple(placed.shape) for name, placed in candidate.state.items()}
    if architecture is None:
        architecture = recognised(found)
    if architecture is None:
        raise ValueError(
            f"{archive.path} holds no classifier that is known by its tensors: name its network with "
            "architecture=torchvision:NAME or timm:NAME, or load the file into the module and use rewrite.wrap"
        )
    library, _, name = architecture.partition(":")
    if library not in libraries.BUILDERS or not name:
        raise ValueError(f"an architecture is torchvision:NAME or timm:NAME, got {quoted(architecture)}")
    built = libraries.build(library, name)
    scored = _classes_in(built.network, found)
    if scored is not None:
        built = libraries.build(library, name, scored)
    state = archive.read_all(candidate.state)
    files.finite(state, archive.path)
    _load(built, state, archive.path)
    opened = _opened(archive, candidate, built, classes)
    opened.generator.architecture = architecture
    return opened


def _load(built: Built, state: Mapping[str, Tensor], path: Path) -> None:
    expected = built.network.state_dict()
    lacking = {name: tensor for name, tensor in expected.items() if name.endswith(COUNTER) and name not in state}
    try:
        built.network.load_state_dict({**lacking, **state})
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n\t")[1:2]) or str(error)
        raise ValueError(f"{path} holds no weights of {built.called}: {' '.join(reason.split())}") from None


def _classes_in(network: nn.Module, found: Mapping[str, tuple[int, ...]]) -> int | None:
    """How many classes a file's network has, where that differs from the network's own."""
    last = [name for name, tensor in network.state_dict().items() if name.endswith("weight") and tensor.ndim > 1][-1]
    count = found[last][0] if found.get(last) else None
    return None if count == len(network.get_parameter(last)) else count


def _opened(
    archive: Archive, candidate: Candidate, built: Built, classes: Sequence[str] | None
) -> ForeignFile[Classifier]:
    classifier = _of(built, classes)
    classifier.checkpoint = archive.path.absolute()
    places = {name: placed for name, placed in candidate.state.items() if name in built.network.state_dict()}
    return ForeignFile(classifier, archive, places, built.called, candidate)


def _of(built: Built, classes: Sequence[str] | None) -> Classifier:
    network = built.network.eval().requires_grad_(False)
    named = built.classes if classes is None else classes
    return Classifier(network, built.preparation.size, prepare=built.preparation, classes=named)


def _cached(built: Built) -> Path:
    if built.cached is None:
        raise FileNotFoundError(
            f"the weights of {built.called} are not in torch's cache ({libraries.hub_folder()}): name a file with them"
        )
    return built.cached
