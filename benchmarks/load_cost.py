"""What opening a StyleGAN2 of 256x256 costs, against torch.load of the same tensors.

    python -m benchmarks.load_cost [--rounds 7]

A network of full width with random weights is written as NVIDIA's pickle, as rosinality's `.pt` and as safetensors of
ours, and its tensors alone by torch.save. Each is opened in a fresh process, all in turn; a ratio of seconds is taken
for each turn, and the median is shown. Memory is the peak of what the process held, less that of one that opens
nothing, over the size of the tensors.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from rewrite import load_generator
from rewrite.checkpoints import native
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator

CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128}
REFERENCE, NOTHING = "torch.load", "nothing"


def write(folder: Path) -> dict[str, Path]:
    """One file of each kind."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.foreign_files import write_rosinality
    from tests.nvidia_files import write_stylegan2

    torch.manual_seed(0)
    generator = StyleGAN2Generator(StyleGAN2(Design(512, 512, 8, CHANNELS)), noise="const")
    native.save(folder / "model.safetensors", generator, {})
    torch.save(generator.module.state_dict(), folder / "tensors.pt")
    return {
        REFERENCE: folder / "tensors.pt",
        "NVIDIA's pickle": write_stylegan2(folder / "model.pkl", generator),
        "rosinality's .pt": write_rosinality(folder / "model.pt", generator),
        "safetensors of ours": folder / "model.safetensors",
    }


def open_here(what: str, path: str) -> dict[str, float]:
    """Open a file in this process: its seconds, and the most bytes that the process has held."""
    began = time.perf_counter()
    if what == REFERENCE:
        held = torch.load(path, weights_only=True)
    elif what != NOTHING:
        held = load_generator(path)
    seconds = time.perf_counter() - began
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"seconds": seconds, "bytes": int(line.split()[1]) * 1024, "held": what != NOTHING and held is not None}


def open_apart(what: str, path: Path) -> dict[str, float]:
    """The same in a fresh process."""
    command = [sys.executable, __file__, "--open", what, str(path)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--open", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.open:
        print(json.dumps(open_here(*options.open)))
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder))
        size = sum(tensor.nbytes for tensor in torch.load(paths[REFERENCE], weights_only=True).values())
        print(f"{size / 1e6:.0f} MB of tensors; {options.rounds} rounds")
        rounds = [
            {what: open_apart(what, path) for what, path in {NOTHING: paths[REFERENCE], **paths}.items()}
            for _ in range(options.rounds)
        ]
    bare = statistics.median(each[NOTHING]["bytes"] for each in rounds)
    print("what                 seconds  of torch.load's   memory of the size")
    for what in paths:
        seconds = statistics.median(each[what]["seconds"] for each in rounds)
        ratio = statistics.median(each[what]["seconds"] / each[REFERENCE]["seconds"] for each in rounds)
        memory = statistics.median((each[what]["bytes"] - bare) / size for each in rounds)
        print(f"{what:20} {seconds:7.3f} {ratio:16.2f} {memory:20.2f}")


if __name__ == "__main__":
    main()
