"""A module of the user's is read through hooks and edited as it stands."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from dissect.causes.ablation import ablation_patch
from rewrite import Mask, Patch, Stack, measure, solve, to_peft, wrap
from rewrite.patch import base_of
from rewrite.rules.masks import cover
from rewrite.rules.regions import Latent, Region
from rewrite.rules.rule import Rule
from tests.conftest import patch_of


class Mixed(nn.Module):
    """Layers of every plain kind, in an order that no container shows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.last = nn.Conv2d(4, 3, 3, padding="same", dilation=2)
        self.up = nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1)
        self.grouped = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.lift = nn.Linear(5, 6 * 16)
        self.mixing = nn.Linear(16, 16)
        self.twice = nn.Conv2d(6, 6, 1)
        self.unused = nn.Conv2d(1, 1, 1)
        self.mirrored = nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect")

    def forward(self, z):
        x = F.leaky_relu(self.lift(z)).reshape(len(z), 6, 16)
        x = (x + self.mixing(x)).reshape(len(z), 6, 4, 4)
        x = self.twice(F.leaky_relu(self.twice(x)))
        x = F.leaky_relu(self.grouped(x) + self.mirrored(x))
        return torch.tanh(self.last(F.leaky_relu(self.up(x))))


class Chancy(nn.Module):
    """A network that draws noise of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, z):
        x = z.reshape(-1, 2, 2, 2).repeat(1, 1, 4, 4)
        return torch.tanh(self.conv(x + 0.1 * torch.randn_like(x)))


class Crowd(nn.Module):
    """A network whose images hang on their batch (normalisation in training mode)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.conv, self.norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, z):
        return torch.tanh(self.norm(self.conv(z.reshape(-1, 2, 2, 2).repeat(1, 1, 4, 4))))


