"""Trained networks of other people, as they stand: wrapped, measured, edited, restored, dissected; else skipped."""

import importlib.util
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dissect import CallableSource, Concepts, GeneratorProbe, NetworkSource, PictureProbe, dissect, write_units
from dissect.sources.folders import Annotations
from rewrite import Mask, measure, solve, wrap
from rewrite.rules.regions import Latent, Region
from rewrite.rules.rule import Rule
from rewrite.rules.settings import Settings

FOLDER = Path(__file__).parents[2] / "shared" / "weights"
LAYERS = {
    "anime_faces128": "blocks.8.conv1",
    "house_numbers32": "deconv2",
    "faces32": "generator_deconv.2.0",
    "santa_cruz": "scene.scales.3.body.block2.conv",
}

# Scales of the scenes that are tried: what is added after them only makes the images larger.
SCALES = {"santa_cruz": 6, "colosseum": 8}

pytestmark = pytest.mark.skipif(not (FOLDER / "networks.py").exists(), reason="the folder of real networks is missing")


class OfRows(nn.Module):
    """A scene that reads the noise of all its scales in one row."""

    def __init__(self, scene: nn.Module):
        super().__init__()
        self.scene, self.shapes = scene, [tensor.shape[1:] for tensor in scene.sample_latents()]

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        parts = rows.split([shape.numel() for shape in self.shapes], dim=1)
        return self.scene([part.reshape(len(rows), *shape) for part, shape in zip(parts, self.shapes, strict=True)])


def networks_of_others():
    """The file that builds the networks."""
    spec = importlib.util.spec_from_file_location("networks", FOLDER / "networks.py")
    networks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(networks)
    return networks


def real(name: str):
    """One of the networks as a generator."""
    networks = networks_of_others()
    network = networks.NETWORKS[name]().requires_grad_(False)
    if name == "anime_faces128":
        return wrap(network, lambda seeds: torch.cat([network.sample_latents(1, seed) for seed in seeds]))
    if name == "house_numbers32":
        return wrap(network, 100)
    if name == "faces32":
        return wrap(network, lambda seeds: torch.stack([uniform(seed) for seed in seeds]))
    rows = OfRows(coarse(network, SCALES[name]))
    return wrap(rows, lambda seeds: torch.stack([noise(network, seed) for seed in seeds]))


def coarse(scene: nn.Module, scales: int) -> nn.Module:
    """A scene of its coarsest scales alone."""
    scene.sizes, scene.amp, scene.scales = scene.sizes[:scales], scene.amp[:scales], scene.scales[:scales]
    return scene


def uniform(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(seed).uniform(-1, 1, 100)).float()


def noise(scene: nn.Module, seed: int) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in scene.sample_latents(seed)])


