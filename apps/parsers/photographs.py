"""Arguments of the command that finds how a generator draws a picture."""

from pathlib import Path

from apps.parsers.parser import add_command, add_model, add_out, new_file, whole

FEATURES = "segmenter, discriminator, torchvision:NAME or timm:NAME"


def _invert(commands) -> None:
    parser = add_command(
        commands,
        "invert",
        "find the latent that draws a picture, and a change of weights for it alone",
        "The file stands wherever --latents is taken; sample and paint also apply its change of weights. A search that "
        "was interrupted goes on when the same command is started again.",
    )
    add_model(parser)
    parser.add_argument(
        "picture",
        metavar="PICTURE",
        type=Path,
        help="a JPEG or PNG file of any size, which is cut to the shape of the model's images",
    )
    parser.add_argument(
        "--features",
        help=f"features to compare by beside colours: {FEATURES} (default: segmenter for towers, else colours alone)",
    )
    parser.add_argument("--weights", metavar="FILE", type=Path, help="weights of a torchvision or timm network")
    parser.add_argument("--steps", type=whole, default=150, help="steps of each stage (default: 150)")
    parser.add_argument("--starts", type=whole, default=64, help="seeds to find the start among (default: 64)")
    parser.add_argument(
        "--layer",
        dest="layers",
        action="append",
        help="a layer whose weights may change, may be repeated; none for the latent alone (default: those before the "
        "layer where rules are solved)",
    )
    parser.add_argument("--strip", metavar="PNG", type=new_file, help="also draw the picture and each stage")
    add_out(parser, new_file, "the safetensors file to write")


COMMANDS = {"invert": _invert}
