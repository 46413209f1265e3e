"""Arguments of the commands about the program itself: what it keeps, and how a shell completes its words."""

from apps.parsers.parser import add_command

KINDS = ("memories", "checkpoints")
SHELLS = ("bash", "zsh", "fish")


def _cache(commands) -> None:
    parser = add_command(
        commands,
        "cache",
        "say where the cache is and how large, or clear it",
        "It keeps memories that were measured and checkpoints that were downloaded by name, in the user's cache folder "
        "or the one that the variable REWRITE_CACHE names. Nothing else in that folder is counted or removed.",
    )
    parser.add_argument("--clear", choices=(*KINDS, "all"), help="remove these; they are made or downloaded again")


def _completion(commands) -> None:
    parser = add_command(
        commands,
        "completion",
        "print the script by which a shell completes commands and options",
        'In ~/.bashrc or ~/.zshrc: eval "$(rewrite completion bash)", or zsh. In fish: rewrite completion fish > '
        "~/.config/fish/completions/rewrite.fish.",
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


COMMANDS = {"cache": _cache, "completion": _completion}
