"""A seed is an image; a cut run is the same run."""

import pickle
import threading

import pytest
import torch

from rewrite.generators.contract import Generator
from rewrite.generators.fingerprint import weights_held
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.goals import sketch as sketching
from tests.networks import CONFIG, random_stylegan2

LAYERS = ["b4.conv1", "b4.torgb", "b8.conv0", "b8.conv1", "b8.torgb", "b16.conv0", "b16.conv1", "b16.torgb"]


@pytest.mark.parametrize("noise", ["seed", "const", "none"])
def test_a_seed_gives_the_same_image_alone_and_anywhere_in_a_batch_of_seven(tiny_generator, noise):
    tiny_generator.noise = noise
    alone = tiny_generator.sample([5])[0]
    for place in range(7):
        seeds = [100 + i for i in range(7)]
        seeds[place] = 5
        together = tiny_generator.sample(seeds, batch=7)[place]
        # Random weights overshoot by far: the trained generator is held to 1e-6 in test_towers.py.
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_noise_differs_between_seeds_and_between_layers(tiny_generator):
    cut = tiny_generator.cut("b16.conv1", tiny_generator.latents([1, 2]))
    synthesis = tiny_generator.network.synthesis
    noise = cut.state.noise.draw(synthesis.b16.conv1, 4, cut.features)
    other = cut.state.noise.draw(synthesis.b16.conv0, 3, cut.features)
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0], other[0])


def test_every_layer_is_listed_in_the_order_in_which_it_runs(tiny_generator):
    assert list(tiny_generator.layers) == LAYERS


@pytest.mark.parametrize("name", LAYERS)
def test_a_cut_run_gives_the_same_image(tiny_generator, name):
    latents = tiny_generator.latents([0, 1, 2])
    cut = tiny_generator.cut(name, latents)
    torch.testing.assert_close(tiny_generator.rerun(name, cut), tiny_generator.images(latents), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_an_early_image_is_what_is_drawn_so_far_at_a_lower_side(tiny_generator, name):
    latents = tiny_generator.latents([1, 2])
    early = tiny_generator.early_image(name, tiny_generator.cut(name, latents), 8)
    if LAYERS.index(name) > LAYERS.index("b8.torgb"):
        assert early is None
    else:
        torch.testing.assert_close(early, tiny_generator.cut("b16.conv0", latents).state.image, atol=1e-5, rtol=0)


def test_networks_that_draw_at_the_end_alone_have_no_early_image(plain_generator):
    residual = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, architecture="resnet")))
    for generator in (plain_generator, residual):
        first = next(iter(generator.layers))
        assert generator.early_image(first, generator.cut(first, generator.latents([1])), 8) is None


@pytest.mark.parametrize("name", LAYERS)
def test_changing_a_layers_weight_changes_the_rerun_as_it_changes_the_image(tiny_generator, name):
    latents = tiny_generator.latents([0, 1])
    cut, before = tiny_generator.cut(name, latents), tiny_generator.images(latents)
    with torch.no_grad():
        tiny_generator.weight(name).mul_(1.0 + torch.rand_like(tiny_generator.weight(name)))
    after = tiny_generator.images(latents)
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(tiny_generator.rerun(name, cut), after, rtol=1e-4, atol=1e-4)


def test_truncation_zero_gives_every_seed_the_mean_image(tiny_generator):
    tiny_generator.truncation, tiny_generator.noise = 0.0, "none"
    images = tiny_generator.sample([1, 2])
    torch.testing.assert_close(images[0], images[1])


def test_an_unknown_layer_is_refused_with_the_nearest_name(tiny_generator):
    with pytest.raises(LookupError, match=r"did you mean b8\.conv1"):
        tiny_generator.cut("b8.conv11", tiny_generator.latents([0]))


@pytest.mark.parametrize("swapped", [False, True], ids=["added to", "put in another order"])
def test_the_fingerprint_follows_what_is_written_past_autograd(tiny_generator, swapped):
    weight, first = tiny_generator.weight("b8.conv0").data, tiny_generator.fingerprint
    before = weight.clone()
    if swapped:
        weight.copy_(before.flip(0))
    else:
        weight[0, 0, 0, 0].add_(1e-3)
    assert tiny_generator.fingerprint != first
    weight.copy_(before)
    assert tiny_generator.fingerprint == first


def test_a_fingerprint_is_computed_once_where_weights_are_held_and_in_that_thread_alone(tiny_generator):
    first, seen = tiny_generator.fingerprint, []
    with weights_held():
        assert tiny_generator.fingerprint == first != StyleGAN2Generator(random_stylegan2(1)).fingerprint
        tiny_generator.weight("b8.conv0").data.add_(1)
        assert tiny_generator.fingerprint == first
        other = threading.Thread(target=lambda: seen.append(tiny_generator.fingerprint))
        other.start()
        other.join()
    assert tiny_generator.fingerprint == seen[0] != first


def test_the_fingerprint_follows_the_weights(tiny_generator):
    first = tiny_generator.fingerprint
    weight = tiny_generator.weight("b8.conv1")
    saved = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    assert tiny_generator.fingerprint != first
    with torch.no_grad():
        weight.copy_(saved)
    assert tiny_generator.fingerprint == first


