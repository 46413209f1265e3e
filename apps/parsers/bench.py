"""Arguments of the command that measures the library against references."""

from pathlib import Path

from apps.parsers.parser import MODEL, add_command, add_out, new_folder

BENCH = ("bench.html", "bench.json", "measured.json")
# The lines of the table; `apps/bench` measures them.
LINES = (
    *("edit", "edit-given", "edit-tuning", "again", "statistics", "statistics-channel"),
    *("dissection", "effects", "roles", "memory-measure", "memory-solve", "editor"),
    *("peer-edit", "peer-statistics", "peer-dissection"),
)


def _bench(commands) -> None:
    parser = add_command(
        commands,
        "bench",
        "measure what the library takes, as ratios to references in the same run",
        "Each line of the table is our work and a reference in turns, by processor time on one thread: the median of "
        "the rounds' ratios, and their range. With --out, writes bench.html and bench.json, and an interrupted run "
        "continues with the lines that are left.",
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", default="towers", help=f"{MODEL} (default: towers)")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=LINES, help=f"some of the lines: {', '.join(LINES)} (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds of less work: about two minutes")
    parser.add_argument(
        "--peer",
        metavar="DIR",
        type=Path,
        help="a checkout of the released code (davidbau/rewriting, davidbau/dissect or CSAILVision/gandissect), for "
        "the lines that time the same work there. Modules of that folder are imported, which RUNS ITS CODE with your "
        "rights: name one that you trust",
    )
    add_out(parser, new_folder, "folder to write into", required=False, writes=BENCH)


COMMANDS = {"bench": _bench}
