"""Networks as people have them: of any shape and colours, of classes, without what files may leave out; and their w."""

import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from rewrite import export, load_generator, measure, wrap
from rewrite.checkpoints import native
from rewrite.generators.layers import beyond
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.generators.stylegan3 import Design3
from rewrite.memory import Memory
from rewrite.reports.pictures import to_pil
from tests.foreign_files import rosinality_state, write_rosinality
from tests.networks import CONFIG, SMALL3, marked_rule, patch_of, random_stylegan2, random_stylegan3
from tests.nvidia_files import stylegan2, write_network, write_stylegan2, write_stylegan3

CLASSES = Design(**CONFIG, c_dim=4)


@pytest.mark.parametrize(("height", "width"), [(4, 2), (2, 4), (5, 3)])
@pytest.mark.parametrize("tool", ["rosinality", "nvidia", "ours"])
def test_a_stylegan2_whose_images_are_no_squares_draws_and_takes_an_edit(tmp_path, tool, height, width):
    design = Design(**CONFIG, first_height=height, first_width=width, conv_gain=tool == "rosinality")
    generator = StyleGAN2Generator(random_stylegan2(design=design), noise="const")
    path = tmp_path / "model.safetensors"
    if tool == "ours":
        native.save(path, generator, {})
    else:
        path = path.with_suffix(".pt")
        (write_rosinality if tool == "rosinality" else write_stylegan2)(path, generator)
    found = load_generator(path)
    assert found.size == (4 * height, 4 * width)
    torch.testing.assert_close(found.sample([0, 7]), generator.sample([0, 7]), rtol=0, atol=1e-6)
    for layer in ("b4.conv1", "b8.conv0", "b16.conv1", "b16.torgb"):
        cut = found.cut(layer, found.latents([3]))
        torch.testing.assert_close(found.rerun(layer, cut), found.images(found.latents([3])), rtol=0, atol=1e-5)
    patch = patch_of(found, "b8.conv0")
    export(found, patch, tmp_path / f"edited{path.suffix}")
    with patch.applied(found):
        again = load_generator(tmp_path / f"edited{path.suffix}").sample([3])
        torch.testing.assert_close(again, found.sample([3]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("side", [20, 24, 30, 33])
def test_a_stylegan3_of_any_side_draws_its_images_and_says_where_its_cells_lie(tmp_path, side):
    generator = random_stylegan3(replace(SMALL3, img_resolution=side))
    found = load_generator(write_stylegan3(tmp_path / "model.pkl", generator))
    assert found.sample([0]).shape == (1, 3, side, side)
    assert torch.equal(found.sample([0]), generator.sample([0]))
    last = list(found.layers.values())[-1]
    # The colours have no margin: their map is the image.
    assert last.margin == 0
    assert last.output_grid == (side, side) or last.kernel == (1, 1)


NARROW3 = Design3(z_dim=8, w_dim=8, img_resolution=64, channel_base=512, channel_max=12, num_layers=4, square=False)


def test_the_middle_of_a_stylegan3_half_as_wide_is_that_of_the_square_one():
    narrow, square = (random_stylegan3(replace(NARROW3, square=each)) for each in (False, True))
    weights = zip(narrow.network.state_dict().values(), square.network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    found, whole = narrow.sample([0, 5]), square.sample([0, 5])
    assert found.shape == (2, 3, 64, 32)
    # Borders reach inwards as far as the kernels and filters of all layers do.
    torch.testing.assert_close(found[..., 14:18], whole[..., 30:34], rtol=0, atol=1e-4)
    assert (found[..., :2] - whole[..., 16:18]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["pickle", "state dict", "ours"])
def test_a_stylegan3_of_stylegan_human_is_read_and_takes_an_edit(tmp_path, kind):
    generator = random_stylegan3(replace(NARROW3, channel_base=4096, channel_max=32, num_layers=14))
    path = tmp_path / "model.safetensors"
    if kind == "ours":
        native.save(path, generator, {})
    elif kind == "pickle":
        path = write_stylegan3(tmp_path / "model.pkl", generator)
    else:
        path = tmp_path / "model.pt"
        torch.save(generator.network.state_dict(), path)
    found = load_generator(path)
    assert found.size == (64, 32)
    assert torch.equal(found.sample([0]), generator.sample([0]))
    layer = list(found.layers)[5]
    cut = found.cut(layer, found.latents([3]))
    torch.testing.assert_close(found.rerun(layer, cut), found.images(found.latents([3])), rtol=0, atol=1e-5)
    patch = patch_of(found, layer)
    export(found, patch, tmp_path / f"edited{path.suffix}")
    with patch.applied(found):
        again = load_generator(tmp_path / f"edited{path.suffix}").sample([3])
        torch.testing.assert_close(again, found.sample([3]), rtol=0, atol=1e-6)
    # A map is half as wide as high, and so is its margin: the middle of the image is that of the map.
    for each in found.layers.values():
        tall, wide = (cells - sum(beyond(each.overhang, axis)) for axis, cells in enumerate(each.output_grid))
        assert tall == pytest.approx(2 * wide)


class Coloured(nn.Module):
    """A network that gives so many channels."""

    def __init__(self, count: int):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.out = nn.Linear(6, 2 * 64), nn.Conv2d(2, count, 3, padding=1)

    def forward(self, z):
        return torch.tanh(self.out(self.fc(z).view(-1, 2, 8, 8)))


def test_networks_of_one_two_and_four_colours_are_drawn_grey_refused_and_drawn_with_opacity(tmp_path):
    grey, clear = wrap(Coloured(1).eval(), 6), wrap(Coloured(4).eval(), 6)
    assert torch.equal(grey.sample([0])[:, :1].expand(-1, 3, -1, -1), grey.sample([0]))
    assert to_pil(grey.sample([0]))[0].mode == "RGB"
    assert to_pil(clear.sample([0]))[0].mode == "RGBA"
    with pytest.raises(ValueError, match=r"1 \(grey\), 3 \(RGB\) or 4 \(RGBA\) channels, the network gives 2"):
        wrap(Coloured(2).eval(), 6)
    for count in (1, 2, 4):
        network = random_stylegan2(design=Design(**CONFIG, colours=count))
        path = write_network(tmp_path / "model.pkl", stylegan2(network))
        if count == 2:
            with pytest.raises(ValueError, match="the network gives 2"):
                load_generator(path)
            continue
        assert load_generator(path).sample([0]).shape == (1, 4 if count == 4 else 3, 16, 16)


def test_a_class_is_drawn_and_a_memory_of_one_is_not_taken_for_another(tmp_path, answer, refusal):
    path = tmp_path / "model.safetensors"
    native.save(path, StyleGAN2Generator(random_stylegan2(design=CLASSES)), {})
    third = load_generator(path, label=3)
    assert not torch.equal(third.sample([0]), load_generator(path).sample([0]))
    answer(
        "measure", path, "--layer", "b8.conv1", "--samples", "20", "--class", "3", "--out", tmp_path / "m.safetensors"
    )
    memory = Memory.load(tmp_path / "m.safetensors")
    memory.check(third, "b8.conv1")
    with pytest.raises(ValueError, match="measured on class 3, not on class 0"):
        memory.check(load_generator(path), "b8.conv1")
    third.noise = "none"
    with pytest.raises(ValueError, match="measured with noise 'seed', not 'none'"):
        memory.check(third, "b8.conv1")
    rule = marked_rule(path, layer="b8.conv1", label=3)
    rule.save(tmp_path / "rule.json")
    arguments = [tmp_path / "rule.json", "--model", path, "--samples", "20", "--out", tmp_path / "patch.safetensors"]
    assert answer("solve", *arguments)["layer"] == "b8.conv1"
    assert "written on class 3, the generator draws class 1" in refusal("solve", *arguments, "--class", "1")
    assert "draws classes 0 to 3, got 4" in refusal("sample", path, "--class", "4", "--out", tmp_path / "a.png")


def test_mixed_classes_go_by_the_seed(tmp_path):
    path = tmp_path / "model.safetensors"
    native.save(path, StyleGAN2Generator(random_stylegan2(design=CLASSES)), {})
    mixed = load_generator(path, label=None).sample(range(8))
    for seed in (2, 5):
        torch.testing.assert_close(mixed[seed], load_generator(path, label=seed % 4).sample([seed])[0])


def test_a_memory_that_an_older_version_wrote_still_fits(tiny_generator, tmp_path):
    memory = replace(measure(tiny_generator, "b8.conv1", 5), noise=None)
    memory.save(tmp_path / "old.safetensors")
    Memory.load(tmp_path / "old.safetensors").check(tiny_generator, "b8.conv1")


def test_without_a_mean_latent_truncation_is_towards_the_mean_of_many(tmp_path, scaled, capsys, answer):
    torch.save({"g_ema": rosinality_state(scaled.network)}, tmp_path / "model.pt")
    found = load_generator(tmp_path / "model.pt", truncation=0.5)
    z = torch.randn(4096, 8, generator=torch.Generator().manual_seed(3))
    expected = scaled.network.mapping(z).mean(dim=0)
    near = found.network.mapping.mean()
    assert (near - expected).norm() < 0.1 * scaled.network.mapping(z).std(dim=0).norm()
    assert not torch.equal(found.sample([0]), load_generator(tmp_path / "model.pt").sample([0]))
    assert load_generator(tmp_path / "model.pt").fingerprint == found.fingerprint
    assert "no mean latent" in answer("inspect", tmp_path / "model.pt")["assumed"][0]
    answer("sample", tmp_path / "model.pt", "--seeds", "0", "--truncation", "0.5", "--out", tmp_path / "a.png")


def test_noise_that_a_file_does_not_hold_is_drawn_by_the_seed(tmp_path, scaled):
    state = rosinality_state(scaled.network)
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("noises.")}
    torch.save({"g_ema": kept}, tmp_path / "model.pt")
    scaled.noise = "seed"
    torch.testing.assert_close(load_generator(tmp_path / "model.pt").sample([5]), scaled.sample([5]), rtol=0, atol=1e-6)


def test_a_conditional_network_in_rosinalitys_names_is_refused(tmp_path, scaled):
    state = rosinality_state(scaled.network)
    state["style.1.weight"] = torch.randn(8, 16)
    torch.save({"g_ema": state}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="reads 16 numbers and writes 8: z and something else"):
        load_generator(tmp_path / "model.pt")


def test_a_subclass_of_nvidias_generator_is_named_and_refused(tmp_path):
    written = stylegan2(random_stylegan2())
    written.class_name = "SuperresGenerator"
    with pytest.raises(ValueError, match="holds a SuperresGenerator, which is another class than NVIDIA's Generator"):
        load_generator(write_network(tmp_path / "model.pkl", written))
    network = random_stylegan2()
    network.mapping.register_buffer("temperature", torch.ones(1))
    with pytest.raises(ValueError, match=r"holds mapping\.temperature, for which a Generator of NVIDIA's has no use"):
        load_generator(write_network(tmp_path / "model.pkl", stylegan2(network)))


@pytest.mark.parametrize("kind", ["one", "some", "plus"])
@pytest.mark.parametrize("ending", ["npz", "pt"])
def test_w_of_a_projector_stand_in_for_seeds(files, tmp_path, answer, kind, ending):
    generator = load_generator(files["model"])
    generator.noise = "const"
    w = generator.network.mapping(generator.latents([4, 9]).z).detach()
    given = {"one": w[0], "some": w, "plus": w[:, None].repeat(1, generator.network.num_ws, 1)}[kind]
    path = tmp_path / f"projected_w.{ending}"
    np.savez(path, w=given.numpy()) if ending == "npz" else torch.save({"latent": given}, path)
    answer("sample", files["model"], "--latents", path, "--noise", "const", "--each", tmp_path / "each")
    expected = to_pil(generator.sample([4, 9]))
    drawn = sorted((tmp_path / "each").iterdir())
    assert len(drawn) == (1 if kind == "one" else 2)
    for found, picture in zip(drawn, expected, strict=False):
        with Image.open(found) as opened:
            assert np.abs(np.int32(opened) - np.int32(picture)).max() <= 1


def test_latents_of_another_generator_are_refused(files, tmp_path, refusal):
    np.savez(tmp_path / "w.npz", w=np.zeros((1, 3, 8), np.float32))
    arguments = ["sample", files["model"], "--latents", tmp_path / "w.npz", "--out", tmp_path / "a.png"]
    assert "of shape (1, 3, 8), the generator takes (8), (images, 8) or (images, 6, 8)" in refusal(*arguments)
    (tmp_path / "w.npz").write_bytes(b"PK nothing")
    assert "cannot be read as latents" in refusal(*arguments)
    assert "required: --out, a picture, or --each" in refusal("sample", files["model"])


def test_each_seed_has_a_picture_of_its_own(files, tmp_path, answer):
    answer("sample", files["model"], "--seeds", "3,12", "--each", tmp_path / "each", "--out", tmp_path / "all.png")
    assert [path.name for path in sorted((tmp_path / "each").iterdir())] == ["seed0003.png", "seed0012.png"]
    answer("sample", files["model"], "--seeds", "12", "--each", tmp_path / "each")  # into a folder that is there
    with Image.open(tmp_path / "each" / "seed0012.png") as found:
        assert np.array_equal(np.asarray(found), np.asarray(to_pil(load_generator(files["model"]).sample([12]))[0]))


class LeNet(nn.Module):
    """The network of many first lessons; `normed` and wider, as people change it."""

    def __init__(self, colours: int, *, normed: bool):
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.conv2 = nn.Conv2d(colours, 6, 5), nn.Conv2d(6, 16, 5)
        self.norm = nn.BatchNorm2d(6) if normed else nn.Identity()
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 5 * 5, 120), nn.Linear(120, 84), nn.Linear(84, 10)


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.filterwarnings("ignore")
def test_a_convolutional_classifier_is_named_as_such(tmp_path, refusal, answer, colours, normed, ending):
    path, state = tmp_path / f"lenet.{ending}", LeNet(colours, normed=normed).state_dict()
    torch.save({"model": state}, path) if ending == "pt" else save_file(state, path)
    for said in (answer("inspect", path)["generator"], refusal("sample", path, "--out", tmp_path / "a.png")):
        assert "it looks like a convolutional classifier, which draws nothing" in said
        assert "DCGAN" not in said


OTHER_TOOLS = {
    "model.onnx": (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\xf4", "is an ONNX model, .* export from the PyTorch model"),
    "model.gguf": (b"GGUF\x03\x00\x00\x00" + bytes(64), "is a GGUF file, .* quantised weights"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "is a HDF5 file, .* convert its weights"),
}


@pytest.mark.parametrize("name", OTHER_TOOLS)
@pytest.mark.filterwarnings("ignore")
def test_files_of_other_tools_are_named_alike_by_all_commands_with_what_to_do(tmp_path, name, refusal, answer):
    content, said = OTHER_TOOLS[name]
    (tmp_path / name).write_bytes(content)
    for command in (["sample", tmp_path / name], ["measure", tmp_path / name, "--layer", "a"]):
        assert re.search(said, refusal(*command, "--out", tmp_path / "out.png"))
    assert re.search(answer("inspect", tmp_path / name)["kind"].split(",")[0], said)


@pytest.mark.filterwarnings("ignore")
def test_a_torchscript_archive_and_a_keras_archive_are_refused_with_what_to_do(tmp_path, refusal):
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pt")
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    out = ["--out", tmp_path / "a.png"]
    assert "is a TorchScript archive, in which no generator is read: save" in refusal(
        "sample", tmp_path / "script.pt", *out
    )
    assert "is a Keras archive, in which no generator is read" in refusal("sample", tmp_path / "model.keras", *out)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("decoder.conv_in.weight", "an autoencoder of diffusers"),
        ("generator.gen_z.weight", "it is a BigGAN"),
        ("layers.3.weight", r"where it is a generator, .*rewrite\.wrap"),
    ],
)
def test_what_holds_no_known_generator_says_what_to_do(tmp_path, name, said):
    torch.save({"state_dict": {name: torch.zeros(2, 3)}}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=f"holds no generator that is known here; it holds state_dict; .*{said}"):
        load_generator(tmp_path / "model.pt")
