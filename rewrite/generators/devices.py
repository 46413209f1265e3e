"""Where a network runs: a device by its name, found to be there before anything is moved to it."""

import torch

from rewrite.storage.quoting import quoted

AUTO = "auto"
# The first that is there is what `auto` stands for.
ACCELERATORS = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
NARROW = {"mps"}


def device_named(name: str | torch.device) -> torch.device:
    """The device that a name stands for.

    Args:
        name: `cpu`, `cuda`, `cuda:1`, `mps` and so on as torch names them, or `auto` for the fastest that is there.

    Raises:
        ValueError: There is no such device on this machine, or none that this build of torch can use.
    """
    if name == AUTO:
        name = next((each for each, there in ACCELERATORS.items() if there()), "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"a device is auto, cpu, cuda or mps, got {quoted(name)}") from None
    there = ACCELERATORS.get(device.type, lambda: True)()
    if not there or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise ValueError(f"torch finds no device {name} on this machine: name another, such as cpu")
    return device


def wide(device: torch.device) -> torch.device:
    """Where sums over what lies on a device are kept in float64: there, or on the CPU for a device that knows none."""
    return torch.device("cpu") if device.type in NARROW else device
