"""The program `rewrite`, from a checkout and from a wheel.

In a checkout `apps` lies beside this file. A wheel keeps it in a folder of its own, which only this program puts on its
path: many projects have a package `apps`, and each is to find its own.
"""

import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("model_rewriting_program")


def main() -> int:
    """Run the command line; returns the exit status."""
    if PROGRAM.is_dir():
        sys.path.insert(0, str(PROGRAM))
    from apps.cli import main as run

    return run()
