"""From a name or a path to a generator, and back to a file."""

from collections.abc import Sequence
from pathlib import Path

from rewrite.checkpoints import native
from rewrite.generators.contract import Generator
from rewrite.patch import Patch, Stack

BUILT_IN = {"towers": Path(__file__).parent.parent / "generators" / "towers.safetensors"}


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
    generator = native.load(checkpoint_path(model))
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
    if load_generator(model).fingerprint != generator.fingerprint:
        raise ValueError(
            f"{model} is not the checkpoint that this generator was loaded from, or its weights were edited"
        )
    patches = [patches] if isinstance(patches, Patch) else list(patches)
    stack = Stack(generator)
    with stack.holding([(patch, 1.0) for patch in patches]):
        names = {generator.layer(patch.layer).weight for patch in patches}
        edited = {name: generator.module.get_parameter(name).detach().cpu().clone() for name in sorted(names)}
    about = {"rules": [rule for patch in patches for rule in patch.rules], "layers": sorted(names)}
    native.export(path, checkpoint_path(model), edited, about)
