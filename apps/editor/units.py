"""The units of a session's model: the dissections that there are, and pictures of what each unit draws."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from apps.editor.session import Session
from apps.editor.wall import url
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


def dissections(session: Session) -> dict[str, Dissection]:
    """The dissections of the session's model, by layer; none where no file of one is at hand."""
    return session.model.made("dissections", lambda: _found(session))


def dissection(session: Session, layer: str) -> Dissection:
    """The dissection of one layer.

    Raises:
        LookupError: There is none.
    """
    found = dissections(session)
    if layer not in found:
        raise LookupError(f"there is no dissection of layer {layer[:60]}")
    return found[layer]


def strips(session: Session, layer: str, on_progress: Callable[[float], object] | None = None) -> list[str]:
    """For each unit of a layer, the images that drive it most, lit where it is active, as a data URL; made once.

    Args:
        session: Whose model.
        layer: The layer.
        on_progress: Called with the share of the images that is drawn, where they must be; may raise to end that.
    """
    return session.model.made(("strips", layer), lambda: _strips(session, layer, on_progress))


def drawing(session: Session, layer: str) -> Iterator[float]:
    """Draw the strips of a layer, if nobody did, and say again and again how far that is, 0 to 1.

    Raises:
        Stopped: Somebody pressed Stop.
    """
    done = [0.0]

    def on_progress(share: float) -> None:
        done[0] = share
        session.check()

    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(strips, session, layer, on_progress)
        while not wait([work], timeout=0.25).done:
            yield done[0]
        work.result()


def _found(session: Session) -> dict[str, Dissection]:
    model, found = session.model.fingerprint, {}
    folders = session.models.options.folders
    beside = [path for folder in folders for path in sorted(folder.rglob(NAME))[:MOST_FILES]]
    for path in (*BUILT_IN.values(), *beside):
        if _model_of(path) == model:
            found = load_dissections(path) | found
    return {layer: one for layer, one in found.items() if layer in session.model.generator.layers}


def _model_of(path: Path) -> str | None:
    """The model that a dissection is of; None for another file."""
    try:
        kind, about = files.read_header(path)
    except (ValueError, OSError):
        return None
    identity = about.get("identity") if kind == "dissection" else None
    return identity.get("model") if isinstance(identity, dict) else None


def _strips(session: Session, layer: str, on_progress: Callable[[float], object] | None) -> list[str]:
    one, generator = dissection(session, layer), session.model.generator
    source = session.model.source or CallableSource(lambda images, _: images[:, 0].long(), one.concepts)
    probe = GeneratorProbe(generator, [layer], source)
    pictures = unit_strips(probe, {layer: one}, shown=SHOWN, side=SIDE, on_progress=on_progress)[layer]
    return [url(picture) for picture in pictures]