def edit(generator, layer: str, samples: int):
    """A rule that copies the middle of one image to the middle of others."""
    height, width = generator.size
    mask = np.zeros((height, width), dtype=bool)
    mask[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = True
    copy, *places = (Region(Latent(seed), Mask.from_array(mask)) for seed in range(5))
    settings = Settings(key_space="channel")
    rule = Rule("middle", generator.fingerprint, layer, copy=(copy,), context=tuple(places), settings=settings)
    return solve(generator, measure(generator, layer, samples, key_space="channel"), rule)


@pytest.mark.parametrize("name", LAYERS)
def test_a_real_network_is_measured_edited_and_restored(name):
    generator = real(name)
    assert len(generator.layers) >= 3
    seeds = [7, 8]
    before, weight = generator.sample(seeds), generator.weight(LAYERS[name]).clone()
    assert before.std() > 0.1
    patch = edit(generator, LAYERS[name], 30)
    assert patch.forecast["residual"] < 0.9
    with patch.applied(generator):
        after = generator.sample(seeds)
    assert (after - before).abs().mean() > 1e-3
    assert torch.equal(generator.weight(LAYERS[name]), weight)
    torch.testing.assert_close(generator.sample(seeds), before, rtol=0, atol=1e-6)


class Coarse(nn.Module):
    """The coarsest scales of a scene, all of them fed with noise, so that its layout varies."""

    def __init__(self, scene: nn.Module, scales: int):
        super().__init__()
        self.rows = OfRows(coarse(scene, scales))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.rows(rows)

    def latents(self, seeds) -> torch.Tensor:
        scene = self.rows.scene
        return torch.stack([torch.cat([part.flatten() for part in scene.sample_latents(s, start=0)]) for s in seeds])


def boxes(where: np.ndarray, height: int, width: int) -> list[Mask]:
    """The boxes of a grid that lie in a part of the image."""
    found = []
    for top in range(0, where.shape[0] - height + 1, height):
        for left in range(0, where.shape[1] - width + 1, width):
            if where[top : top + height, left : left + width].mean() > 0.9:
                found.append(box(where.shape, top, left, height, width))
    return found


def box(size: tuple[int, int], top: int, left: int, height: int, width: int) -> Mask:
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return Mask.from_array(mask)


def test_the_crown_of_the_tree_takes_the_gold_of_the_flowers_on_images_that_no_one_marked():
    module = Coarse(networks_of_others().NETWORKS["tree"]().requires_grad_(False), scales=6)
    generator, layer = wrap(module, module.latents), "rows.scene.scales.0.tail.0"
    assert generator.size == (80, 80)
    crown, away = np.zeros((80, 80), dtype=bool), np.ones((80, 80), dtype=bool)
    crown[26:58, 36:74], away[14:68, 24:] = True, False
    copies = tuple(Region(Latent(seed), box((80, 80), 70, left, 9, 12)) for seed in (0, 1) for left in (6, 24, 44, 60))
    places = tuple(Region(Latent(seed), mask) for seed in range(4) for mask in boxes(crown, 9, 12))
    kept = tuple(Region(Latent(seed), Mask.from_array(away)) for seed in range(20, 26))
    rule = Rule("golden tree", generator.fingerprint, layer, copy=copies, context=places, protect=kept)
    patch = solve(generator, measure(generator, layer, 20), rule.with_settings(damage=0.003, margin=3))

    before = generator.sample(range(100, 104))
    with patch.applied(generator):
        after = generator.sample(range(100, 104))
    crown, away = torch.from_numpy(crown), torch.from_numpy(away)
    gold = [(images[:, 0] - images[:, 1])[:, crown].mean(dim=1) for images in (before, after)]
    assert (gold[0] < 0).all()
    assert (gold[1] > 0.05).all()
    assert ((after - before)[:, 0][:, crown].mean(dim=1) > 0.2).all()
    # The normalisation of a scene goes over its whole image, so that what was kept at the layer still moves after it.
    moved = (after - before).abs().mean(dim=1)
    assert (moved[:, away].mean(dim=1) < 0.75 * moved[:, crown].mean(dim=1)).all()
    assert ((after[:, 2] - after[:, 0])[:, :12].mean(dim=(1, 2)) > 0.4).all()


BLUE_PLATES = (214, 245, 183, 396, 130, 338, 93, 102, 248, 261, 341, 72, 204, 186, 300, 213, 34, 218)


def test_blue_plates_of_house_numbers_become_crimson_on_images_that_no_one_marked():
    generator, layer = real("house_numbers32"), "deconv3"
    places = [
        Region(Latent(seed), mask)
        for seed, image in zip(BLUE_PLATES, generator.sample(BLUE_PLATES), strict=True)
        for mask in boxes(blue(image).numpy(), 4, 4)
    ][::4]
    plain = [seed for seed, image in enumerate(generator.sample(range(30))) if blue(image, 0.1).float().mean() < 0.03]
    kept = tuple(Region(Latent(seed), box((32, 32), 0, 0, 32, 32)) for seed in plain[:6])
    copy = Region(Latent(379), box((32, 32), 2, 9, 4, 4))
    rule = Rule(
        "crimson",
        generator.fingerprint,
        layer,
        copy=(copy,),
        context=tuple(places),
        protect=kept,
        fit="none",
        settings=Settings(damage=0.1),
    )
    patch = solve(generator, measure(generator, layer, 200), rule)

    before = generator.sample(range(1000, 1200))
    with patch.applied(generator):
        after = generator.sample(range(1000, 1200))
    plates = torch.stack([blue(image) for image in before])
    redder = [images[:, 0] - images[:, 2] for images in (before, after)]
    assert redder[0][plates].mean() < -0.15
    assert redder[1][plates].mean() > 0.05
    each = [(after - before)[number, 0][where].mean() for number, where in enumerate(plates) if where.sum() > 200]
    assert len(each) > 10
    assert np.mean([float(change) > 0 for change in each]) > 0.9
    moved = (after - before).abs().mean(dim=1)
    assert moved[~plates].mean() < 0.6 * moved[plates].mean()


def blue(image: torch.Tensor, least: float = 0.16) -> torch.Tensor:
    """Where an image is plainly blue and not bright."""
    return (image[2] - image[0] > least) & (image.mean(dim=0) < 0.05)


def ade32() -> NetworkSource:
    networks = networks_of_others()
    concepts = Concepts.of(networks.ADE32)
    return NetworkSource(networks.ade32(), concepts, (512, 512), lambda images: images / 2 + 0.5)


def test_units_of_a_scene_whose_layout_is_fixed_agree_as_well_with_the_labels_of_other_images():
    # All images of it show one photograph: where things stand says as much as what units see.
    generator, layers = real("colosseum"), ["scene.scales.3.body.block2.conv", "scene.scales.6.body.block2.norm"]
    probe = GeneratorProbe(generator, layers, ade32(), margins=dict.fromkeys(layers, 2))
    found = dissect(probe, 3, level_samples=2)
    assert probe.units == {layers[0]: 32, layers[1]: 64}
    for one in found.values():
        scores = one.scores
        detectors = np.flatnonzero(scores.detects())
        pairs = detectors, scores.best[detectors]
        assert len(detectors)
        assert np.median(scores.chance[pairs] / scores.iou[pairs]) > 0.8
        seen = {one.concepts.names[number] for number in one.tally.labelled.nonzero()[:, 0].tolist()}
        assert {"sky", "building"} <= seen


def test_hair_of_the_anime_faces_is_found_where_its_label_acts():
    generator = real("anime_faces128")
    network, colours = generator.module, Concepts.of([f"hair {number}" for number in range(13)])

    @torch.no_grad()
    def hair(images: torch.Tensor, numbers) -> torch.Tensor:
        """Of each image what changes where another hair colour is asked for, under the number of its own."""
        latents = torch.cat([network.sample_latents(1, number) for number in numbers])
        own = latents[:, 128:141].argmax(dim=1)
        other = latents.clone()
        other[:, 128:141] = latents[:, 128:141].roll(1, dims=1)
        changed = (network(other) - images).abs().mean(dim=1) > 0.25
        return torch.where(changed, own[:, None, None], -1)

    probe = GeneratorProbe(generator, ["blocks.15", "ups.1"], CallableSource(hair, colours))
    found = dissect(probe, 12, level_samples=6, informative=True)
    scores = found["ups.1"].scores
    assert (scores.iou > scores.chance + 0.04).any()
    assert found["ups.1"].graded.informative(found["ups.1"].grades).iou.max() > 0.2
    whole = CallableSource(lambda images, numbers: hair(images, numbers).amax(dim=(1, 2))[:, None, None], colours)
    labels = GeneratorProbe(generator, ["ups.1"], whole).observe(range(3)).labels
    assert labels.shape == (3, 1, 128, 128)
    assert (labels == labels[:, :, :1, :1]).all()


def test_a_classifier_is_dissected_on_photographs_that_a_segmenter_labelled(tmp_path):
    source = ade32()
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "names.txt").write_text("\n".join(source.concepts.names))
    with zipfile.ZipFile(next(FOLDER.rglob("ade20k_tiny.zip"))) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg", ".png"))]
        for number, name in enumerate(names):
            picture = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            picture.save(tmp_path / "images" / f"{number}.png")
            image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1
            labels = source.label(image, [0])[0, 0].numpy() + 1
            Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "annotations" / f"{number}.png")

    network, pictures = networks_of_others().imagenet_edgetpu(), Annotations(tmp_path)
    layer = [name for name, stage in network.named_modules() if isinstance(stage, nn.Conv2d)][12]
    probe = PictureProbe(network, [layer], pictures, lambda images: images / 2 + 0.5)
    found = dissect(probe, len(names) - len(names[::5]), level_samples=2)
    write_units(tmp_path / "units", probe, found)
    scores = found[layer].scores
    assert scores.detects().any()
    assert scores.tally.images == len(names) - len(names[::5])
    assert set(scores.detectors()) <= set(source.concepts.names)
    assert (tmp_path / "units" / "units.html").stat().st_size > 10**4
