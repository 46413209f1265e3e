"""Arguments of the commands that switch units off and paint with them."""

from pathlib import Path

from apps.parsers.parser import add_command, add_latents, add_model, add_out, add_truncation, new_file, whole

DISSECTION = "units.safetensors of rewrite units (default: the one that comes with the model, if any)"


def _ablate(commands) -> None:
    parser = add_command(
        commands,
        "ablate",
        "switch units off, as a patch",
        "Compares images with the patch with images whose units are held at zero.",
    )
    add_model(parser)
    parser.add_argument("--layer", required=True, help="name of the layer; rewrite inspect MODEL lists them")
    parser.add_argument("--units", required=True, help="units by number or by concept, such as 3,17 or tree")
    parser.add_argument("--dissection", metavar="FILE", type=Path, help=DISSECTION)
    parser.add_argument("--count", type=whole, help="number of units of each concept, the best first (default: all)")
    parser.add_argument("--seeds", default="0-15", help="images to compare on (default: 0-15)")
    add_truncation(parser)
    add_out(parser, new_file, "the file to write", default="patch.safetensors")


def _paint(commands) -> None:
    parser = add_command(commands, "paint", "apply the strokes of a file to an image, before and after")
    parser.add_argument("strokes", metavar="STROKES.json", type=Path, help="a painting that the editor saved")
    add_model(parser, option=True, of="painting")
    parser.add_argument("--dissection", metavar="FILE", type=Path, help=DISSECTION)
    parser.add_argument(
        "--seeds", help="other images to apply the strokes to, such as 0-15 (default: the painting's own)"
    )
    add_latents(parser)
    add_out(parser, new_file, "the PNG file to write")


COMMANDS = {
    "ablate": _ablate,
    "paint": _paint,
}
