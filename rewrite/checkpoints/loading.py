"""From a name or a path to a generator, and back to a file."""

from collections.abc import Sequence
from pathlib import Path

from rewrite.checkpoints import native, nvidia, proggan, rosinality
from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.source import Source
from rewrite.generators.contract import Generator
from rewrite.patch import Patch, Stack

BUILT_IN = {"towers": Path(__file__).parent.parent / "generators" / "towers.safetensors"}
FOREIGN = (rosinality, nvidia, proggan)


def open_checkpoint(path: Path) -> native.NativeFile | Source:
    """Open a checkpoint of any kind that is known; what it is is told from its content.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no generator that this library reads, or a damaged one.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start != b"PK\x03\x04" and start[:1] != b"\x80":
        return native.NativeFile(path)
    archive = Archive(path)
    for family in FOREIGN:
        if family.recognises(archive.content):
            try:
                return family.load(archive)
            except (TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
                # Values of the wrong kind where the family has numbers or tensors.
                raise ValueError(f"{path} is no complete {family.FAMILY}: {error!r}"[:300]) from None
    held = archive.content
    names = ", ".join(str(name) for name in list(held)[:5]) if isinstance(held, dict) else type(held).__name__
    raise ValueError(f"{path} holds no generator that is known here; it holds {names or 'nothing'}"[:300])


def checkpoint_path(model: str | Path) -> Path:
    """The file of a built-in generator, or the path itself.

    Raises:
        FileNotFoundError: There is no such file.
    """
    path = BUILT_IN.get(str(model), Path(model))
    if not path.exists():
        names = ", ".join(BUILT_IN)
        raise FileNotFoundError(f"there is no file {path}, and no built-in generator of that name (there is {names})")
    return path


def load_generator(model: str | Path = "towers", *, truncation: float = 1.0, device: str = "cpu") -> Generator:
    """Load a generator by name or path. Nothing inside the file is executed.

    Args:
        model: `towers`, or the path of a checkpoint.
        truncation: How far latents are drawn from the mean; 1 leaves them alone.
        device: Where to put the network.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no generator that this library reads, or a damaged one.
    """
    if not 0 <= truncation <= 2:
        raise ValueError(f"truncation lies between 0 and 2, got {truncation}")
    generator = open_checkpoint(checkpoint_path(model)).generator
    generator.truncation = truncation
    generator.module.to(device)
    return generator


def export(
    generator: Generator, patches: Patch | Sequence[Patch], path: str | Path, *, model: str | Path = "towers"
) -> None:
    """Write the generator's checkpoint with patches folded in.

    Every tensor that is not edited stays what it was in the source, byte for byte.

    Args:
        generator: The unedited generator.
        patches: The patch or patches.
        path: Where to write.
        model: Name or path of the checkpoint that the generator was loaded from.

    Raises:
        ValueError: A patch was made for another weight, the checkpoint is not that of the generator, or the file
            cannot be written.
    """
    checkpoint = open_checkpoint(checkpoint_path(model))
    if checkpoint.generator.fingerprint != generator.fingerprint:
        raise ValueError(
            f"{model} is not the checkpoint that this generator was loaded from, or its weights were edited"
        )
    patches = [patches] if isinstance(patches, Patch) else list(patches)
    stack = Stack(generator)
    with stack.holding([(patch, 1.0) for patch in patches]):
        names = {generator.layer(patch.layer).weight for patch in patches}
        edited = {name: generator.module.get_parameter(name).detach().cpu().clone() for name in sorted(names)}
    about = {"rules": [rule for patch in patches for rule in patch.rules], "layers": sorted(names)}
    checkpoint.export(path, edited, about)
