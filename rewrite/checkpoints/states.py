"""What all families that are read from a state dict alone refuse."""

import re
from pathlib import Path

from rewrite.checkpoints.tensors import Placed

LARGEST_SIDE = 4096
BY_HAND = "build the module in Python, load the file into it and use rewrite.wrap"
REPARAMETRISED = re.compile(r"(^|\.)(weight_(orig|u|v|g)|sn_u|sn_sigma|u0|sv0)$|(^|\.)parametrizations\.")


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
