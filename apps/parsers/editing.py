"""Arguments of the commands that edit a model."""

from pathlib import Path

from apps.parsers.parser import (
    AUTO,
    MODEL,
    PATCH,
    SEGMENTER,
    Parser,
    add_architecture,
    add_command,
    add_device,
    add_latents,
    add_memory_options,
    add_model,
    add_out,
    add_patches,
    add_pictures,
    add_strength,
    add_truncation,
    add_workers,
    images_or_auto,
    new_file,
    new_folder,
    new_place,
    whole,
)

NOISES = ("seed", "const", "none")
CONTAINERS = ("container", "safetensors", "state-dict", "peft")
REPORT = ("report.html", "report.json", "before-after.png")
DEMO = (*REPORT, "patch.safetensors", "towers-edited.safetensors")
PROPOSALS = ("proposals.png", "layers.png", "rule.json")
TRUNKS = ("squeeze", "alex", "vgg")


def _demo(commands) -> None:
    parser = add_command(
        commands,
        "demo",
        "rewrite the built-in rule of the built-in generator",
        "Writes before-after.png, patch.safetensors, towers-edited.safetensors, report.json and report.html.",
    )
    add_device(parser)
    parser.add_argument("--out", type=new_folder, default="demo", help="folder to write into (default: demo)")
    # What it made before, it makes again.
    parser.set_defaults(writes=DEMO, force=True)


def _sample(commands) -> None:
    parser = add_command(commands, "sample", "draw images of some seeds")
    add_model(parser)
    add_truncation(parser)
    parser.add_argument("--seeds", default="0-15", help="such as 0-15 or 0-3,7 (default: 0-15)")
    add_latents(parser)
    parser.add_argument("--noise", choices=NOISES, help="source of the noise inputs (default: the seed)")
    add_patches(parser)
    parser.add_argument("--compare", action="store_true", help="also show the images without the patches, above")
    parser.add_argument("--heat", metavar="RULE", help="show where this rule would fire")
    add_memory_options(parser)
    parser.add_argument("--columns", type=whole, default=8, help="images in one row (default: 8)")
    add_out(parser, new_file, "the PNG file to write", required=False)
    parser.add_argument("--each", metavar="DIR", type=new_folder, help="also write one PNG a seed: seed0007.png")


def _inspect(commands) -> None:
    parser = add_command(commands, "inspect", "show what a file holds, without running it")
    parser.add_argument(
        "file", metavar="FILE", help="a file of this library, a checkpoint of another tool, or a published name"
    )


def _models(commands) -> None:
    add_command(
        commands,
        "models",
        "list the generators that MODEL may name, with their licences",
        "A file is downloaded when a command first needs it, into the user's cache folder or the one that the variable "
        "REWRITE_CACHE names.",
    )


def _measure(commands) -> None:
    parser = add_command(
        commands,
        "measure",
        "measure the memory of a layer: the second moment of its keys",
        "An interrupted run continues when it is started again with the same options.",
    )
    add_model(parser)
    parser.add_argument("--layer", required=True, help="name of the layer; rewrite inspect MODEL lists them")
    add_memory_options(parser)
    add_truncation(parser)
    add_workers(parser)
    add_out(parser, new_file, "the file to write")


def _solve(commands) -> None:
    parser = add_command(
        commands,
        "solve",
        "turn a rule into a patch",
        "Without --memory, the memory of the rule's layer is measured once and kept in the user's cache folder.",
    )
    parser.add_argument("rule", metavar="RULE", help="a rule file, or the name of a built-in rule")
    add_model(parser, option=True, of="rule")
    parser.add_argument("--memory", type=Path, help="a memory that rewrite measure wrote")
    add_memory_options(parser)
    parser.add_argument("--rank", type=whole, help="number of directions (default: as in the rule)")
    add_out(parser, new_file, "the file to write", default="patch.safetensors")


