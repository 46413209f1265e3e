"""The most memory that a piece of work takes."""

from pathlib import Path


class Peak:
    """The most memory that this process held since the last call, where Linux tells."""

    def __init__(self):
        self.known = Path("/proc/self/clear_refs").exists()

    def start(self) -> None:
        if self.known:
            Path("/proc/self/clear_refs").write_text("5")
            self.before = self._field("VmRSS")

    def bytes(self) -> int:
        return self._field("VmHWM") - self.before if self.known else 0

    def _field(self, name: str) -> int:
        line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(name))
        return int(line.split()[1]) * 1024
