"""Freed memory: by default the C library keeps it for the thread that freed it.

A server answers in many threads, and any of them may solve a large rule. Memory that one has freed is of no use to the
others, so that a server that works on one thing at a time would hold several times the memory that it needs.
"""

import ctypes
import sys
from pathlib import Path

ARENAS = 2
# From malloc.h of glibc.
M_ARENA_MAX = -8


def share() -> None:
    """Let all threads reuse what any of them freed; call it before other threads start."""
    if _has("mallopt"):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Return free memory to the system."""
    if _has("malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)


def held() -> str:
    """What this process holds in memory and the most that it held, as a sentence; empty where nothing tells."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        found = {name: int(rest.split()[0]) / 2**20 for name, _, rest in (line.partition(":") for line in lines[15:25])}
        return f"The program holds {found['VmRSS']:.1f} GiB of memory, and held {found['VmHWM']:.1f} GiB at most."
    except (OSError, LookupError, ValueError):
        return ""


def _has(name: str) -> bool:
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), name)
