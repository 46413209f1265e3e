"""The table of docs/files.md: what becomes of each kind of file, beside the network that it was made of.

python -m benchmarks.kinds_of_files [FILE...]     # writes the table; FILE: further checkpoints, such as published ones
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from rewrite import Generator, export, load_generator
from rewrite.checkpoints.loading import open_checkpoint
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from tests import test_biggan, test_biggan_deep, test_decoders, test_kinds, test_stylegan1
from tests.foreign_files import (
    Mimicry,
    example,
    proggan_state,
    rosinality_state,
    sequential,
    settled,
    state_of,
    write_rosinality,
)
from tests.networks import CONFIG, patch_of, random_stylegan2, random_stylegan3
from tests.nvidia_files import stand_ins, stylegan2, write_stylegan2, write_stylegan3, write_tensorflow

SEEDS = (0, 7)
Draw = Callable[[Generator], Tensor]


class Kind(NamedTuple):
    """A kind of file: what it is, the file, and the images that the network draws that it was made of."""

    name: str
    path: Path
    drawn: Draw | None = None


def by(network: nn.Module, *shape: int) -> Draw:
    """The images of a network for the latents that a generator draws."""
    return lambda generator: network(generator.latents(SEEDS).z.reshape(-1, *shape)).expand(-1, 3, -1, -1)


def of(generator: Generator) -> Draw:
    """The images of a generator."""
    return lambda found: generator.images(found.latents(SEEDS))


def by_statement(kind: str, state: dict[str, Tensor]) -> Draw:
    """The images of a BigGAN-deep."""
    expected = test_biggan_deep.expected_of
    return lambda generator: expected(kind, state, generator.latents(SEEDS).z, [0, 0])


def saved(path: Path, content: object) -> Path:
    """Write a file of torch."""
    torch.save(content, path)
    return path


def of_dcgans(folder: Path) -> Iterator[Kind]:
    """PyTorch's example, in the files that people make of it."""
    network = example()
    state, drawn = state_of(network), by(network, 10, 1, 1)
    yield Kind("DCGAN, `netG.state_dict()`", saved(folder / "netG.pth", state), drawn)
    for key in ("netG_state_dict", "params_ema", "model"):
        yield Kind(f"DCGAN, below `{key}`", saved(folder / f"{key}.tar", {key: state, "epoch": 3}), drawn)
    lightning = {"state_dict": state_of(network, "net_g."), "hyper_parameters": {}}
    yield Kind("DCGAN, Lightning (`net_g.`)", saved(folder / "last.ckpt", lightning), drawn)
    yield Kind("DCGAN, ema_pytorch", saved(folder / "ema.pt", state_of(network, "ema_model.module.main.")), drawn)
    yield Kind("DCGAN, the whole module", saved(folder / "whole.pth", network), drawn)
    safetensors.torch.save_file(state, folder / "netG.safetensors")
    yield Kind("DCGAN, safetensors (names sorted)", folder / "netG.safetensors", drawn)
    labelled = {name: tensor.clone() for name, tensor in state.items()}
    labelled["main.0.weight"][-3:] *= 4
    yield Kind("DCGAN with classes among its inputs", saved(folder / "classes.pth", labelled))
    yield Kind("two DCGANs", saved(folder / "pair.pt", {"netG_A": state, "netG_B": state_of(example(1))}))


def of_stylegans(folder: Path) -> Iterator[Kind]:
    """StyleGAN2 and 3, in the files of their tools."""
    two = StyleGAN2Generator(random_stylegan2(), noise="const")
    scaled = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, conv_gain=True)), noise="const")
    wide = Design(**CONFIG, first_width=2, conv_gain=True)
    narrow, three = StyleGAN2Generator(random_stylegan2(design=wide), noise="const"), random_stylegan3()
    yield Kind("StyleGAN2, rosinality", write_rosinality(folder / "rosinality.pt", scaled), of(scaled))
    yield Kind("the same, 2:1 (StyleGAN-Human)", write_rosinality(folder / "human.pt", narrow), of(narrow))
    yield Kind("StyleGAN2, 2020 rewriting", write_rosinality(folder / "2020.pt", scaled, sequential), of(scaled))
    held = {f"decoder.{name}": tensor for name, tensor in rosinality_state(scaled.network).items()}
    psp = {"state_dict": held, "latent_avg": scaled.network.mapping.w_avg.repeat(6, 1)}
    yield Kind("StyleGAN2, pSp and e4e (`decoder.`)", saved(folder / "psp.pt", psp), of(scaled))
    yield Kind("StyleGAN2, NVIDIA's `.pkl`", write_stylegan2(folder / "nvidia.pkl", two), of(two))
    state = two.module.state_dict()
    yield Kind("StyleGAN2, NVIDIA's state dict", saved(folder / "state.pt", {"G_ema": state}), of(two))
    with stand_ins():
        yield Kind("StyleGAN2, PTI (whole module)", saved(folder / "pti.pt", stylegan2(two.network)), of(two))
    yield Kind("StyleGAN2, TensorFlow", write_tensorflow(folder / "tensorflow.pkl", two.network), of(two))
    yield Kind("StyleGAN3, NVIDIA's `.pkl`", write_stylegan3(folder / "nvidia3.pkl", three), of(three))
    half = random_stylegan3(test_kinds.NARROW3)
    yield Kind("the same, 1:2 (StyleGAN-Human)", write_stylegan3(folder / "human3.pkl", half), of(half))
    other = stylegan2(two.network)
    other.class_name = "SuperresGenerator"
    with stand_ins():
        yield Kind("StyleGAN-XL", saved(folder / "xl.pt", {"G_ema": other}))
    conditional = rosinality_state(scaled.network) | {"style.1.weight": torch.randn(8, 16)}
    yield Kind("rosinality's names, conditional", saved(folder / "conditional.pt", {"g_ema": conditional}))


