"""Seeds: which numbers are such."""

import operator
from typing import Any

from rewrite.storage.quoting import quoted


def whole_seed(seed: Any) -> int:
    """A seed, of whatever kind of whole number it is.

    Raises:
        ValueError: It is not a whole number from 0 to 4294967295.
    """
    try:
        found = operator.index(seed)
    except TypeError:
        found = -1
    if not 0 <= found < 2**32:
        raise ValueError(f"seeds are whole numbers from 0 to 4294967295, got {quoted(seed)}")
    return found
