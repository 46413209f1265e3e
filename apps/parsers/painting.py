"""Arguments of the commands that switch units off and paint with them."""

from pathlib import Path

from apps.parsers.parser import add_command, add_model, add_truncation, new_file

DISSECTION = "units.safetensors of rewrite units (default: the one that comes with the model, where there is one)"


def _ablate(commands) -> None:
    parser = add_command(
        commands,
        "ablate",
        "switch units off, as a patch",
        "Says how far images with the patch are from images whose units are held at zero.",
    )
    add_model(parser)
    parser.add_argument("--layer", required=True, help="name of the layer; rewrite inspect MODEL lists them")
    parser.add_argument("--units", required=True, help="by number or by concept, such as 3,17 or tree")
    parser.add_argument("--dissection", metavar="FILE", type=Path, help=DISSECTION)
    parser.add_argument("--count", type=int, help="only so many units of each concept, those that agree best first")
    parser.add_argument("--seeds", default="0-15", help="images to compare on (default: 0-15)")
    add_truncation(parser)
    parser.add_argument(
        "--out", type=new_file, default=Path("patch.safetensors"), help="the file to write (default: patch.safetensors)"
    )


def _paint(commands) -> None:
    parser = add_command(commands, "paint", "draw the strokes of a file on an image, before and after")
    parser.add_argument("strokes", metavar="STROKES.json", type=Path, help="a painting, as the editor saves it")
    add_model(parser, option=True)
    parser.add_argument("--dissection", metavar="FILE", type=Path, help=DISSECTION)
    parser.add_argument("--seeds", help="other images to draw the same strokes on, such as 0-15 (default: its own)")
    parser.add_argument("--out", type=new_file, required=True, help="the PNG file to write")


COMMANDS = {
    "ablate": _ablate,
    "paint": _paint,
}
