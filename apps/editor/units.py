"""The units of a model: its dissections, and pictures of what drives each unit."""

from collections.abc import Callable
from pathlib import Path

from apps.editor.data_urls import url
from apps.editor.model import Model
from dissect.sources.contract import CallableSource
from dissect.units.dissection import BUILT_IN, Dissection, load_dissections
from dissect.units.probe import GeneratorProbe
from dissect.units.tiles import unit_strips
from rewrite.storage import files

NAME = "units.safetensors"
MOST_FILES = 100
SHOWN, SIDE = 3, 84
NONE = (
    "<p>No dissection of this model is known. <code>rewrite units MODEL --layer all --out DIR</code> makes one; put "
    f"its <code>{NAME}</code> into a folder given with <code>--models</code>, and open the model again.</p>"
)


def dissections(model: Model) -> dict[str, Dissection]:
    """The dissections of a model by layer, from the built-in files and its folders."""
    return model.shared("dissections", lambda: _found(model), runs=False)


def dissection(model: Model, layer: str) -> Dissection:
    """The dissection of one layer.

    Raises:
        LookupError: The layer is not dissected.
    """
    found = dissections(model)
    if layer not in found:
        raise LookupError(f"there is no dissection of layer {layer[:60]}")
    return found[layer]


def strips(model: Model, one: Dissection, on_progress: Callable[[float], object] | None = None) -> list[str]:
    """For each unit of a layer, a data URL of the images that drive it most, lit where it is active; cached.

    Args:
        model: The model.
        one: The dissection of the layer.
        on_progress: Called with the share of the images drawn so far; may raise to end the work.
    """
    return model.shared(("strips", one.view), lambda: _strips(model, one, on_progress))


def _found(model: Model) -> dict[str, Dissection]:
    found: dict[str, Dissection] = {}
    beside = [path for folder in model.folders for path in sorted(folder.rglob(NAME))[:MOST_FILES]]
    for path in (*BUILT_IN.values(), *beside):
        if _model_of(path) == model.fingerprint:
            found = load_dissections(path) | found
    return {layer: one for layer, one in found.items() if layer in model.generator.layers}


def _model_of(path: Path) -> str | None:
    """The fingerprint of the model that a file dissects; None for another file."""
    try:
        kind, about = files.read_header(path)
    except (ValueError, OSError):
        return None
    identity = about.get("identity") if kind == "dissection" else None
    return identity.get("model") if isinstance(identity, dict) else None


def _strips(model: Model, one: Dissection, on_progress: Callable[[float], object] | None) -> list[str]:
    source = model.source or CallableSource(lambda images, _: images[:, 0].long(), one.concepts)
    probe = GeneratorProbe(model.generator, [one.view], source)
    drawn = unit_strips(probe, {one.view: one}, shown=SHOWN, side=SIDE, on_progress=on_progress)
    return [url(picture) for picture in drawn[one.view]]
