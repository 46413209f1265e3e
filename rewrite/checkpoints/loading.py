"""From a name or a path to a generator, and back to a file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

import torch

from rewrite.checkpoints import (
    biggan,
    biggan_deep,
    biggan_port,
    containers,
    convolutional,
    dcgan,
    exports,
    hub,
    lucidrains,
    native,
    nvidia,
    nvidia_states,
    proggan,
    registry,
    resnet,
    rosinality,
    stylegan1,
    stylegan3,
    stylegan3_states,
    taesd,
    tensorflow,
    vae,
)
from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import CHOICE, Candidate, candidates, chosen, fitting, split_choice, split_size
from rewrite.checkpoints.flat import looks_flat
from rewrite.checkpoints.foreign import ForeignFile, complete
from rewrite.checkpoints.made import Made
from rewrite.checkpoints.states import BY_HAND
from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.exporting import export_classifier
from rewrite.generators.classes import Label
from rewrite.generators.contract import Generator
from rewrite.generators.decoders import DecoderGenerator
from rewrite.generators.devices import device_named
from rewrite.patch import Patch, Stack, held_at
from rewrite.storage import files
from rewrite.storage.quoting import quoted

MOST_DESCRIBED = 120  # characters of a file's names that a sentence quotes
GENERATORS = Path(__file__).parent.parent / "generators"
BUILT_IN = {name: GENERATORS / f"{name}.safetensors" for name in ("towers", "towers-early")}
# Those recognised by names come first, those recognised by shapes alone last.
FOREIGN = (
    rosinality,
    stylegan1,
    stylegan3,
    nvidia,
    nvidia_states,
    stylegan3_states,
    proggan,
    tensorflow,
    lucidrains,
    resnet,
    biggan,
    biggan_deep,
    biggan_port,
    taesd,
    vae,
    dcgan,
)
# Networks that are known by one of their names, and what to do with them.
ELSEWHERE = {
    "decoder.conv_in.weight": "it is an autoencoder of diffusers, but no AutoencoderKL: wrap its decoder, with latents "
    "of its own shape",
    "down_blocks.0.resnets.0.conv1.weight": "it is the denoiser of a diffusion model, which draws in many steps",
    "generator.gen_z.weight": f"it is a BigGAN: {BY_HAND}, with latents=… giving noise and classes",
    "shared.weight": f"it is a BigGAN of another kind: {BY_HAND}, with latents=… giving noise and classes",
}


def open_checkpoint(path: Path) -> native.NativeFile | ForeignFile:
    """Open a checkpoint of any known kind, which is recognised by its content.

    Args:
        path: The file; `FILE::key` where it holds several generators, and `FILE::64x48` for the height and width of the
            latents of a decoder.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a generator that this library reads, or a damaged one, or there are several.
    """
    name, key = split_choice(path)
    key, size = split_size(key)
    opened = _opened(Path(name), key, size)
    if size is not None and not isinstance(opened.generator, DecoderGenerator):
        raise ValueError(
            f"{name} is no decoder of an autoencoder, whose latents may be of any size: leave the size out"
        )
    return opened


def _opened(path: Path, key: str | None, size: tuple[int, int] | None) -> native.NativeFile | ForeignFile:
    start = files.start_of(files.existing(path), 9)
    pickled = not looks_flat(start) and (start[:4] == b"PK\x03\x04" or start[:1] == b"\x80")
    if not looks_flat(start):
        _check_kind(path)
    if not pickled and not native.of_another_tool(path):
        return native.NativeFile(path)
    archive = Archive(path)
    if archive.note is not None and key is None:
        with complete(path, "state dict of this library"):
            return native.load_noted(archive, archive.note)
    ours = not pickled and files.metadata(path).get("format") == files.FORMAT
    with complete(path, "checkpoint"):
        held = list(candidates(archive.content, archive.budget))
        found = _recognised(path, held, key)
    if found is not None and (not ours or files.read_header(path)[1].get("family") == found[0].FAMILY):
        family, candidate = found
        with complete(path, family.FAMILY):
            return family.load(archive, replace(candidate, size=size))
    if ours:
        return native.NativeFile(path)  # which says what it is, and refuses
    known = _described(archive.content)
    raise ValueError(f"{path} holds no generator that is known here; it holds {known}; {_advice(held)}")


def _check_kind(path: Path) -> None:
    """Refuse a file of a kind in which no generator is read, and say what to do.

    Raises:
        ValueError: It is one, or of no known kind at all.
    """
    kind = containers.describe(path)["kind"]
    if kind not in containers.OF_WEIGHTS:
        advice = f": {containers.HELP[kind]}" if kind in containers.HELP else ""
        article = "an" if kind == containers.ONNX else "a"
        raise ValueError(f"{path} is {article} {kind}, in which no generator is read{advice}")


def _advice(held: Sequence[Candidate]) -> str:
    """What to do with a file of which no family is recognised."""
    for mark, advice in ELSEWHERE.items():
        if any(mark in each.state for each in held):
            return advice
    if any(convolutional.looks_like(each.state) for each in held):
        return convolutional.ADVICE
    return f"where it is a generator, {BY_HAND}"


def _recognised(path: Path, held: Sequence[Candidate], key: str | None = None) -> tuple[ModuleType, Candidate] | None:
    """The network among what a file holds, and the family that reads it; None if there is none.

    Raises:
        ValueError: There are several, or nothing is at the key.
    """
    wanted = held if key is None else chosen(held, key)
    if not wanted:
        raise ValueError(f"{path} holds nothing at {quoted(key)}; it holds {_described(held[0].content)}"[:300])
    for family in FOREIGN:
        found = fitting(wanted, family.recognises)
        if len(found) > 1:
            names = [f"{path.name}{CHOICE}{each.key}" for each in found]
            raise ValueError(
                f"{path} holds {len(names)} generators ({family.FAMILY}): name one as {' or '.join(names)}"[:300]
            )
        if found:
            return family, found[0]
    return None


def _described(held: object) -> str:
    """What a file holds, in words."""
    if isinstance(held, Made):
        return f"an object of {held.named}"
    if isinstance(held, dict):
        names = ", ".join(str(name)[:80] for name in list(held)[:5]) or "nothing"
        if len(names) <= MOST_DESCRIBED and len(held) <= 5:
            return names
        begun = names[: MOST_DESCRIBED - 2]
        return f"{names if len(names) <= len(begun) else begun.rpartition(', ')[0] or begun} …"
    return type(held).__name__


def checkpoint_path(model: str | Path) -> Path:
    """The file of a built-in generator, the path itself, or the file of a published checkpoint.

    A file of that name wins over a published checkpoint, which is downloaded into the user's cache where it is not yet.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It could not be downloaded, or is not what was published.
    """
    name, key = split_choice(model)
    if key is not None:
        return Path(f"{checkpoint_path(name)}{CHOICE}{key}")
    path = BUILT_IN.get(name, Path(model))
    if name in registry.PUBLISHED and not path.is_file():
        return registry.fetch(name, progress=True)
    if name.startswith(hub.SCHEME):
        return hub.fetch(name)
    if not path.exists():
        names, near = ", ".join(BUILT_IN), get_close_matches(name, registry.PUBLISHED, 1)
        hint = f": did you mean {near[0]}?" if near else ""
        raise FileNotFoundError(
            f"there is no file {path}, and no built-in generator of that name (there is {names}){hint}"
        )
    return path


def load_generator(
    model: str | Path = "towers",
    *,
    truncation: float = 1.0,
    label: Label | Mapping[int, int] = 0,
    device: str | torch.device = "cpu",
) -> Generator:
    """Load a generator by name or path. Nothing inside the file is executed.

    Args:
        model: `towers`, the path of a checkpoint, the name of a published one (`rewrite models` lists them) or
            `hf://owner/name/file`; the latter two are downloaded once, into the user's cache. `MODEL::key` names one of
            several generators in a file, such as `model.pt::netG_A`; `MODEL::64x48` the size of a decoder's latents.
        truncation: How far latents are drawn from the mean; 1 leaves them alone.
        label: The class to draw, of a network of several, or those of seeds; see `Generator.draw_class`.
        device: Where to put the network: `cpu`, `cuda`, `mps`, or `auto` for the fastest that is there.

    Returns:
        The generator, in evaluation mode and without gradients of its weights.

    Raises:
        FileNotFoundError: There is no such file, or the huggingface_hub package is needed and not installed.
        ValueError: The file is not a generator that this library reads, or a damaged one, or cannot be downloaded; or
            the device is not there.
    """
    if not 0 <= truncation <= 2:
        raise ValueError(f"truncation lies between 0 and 2, got {truncation}")
    place = device_named(device)
    path = checkpoint_path(model)
    generator = open_checkpoint(path).generator
    generator.truncation, generator.checkpoint = truncation, path.absolute()
    generator.draw_class(label)
    return generator.to(place)


def path_of(generator: Generator, model: str | Path | None = None) -> Path:
    """The checkpoint of a generator: the one that is named, or else the one that it was loaded from.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: None is named, and the generator was not loaded from one.
    """
    if model is not None:
        return checkpoint_path(model)
    if generator.checkpoint is None:
        raise ValueError("this generator was not loaded from a checkpoint: name the file that holds it with model")
    return generator.checkpoint


def export(
    generator: Generator | Classifier,
    patches: Patch | Sequence[Patch],
    path: str | Path,
    *,
    model: str | Path | None = None,
    container: str = exports.SAME,
    strengths: Sequence[float] | None = None,
) -> None:
    """Write the checkpoint of a generator, or of a classifier, with patches folded in.

    `same` writes the file again: every byte that does not belong to an edited number stays as it was. The other
    containers hold the generator alone, its tensors by the names of the tool that made the file. A file of
    `safetensors` also says what was edited, and is loaded again by `load_generator`. A `state-dict` is what
    `torch.load(path, weights_only=True)` reads; its dictionaries are nested as in the first file, so that rosinality's
    tools find their `g_ema`.

    Args:
        generator: The unedited generator or classifier.
        patches: The patch or patches.
        path: Where to write.
        model: Name or path of the generator's checkpoint; the one that it was loaded from if left out.
        container: `same`, `safetensors` or `state-dict`.
        strengths: The strength of each patch; 1 if left out.

    Raises:
        ValueError: A patch was made for another weight, the checkpoint is not that of the generator, the path ends as
            those of another container do, or the file cannot be written.
    """
    held = held_at(patches, strengths)
    if isinstance(generator, Classifier):
        export_classifier(generator, held, path, model=model, container=container)
        return
    base = path_of(generator, model)
    checkpoint = open_checkpoint(base)
    exports.check_ending(path, container, checkpoint)
    if checkpoint.generator.fingerprint != generator.fingerprint:
        raise ValueError(
            f"{base} is not the checkpoint that this generator was loaded from, or its weights were edited"
        )
    with Stack(generator).holding(held):
        tensors = {name: tensor for patch, _ in held for name, tensor in patch.tensors(generator).items()}
        edited = {name: tensors[name].detach().cpu().clone() for name in sorted(tensors)}
    edit = {
        "base": generator.fingerprint,
        "rules": [rule for patch, _ in held for rule in patch.rules],
        "layers": sorted(tensors),
        "strengths": [strength for _, strength in held],
    }
    exports.write(checkpoint, path, edited, edit, container, recognised_by_names=_recognised_by_names(checkpoint))


def _recognised_by_names(checkpoint: exports.Checkpoint) -> bool:
    """Whether the tensors of a checkpoint, by the tool's own names, are all that is needed to load it."""
    if isinstance(checkpoint, native.NativeFile):
        return False
    found = _recognised(checkpoint.path, list(candidates(exports.flat(checkpoint.names()))))
    return found is not None and checkpoint.family == found[0].FAMILY
