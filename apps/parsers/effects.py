"""Arguments of the command that measures causes."""

from pathlib import Path

from apps.parsers.parser import add_command, add_model, add_segmenter, add_truncation


def _effects(commands) -> None:
    parser = add_command(
        commands,
        "effects",
        "find which units of a layer cause which concepts, and where these can be inserted",
        "Writes effects.html, effects.json, effects.csv, curves.csv, context.csv and effects.safetensors. A run that "
        "was interrupted goes on from where it was when it is started again with the same folder.",
    )
    add_model(parser)
    add_truncation(parser)
    parser.add_argument("--layer", required=True, help="name of the layer")
    parser.add_argument("--concepts", required=True, help="names of concepts, such as tree,dome")
    add_segmenter(parser)
    parser.add_argument(
        "--samples", type=int, default=100, help="images for the curves, and as many for the context (default: 100)"
    )
    parser.add_argument(
        "--training", type=int, default=100, help="other images, for rankings and the search (default: 100)"
    )
    parser.add_argument("--units", help="a set to measure beside the rankings, such as 3,17 or tree")
    parser.add_argument(
        "--dissection",
        metavar="FILE",
        type=Path,
        help="units.safetensors, for the ranking by agreement (default: the one that comes with the model)",
    )
    parser.add_argument(
        "--screen",
        metavar="N",
        dest="promising",
        type=int,
        help="estimate all units' effects to first order, and compute only the N most promising of each concept",
    )
    parser.add_argument(
        "--steps", type=int, default=60, help="steps of the search for a set; 0 leaves it out (default: 60)"
    )
    parser.add_argument(
        "--positions", type=int, default=8, help="places of each image to insert at; 0 for none (default: 8)"
    )
    parser.add_argument("--side", type=int, help="side of such a place in cells (default: an eighth of the grid's)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")


COMMANDS = {"effects": _effects}