def of_others(folder: Path) -> Iterator[Kind]:
    """Other families, and files in which no generator is read."""
    mimicry = settled(Mimicry())
    yield Kind("ProgressiveGAN", saved(folder / "proggan.pth", proggan_state()))
    yield Kind("SNGAN, torch_mimicry", saved(folder / "mimicry.pth", mimicry.state_dict()), by(mimicry, 10))
    classifier = test_kinds.LeNet(1, normed=False).state_dict()
    yield Kind("a convolutional classifier", saved(folder / "lenet.pt", classifier))
    (folder / "model.onnx").write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\xf4")
    (folder / "model.gguf").write_bytes(b"GGUF\3\0\0\0" + bytes(64))
    yield Kind("ONNX", folder / "model.onnx")
    yield Kind("GGUF", folder / "model.gguf")
    yield Kind(
        "another autoencoder of diffusers", saved(folder / "vae.pt", {"decoder.conv_in.weight": torch.zeros(2, 3)})
    )


def of_statements(folder: Path) -> Iterator[Kind]:
    """Families that the tests state a second time, independently."""
    one, design = test_stylegan1.state_of(), test_biggan.DESIGNS["hier"]
    big, tiny, kl = test_biggan.state_of(design), test_decoders.tiny_state(), test_decoders.kl_state()

    def by_port(generator: Generator) -> Tensor:
        rows = zip(SEEDS, generator.latents(SEEDS).z.split(1), strict=True)
        return torch.cat([test_stylegan1.drawn(one, z, test_stylegan1.noise_of(seed)) for seed, z in rows])

    def maps(generator: Generator) -> Tensor:
        return generator.latents(SEEDS).z.reshape(-1, 4, 32, 32)

    yield Kind("StyleGAN, rosinality (`g_running`)", saved(folder / "g.model", {"g_running": one}), by_port)
    yield Kind(
        "BigGAN, `G_ema.pth`",
        saved(folder / "G_ema.pth", big),
        lambda generator: test_biggan.drawn(big, design, generator.latents(SEEDS).z, [0, 0]),
    )
    for kind, name in (("authors", "BigGAN-deep, `G_ema.pth`"), ("port", "BigGAN-deep, Hugging Face's")):
        (folder / kind).mkdir()
        path = test_biggan_deep.written(folder / kind, kind)
        yield Kind(name, path, by_statement(kind, torch.load(path)))
    yield Kind(
        "TAESD, `taesd_decoder.pth`",
        saved(folder / "taesd_decoder.pth", tiny),
        lambda generator: 2 * test_decoders.decoded_by_taesd(tiny, maps(generator)) - 1,
    )
    (folder / "config.json").write_text('{"norm_num_groups": 2}')
    yield Kind(
        "diffusers' AutoencoderKL",
        saved(folder / "kl.pt", kl),
        lambda generator: test_decoders.decoded_by_diffusers(kl, maps(generator)),
    )


@torch.no_grad()
def row(kind: Kind) -> str:
    """One line of the table."""
    try:
        generator = load_generator(kind.path)
    except ValueError as error:
        return f"| {kind.name} | refused: {str(error).replace(f'{kind.path} ', '')} | | |"
    family = open_checkpoint(kind.path).family
    found = generator.images(generator.latents(SEEDS))
    apart = "" if kind.drawn is None else f"{float((kind.drawn(generator) - found).abs().max()):.1g}"
    return f"| {kind.name} | {family} | {apart} | {round_trip(generator, kind.path)} |"


def round_trip(generator: Generator, path: Path) -> str:
    """The greatest difference of the images of an edit to those of the file that it was exported into."""
    layers = [name for name, layer in generator.layers.items() if layer.outputs > 4]
    patch, out = patch_of(generator, layers[len(layers) // 2]), path.with_name(f"edited{path.suffix}")
    try:
        export(generator, patch, out)
    except ValueError:
        out = path.with_name("edited.safetensors")
        export(generator, patch, out, container="safetensors")
    with patch.applied(generator):
        expected = generator.sample(SEEDS)
    return f"{float((load_generator(out).sample(SEEDS) - expected).abs().max()):.1g}"


def main(named: list[str]) -> None:
    """Print the table."""
    print("| file | opened as, or refused | difference to the network | round trip of an edit |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kinds in (of_dcgans, of_stylegans, of_others, of_statements):
            for kind in kinds(folder):
                print(row(kind), flush=True)
        for each in named:
            copy = folder / Path(each).name
            copy.write_bytes(Path(each).read_bytes())
            print(row(Kind(copy.name, copy)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
