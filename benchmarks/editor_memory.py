"""What the editor's server holds in memory while many people use it: resident megabytes, round by round.

    python -m benchmarks.editor_memory [--sessions 10] [--rounds 5]

In each round so many sessions work at once on one server: marks with a heat-map, price, curve, Rewrite, strength, other
images, units off, a painted stroke. Then all of them leave, and the next ones come. What is held with nobody there is
what a new server holds, what all sessions share, and what is left of those that went.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gradio_client import Client

from tests.editors import Editor, running

TILES, SIDE = 16, 64
SETTLED_SECONDS = 5


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=10, help="at once (default: 10)")
    parser.add_argument("--rounds", type=int, default=5, help="of further sessions (default: 5)")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), "towers", "--tiles", TILES, "--samples", 500) as editor,
    ):
        print(f"before anyone came: {resident(editor):.0f} MiB", flush=True)
        for number in range(options.rounds + 1):
            working, left = used(editor, range(number * options.sessions, (number + 1) * options.sessions))
            count = (number + 1) * options.sessions
            print(f"{count} sessions so far: {working:.0f} MiB at work, {left:.0f} MiB after all left", flush=True)


def used(editor: Editor, numbers: range) -> tuple[float, float]:
    """Megabytes while some sessions have all done their work and stay, and after they left."""
    with ThreadPoolExecutor(len(numbers)) as people:
        clients = list(people.map(lambda number: worked(editor.url, number), numbers))
    working = resident(editor)
    for client in clients:
        client.close()
    time.sleep(SETTLED_SECONDS)
    return working, resident(editor)


def worked(url: str, number: int) -> Client:
    """One session that did what people do, on marks and images of its own."""
    client = Client(url, verbose=False)
    marks = {"marks": [mark(role, 4 * number + place, number) for place, role in enumerate(ROLES)], "heat": True}
    client.predict(marks, api_name="/marked")
    client.predict(api_name="/priced")
    client.predict(api_name="/curved")
    client.predict(marks, api_name="/rewrote")
    for turn, strength in enumerate((0.5, 0.8), 1):
        wish = {"do": "strength", "turn": turn, "index": 0, "to": strength}
        client.predict({"wishes": [wish]}, api_name="/wish")
    client.predict(marks, f"{100 * number}-{100 * number + TILES - 1}", api_name="/looked")
    client.predict({"layer": "b16.conv1", "ticked": [number, number + 1], "turn": 1}, api_name="/tick")
    client.predict(number, api_name="/paint_seed")
    stroke = {"do": "stroke", "runs": square(20, 20), "concept": "tree", "action": "add", "strength": 1, "count": 15}
    client.predict({"wishes": [{"turn": 1, **stroke}]}, api_name="/brush")
    return client


ROLES = ("copy", "paste", "context", "context")


def mark(role: str, seed: int, number: int) -> dict:
    """A brushed square that lies elsewhere in each session."""
    return {"seed": seed, "role": role, "runs": square(10 + number % 30, 24)}


def square(top: int, left: int, size: int = 12) -> list[list[int]]:
    """A square mask as run-lengths."""
    return [[row * SIDE + left, size] for row in range(top, top + size)]


def resident(editor: Editor) -> float:
    """Megabytes of the server that lie in memory."""
    status = Path(f"/proc/{editor.process.pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
