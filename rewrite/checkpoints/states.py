"""The state dict of a generator in what a training script saved, for families that are recognised by shapes alone."""

import re
from pathlib import Path
from typing import Any

from rewrite.checkpoints.tensors import Placed

# Where training scripts put it; an average over training is preferred to the last step.
ENTRIES = ("G_ema", "g_ema", "netG", "generator", "G", "model_state_dict", "state_dict")
PREFIXES = ("netG.", "generator.", "G.")
PARALLEL = "module."
DEEPEST = 3
LARGEST_SIDE = 4096
BY_HAND = "build the module in Python, load the file into it and use rewrite.wrap"
REPARAMETRISED = re.compile(r"(^|\.)(weight_(orig|u|v|g)|sn_u|sn_sigma|u0|sv0)$|(^|\.)parametrizations\.")


def generator_state(content: Any) -> dict[str, Placed]:
    """The generator's tensors in the order of the file, by names without the prefix that all of them share.

    Args:
        content: A state dict; or a dictionary that has one in an entry named as training scripts name it, beside
            optimisers and the like; or a state dict of generator and discriminator together.
    """
    for _ in range(DEEPEST):
        if not isinstance(content, dict):
            return {}
        inner = next((content[name] for name in ENTRIES if isinstance(content.get(name), dict)), None)
        if inner is None:
            break
        content = inner
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Placed)}
    state = {name.removeprefix(PARALLEL): value for name, value in tensors.items()}
    for prefix in PREFIXES:
        own = {
            name.removeprefix(prefix).removeprefix(PARALLEL): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
        if own:
            return own
    return state


def check_plain(state: dict[str, Placed], path: Path) -> None:
    """Refuse weights that are computed from others: what is edited must be what the network uses.

    Raises:
        ValueError: Some weight is under spectral or weight normalisation.
    """
    found = next((name for name in state if REPARAMETRISED.search(name)), None)
    if found:
        raise ValueError(
            f"{path} holds weights under spectral or weight normalisation, first {found}, which is not read: fold it "
            "into the weights, as torch.nn.utils.remove_spectral_norm does, and save the file again"
        )
