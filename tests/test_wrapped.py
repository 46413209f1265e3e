"""A module of the user's is read through hooks and edited as it stands."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rewrite import Mask, measure, solve, to_peft, wrap
from rewrite.rules.regions import Latent, Region
from rewrite.rules.rule import Rule
from tests.networks import patch_of
from tests.user_modules import GENERATORS, Chancy, Crowd, Mixed, frozen


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


def test_peft_takes_no_layer_that_it_would_run_in_another_way(tmp_path):
    for name, layer in (("mixed", "mirrored"), ("normed", "old_spectral"), ("sequences", "mixing")):
        generator = GENERATORS[name]()
        with pytest.raises(ValueError, match="PEFT"):
            to_peft(generator, patch_of(generator, layer), tmp_path)


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
