"""Files as other people's tools write them, made from small random networks."""

import re
from collections import OrderedDict

import torch
from torch import nn

from rewrite.generators.proggan import ProgressiveGAN
from rewrite.generators.stylegan2 import StyleGAN2


def rosinality_state(network: StyleGAN2) -> OrderedDict:
    """The tensors of a network by rosinality's names and in its shapes."""
    ours, theirs, sides = network.state_dict(), OrderedDict(), sorted(network.design.channels)
    for i in range(network.design.mapping_layers):
        for part in ("weight", "bias"):
            theirs[f"style.{i + 1}.{part}"] = ours[f"mapping.fc{i}.{part}"]
    theirs["input.input"] = ours["synthesis.b4.const"][None]

    def modulated(mine: str, name: str) -> None:
        theirs[f"{name}.conv.weight"] = ours[f"{mine}.weight"][None]
        theirs[f"{name}.conv.modulation.weight"] = ours[f"{mine}.affine.weight"]
        theirs[f"{name}.conv.modulation.bias"] = ours[f"{mine}.affine.bias"]

    for number, layer in enumerate(["b4.conv1", *(f"b{side}.conv{i}" for side in sides[1:] for i in (0, 1))]):
        mine, name = f"synthesis.{layer}", f"convs.{number - 1}" if number else "conv1"
        modulated(mine, name)
        theirs[f"{name}.noise.weight"] = ours[f"{mine}.noise_strength"].reshape(1)
        theirs[f"{name}.activate.bias"] = ours[f"{mine}.bias"]
        theirs[f"noises.noise_{number}"] = ours[f"{mine}.noise_const"][None, None]
    for number, side in enumerate(sides):
        mine, name = f"synthesis.b{side}.torgb", f"to_rgbs.{number - 1}" if number else "to_rgb1"
        modulated(mine, name)
        theirs[f"{name}.bias"] = ours[f"{mine}.bias"].reshape(1, -1, 1, 1)
    return OrderedDict((name, tensor.clone()) for name, tensor in theirs.items())


def sequential(state: OrderedDict) -> OrderedDict:
    """The same tensors by the names of the 2020 rewriting release."""
    renamed = OrderedDict()
    for name, tensor in state.items():
        kind, _, rest = name.partition(".")
        if kind == "conv1":
            name = f"layer2.conv.{rest}".replace("conv.conv.", "conv.mconv.")
        elif kind == "convs":
            number, _, rest = rest.partition(".")
            name = f"layer{int(number) + 3}.sconv.{rest}".replace("sconv.conv.", "sconv.mconv.")
        elif kind == "to_rgb1":
            name = f"to_rgb1.rgb.{rest}"
        elif kind == "to_rgbs":
            number, _, rest = rest.partition(".")
            name = f"to_rgb{int(number) + 2}.rgb.{rest}"
        renamed[name.replace("mconv.weight", "mconv.dconv.weight")] = tensor
    return renamed


def write_rosinality(path, generator, rename=lambda state: state):
    network = generator.network
    content = {
        "g": {"unrelated": torch.zeros(2)},
        "g_ema": rename(rosinality_state(network)),
        "latent_avg": network.mapping.w_avg,
    }
    torch.save(content, path)
    return path


def proggan_state(older: bool = False) -> OrderedDict:
    """A ProgressiveGAN of 16x16 by the published names."""
    torch.manual_seed(2)
    state = OrderedDict(
        (name, torch.randn_like(tensor)) for name, tensor in ProgressiveGAN([6, 8, 7, 5]).state_dict().items()
    )
    if not older:
        return state
    return OrderedDict(
        (
            re.sub(r"^layer(\d+)", lambda found: f"features.{int(found[1]) - 1}", name).replace(
                "output_16x16", "output"
            ),
            tensor,
        )
        for name, tensor in state.items()
    )


def settled(network: nn.Module) -> nn.Module:
    """A network whose batch normalisation has seen something: no statistic is its initial one."""
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
            module.num_batches_tracked.fill_(7)
    return network.eval()


def example(colours: int = 3, bias: bool = False) -> nn.Sequential:
    """The layout of PyTorch's DCGAN example, at 32x32."""
    return settled(
        nn.Sequential(
            nn.ConvTranspose2d(10, 12, 4, 1, 0, bias=bias),
            nn.BatchNorm2d(12),
            nn.ReLU(True),
            nn.ConvTranspose2d(12, 8, 4, 2, 1, bias=bias),
            nn.BatchNorm2d(8),
            nn.ReLU(True),
            nn.ConvTranspose2d(8, 6, 4, 2, 1, bias=bias),
            nn.BatchNorm2d(6),
            nn.ReLU(True),
            nn.ConvTranspose2d(6, colours, 4, 2, 1, bias=bias),
            nn.Tanh(),
        )
    )


def state_of(network: nn.Module, prefix: str = "main.") -> OrderedDict:
    return OrderedDict((f"{prefix}{name}", tensor.clone()) for name, tensor in network.state_dict().items())


class MimicryBlock(nn.Module):
    """A block by the names of torch_mimicry."""

    def __init__(self, inputs: int, outputs: int, up: bool = True):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.b1, self.b2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False) if up else nn.Identity()
        if up:
            self.c_sc = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x):
        y = self.c2(torch.relu(self.b2(self.c1(self.up(torch.relu(self.b1(x)))))))
        return y + (self.c_sc(self.up(x)) if hasattr(self, "c_sc") else x)


class Mimicry(nn.Module):
    """A residual generator of 24x24 by the names of torch_mimicry; with `last`, by those of sngan_projection."""

    def __init__(self, last: str = "c5"):
        super().__init__()
        self.l1 = nn.Linear(10, 12 * 36)
        self.block2, self.block3, self.block4 = MimicryBlock(12, 8), MimicryBlock(8, 8, up=False), MimicryBlock(8, 6)
        self.b5, self.last = nn.BatchNorm2d(6), last
        setattr(self, last, nn.Conv2d(6, 3, 3 if last == "c5" else 1, padding=int(last == "c5")))

    def forward(self, z):
        x = self.l1(z).view(-1, 12, 6, 6)
        x = self.b5(self.block4(self.block3(self.block2(x))))
        return torch.tanh(getattr(self, self.last)(torch.relu(x)))
