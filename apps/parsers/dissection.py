"""Arguments of the commands that dissect, and of the one that makes rules from concepts."""

from pathlib import Path

from apps.parsers.parser import (
    Parser,
    add_architecture,
    add_command,
    add_latents,
    add_model,
    add_out,
    add_pictures,
    add_segmenter,
    add_truncation,
    add_workers,
    new_file,
    new_folder,
    whole,
)

UNITS = ("units.html", "units.json", "units.csv", "units.safetensors")
ROTATION = ("rotation.html", "rotation.json", "rotation.csv", "rotation.safetensors")


def _units(commands) -> None:
    parser = add_command(
        commands,
        "units",
        "find which units of a layer agree with which concepts",
        "Writes units.html, units.json, units.csv and units.safetensors. An interrupted run continues when it is "
        "started again with the same folder.",
    )
    add_model(parser)
    _add_dissection(parser)
    parser.add_argument("--first-seed", type=whole, default=0, help="seed of the first image (default: 0)")
    parser.add_argument("--tail", type=float, default=0.01, help="share of pixels above a unit's level (default: 0.01)")
    parser.add_argument(
        "--informative", action="store_true", help="also find the most informative level for each unit and concept"
    )
    add_workers(parser)
    add_out(parser, new_folder, "folder to write into", writes=UNITS)


def _rotation(commands) -> None:
    parser = add_command(
        commands,
        "rotation",
        "compare the units of layers with random directions, and with random weights",
        "Writes rotation.html, rotation.json, rotation.csv and rotation.safetensors. MODEL may be a classifier, too. "
        "An interrupted run continues when it is started again with the same folder.",
    )
    add_model(parser)
    add_architecture(parser)
    _add_dissection(parser)
    # Pictures may have labels of their own.
    parser.set_defaults(segmenter=None)
    add_pictures(parser)
    parser.add_argument("--seed", type=whole, default=0, help="seed of the rotation and of the weights (default: 0)")
    add_workers(parser)
    add_out(parser, new_folder, "folder to write into", writes=ROTATION)


def _rule(commands) -> None:
    parser = add_command(
        commands,
        "rule",
        "write a rule from the names of concepts",
        "The segmenter finds the regions in the images of some seeds. Without --copy the rule erases the context.",
    )
    add_model(parser)
    add_truncation(parser)
    parser.add_argument("--context", required=True, help="concepts that are replaced, such as dome,spire")
    parser.add_argument("--copy", help="concepts that replace them, such as tree")
    parser.add_argument("--protect", help="concepts that must stay, such as cloud,path")
    parser.add_argument("--protect-units", help="units that must stay, by number or by concept, such as 3,17 or cloud")
    parser.add_argument("--dissection", metavar="FILE", type=Path, help="units.safetensors, to name units by concept")
    parser.add_argument("--seeds", default="0-200", help="images to find the concepts in (default: 0-200)")
    add_latents(parser)
    parser.add_argument("--layer", help="layer of the rule (default: the first at half the image's side)")
    parser.add_argument("--name", help="name of the rule (default: that of the file)")
    add_segmenter(parser)
    add_out(parser, new_file, "the rule file to write")


def _add_dissection(parser: Parser) -> None:
    parser.add_argument(
        "--layer", dest="layers", action="append", required=True, help="name of a layer, or all; may be repeated"
    )
    add_truncation(parser)
    add_segmenter(parser)
    parser.add_argument("--samples", type=whole, default=1000, help="images to count (default: 1000)")
    parser.add_argument("--level-samples", type=whole, default=400, help="other images for the levels (default: 400)")
    parser.add_argument("--iou", type=float, default=0.04, help="agreement above which a unit detects (default: 0.04)")


COMMANDS = {
    "units": _units,
    "rotation": _rotation,
    "rule": _rule,
}
