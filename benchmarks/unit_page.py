"""A page of many units and concepts: how large it is, and how soon a browser shows, sorts and filters it.

    python -m benchmarks.unit_page --units 512 --concepts 300

The units are drawn by chance, their images are scenes of the built-in world. Needs a `chromium`.
"""

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from dissect import Concepts, dissect, write_units
from dissect.sources.towers import Scenes
from dissect.units.probe import Activations, Observed, Probe
from rewrite.storage import files

TIMED = """<script>addEventListener('load',()=>{const out={ready_ms:performance.now()};
const at=(name,id,value)=>{const began=performance.now(),c=document.getElementById(id);
c.type==='checkbox'?c.checked=value:c.value=value;c.dispatchEvent(new Event('input'));document.body.offsetHeight;
out[name+'_ms']=performance.now()-began;};
at('sort_by_number','sort','unit');at('sort_by_concept','sort','concept');at('sort_by_iou','sort','iou');
at('iou_with_a_concept','concept','7');at('find','find','concept 1');at('filter','only',true);
out.cards=document.querySelectorAll('.unit').length;document.title=JSON.stringify(out)})</script>"""


class Drawn(Probe):
    """Units and labels drawn by chance on the pictures of scenes."""

    def __init__(self, units: int, concepts: int):
        self.units, self.scenes = {"layer": units}, Scenes()
        kinds = ("object", "part", "material", "colour")
        names = tuple(f"concept {number}" for number in range(concepts))
        self.concepts = Concepts(names, tuple(kinds[number % len(kinds)] for number in range(concepts)))
        self.identity = {"model": "drawn", "source": "chance"}

    def activations(self, numbers: Sequence[int]) -> Activations:
        draws = [torch.Generator().manual_seed(number) for number in numbers]
        return {"layer": torch.stack([torch.randn(self.units["layer"], 8, 8, generator=draw) for draw in draws])}

    def observe(self, numbers: Sequence[int]) -> Observed:
        draws = [torch.Generator().manual_seed(10**6 + number) for number in numbers]
        coarse = [torch.randint(len(self.concepts), (6, 6), generator=draw).float() for draw in draws]
        labels = torch.nn.functional.interpolate(torch.stack(coarse)[:, None], (64, 64)).short()
        return Observed(self.activations(numbers), self.scenes.images(numbers), labels)

    def split(self, samples: int, level_samples: int) -> tuple[Sequence[int], Sequence[int]]:
        return range(samples, samples + level_samples), range(samples)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--concepts", type=int, default=300)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--keep", type=Path, help="folder to leave the page in")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    probe = Drawn(options.units, options.concepts)
    with tempfile.TemporaryDirectory() as folder:
        place = options.keep or Path(folder)
        write_units(place, probe, dissect(probe, options.samples, level_samples=64))
        page = (place / "units.html").read_text()
        timed = Path(folder) / "timed.html"
        timed.write_text(page.replace("</body>", f"{TIMED}</body>"))
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", timed.as_uri()]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = {"units": options.units, "concepts": options.concepts, "megabytes": len(page) / 1e6}
    result |= json.loads(re.search(r"<title>(.*?)</title>", shown)[1])
    print(json.dumps(result, indent=1))
    if options.out:
        files.write_text(options.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
