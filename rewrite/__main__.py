"""`python -m rewrite`: the program `rewrite`, where no script of that name is on the path."""

import sys
from importlib.metadata import PackageNotFoundError, distribution

from rewrite.version import DISTRIBUTION


def main() -> int | str:
    """Run what the distribution names as its console script: the library itself imports nothing that shows it.

    Returns:
        The exit status, or the sentence that says why there is no program.
    """
    try:
        scripts = distribution(DISTRIBUTION).entry_points.select(group="console_scripts", name="rewrite")
    except PackageNotFoundError:
        return f"rewrite: the program is there once {DISTRIBUTION} is installed: pip install -e ."
    (script,) = scripts
    return script.load()()


if __name__ == "__main__":
    sys.exit(main())
