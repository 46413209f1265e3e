"""Memory that was freed: the C library keeps it for whichever thread freed it, unless it is told otherwise.

A server answers in many threads, and any of them may solve a large rule. What each of them has freed is no use to the
others, so that a server which works on one thing at a time would hold several times what that takes.
"""

import ctypes
import sys

ARENAS = 2
# From malloc.h of glibc.
M_ARENA_MAX = -8


def share() -> None:
    """Let all threads take from what any of them freed; to be called before there are threads."""
    if _has("mallopt"):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give what is free back to the system."""
    if _has("malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)


def _has(name: str) -> bool:
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), name)
