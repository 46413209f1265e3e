"""A checkout of released code on this machine: what it is, and its modules where they can be imported.

Source of what is imported: the repositories that come with Bau et al., "GAN Dissection" (ICLR 2019), "Understanding
the role of individual units" (PNAS 2020) and "Rewriting a Deep Generative Model" (ECCV 2020). Nothing of them lies
here: they are of the torch of their day, for CUDA, so that what torch has no longer, and devices, stand in for a while.
"""

import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REWRITING, DISSECT, GANDISSECT = "rewriting", "dissect", "gandissect"
# By which files a checkout is known, in the folder itself.
FILES = {
    REWRITING: ("rewrite/ganrewrite.py", "utils/tally.py", "utils/stylegan2/models.py"),
    DISSECT: ("netdissect/tally.py", "netdissect/runningstats.py"),
    GANDISSECT: ("netdissect/dissection.py", "netdissect/runningstats.py"),
}
# Where each keeps what it counts with.
PACKAGES = {REWRITING: "utils", DISSECT: "netdissect", GANDISSECT: "netdissect"}
# What is measured of each: dotted names, or the path of a file.
MODULES = {
    REWRITING: (
        "rewrite/ganrewrite.py",
        "utils.stylegan2.models",
        "utils.tally",
        "utils.runningstats",
        "utils.upsample",
    ),
    DISSECT: ("netdissect.tally", "netdissect.runningstats", "netdissect.upsample"),
    GANDISSECT: ("netdissect.dissection",),
}
# Packages that are imported and not come to by what is measured here, with the names that are taken of them.
UNUSED = {
    "matplotlib": ("cm",),
    "matplotlib.cm": (),
    "skimage": (),
    "skimage.morphology": (),
    "statsmodels": (),
    "statsmodels.stats": (),
    "statsmodels.stats.correlation_tools": ("cov_nearest", "corr_nearest"),
}


@dataclass(frozen=True)
class Peer:
    """A checkout of released code.

    Attributes:
        path: Its folder.
        kind: Which of the repositories.
    """

    path: Path
    kind: str

    @classmethod
    def at(cls, path: Path) -> "Peer":
        """The checkout in a folder; nothing of it is imported yet.

        Raises:
            FileNotFoundError: There is no such folder.
            ValueError: It is no checkout of any of the repositories.
        """
        if not path.is_dir():
            raise FileNotFoundError(f"there is no folder {path}")
        for kind, files in FILES.items():
            if all((path / file).is_file() for file in files):
                return cls(path, kind)
        raise ValueError(
            f"{path} is no checkout of {', '.join(FILES)}: these have {', '.join(each[0] for each in FILES.values())}"
        )

    @contextmanager
    def modules(self, *names: str) -> Iterator[list[Any]]:
        """Some modules inside a `with` block: dotted names, or the path of a file.

        Raises:
            ValueError: They cannot be imported on this torch.
        """
        package = PACKAGES[self.kind]
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(_older_torch())
            stack.enter_context(_modules_of(self.path, package))
            try:
                found = [self._module(name) for name in names]
            except Exception as error:  # whatever code of others raises when it is imported
                raise ValueError(self._failed("imported", error)) from None
            try:
                yield found
            except (AttributeError, ImportError, RuntimeError, TypeError) as error:
                raise ValueError(self._failed("run", error)) from error

    def check(self) -> None:
        """Import what is measured, and forget it again.

        Raises:
            ValueError: It cannot be imported on this torch.
        """
        with self.modules(*MODULES[self.kind]):
            pass

    def _failed(self, what: str, error: Exception) -> str:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return f"{self.path} cannot be {what} on torch {torch.__version__}: {said[:300]}"

    def _module(self, name: str) -> ModuleType:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        # A file by its path: the checkout has a package of our name.
        spec = importlib.util.spec_from_file_location(f"peer_{Path(name).stem}", self.path / name)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


@contextmanager
def _modules_of(path: Path, package: str) -> Iterator[None]:
    """Have a package imported from a folder inside a `with` block, and forget it afterwards."""
    ours = lambda name: name == package or name.startswith(f"{package}.")  # noqa: E731
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if ours(name)}
    known = sys.path.copy(), sys.dont_write_bytecode
    sys.path.insert(0, str(path))
    sys.dont_write_bytecode = True  # the folder is the user's, and stays as it is
    # What would be compiled for CUDA when it is imported.
    sys.modules[f"{package}.stylegan2.op"] = _operations(f"{package}.stylegan2.op")
    absent = [name for name in UNUSED if not _there(name.partition(".")[0])]
    for name in absent:
        # What is measured here does not come to it.
        sys.modules[name] = _module_with(name, **dict.fromkeys(UNUSED[name]))
    try:
        yield
    finally:
        for name in [*(name for name in sys.modules if ours(name)), *absent]:
            del sys.modules[name]
        sys.modules.update(before)
        sys.path[:], sys.dont_write_bytecode = known


def _there(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None


def _module_with(name: str, **values: Any) -> ModuleType:
    module = types.ModuleType(name)
    vars(module).update(values)
    return module


@contextmanager
def _older_torch() -> Iterator[None]:
    """Give torch what it had once, and keep all on the processor, inside a `with` block."""
    missing = object()
    stands_in: Mapping[tuple[Any, str], Any] = {
        (torch, "symeig"): lambda matrix, eigenvectors=False: torch.linalg.eigh(matrix),
        (torch, "qr"): torch.linalg.qr,
        (torch, "lstsq"): lambda right, matrix: (torch.linalg.lstsq(matrix, right).solution, None),
        (Tensor, "cuda"): lambda self, *_, **__: self,
        (nn.Module, "cuda"): lambda self, *_, **__: self,
    }
    before = {place: vars(place[0]).get(place[1], missing) for place in stands_in}
    for (owner, name), function in stands_in.items():
        setattr(owner, name, function)
    try:
        yield
    finally:
        for (owner, name), function in before.items():
            if function is missing:
                delattr(owner, name)
            else:
                setattr(owner, name, function)


def _operations(name: str) -> ModuleType:
    """The two operations of StyleGAN2 that the checkout compiles for CUDA, as torch's own."""

    def fused_leaky_relu(given: Tensor, bias: Tensor, negative_slope: float = 0.2, scale: float = 2**0.5) -> Tensor:
        return F.leaky_relu(given + bias.view(1, -1, *[1] * (given.ndim - 2)), negative_slope) * scale

    class FusedLeakyReLU(nn.Module):
        def __init__(self, channel: int, negative_slope: float = 0.2, scale: float = 2**0.5):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(channel))
            self.negative_slope, self.scale = negative_slope, scale

        def forward(self, given: Tensor) -> Tensor:
            return fused_leaky_relu(given, self.bias, self.negative_slope, self.scale)

    def upfirdn2d(given: Tensor, kernel: Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
        count, channels, height, width = given.shape
        spread = given.new_zeros(count, channels, height, up, width, up)
        spread[:, :, :, 0, :, 0] = given
        padded = F.pad(spread.reshape(count, channels, height * up, width * up), (*pad, *pad))
        rows = padded.reshape(count * channels, 1, *padded.shape[2:])
        found = F.conv2d(rows, kernel.flip(0, 1)[None, None])[:, :, ::down, ::down]
        return found.reshape(count, channels, *found.shape[2:])

    return _module_with(name, fused_leaky_relu=fused_leaky_relu, FusedLeakyReLU=FusedLeakyReLU, upfirdn2d=upfirdn2d)
