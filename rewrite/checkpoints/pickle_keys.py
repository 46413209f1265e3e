"""Keys of a pickle's dictionaries: what is hashed must not take forever."""

from rewrite.checkpoints.cursor import DamagedError
from rewrite.checkpoints.made import Value

LONGEST_KEY = 16
# Hashes of whole numbers below it are different.
LEAST_HASHED = 2**61 - 1


def sure_key(key: Value) -> bool:
    """Whether a key of a dictionary is hashed at once, to what no other key is made to have.

    Raises:
        DamagedError: It is not a plain value: nested tuples could take forever to hash.
    """
    if isinstance(key, str | bool | None) or (isinstance(key, int) and abs(key) < LEAST_HASHED):
        return True
    plain = str | int | float | bool | None
    if isinstance(key, plain) or (
        isinstance(key, tuple) and len(key) <= LONGEST_KEY and all(isinstance(part, plain) for part in key)
    ):
        return False
    raise DamagedError(f"it uses a {type(key).__name__} as a key")


def ordered(pairs: Value = ()) -> dict:
    """An ordered dictionary made from pairs.

    Raises:
        DamagedError: A key is none that such dictionaries have.
    """
    if not all(sure_key(key) for key, _ in pairs):
        raise DamagedError("it makes a dictionary of keys that are not texts or whole numbers")
    return dict(pairs)
