"""StyleGAN2 files of lucidrains' port, which are recognised and not read.

https://github.com/lucidrains/stylegan2-pytorch: their tensors do not say which version of the port they belong to, and
versions with equal tensors draw different images (the mapping's learning rate, the normalisation of z, the filter after
upsampling); the noise is random in each run.
"""

from typing import Any, NoReturn

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.states import BY_HAND

FAMILY = "StyleGAN2 of lucidrains' port"
BLOCK = "blocks.0.to_style1.weight"


def recognises(content: Any) -> bool:
    """Whether this is such a file: by the names in it."""
    state = content.get("GAN", content) if isinstance(content, dict) else {}
    return isinstance(state, dict) and any(f"{prefix}{BLOCK}" in state for prefix in ("GE.", "G.", ""))


def load(archive: Archive) -> NoReturn:
    """Say why such a file is not read.

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        f"{archive.path} is a {FAMILY}, which is not read, as its tensors do not say how they are used: {BY_HAND}"
    )
