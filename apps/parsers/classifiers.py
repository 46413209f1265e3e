"""Arguments of the commands for classifiers."""

from pathlib import Path

from apps.parsers.parser import (
    SEGMENTER,
    Parser,
    add_architecture,
    add_command,
    add_device,
    add_out,
    add_pictures,
    add_workers,
    new_folder,
    whole,
)

COMPARE = ("compare.html", "compare.json", "compare.csv")
ADVERSARIAL = ("adversarial.html", "adversarial.json", "adversarial.safetensors")
SPECIALISE = ("specialise.html", "specialise.json", "specialise.safetensors")
UNFINISHED = "unfinished.safetensors"
PAIRS = ("rule.json", "patch.safetensors", "effect.json", UNFINISHED)
ROLES = ("roles.html", "roles.json", "roles.csv", "units.csv", UNFINISHED, "agreement.safetensors")


def names(text: str) -> list[str]:
    """Names that are separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str) -> list[int]:
    """Whole numbers that are separated by commas."""
    return [whole(part) for part in names(text)]


def add_classifier(parser: Parser) -> None:
    """The classifier, what network its file is of, and where it runs."""
    parser.add_argument(
        "classifier",
        metavar="CLASSIFIER",
        nargs="?",
        default="scenes",
        help="scenes, digits or another built-in one, torchvision:NAME, timm:NAME, hf:NAME, or a file of weights "
        "(default: scenes)",
    )
    add_architecture(parser)
    add_device(parser)


def _roles(commands) -> None:
    parser = add_command(
        commands,
        "roles",
        "measure what a classifier loses of each class without units",
        "Writes roles.html, roles.json, roles.csv and units.csv. Units, and the level from which each alone detects a "
        "class, are chosen on some pictures and scored on others. An interrupted run continues when it is started "
        "again with the same options.",
    )
    add_classifier(parser)
    parser.add_argument("--layer", dest="part", required=True, help="path of any part that gives maps of units")
    add_pictures(parser)
    parser.add_argument("--classes", type=names, metavar="NAMES", help="classes, such as domes,spires (default: all)")
    parser.add_argument(
        "--training", type=whole, default=100, help="pictures of each class to choose on (default: 100)"
    )
    parser.add_argument("--test", type=whole, default=100, help="pictures of each class to score on (default: 100)")
    parser.add_argument("--few", type=whole, default=4, help="size of the small set of best units (default: 4)")
    parser.add_argument("--more", type=whole, default=20, help="size of the larger set (default: 20)")
    parser.add_argument(
        "--screen",
        metavar="N",
        dest="promising",
        type=whole,
        help="guess the importance of all units by gradients, and measure only the N most promising of each class",
    )
    add_workers(parser)
    add_out(parser, new_folder, "folder to write into", writes=ROLES)


def _pairs(commands) -> None:
    parser = add_command(
        commands,
        "pairs",
        "rewrite a rule of a classifier: pictures of one folder are to count as those of another",
        "Pictures of the same name are a pair, such as one with and without what confounds the classifier. Writes "
        "rule.json, patch.safetensors and effect.json, which says what the patch does to other pictures. An "
        "interrupted run continues when it is started again with the same options.",
    )
    add_classifier(parser)
    parser.add_argument("--layer", required=True, help="the layer that is rewritten; rewrite inspect lists them")
    parser.add_argument("--keys", type=Path, required=True, metavar="DIR", help="pictures that are named wrong")
    parser.add_argument("--values", type=Path, required=True, metavar="DIR", help="the pictures they are to count as")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="pictures for which the layer stays as it is")
    add_pictures(parser)
    parser.add_argument("--training", type=whole, default=60, help="pictures for the memory, of a class (default: 60)")
    parser.add_argument("--test", type=whole, default=60, help="pictures to measure on, of a class (default: 60)")
    parser.add_argument("--rank", type=whole, help="number of directions (default: as many as are asked for)")
    parser.add_argument("--name", help="name of the rule (default: that of the folder of keys)")
    add_out(parser, new_folder, "folder to write into", writes=PAIRS)


def _specialise(commands) -> None:
    parser = add_command(
        commands,
        "specialise",
        "find the parts of classes that single units light up for, and what is lost without them",
        "Writes specialise.html and specialise.json. What is found is chosen on some pictures, and what is lost is of "
        "others. An interrupted run continues when it is started again with the same folder.",
    )
    add_classifier(parser)
    parser.add_argument("--layer", dest="part", required=True, help="path of any part that gives maps of units")
    add_pictures(parser)
    parser.add_argument("--classes", type=names, metavar="NAMES", help="classes to look into, such as 7 (default: all)")
    parser.add_argument("--units", type=numbers, metavar="N,N", help="units to look at, such as 3,17 (default: all)")
    parser.add_argument(
        "--training", type=whole, default=100, help="pictures of each class to choose on (default: 100)"
    )
    parser.add_argument("--test", type=whole, default=100, help="pictures of each class to score on (default: 100)")
    parser.add_argument("--most", metavar="N", type=whole, default=12, help="parts that are shown (default: 12)")
    add_out(parser, new_folder, "folder to write into", writes=SPECIALISE)


def _adversarial(commands) -> None:
    parser = add_command(
        commands,
        "adversarial",
        "attack pictures, and show how the units that matter for the confused classes move",
        "Writes adversarial.html and adversarial.json. The units that matter are found on some pictures, as by rewrite "
        "roles, and others are attacked. An interrupted attack continues when it is started again with the same "
        "folder.",
    )
    add_classifier(parser)
    parser.add_argument("--layer", dest="part", required=True, help="path of any part that gives maps of units")
    add_pictures(parser)
    parser.add_argument(
        "--attack",
        choices=("pgd", "fmn"),
        default="pgd",
        help="projected gradient descent, or the fast minimum-norm attack of the package foolbox (default: pgd)",
    )
    parser.add_argument(
        "--norm", choices=("linf", "l2"), default="linf", help="how a change is measured (default: linf)"
    )
    parser.add_argument(
        "--radius",
        type=float,
        help="greatest change, of colours from 0 to 1 (default: 8/255; for l2 .5 at 32 pixels, and in proportion)",
    )
    parser.add_argument("--steps", type=whole, default=40, help="steps of the attack (default: 40)")
    parser.add_argument(
        "--target",
        metavar="CLASS",
        default="random",
        help="class that pictures are to be named; random for another one for each, any for none (default: random)",
    )
    parser.add_argument("--few", type=whole, default=4, help="how many units matter most for a class (default: 4)")
    parser.add_argument(
        "--training", type=whole, default=50, help="pictures of each class to find units on (default: 50)"
    )
    parser.add_argument("--test", type=whole, default=25, help="pictures of each class to attack (default: 25)")
    add_out(parser, new_folder, "folder to write into", writes=ADVERSARIAL)


def _compare(commands) -> None:
    parser = add_command(
        commands,
        "compare",
        "compare what the units of several classifiers detect, layer by layer",
        "Writes compare.html, compare.json and compare.csv: one table and chart for all networks, such as one "
        "architecture under several conditions of training. An interrupted run continues when it is started again with "
        "the same folder.",
    )
    parser.add_argument("networks", metavar="CLASSIFIER", nargs="+", help="two or more, as rewrite roles takes them")
    parser.add_argument(
        "--layer", dest="layers", action="append", required=True, help="part that all of them have; may be repeated"
    )
    add_device(parser)
    add_pictures(parser)
    parser.add_argument("--segmenter", help=f"{SEGMENTER}; needed where pictures have no labels of their own")
    parser.add_argument("--samples", type=whole, help="pictures to count (default: 320 scenes, or all of a folder)")
    parser.add_argument("--iou", type=float, default=0.04, help="agreement above which a unit detects (default: 0.04)")
    add_out(parser, new_folder, "folder to write into", writes=COMPARE)


COMMANDS = {
    "roles": _roles,
    "pairs": _pairs,
    "specialise": _specialise,
    "adversarial": _adversarial,
    "compare": _compare,
}
