"""Rules of the built-in generator, as files that anyone can read, copy and change."""

from pathlib import Path

BUILT_IN = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.json"))}


def rule_path(rule: str | Path) -> Path:
    """The file of a built-in rule, or the path itself.

    Returns:
        A path of a file that is there.

    Raises:
        FileNotFoundError: There is no such file.
    """
    path = BUILT_IN.get(str(rule), Path(rule))
    if not path.exists():
        names = ", ".join(BUILT_IN) or "none"
        raise FileNotFoundError(f"there is no file {path}, and no built-in rule of that name (there is {names})")
    return path