DESIGNS = {
    "resnet": {"architecture": "resnet"},
    "orig": {"architecture": "orig"},
    "classes": {"c_dim": 3, "embed_dim": 4},
    "clamped": {"architecture": "resnet", "clamp": 0.5},
    "scaled": {"conv_gain": True},
}


@pytest.mark.parametrize("how", DESIGNS)
def test_every_layer_of_every_architecture_can_be_cut_and_resumed(how):
    generator = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, **DESIGNS[how])))
    latents = generator.latents([0, 1])
    images = generator.images(latents)
    for name in generator.layers:
        cut = generator.cut(name, latents)
        torch.testing.assert_close(generator.rerun(name, cut), images, rtol=1e-5, atol=1e-5)
        values = generator.layer(name).apply(cut.features, generator.weight(name))
        factor = generator.demodulation(name, cut.style)
        values = values if factor is None else values * factor[:, :, None, None]
        if generator.activation(name)(torch.full((1,), -1.0)) != -1.0:
            finished = generator.finish(name, cut, values / (1 if factor is None else factor[:, :, None, None]), factor)
            predicted = generator.activation(name)(values + generator.offset(name, cut))
            torch.testing.assert_close(predicted, finished, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", DESIGNS)
def test_outputs_of_all_layers_come_from_one_run_and_lead_to_the_images(how):
    generator = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, **DESIGNS[how])))
    latents = generator.latents([0, 1])
    for chosen in (list(generator.layers), ["b8.conv1", "b4.conv1"]):
        found, resume = generator.outputs(chosen, latents)
        slow, _ = Generator.outputs(generator, chosen, latents)
        torch.testing.assert_close(resume(), generator.images(latents), rtol=0, atol=1e-6)
        for name in chosen:
            torch.testing.assert_close(found[name], slow[name], rtol=1e-4, atol=1e-5)


def test_a_class_changes_the_image_and_an_unknown_one_is_refused():
    generator = StyleGAN2Generator(random_stylegan2(design=Design(**CONFIG, c_dim=3)))
    first = generator.sample([1])
    generator.label = 2
    assert (generator.sample([1]) - first).abs().max() > 1e-3
    generator.label = 3
    with pytest.raises(ValueError, match="classes 0 to 2, got 3"):
        generator.sample([1])


@pytest.mark.parametrize("name", ["tiny_generator", "scaled", "plain_generator"])
def test_a_generator_pickles_and_draws_the_same(name, request):
    generator = request.getfixturevalue(name)
    again = pickle.loads(pickle.dumps(generator))
    assert torch.equal(again.sample(range(3)), generator.sample(range(3)))
    assert again.fingerprint == generator.fingerprint


def test_an_early_image_of_a_grey_network_is_drawn_in_three_colours_as_the_image_is():
    channels = {4: 6, 8: 5, 16: 4}
    network = StyleGAN2(Design(z_dim=8, w_dim=8, mapping_layers=2, channels=channels, colours=1))
    generator = StyleGAN2Generator(network)
    cut = generator.cut("b8.conv1", generator.latents([1]))
    assert generator.early_image("b8.conv1", cut, 8).shape == (1, 3, 8, 8)
    assert generator.sample([1]).shape == (1, 3, 16, 16)


def test_a_sketch_draws_what_the_network_has_drawn_so_far_at_a_lower_side(tiny_generator):
    sketch, latents = tiny_generator.sketch("b4.conv1", 8), tiny_generator.latents([1, 2])
    assert sketch.size == (8, 8)
    assert sketch.fingerprint == tiny_generator.fingerprint
    cut = tiny_generator.cut("b4.conv1", latents)
    torch.testing.assert_close(sketch.images(latents), tiny_generator.early_image("b4.conv1", cut, 8))
    assert tiny_generator.images(latents).shape[2:] == tiny_generator.size
    again = sketch.cut("b8.conv0", latents)
    factor = sketch.demodulation("b8.conv0", again.style)
    written = sketch.layer("b8.conv0").apply(again.features, sketch.weight("b8.conv0"))
    torch.testing.assert_close(sketch.resume("b8.conv0", again, written, factor), sketch.images(latents))


def test_a_sketch_follows_the_generator(tiny_generator):
    sketch = tiny_generator.sketch("b4.conv1", 8)
    assert tiny_generator.sketch("b4.conv1", 8) is sketch
    tiny_generator.truncation = 0.5
    try:
        assert tiny_generator.sketch("b4.conv1", 8).truncation == 0.5
    finally:
        tiny_generator.truncation = 1.0


def test_pictures_that_decide_are_twice_as_fine_as_the_layer(tiny_generator, monkeypatch):
    assert sketching.sketched(tiny_generator, "b4.conv1") is tiny_generator
    monkeypatch.setattr(sketching, "SIDE", 4)
    assert sketching.sketched(tiny_generator, "b4.conv1").size == (8, 8)
    assert sketching.sketched(tiny_generator, "b8.conv1") is tiny_generator


def test_networks_that_draw_at_the_end_alone_are_their_own_sketch(plain_generator):
    name = next(iter(plain_generator.layers))
    assert plain_generator.sketch(name, 8) is plain_generator
