"""Arguments of the commands that look for faults: units that draw artifacts, and concepts that are omitted."""

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

ARTIFACTS = (
    *("artifacts.html", "artifacts.json", "artifacts.csv", "before-after.png", "patch.safetensors"),
    *("units-off.safetensors", "erased.safetensors", "erased.json"),
    *("reference.safetensors", "seen.safetensors", "steps.safetensors", "tested.safetensors"),
)
OMISSIONS = (
    *("omissions.html", "omissions.json", "omissions.csv", "inversion.png"),
    *("training.safetensors", "generated.safetensors"),
)
RANKS = ("effect", "images")


def _artifacts(commands) -> None:
    parser = add_command(
        commands,
        "artifacts",
        "find the units of a layer that draw artifacts, and how much better images are without them",
        "Writes artifacts.html, artifacts.json, artifacts.csv, before-after.png, and patch.safetensors, which switches "
        "the units off. Units are chosen on some seeds and tested on others. With --marks, units that draw what is "
        "marked go off, or a rule erases it, whichever does better on images left out. An interrupted run continues "
        "when it is started again with the same folder.",
    )
    add_model(parser)
    parser.add_argument("--layer", required=True, help="name of the layer; rewrite inspect MODEL lists them")
    add_truncation(parser)
    parser.add_argument(
        "--reference",
        help="reference images: scenes, a folder of images, or seeds for the typical half of the model's own "
        "(default: scenes for towers, seeds for any other model)",
    )
    parser.add_argument(
        "--features",
        default="segmenter",
        help="features to compare by: segmenter, discriminator, torchvision:NAME or timm:NAME (default: segmenter)",
    )
    parser.add_argument("--weights", metavar="FILE", type=Path, help="weights of a torchvision or timm network")
    parser.add_argument(
        "--marks",
        metavar="FILE",
        type=Path,
        help="regions that are drawn badly, in a few images: a file of marks, or a rule, whose places are taken",
    )
    parser.add_argument("--units", help="units to switch off, such as 3,17 (default: those that are found)")
    parser.add_argument(
        "--rank",
        choices=RANKS,
        default=RANKS[0],
        help="order of candidates: by the estimated effect of their removal, or by their top images (default: effect)",
    )
    parser.add_argument("--most", type=whole, default=20, help="largest number of units (default: 20)")
    parser.add_argument("--samples", type=whole, default=1000, help="images to rank units on (default: 1000)")
    parser.add_argument("--choose", type=whole, default=400, help="how many of them to choose units on (default: 400)")
    parser.add_argument("--test", type=whole, default=1000, help="other images to test on (default: 1000)")
    parser.add_argument("--good", type=whole, default=2000, help="number of reference images (default: 2000)")
    parser.add_argument("--random", type=whole, default=3, help="random sets of units to compare with (default: 3)")
    add_out(parser, new_folder, "folder to write into", writes=ARTIFACTS)


def _omissions(commands) -> None:
    parser = add_command(
        commands,
        "omissions",
        "compare what a model draws with what it was trained on, concept by concept",
        "Writes omissions.html, omissions.json and omissions.csv. An interrupted run continues when it is "
        "started again with the same folder.",
    )
    add_model(parser)
    add_truncation(parser)
    add_segmenter(parser)
    parser.add_argument("--training", default="scenes", help="scenes, or a folder of images (default: scenes)")
    parser.add_argument("--samples", type=whole, default=2000, help="images on each side (default: 2000)")
    parser.add_argument("--first-seed", type=whole, default=0, help="seed of the first image (default: 0)")
    parser.add_argument(
        "--invert",
        type=whole,
        default=0,
        metavar="N",
        help="number of training images to invert: to draw as well as the model can",
    )
    parser.add_argument("--layer", help="layer to invert from (default: the first with a grid of 8)")
    parser.add_argument("--steps", type=whole, default=400, help="steps of the inversion (default: 400)")
    add_workers(parser)
    add_out(parser, new_folder, "folder to write into", writes=OMISSIONS)


COMMANDS = {
    "artifacts": _artifacts,
    "omissions": _omissions,
}
