"""How much work the opening of one file may cost: a file of a few bytes can ask for any amount of it."""

from rewrite.checkpoints.cursor import DamagedError

MOST_STEPS = 1_000_000
MOST_PATHS = 300_000
# Texts are copied at a gigabyte a second.
LETTERS_A_STEP = 256


class Budget:
    """Steps that are left. Parts of one file share it: a part that is read again and again costs each time."""

    def __init__(self, steps: int = MOST_STEPS):
        self.steps, self.left = steps, steps

    def spend(self, steps: int) -> None:
        """Pay for operations, or for elements that are copied, hashed or compared.

        Raises:
            DamagedError: No file that any tool writes takes so many.
        """
        self.left -= steps
        if self.left < 0:
            raise DamagedError(f"it takes more than {self.steps} steps to read")

    def letters(self, count: int) -> None:
        """Pay for letters that are copied."""
        self.spend(1 + count // LETTERS_A_STEP)
