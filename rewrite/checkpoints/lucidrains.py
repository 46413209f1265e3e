"""StyleGAN2 files of lucidrains' port, which are recognised and not read.

https://github.com/lucidrains/stylegan2-pytorch: their tensors do not say which version of the port they belong to, and
versions with equal tensors draw different images (the mapping's learning rate, the normalisation of z, the filter after
upsampling); the noise is random in each run.
"""

from typing import NoReturn

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.states import BY_HAND

FAMILY = "StyleGAN2 of lucidrains' port"
BLOCK = "blocks.0.to_style1.weight"


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: by its names."""
    return BLOCK in candidate.state


def load(archive: Archive, candidate: Candidate) -> NoReturn:
    """Say why such a file is not read.

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        f"{archive.path} is a {FAMILY}, which is not read, as its tensors do not say how they are used: {BY_HAND}"
    )
