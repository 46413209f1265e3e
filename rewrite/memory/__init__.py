"""What a layer usually reads: the uncentred second moment of its keys, with its provenance."""

from rewrite.memory.measurement import measure
from rewrite.memory.memory import Memory, describe

__all__ = ["Memory", "describe", "measure"]
