"""Probes: what a dissection sees is what the network does."""

import pytest
import torch
from torch import nn

from dissect.sources.contract import CallableSource
from dissect.sources.pictures import LabelledPictures
from dissect.sources.towers import Scenes, SegmenterSource
from dissect.units.counting import dissect
from dissect.units.probe import GeneratorProbe, PictureProbe, with_random_weights
from rewrite import load_generator, wrap
from rewrite.reports.concepts import Concepts

DARK = Concepts.of(("dark", "light"))


def by_lightness(images, numbers):
    return (images.mean(dim=1) > 0).long()


@pytest.fixture(scope="module")
def towers():
    return load_generator("towers")


def test_the_images_are_those_of_the_generator(towers):
    probe = GeneratorProbe(towers, ["b16.conv0", "b32.conv1"], CallableSource(by_lightness, DARK))
    observed = probe.observe((3, 8, 5))
    assert torch.allclose(observed.images, towers.sample((3, 8, 5)), atol=1e-5)
    assert observed.labels.shape == (3, 1, 64, 64)


def test_activations_are_what_the_layer_hands_on(towers):
    probe = GeneratorProbe(towers, ["b32.conv0", "b16.conv1"], CallableSource(by_lightness, DARK))
    found = probe.observe((3, 8)).activations
    assert list(found) == ["b16.conv1", "b32.conv0"]
    kept = {}
    synthesis = towers.network.synthesis
    hooks = [
        synthesis.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: kept.update({name: output.clone()})
        )
        for name in found
    ]
    with torch.no_grad():
        towers.images(towers.latents((3, 8)))
    for hook in hooks:
        hook.remove()
    for name, maps in found.items():
        assert torch.allclose(maps, kept[name], atol=1e-4), name


def test_an_image_is_the_same_alone_and_among_others(towers):
    probe = GeneratorProbe(towers, ["b32.conv0"], SegmenterSource())
    together, alone = probe.observe(range(7)), probe.observe((4,))
    assert torch.allclose(together.activations["b32.conv0"][4], alone.activations["b32.conv0"][0], atol=1e-5)


def test_levels_come_from_other_images_than_counts(towers):
    levels, numbers = GeneratorProbe(towers, ["b32.conv0"], SegmenterSource()).split(1000, 400)
    assert len(levels) == 400
    assert len(numbers) == 1000
    assert not set(levels) & set(numbers)


@pytest.mark.parametrize(
    ("layers", "error", "text"), [(["b32.conv9"], LookupError, "no layer"), ([], ValueError, "at least one layer")]
)
def test_a_layer_that_is_not_there_is_refused(towers, layers, error, text):
    with pytest.raises(error, match=text):
        GeneratorProbe(towers, layers, SegmenterSource())


def test_random_weights_keep_every_number_and_lose_what_was_learnt(towers):
    fingerprint = towers.fingerprint
    shuffled = with_random_weights(towers)
    for (name, ours), theirs in zip(towers.module.named_parameters(), shuffled.module.parameters(), strict=True):
        assert torch.equal(ours.flatten().sort().values, theirs.flatten().sort().values), name
    assert towers.fingerprint == fingerprint != shuffled.fingerprint
    assert not torch.equal(towers.sample([0]), shuffled.sample([0]))


def test_counts_of_an_edited_model_or_of_another_source_are_not_taken_for_ones_of_this(tiny_generator, tmp_path):
    state, layer = tmp_path / "units.safetensors", "b8.conv1"

    def run(identity):
        probe = GeneratorProbe(tiny_generator, [layer], CallableSource(by_lightness, DARK, identity))
        return dissect(probe, 4, level_samples=2, state=state)[layer]

    first = run("one")
    assert torch.equal(run("one").tally.both, first.tally.both)
    with pytest.raises(ValueError, match="belongs to another run"):
        run("other")
    weight, saved = tiny_generator.weight(layer), tiny_generator.weight(layer).clone()
    with torch.no_grad():
        weight.add_(0.1)
    with pytest.raises(ValueError, match="belongs to another run"):
        run("one")
    with torch.no_grad():
        weight.copy_(saved)
    assert torch.equal(run("one").tally.both, first.tally.both)