def _propose(commands) -> None:
    parser = add_command(
        commands,
        "propose",
        "propose further contexts for a rule, or the layer to solve it at",
        "Writes proposals.png, a numbered picture of places that look like the marked ones; with --accept, also "
        "rule.json, the rule with the accepted ones. With --layers, writes layers.png instead.",
    )
    parser.add_argument("rule", metavar="RULE", help="a rule file, or the name of a built-in rule")
    add_model(parser, option=True, of="rule")
    parser.add_argument(
        "--contexts", type=whole, metavar="N", default=24, help="the most images to propose contexts in (default: 24)"
    )
    parser.add_argument(
        "--accept", metavar="WHICH", help="all, or numbers such as 1,3 or 1-5: the same search gives the same numbers"
    )
    parser.add_argument("--seeds", help="the images to look at, such as 0-199 (default: 200 from 10000 on)")
    parser.add_argument(
        "--layers", metavar="WHICH", help="compare layers instead: all, or names such as b16.conv1,b32.conv1"
    )
    parser.add_argument("--layer", help="the layer whose units say what looks alike (default: that of the rule)")
    add_out(parser, new_folder, "folder to write into", default="proposals", writes=PROPOSALS)


def _report(commands) -> None:
    parser = add_command(
        commands,
        "report",
        "forecast and measure the side effects of patches",
        "Writes report.json, before-after.png and report.html. The exit status is 1 if the rule's expectations fail. "
        "Of a classifier, it says which pictures are named otherwise.",
    )
    parser.add_argument("patches", metavar="PATCH", nargs="+", type=Path, help=PATCH)
    add_model(parser, option=True, of="rule")
    add_architecture(parser)
    add_strength(parser)
    _add_images(parser)
    add_pictures(parser)
    parser.add_argument(
        "--test", type=whole, metavar="N", help="of a classifier: pictures of each class (default: all, or 100 scenes)"
    )
    parser.add_argument("--lpips", metavar="FILE", type=Path, help="weights of a trunk in torchvision's layout")
    parser.add_argument(
        "--download-lpips", choices=TRUNKS, help="download the weights of this trunk (squeeze has 5 MB), once"
    )
    add_workers(parser)
    add_out(parser, new_folder, "folder to write into", writes=(*REPORT, "unfinished.safetensors"))


def _check(commands) -> None:
    parser = add_command(
        commands,
        "check",
        "replay edits and hold them against what their rules expect",
        "A rule is solved again and a patch is applied, each by itself, and measured on images that no rule uses. The "
        "exit status is 1 if an expectation fails, and 2 for an edit whose rules expect nothing.",
    )
    parser.add_argument(
        "edits", metavar="RULE_OR_PATCH", nargs="+", help="a rule file, the name of a built-in rule, or a patch"
    )
    add_model(parser, option=True, of="rule")
    _add_images(parser)
    parser.add_argument(
        "--samples",
        type=images_or_auto,
        metavar="N",
        default=AUTO,
        help="images to measure the memory of a rule on, or auto for as many as its forecast needs (default: auto)",
    )


def _export(commands) -> None:
    parser = add_command(
        commands,
        "export",
        "fold patches into a checkpoint",
        "By default MODEL's container is kept, with every byte that is not edited. Other containers hold the generator "
        "only, under the tensor names of the tool that made MODEL; peft writes a LoRA adapter.",
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("patches", metavar="PATCH", nargs="+", type=Path, help=PATCH)
    add_architecture(parser)
    add_strength(parser)
    parser.add_argument(
        "--as",
        dest="container",
        choices=CONTAINERS,
        default=CONTAINERS[0],
        help="what to write (default: container, that of MODEL)",
    )
    parser.add_argument("--card", metavar="FILE", type=new_file, help="also write a model card, such as README.md")
    parser.add_argument("--report", type=Path, help="a report on these patches, for the figures of the card")
    add_out(parser, new_place, "the file to write; for peft, the folder")


def _add_images(parser: Parser) -> None:
    parser.add_argument("--seeds", help="such as 0-199 (default: the first 200 that no rule uses)")
    add_latents(parser)
    parser.add_argument(
        "--segmenter",
        default="towers",
        help=f"{SEGMENTER}, or none (default: that of towers, where it knows the rule's concepts)",
    )


COMMANDS = {
    "demo": _demo,
    "sample": _sample,
    "inspect": _inspect,
    "models": _models,
    "measure": _measure,
    "solve": _solve,
    "propose": _propose,
    "report": _report,
    "check": _check,
    "export": _export,
}
