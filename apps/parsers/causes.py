"""Arguments of the commands that ask for causes: units that draw badly, and what is never drawn."""

from pathlib import Path

from apps.parsers.parser import add_command, add_model, add_segmenter, add_truncation, new_folder

RANKS = ("effect", "images")


def _artifacts(commands) -> None:
    parser = add_command(
        commands,
        "artifacts",
        "find the units of a layer that draw artifacts, and what images gain without them",
        "Writes artifacts.html, artifacts.json, artifacts.csv, before-after.png, and patch.safetensors, which takes "
        "the units off. Units are chosen on some seeds and reported on others. A run that was interrupted goes on when "
        "it is started again with the same folder.",
    )
    add_model(parser)
    parser.add_argument("--layer", required=True, help="name of the layer; rewrite inspect MODEL lists them")
    add_truncation(parser)
    parser.add_argument(
        "--reference",
        help="good images: scenes, a folder of images, or seeds for the typical half of the model's own "
        "(default: scenes for towers, seeds for any other model)",
    )
    parser.add_argument(
        "--features",
        default="segmenter",
        help="what compares images: segmenter, discriminator, torchvision:NAME or timm:NAME (default: segmenter)",
    )
    parser.add_argument("--weights", metavar="FILE", type=Path, help="weights of a network of torchvision or timm")
    parser.add_argument("--units", help="units to take off, such as 3,17 (default: those that are found)")
    parser.add_argument(
        "--rank",
        choices=RANKS,
        default=RANKS[0],
        help="candidates by what they promise when they go off, or by their top images (default: effect)",
    )
    parser.add_argument("--most", type=int, default=20, help="units to take at most (default: 20)")
    parser.add_argument("--samples", type=int, default=1000, help="images to look at (default: 1000)")
    parser.add_argument("--choose", type=int, default=400, help="those of them to choose on (default: 400)")
    parser.add_argument("--test", type=int, default=1000, help="other images to report on (default: 1000)")
    parser.add_argument("--good", type=int, default=2000, help="reference images (default: 2000)")
    parser.add_argument("--random", type=int, default=3, help="random sets to compare with (default: 3)")
    parser.add_argument("--out", type=new_folder, required=True, help="folder to write into")


def _omissions(commands) -> None:
    parser = add_command(
        commands,
        "omissions",
        "compare what a model draws with what it was trained on, concept by concept",
        "Writes omissions.html, omissions.json and omissions.csv. A run that was interrupted goes on when it is "
        "started again with the same folder.",
    )
    add_model(parser)
    add_truncation(parser)
    add_segmenter(parser)
    parser.add_argument("--training", default="scenes", help="scenes, or a folder of images (default: scenes)")
    parser.add_argument("--samples", type=int, default=2000, help="images on each side (default: 2000)")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first image (default: 0)")
    parser.add_argument(
        "--invert", type=int, default=0, metavar="N", help="training images to draw again as well as the model can"
    )
    parser.add_argument("--layer", help="where the images are drawn again from (default: the first of a grid of 8)")
    parser.add_argument("--steps", type=int, default=400, help="steps of drawing them again (default: 400)")
    parser.add_argument("--out", type=new_folder, required=True, help="folder to write into")


COMMANDS = {
    "artifacts": _artifacts,
    "omissions": _omissions,
}
