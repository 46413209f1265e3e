"""Arguments of the editor."""

from argparse import ArgumentTypeError
from pathlib import Path

from apps.editor.options import Options
from apps.parsers.parser import (
    add_architecture,
    add_command,
    add_model,
    add_pictures,
    add_segmenter,
    add_truncation,
    new_folder,
    whole,
)


def _app(commands) -> None:
    parser = add_command(
        commands,
        "app",
        "open the editor: brush a rule, see its price, rewrite, export",
        "The page is served to this machine only, and needs no network. MODEL may be a classifier, such as scenes or "
        "digits: the page then answers what it loses with some of its units off.",
    )
    add_model(parser)
    parser.add_argument("--port", type=whole, help="port of the page (default: the first free one from 7860 on)")
    parser.add_argument(
        "--models",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="a folder whose checkpoints the page may open; may be repeated",
    )
    parser.add_argument(
        "--out", type=new_folder, default="export", help="folder that the page exports into (default: export)"
    )
    # The page names the files; `apps/editor/exports.py` keeps the models that it reads.
    parser.set_defaults(writes=(), force=True)
    parser.add_argument("--tiles", type=whole, help="images on the wall, 1 to 24 (default: 16, or fewer if slow)")
    parser.add_argument("--samples", type=whole, default=2000, help="images to measure a memory on (default: 2000)")
    parser.add_argument("--auth", metavar="NAME:PASSWORD", type=_auth, help="ask for a name and a password")
    add_segmenter(parser)
    add_truncation(parser)
    add_architecture(parser)
    add_pictures(parser)
    parser.add_argument(
        "--training",
        type=whole,
        default=Options.training,
        help="of a classifier: pictures of each class to choose units and levels on (default: %(default)s)",
    )
    parser.add_argument(
        "--test",
        type=whole,
        default=Options.test,
        help="of a classifier: pictures of each class to count answers on (default: %(default)s)",
    )


def _auth(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise ArgumentTypeError("a name and a password with a colon between, such as anna:secret")
    return name, password


COMMANDS = {"app": _app}