class Unpadded(nn.Module):
    """Convolutions without padding on a map that reaches six cells beyond the image: unit 0 is what is drawn."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 6, 3, bias=False), nn.Conv2d(6, 3, 11, bias=False)
        with torch.no_grad():
            for stage in (self.conv, self.last):
                stage.weight.zero_()
                stage.weight[:, 0, stage.kernel_size[0] // 2, stage.kernel_size[1] // 2] = 1.0
        self.body = nn.Sequential(self.conv, nn.ReLU())

    def forward(self, z):
        # A dark frame and a bright left half: what lies outside of the image is neither.
        x = z.reshape(-1, 1, 1, 1) * 0 - torch.ones(len(z), 1, 28, 28)
        x[:, :, 6:-6, 6:14] = 1.0
        return self.last(self.body(x))


def test_cells_outside_of_the_image_are_left_out_and_the_rest_is_where_it_is_drawn():
    generator = wrap(Unpadded().requires_grad_(False), 1)
    source = CallableSource(lambda images, numbers: (images[:, 0] > 0.5).long(), DARK)
    ious = []
    for margin in (5, 0):
        probe = GeneratorProbe(generator, ["body", "conv"], source, margins={"conv": margin, "body": margin})
        assert probe.units == {"conv": 6, "body": 6}
        found = dissect(probe, 8, tail=0.55, level_samples=4)
        ious.append([found[name].scores.iou[0, 1] for name in probe.layers])
    assert ious[0] == [1, 1]
    assert max(ious[1]) < 0.6
    with pytest.raises(ValueError, match="leaves nothing of a map of"):
        GeneratorProbe(generator, ["conv"], source, margins={"conv": 13}).activations([0])


def test_a_label_of_one_pixel_labels_the_whole_image(towers):
    source = CallableSource(lambda images, numbers: torch.tensor(numbers).reshape(-1, 1, 1) % 2, DARK)
    observed = GeneratorProbe(towers, ["b32.conv0"], source).observe(range(4))
    assert observed.labels.shape == (4, 1, 64, 64)
    assert observed.labels.flatten(1).float().mean(dim=1).tolist() == [0, 1, 0, 1]


class Grass(nn.Module):
    """One unit that is the greenness of the picture, and one that is nothing."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[-1.0, 2.0, -1.0], [0.0, 0.0, 0.0]])[:, :, None, None])
        self.second = nn.ReLU(inplace=True)

    def forward(self, images):
        return self.second(self.first(images))


def test_a_network_that_reads_images_is_dissected_on_scenes_with_their_exact_labels():
    probe = PictureProbe(Grass(), ["first"], Scenes(count=200))
    scores = dissect(probe, 128, tail=0.2, level_samples=40)["first"].scores
    assert scores.concepts.names[scores.best[0]] in ("grass", "tree")
    assert scores.detects()[0]
    assert not scores.detects()[1]


def test_a_picture_counts_for_levels_or_for_agreement_and_never_for_both():
    levels, numbers = PictureProbe(Grass(), ["first"], Scenes(count=100)).split(80, 20)
    assert sorted([*levels, *numbers]) == list(Scenes(count=100).numbers)
    with pytest.raises(ValueError, match="80 pictures are left"):
        PictureProbe(Grass(), ["first"], Scenes(count=100)).split(81, 20)


def test_what_follows_a_layer_does_not_change_what_it_did():
    images = Scenes(count=4).images(Scenes(count=4).numbers)
    maps = PictureProbe(Grass(), ["first"], Scenes(count=4)).activations(Scenes(count=4).numbers)["first"]
    assert torch.allclose(maps, Grass().first(images), atol=1e-6)
    assert maps.min() < 0


def test_pictures_are_prepared_as_the_network_was_trained_and_the_identity_tells():
    plain = PictureProbe(Grass(), ["first"], Scenes(count=4))
    halved = PictureProbe(Grass(), ["first"], Scenes(count=4), lambda images: images / 2)
    numbers = Scenes(count=4).numbers
    assert torch.allclose(halved.activations(numbers)["first"], plain.activations(numbers)["first"] / 2, atol=1e-6)
    assert halved.identity != plain.identity
    assert halved.identity == PictureProbe(Grass(), ["first"], Scenes(count=4), lambda images: images * 0.5).identity
    with pytest.raises(LookupError, match="no layer 'frist': did you mean first"):
        PictureProbe(Grass(), ["frist"], Scenes(count=4))


def test_maps_of_a_network_without_padding_lie_where_they_read_the_picture():
    # Two convolutions that look at their middles: what is lit is the bright square itself.
    network = nn.Sequential(nn.Conv2d(3, 1, 5, bias=False), nn.Conv2d(1, 1, 5, bias=False)).requires_grad_(False)
    for stage in network:
        stage.weight.zero_()
        stage.weight[:, 0, 2, 2] = 1
    image = torch.zeros(1, 3, 16, 16)
    image[:, :, 5:8, 7:11] = 1

    class Square(LabelledPictures):
        numbers, identity, concepts = range(1), "square", Concepts.of(("square",))

        def images(self, numbers):
            return image

        def labels(self, numbers):
            return (image[:, :1] > 0).short() - 1

    (maps,) = PictureProbe(network, ["1"], Square(), insets={"1": 4}).activations(range(1)).values()
    assert torch.equal(maps, image[:, :1])
    (stretched,) = PictureProbe(network, ["1"], Square()).activations(range(1)).values()
    assert torch.equal(stretched, maps[:, :, 4:-4, 4:-4])
    with pytest.raises(ValueError, match="0 or more"):
        PictureProbe(network, ["1"], Square(), insets={"1": -1})
