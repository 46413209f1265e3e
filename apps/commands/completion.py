"""`rewrite completion`: the script by which a shell completes commands and options."""

from argparse import Namespace

from apps.cli import build_parser
from apps.completion import SCRIPTS


def run(options: Namespace) -> dict:
    """Write the script from the parser of all commands."""
    return {"shell": options.shell, "script": SCRIPTS[options.shell](build_parser())}


def tell(result: dict) -> str:
    """The script alone, as a shell reads it."""
    return result["script"]