class Modulated(nn.Module):
    """rosinality's modulated convolution, as far as its users see it."""

    def __init__(self, inputs, outputs, kernel, demodulate=True, upsample=False):
        super().__init__()
        self.demodulate, self.upsample, self.kernel = demodulate, upsample, kernel
        self.scale = 1 / np.sqrt(inputs * kernel**2)
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.modulation = nn.Linear(5, inputs)
        self.blur = nn.AvgPool2d(2, 1)

    def forward(self, x, w):
        style = self.modulation(w)
        weight = self.scale * self.weight * style[:, None, :, None, None]
        if self.demodulate:
            weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        drawn = []
        for image, mine in zip(x, weight, strict=True):
            if self.upsample:
                drawn.append(self.blur(F.conv_transpose2d(image[None], mine.transpose(0, 1), stride=2)))
            else:
                drawn.append(F.conv2d(image[None], mine, padding=self.kernel // 2))
        return torch.cat(drawn)


class Styled(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.const = nn.Parameter(torch.randn(1, 4, 4, 4))
        self.first, self.second = Modulated(4, 6, 3, upsample=True), Modulated(6, 6, 3)
        self.colours = Modulated(6, 3, 1, demodulate=False)

    def forward(self, w):
        x = F.leaky_relu(self.first(self.const.expand(len(w), -1, -1, -1), w))
        return torch.tanh(self.colours(F.leaky_relu(self.second(x, w)), w))


class Nvidia(nn.Module):
    """NVIDIA's synthesis layer, as far as its users see it."""

    def __init__(self, inputs, outputs, resolution, up=1):
        super().__init__()
        self.up, self.resolution = up, resolution
        self.affine = nn.Linear(5, inputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.randn(outputs))
        self.blur = nn.AvgPool2d(2, 1)

    def forward(self, x, w, gain=1):
        style = self.affine(w)
        x, power = x * style[:, :, None, None], self.weight.square().sum(dim=(2, 3))
        if self.up == 2:
            x = self.blur(F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, self.weight, padding=1)
        x = x * (style.square() @ power.T + 1e-8).rsqrt()[:, :, None, None]
        return F.leaky_relu(x + self.bias[:, None, None], 0.2) * gain


class Synthesis(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.const = nn.Parameter(torch.randn(1, 4, 4, 4))
        self.first, self.second = Nvidia(4, 6, 8, up=2), Nvidia(6, 3, 8)

    def forward(self, w):
        return torch.tanh(self.second(self.first(self.const.expand(len(w), -1, -1, -1), w), w, gain=0.5))


class Sequences(nn.Module):
    """Convolutions along a sequence, whose positions become pixels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.lift = nn.Linear(6, 4 * 16)
        self.mixing = nn.Conv1d(4, 6, 3, padding=2, dilation=2, padding_mode="circular")
        self.up = nn.ConvTranspose1d(6, 3, 4, stride=4, groups=3, bias=False)

    def forward(self, z):
        x = F.leaky_relu(self.mixing(F.leaky_relu(self.lift(z)).unflatten(1, (4, 16))))
        return torch.tanh(self.up(x)).unflatten(2, (8, 8))


class Normed(nn.Module):
    """Convolutions whose weights are computed, by hooks and by parametrisations."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.lift = nn.Linear(5, 4 * 16)
        self.new_weight = parametrizations.weight_norm(nn.Conv2d(4, 5, 3, padding=1))
        self.old_weight = old_weight_norm(nn.ConvTranspose2d(5, 6, 4, stride=2, padding=1))
        self.new_spectral = parametrizations.spectral_norm(nn.Conv2d(6, 7, 3, padding=1))
        self.old_spectral = nn.utils.spectral_norm(nn.Conv2d(7, 3, 3, padding=1))

    def forward(self, z):
        x = F.leaky_relu(self.lift(z)).unflatten(1, (4, 4, 4))
        x = F.leaky_relu(self.old_weight(F.leaky_relu(self.new_weight(x))))
        return torch.tanh(self.old_spectral(F.leaky_relu(self.new_spectral(x))))


def old_weight_norm(module: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(module)


def frozen(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False)


GENERATORS = {
    "mixed": lambda: wrap(frozen(Mixed()), 5),
    "chancy": lambda: wrap(frozen(Chancy()), 8),
    "crowd": lambda: wrap(frozen(Crowd()), 8),
    "styled": lambda: wrap(frozen(Styled()), 5),
    "sequences": lambda: wrap(frozen(Sequences()), 6),
    "normed": lambda: wrap(frozen(Normed()).eval(), 5),
    "nvidia": lambda: wrap(frozen(Synthesis()), 5, ["first", "second"]),
}


@pytest.fixture(params=GENERATORS)
def generator(request):
    return GENERATORS[request.param]()


def test_layers_of_every_kind_are_found_and_others_left_out():
    found = GENERATORS["mixed"]()
    assert list(found.layers) == ["last", "up", "grouped", "lift", "mixing", "mirrored"]
    assert [layer.kind for layer in found.layers.values()] == [
        "convolution",
        "transposed",
        "convolution",
        "linear",
        "linear",
        "convolution",
    ]
    assert found.size == (8, 8)
    styled = GENERATORS["styled"]().layers
    assert [name for name, layer in styled.items() if layer.modulated] == ["first", "second"]


def test_a_seed_is_the_same_image_alone_and_in_a_batch(generator):
    alone = generator.sample([5])[0]
    torch.testing.assert_close(generator.sample([1, 5, 9])[1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("generator", sorted(set(GENERATORS) - {"nvidia"}), indirect=True)
def test_what_a_layer_reads_is_what_gives_its_output(generator):
    latents = generator.latents([1, 2])
    for name, layer in generator.layers.items():
        cut = generator.cut(name, latents)
        written = layer.apply(cut.features, generator.weight(name))
        images = generator.resume(name, cut, written, generator.demodulation(name, cut.style))
        torch.testing.assert_close(images, generator.images(latents), rtol=0, atol=1e-5)


def test_what_a_layer_of_nvidia_reads_gives_its_output_through_its_own_noise_and_activation():
    generator = GENERATORS["nvidia"]()
    first, second = (generator.module.get_submodule(name) for name in ("first", "second"))
    latents = generator.latents([1, 2])
    for name, blurred in (("first", True), ("second", False)):
        cut = generator.cut(name, latents)
        values = generator.layer(name).apply(cut.features, generator.weight(name))
        values = values * generator.demodulation(name, cut.style)[:, :, None, None]
        values = first.blur(values) if blurred else values
        output = F.leaky_relu(values + (first if blurred else second).bias[:, None, None], 0.2)
        images = torch.tanh(second(output, latents.z, gain=0.5) if blurred else output * 0.5)
        torch.testing.assert_close(images, generator.images(latents), rtol=0, atol=1e-5)


def test_keys_times_matrix_is_what_the_layer_writes(generator):
    for name, layer in generator.layers.items():
        cut = generator.cut(name, generator.latents([3]))
        weight = generator.weight(name)
        values = layer.keys(cut.features) @ layer.matrix(weight).T if layer.groups == 1 else None
        if values is not None:
            written = layer.apply(cut.features, weight)
            torch.testing.assert_close(values.transpose(1, 2), written.flatten(2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("mixed", "up"),
        ("mixed", "last"),
        ("mixed", "mirrored"),
        ("crowd", "conv"),
        ("sequences", "mixing"),
        ("sequences", "up"),
        *[("normed", layer) for layer in ("new_weight", "old_weight", "new_spectral", "old_spectral")],
        ("styled", "second"),
        ("nvidia", "second"),
        ("nvidia", "first"),
    ],
)
def test_a_rule_edits_a_wrapped_module_and_comes_off_again(name, layer):
    generator = GENERATORS[name]()
    mask = np.zeros(generator.size, dtype=bool)
    mask[2:6, 2:6] = True
    regions = [Region(Latent(seed), Mask.from_array(mask)) for seed in (1, 2)]
    rule = Rule("r", generator.fingerprint, layer, copy=(regions[0],), context=(regions[1],))
    patch = solve(generator, measure(generator, layer, 30), rule)
    before, state = generator.sample([2, 3]), {k: v.clone() for k, v in generator.module.state_dict().items()}
    with patch.applied(generator):
        assert (generator.sample([2, 3]) - before).abs().max() > 1e-3
    assert all(torch.equal(value, generator.module.state_dict()[key]) for key, value in state.items())
    assert patch.forecast["residual"] < 1


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kernel", [(2, 2), (4, 3), (2, 5)])
def test_an_even_kernel_under_same_padding_reads_what_torch_reads(kernel):
    torch.manual_seed(8)
    conv = nn.Conv2d(2, 3, kernel, padding="same", dilation=(1, 3))
    generator = wrap(frozen(nn.Sequential(nn.Unflatten(1, (2, 6, 6)), conv)), 72)
    layer, latents = generator.layer("1"), generator.latents([1, 2])
    cut, images = generator.cut("1", latents), generator.images(latents)
    assert layer.output_grid == (6, 6)
    torch.testing.assert_close(generator.rerun("1", cut), images)
    written = layer.apply(cut.features, generator.weight("1"))
    torch.testing.assert_close(generator.resume("1", cut, written, None), images)
    keys = layer.keys(cut.features)
    values = layer.values(keys.flatten(0, 1), layer.matrix(generator.weight("1"))).unflatten(0, (2, 36))
    torch.testing.assert_close(values.transpose(1, 2).reshape(written.shape), written)
    chosen = torch.tensor([[0, 5, 35], [30, 17, 6]])
    assert torch.equal(layer.keys(cut.features, chosen), torch.stack([keys[i, chosen[i]] for i in range(2)]))


COMPUTED = ("new_weight", "old_weight", "new_spectral", "old_spectral")


@pytest.mark.parametrize("layer", COMPUTED)
def test_a_computed_weight_becomes_just_the_edited_one_and_its_state_dict_holds_it(layer):
    generator = GENERATORS["normed"]()
    described, before = generator.layer(layer), generator.weight(layer).clone()
    patch = patch_of(generator, layer)
    added = patch.change(described).float()
    elsewhere = frozen(Normed()).eval()
    with Stack(generator).holding([(patch, 0.5), (patch, 0.25)]):
        torch.testing.assert_close(generator.weight(layer), before + 0.75 * added, rtol=1e-5, atol=1e-6)
        images = generator.sample([1, 2])
        elsewhere.load_state_dict(generator.module.state_dict())
    assert torch.equal(wrap(elsewhere, 5).sample([1, 2]), images)
    assert torch.equal(generator.weight(layer), before)


@pytest.mark.parametrize("layer", COMPUTED)
def test_a_unit_of_a_computed_weight_is_switched_off_and_on_again(layer):
    generator = GENERATORS["normed"]()
    before, images = generator.weight(layer).clone(), generator.sample([1])
    with ablation_patch(generator, layer, [0]).applied(generator):
        assert generator.layer(layer).matrix(generator.weight(layer))[0].abs().max() < 1e-6
        assert generator.sample([1]).isfinite().all()
    assert torch.equal(generator.weight(layer), before)
    assert torch.equal(generator.sample([1]), images)


def test_an_edit_that_a_spectral_norm_cannot_hold_is_refused_and_nothing_is_changed():
    generator = GENERATORS["normed"]()
    described, weight = generator.layer("new_spectral"), generator.weight("new_spectral")
    about = {"base": base_of(weight), "model": generator.fingerprint}
    away = Patch.from_change(described, -2 * described.matrix(weight), **about)
    other = patch_of(generator, "new_weight")
    stack, images = Stack(generator), generator.sample([1])
    with pytest.raises(ValueError, match="leaves nothing of the largest direction"):
        stack.hold([(other, 1.0), (away, 1.0)])
    assert torch.equal(generator.sample([1]), images)


def test_computed_weights_that_cannot_be_set_say_why():
    training = wrap(frozen(Normed()), 5)
    assert sorted(training.left_out) == ["new_spectral", "old_spectral"]
    assert "moves at each run in training: call eval() on the module first" in training.left_out["new_spectral"]
    module = frozen(Normed()).eval()
    parametrizations.orthogonal(module.lift)
    assert "computed from others: fold it" in wrap(module, 5).left_out["lift"]


def test_peft_takes_no_layer_that_it_would_run_in_another_way(tmp_path):
    for name, layer in (("mixed", "mirrored"), ("normed", "old_spectral"), ("sequences", "mixing")):
        generator = GENERATORS[name]()
        with pytest.raises(ValueError, match="PEFT"):
            to_peft(generator, patch_of(generator, layer), tmp_path)


class Cropped(nn.Module):
    """Padded once, then convolved without padding, doubled, and cropped below and on the left."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.first, self.second, self.third = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, z):
        x = F.leaky_relu(self.second(F.leaky_relu(self.first(F.pad(z, (2, 2, 2, 2))))))
        return torch.tanh(self.third(F.interpolate(x, scale_factor=2))[:, :, :-3, 2:])


def test_margins_are_measured_also_on_one_side_alone():
    found = {name: layer.margin for name, layer in wrap(frozen(Cropped()), (2, 12, 12)).layers.items()}
    # Above, below, left, right; the image has 21 rows of 24 and 22 columns.
    assert found == {"first": (1.0, 2.5, 2.0, 1.0), "second": (0.0, 1.5, 1.0, 0.0), "third": (0.0, 3.0, 2.0, 0.0)}
    given = wrap(frozen(Cropped()), (2, 12, 12), margins={"first": 2}).layers
    assert (given["first"].margin, given["third"].overhang) == (2.0, (0.0, 3.0, 2.0, 0.0))


def test_no_margin_is_measured_where_maps_fit_or_every_cell_moves_all_pixels():
    assert all(layer.margin == 0 for layer in GENERATORS["mixed"]().layers.values())

    class Mean(Cropped):
        def forward(self, z):
            x = self.second(F.pad(z.repeat(1, 3, 1, 1), (2, 2, 2, 2)))
            return torch.tanh(self.third(x - x.mean(dim=(2, 3), keepdim=True) * 5))[:, :, 1:]

    assert wrap(frozen(Mean()), (2, 12, 12)).layer("second").margin == 0


def test_layers_that_cannot_be_edited_say_why():
    with pytest.raises(ValueError, match="twice cannot be edited: it runs more than once"):
        wrap(Mixed(), 5, ["twice"])
    with pytest.raises(ValueError, match="unused cannot be edited: it does not run"):
        wrap(Mixed(), 5, ["unused"])
    with pytest.raises(LookupError, match="did you mean grouped"):
        wrap(Mixed(), 5, ["groupd"])


def test_latents_may_come_from_a_function():
    def drawn(seeds):
        return torch.stack([torch.full((5,), float(seed)) for seed in seeds])

    generator = wrap(Mixed(), drawn)
    with torch.no_grad():
        torch.testing.assert_close(generator.sample([2])[0], generator.module(torch.full((1, 5), 2.0))[0])


def test_latents_of_a_function_leave_the_generator_as_it_is_and_keep_their_shape():
    generator = wrap(Mixed(), lambda seeds: torch.zeros(len(seeds), 6 if 7 in seeds else 5))
    before = dict(vars(generator))
    assert generator.latents([1, 2, 3]).z.shape == (3, 5)
    with pytest.raises(ValueError, match=r"must give 1 latents of shape \(5,\), it gave \(1, 6\)"):
        generator.latents([7])
    assert vars(generator) == before


@pytest.mark.parametrize("stops_at", [1, 2])
def test_a_module_keeps_no_hooks_when_its_latents_cannot_be_drawn(stops_at):
    module, calls = Mixed(), []

    def drawn(seeds):
        calls.append(seeds)
        if len(calls) == stops_at:
            raise RuntimeError("no latents")
        return torch.zeros(len(seeds), 5)

    with pytest.raises(RuntimeError, match="no latents"):
        wrap(module, drawn)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_module_that_gives_no_images_is_refused():
    with pytest.raises(ValueError, match="where images"):
        wrap(nn.Linear(4, 2), 4)


@pytest.mark.parametrize("name", ["crowd", "styled", "mixed"])
def test_outputs_of_layers_are_what_the_modules_give_and_lead_to_the_images(name):
    generator = GENERATORS[name]()
    layers = [layer for layer in generator.layers if layer != "mixing"]
    latents = generator.latents([1, 2])
    maps, resume = generator.outputs(layers, latents)
    torch.testing.assert_close(resume(), generator.images(latents), rtol=0, atol=1e-6)
    for layer in layers:
        cut = generator.cut(layer, latents)
        written = generator.layer(layer).apply(cut.features, generator.weight(layer))
        wanted = generator.finish(layer, cut, written, generator.demodulation(layer, cut.style))
        torch.testing.assert_close(maps[layer].flatten(), wanted.flatten(), rtol=0, atol=1e-5)
        assert generator.units(layer) == maps[layer].shape[1]


def test_any_part_that_gives_maps_has_outputs():
    generator = GENERATORS["mixed"]()
    assert generator.units("mirrored") == 6
    assert generator.outputs(["lift"], generator.latents([1]))[0]["lift"].shape == (1, 96, 1, 1)
    for name, said in (("twice", "runs more than once"), ("unused", "does not run"), ("mixing", "no maps of units")):
        with pytest.raises(ValueError, match=said):
            generator.outputs([name], generator.latents([1]))
    with pytest.raises(LookupError, match="did you mean mirrored"):
        generator.units("mirored")


def test_a_wrapped_layer_of_nvidia_has_outputs_after_its_activation():
    generator = GENERATORS["nvidia"]()
    maps, _ = generator.outputs(["second"], generator.latents([1, 2]))
    torch.testing.assert_close(torch.tanh(maps["second"]), generator.images(generator.latents([1, 2])))


class Shrinking(nn.Module):
    """A network that pads once, at the beginning, as SinGAN does: its maps are larger than the image."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(6)
        self.first, self.second, self.last = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 3, 3)

    def forward(self, z):
        x = F.pad(z.reshape(-1, 2, 12, 12), (3, 3, 3, 3))
        return torch.tanh(self.last(F.leaky_relu(self.second(F.leaky_relu(self.first(x))))))


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize(("name", "margin"), [("first", 2), ("second", 1), ("last", 0)])
def test_marks_meet_the_cells_that_draw_them_where_maps_are_larger_than_the_image(name, margin, given):
    generator = wrap(Shrinking(), 288, margins={name: margin} if given else None)
    layer, mask = generator.layer(name), np.zeros((12, 12), dtype=bool)
    mask[4:7, 8:10] = True
    covered = cover(mask, layer) > 0
    # What a pixel is drawn from has the pixel at its middle: the reference is the gradient of each marked pixel.
    output = generator.output(name, generator.cut(name, generator.latents([0]))).requires_grad_()
    with torch.enable_grad():
        image = generator.onward(name, generator.cut(name, generator.latents([0])), output)
    middles = set()
    for row, column in np.argwhere(mask):
        (slope,) = torch.autograd.grad(image[0, :, row, column].sum(), output, retain_graph=True)
        cells = slope[0].abs().sum(dim=0).nonzero()
        middles.add(tuple(((cells.min(dim=0).values + cells.max(dim=0).values) // 2).tolist()))
    assert {tuple(cell) for cell in np.argwhere(covered.numpy().reshape(layer.output_grid)).tolist()} == middles


def test_a_margin_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="leaves nothing of the 16 x 16"):
        wrap(Shrinking(), 288, margins={"first": 8})
    with pytest.raises(LookupError, match="no layer 'frist'"):
        wrap(Shrinking(), 288, margins={"frist": 1})


def drawn_latents(seeds: tuple[int, ...]) -> torch.Tensor:
    """Latents of a function that pickles."""
    return torch.stack([torch.linspace(-1, 1, 8) * (seed + 1) for seed in seeds])


def doubled(output: torch.Tensor) -> torch.Tensor:
    """A conversion that pickles."""
    return output / 2


@pytest.mark.parametrize("latents", [8, (2, 4), drawn_latents])
@pytest.mark.parametrize("images", [None, doubled])
@pytest.mark.parametrize("module", [Chancy, Crowd])
def test_a_wrapped_generator_pickles_and_draws_the_same(module, images, latents):
    generator = wrap(module(), latents, images=images)
    measure(generator, "conv", 4)
    again = pickle.loads(pickle.dumps(generator))
    assert torch.equal(again.sample(range(3)), generator.sample(range(3)))
    assert again.fingerprint == generator.fingerprint
    assert again.layers == generator.layers
    again.weight("conv").data.zero_()
    assert again.fingerprint != generator.fingerprint
