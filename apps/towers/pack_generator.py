"""Write the averaged generator of a training state as the file that comes with the library.

    python -m apps.towers.pack_generator --state .training
    python -m apps.towers.pack_generator --state .training/early --model towers-early

The header says how it was trained.
"""

import argparse
import os
import platform
from pathlib import Path

import torch

from apps.towers.train_generator import COURSES, design_of
from rewrite.checkpoints.loading import BUILT_IN
from rewrite.checkpoints.native import save_stylegan2


def machine() -> str:
    """This machine in a few words: processor, cores, version of torch."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, torch {torch.__version__}"


def pack(state: Path, out: Path, model: str = "towers") -> dict:
    """Write the generator and return what its header says of the training."""
    course = COURSES[model]
    kept = torch.load(state / "generator.pt", weights_only=True, map_location="cpu")
    progress = kept["progress"]
    training = {
        "script": "apps/towers/train_generator.py",
        "seed": progress["seed"],
        "images": progress["seen"],
        "steps": progress["steps"],
        "seconds": round(progress["seconds"]),
        "finished": progress["phase"] == len(course.phases),
        "machine": machine(),
    }
    save_stylegan2(out, kept["average"], design_of(64, course.channels), training)
    return training


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, default=Path(".training"), help="folder of the training state")
    parser.add_argument("--model", choices=COURSES, default="towers", help="which of the package it is")
    parser.add_argument("--out", type=Path, help="where to write; into the package if left out")
    options = parser.parse_args()
    for name, value in pack(options.state, options.out or BUILT_IN[options.model], options.model).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
