"""Arguments of the command that measures causes."""

from pathlib import Path

from apps.parsers.parser import (
    add_command,
    add_model,
    add_out,
    add_segmenter,
    add_truncation,
    add_workers,
    new_folder,
    whole,
)

EFFECTS = ("effects.html", "effects.json", "effects.csv", "curves.csv", "context.csv", "effects.safetensors")


def _effects(commands) -> None:
    parser = add_command(
        commands,
        "effects",
        "find which units of a layer cause which concepts, and where concepts can be inserted",
        "Writes effects.html, effects.json, effects.csv, curves.csv, context.csv and effects.safetensors. An "
        "interrupted run continues when it is started again with the same folder.",
    )
    add_model(parser)
    add_truncation(parser)
    parser.add_argument("--layer", required=True, help="name of the layer")
    parser.add_argument("--concepts", required=True, help="names of concepts, such as tree,dome")
    add_segmenter(parser)
    parser.add_argument(
        "--samples", type=whole, default=100, help="images for the curves, and as many for the context (default: 100)"
    )
    parser.add_argument(
        "--training", type=whole, default=100, help="other images, for rankings and the search (default: 100)"
    )
    parser.add_argument("--units", help="a set of units to measure beside the rankings, such as 3,17 or tree")
    parser.add_argument(
        "--dissection",
        metavar="FILE",
        type=Path,
        help="units.safetensors, for the ranking by IoU (default: the one that comes with the model)",
    )
    parser.add_argument(
        "--screen",
        metavar="N",
        dest="promising",
        type=whole,
        help="estimate the effects of all units to first order, and compute only those of the N best for each concept",
    )
    parser.add_argument(
        "--steps", type=whole, default=60, help="steps of the search for a set of units; 0 for no search (default: 60)"
    )
    parser.add_argument(
        "--positions", type=whole, default=8, help="places in each image to insert concepts at; 0 for none (default: 8)"
    )
    parser.add_argument("--side", type=whole, help="side of such a place in cells (default: an eighth of the grid)")
    add_workers(parser)
    add_out(parser, new_folder, "folder to write into", writes=EFFECTS)


COMMANDS = {"effects": _effects}
