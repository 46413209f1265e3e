"""Classifiers as models: cut and resumed, patched, written back; by name, by file, and of any module."""

import io
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from apps.cli import main
from rewrite import Patch, Preparation, Stack, WrappedGenerator, export, from_peft, load_classifier, to_peft, wrap
from rewrite.checkpoints.huggingface import need_transformers
from rewrite.classifiers import recognition
from rewrite.classifiers.packaged import save_small
from rewrite.classifiers.runs import HookedRun, TracedRun
from rewrite.classifiers.small_cnn import SmallDesign, initialised
from rewrite.generators.maps import as_maps
from rewrite.patch import base_of

DESIGN = SmallDesign(("cat", "dog", "owl"), (4, 6), size=(16, 16), norm=True)


class Residual(nn.Module):
    """Two paths, one of which passes the convolution by."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        return self.head(F.relu(x + self.conv(x)).mean(dim=(2, 3)))


class Wandering(Residual):
    """Its path depends on the numbers, so that it cannot be traced."""

    def forward(self, x):
        return super().forward(x if float(x.mean()) > -10 else -x)


class Forgetful(Residual):
    """What passes the convolution by is written over after it: going on twice from one cut would differ."""

    def forward(self, x):
        x = F.relu(self.stem(x))
        y = self.conv(x)
        return self.head(x.mul_(0.5).add_(y).mean(dim=(2, 3)))


def tokens():
    """A small vision transformer of torchvision."""
    network = pytest.importorskip("torchvision").models.VisionTransformer(16, 4, 1, 2, 8, 16, num_classes=3)
    nn.init.normal_(network.heads.head.weight)
    return network


MODULES = {"residual": Residual, "wandering": Wandering, "forgetful": Forgetful, "tokens": tokens}


def pictures(count: int = 3, side: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(5)) * 2 - 1


def small_file(folder, seed: int = 0):
    path = folder / "small.safetensors"
    save_small(path, initialised(DESIGN, seed), {"seed": seed})
    return path


def random_patch(classifier, layer: str) -> Patch:
    described = classifier.layer(layer)
    change = 0.1 * torch.randn(described.outputs, described.width // described.groups)
    about = {"base": base_of(classifier.weight(layer)), "model": classifier.fingerprint}
    return Patch.from_change(described, change.double(), **about)


@pytest.fixture(params=MODULES)
def classifier(request):
    torch.manual_seed(3)
    return wrap(MODULES[request.param](), images=16)


@torch.no_grad()
def test_a_cut_run_gives_the_scores_of_a_whole_one_at_every_layer_and_twice(classifier):
    images = pictures()
    expected = classifier.logits(images)
    assert classifier.layers
    for layer in classifier.layers:
        cut = classifier.cut(layer, images)
        for _ in range(2):
            torch.testing.assert_close(classifier.rerun(layer, cut), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_layers_matrix_times_its_keys_is_what_the_layer_writes(classifier):
    for layer, described in classifier.layers.items():
        cut = classifier.cut(layer, pictures())
        values = described.values(
            described.keys(cut.features).flatten(0, 1), described.matrix(classifier.weight(layer))
        )
        written = described.apply(cut.features, classifier.weight(layer)).flatten(2).transpose(1, 2).flatten(0, 1)
        torch.testing.assert_close(values, written, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_edit_of_a_cut_is_that_of_the_whole_network_and_comes_off_bit_for_bit(classifier):
    images, stack = pictures(), Stack(classifier)
    before = classifier.logits(images)
    for layer in classifier.layers:
        cut = classifier.cut(layer, images)
        stack.hold([(random_patch(classifier, layer), 1.0)])
        edited = classifier.logits(images)
        assert not torch.allclose(edited, before)
        torch.testing.assert_close(classifier.rerun(layer, cut), edited, rtol=1e-4, atol=1e-5)
        stack.clear()
        assert torch.equal(classifier.logits(images), before)


def test_only_what_follows_runs_again_where_the_network_can_be_traced(classifier):
    kind = (
        TracedRun if isinstance(classifier.module, tokens_type()) or type(classifier.module) is Residual else HookedRun
    )
    classifier.cut("conv" if hasattr(classifier.module, "conv") else "conv_proj", pictures())
    (run,) = classifier._runs.values()
    assert type(run) is kind


def tokens_type() -> type:
    return pytest.importorskip("torchvision").models.VisionTransformer


def test_gradients_flow_from_scores_to_what_a_layer_gives():
    classifier = wrap(Residual(), images=16)
    cut = classifier.cut("conv", pictures())
    output = classifier.output("conv", cut).detach().requires_grad_()
    (slope,) = torch.autograd.grad(classifier.onward("conv", cut, output).sum(), output)
    assert slope.shape == (3, 4, 16, 16)
    assert slope.any()


def test_tokens_are_maps_of_the_square_that_they_were_cut_from():
    maps = torch.arange(2 * 3 * 4.0).reshape(2, 3, 2, 2)
    prefixed = torch.cat([torch.zeros(2, 1, 3), maps.flatten(2).transpose(1, 2)], dim=1)
    assert torch.equal(as_maps(prefixed), maps)
    with pytest.raises(ValueError, match="no square"):
        as_maps(torch.zeros(1, 15 * 15 + 14, 3))


def test_a_module_without_latents_is_a_classifier_and_one_with_them_a_generator():
    assert wrap(Residual(), images=(16, 12)).size == (16, 12)
    generator = wrap(nn.Sequential(nn.Unflatten(1, (8, 1, 1)), nn.ConvTranspose2d(8, 3, 4)), 8)
    assert isinstance(generator, WrappedGenerator)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({}, "name latents of a module that draws images, or the size"),
        ({"latents": 4, "images": 16}, "images is a conversion"),
        ({"images": 16, "classes": ("a", "b")}, "scores 3 classes, 2 are named"),
        ({"images": 16, "prepare": lambda x: x[:, :2]}, r"does not run on images of 3 x 16 x 16 .*prepare="),
        ({"images": 16, "scores": lambda x: x[:, 0]}, r"gives \(2,\) where scores"),
    ],
)
def test_what_cannot_be_wrapped_is_refused_in_one_sentence(how, says):
    with pytest.raises(ValueError, match=says):
        wrap(Residual(), **how)


def test_a_layer_or_a_class_that_is_not_there_is_refused_with_the_nearest():
    classifier = wrap(Residual(), images=16, classes=("cat", "dog", "owl"))
    with pytest.raises(LookupError, match="this classifier has no layer 'cnv': did you mean conv"):
        classifier.cut("cnv", pictures())
    with pytest.raises(LookupError, match="no class 'dgo': did you mean dog"):
        classifier.class_number("dgo")
    assert classifier.class_number("owl") == classifier.class_number(2) == 2


def test_preparing_is_resizing_and_normalising():
    images = pictures(2, 8)
    prepared = Preparation((8, 8), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))(images)
    expected = ((images + 1) / 2 - torch.tensor([0.4, 0.5, 0.6])[:, None, None]) / torch.tensor([0.2, 0.3, 0.4])[
        :, None, None
    ]
    torch.testing.assert_close(prepared, expected)
    assert Preparation((4, 6))(images).shape == (2, 3, 4, 6)


def test_a_saved_classifier_is_loaded_with_its_classes_and_exported_byte_for_byte(tmp_path):
    path = small_file(tmp_path)
    classifier = load_classifier(path)
    assert classifier.classes == DESIGN.classes
    assert classifier.size == (16, 16)
    patch = random_patch(classifier, "conv2")
    export(classifier, patch, tmp_path / "edited.safetensors", strengths=[0.0])
    assert (tmp_path / "edited.safetensors").read_bytes() == path.read_bytes()
    export(classifier, patch, tmp_path / "edited.safetensors")
    edited = load_classifier(tmp_path / "edited.safetensors")
    with patch.applied(classifier):
        torch.testing.assert_close(edited.weight("conv2"), classifier.weight("conv2"), rtol=1e-3, atol=1e-3)
    assert torch.equal(edited.weight("conv1"), classifier.weight("conv1"))


def test_a_patch_of_a_classifier_is_an_adapter_of_peft_and_back(tmp_path):
    classifier = load_classifier(small_file(tmp_path))
    patch = random_patch(classifier, "conv2")
    to_peft(classifier, patch, tmp_path / "adapter")
    (found,) = from_peft(classifier, tmp_path / "adapter")
    torch.testing.assert_close(found.left @ found.right, patch.left @ patch.right)


@pytest.mark.parametrize("damage", ["header", "weights", "kind"])
def test_a_damaged_classifier_is_refused(tmp_path, damage):
    from rewrite.storage import files

    path = small_file(tmp_path)
    weights, about = files.load_tensors(path, "classifier")
    if damage == "header":
        about["widths"] = [4, -6]
    if damage == "weights":
        weights["conv1.weight"] = weights["conv1.weight"][:2]
    files.save_tensors(path, weights, "memory" if damage == "kind" else "classifier", about)
    with pytest.raises(ValueError, match=r"damaged|not a classifier"):
        load_classifier(path)


def test_a_name_that_is_no_classifier_is_refused_with_the_nearest():
    with pytest.raises(FileNotFoundError, match="did you mean scenes-norm"):
        load_classifier("scenes-nrom")


@pytest.mark.parametrize("classes", [None, 7])
def test_a_state_dict_of_torchvision_is_recognised_whatever_the_number_of_classes(tmp_path, classes):
    models = pytest.importorskip("torchvision").models
    torch.manual_seed(0)
    network = models.resnet18(**({} if classes is None else {"num_classes": classes})).eval()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "net.pth")
    classifier = load_classifier(tmp_path / "net.pth")
    assert len(classifier.classes) == (classes or 1000)
    assert ("tench" in classifier.classes) == (classes is None)
    images = pictures(1, 224)
    with torch.no_grad():
        torch.testing.assert_close(classifier.logits(images), network(Preparation()(images)), rtol=1e-4, atol=1e-4)
    export(classifier, random_patch(classifier, "fc"), tmp_path / "edited.pth")
    edited = torch.load(tmp_path / "edited.pth", weights_only=True)["state_dict"]
    changed = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, edited[name])]
    assert changed == ["fc.weight"]


def test_a_state_dict_that_is_not_recognised_is_loaded_by_the_name_of_its_network(tmp_path):
    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet10t", num_classes=4).eval()
    torch.save(network.state_dict(), tmp_path / "net.pth")
    with pytest.raises(ValueError, match="no classifier that is known by its tensors: name its network"):
        load_classifier(tmp_path / "net.pth")
    classifier = load_classifier(tmp_path / "net.pth", architecture="timm:resnet10t", classes=("a", "b", "c", "d"))
    assert torch.equal(classifier.weight("fc"), network.fc.weight)
    export(classifier, random_patch(classifier, "fc"), tmp_path / "edited.pth")


def test_only_networks_whose_scores_have_the_name_of_a_files_are_built_to_recognise_it(monkeypatch):
    pytest.importorskip("torchvision")
    built, build = list[str](), recognition.build
    monkeypatch.setattr(recognition, "build", lambda library, name: built.append(name) or build(library, name))
    recognition._shapes_of.cache_clear()
    other = {f"layer{number}.weight": (1,) for number in range(20)}
    assert recognition.recognised({"heads.head.weight": (3, 4)}) is None
    assert built == []
    assert recognition.recognised({**other, "heads.head.weight": (3, 4)}) is None
    assert {name.partition("_")[0] for name in built} == {"vit"}


def test_weights_of_a_library_come_from_the_file_that_is_named(tmp_path, monkeypatch):
    models = pytest.importorskip("torchvision").models
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match="squeezenet1_1 are not in torch's cache"):
        load_classifier("torchvision:squeezenet1_1")
    torch.save(models.squeezenet1_1(weights=None).state_dict(), tmp_path / "net.pth")
    classifier = load_classifier("torchvision:squeezenet1_1", weights=tmp_path / "net.pth")
    assert classifier.classes[0] == "tench"


def test_a_network_of_transformers_is_loaded_from_a_folder(tmp_path):
    need_transformers("a test")
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    network = ViTForImageClassification(
        ViTConfig(**sizes, image_size=16, patch_size=4, id2label={0: "cat", 1: "dog"}, label2id={"cat": 0, "dog": 1})
    ).eval()
    network.save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(
        tmp_path
    )
    classifier = load_classifier(f"hf:{tmp_path}")
    assert classifier.classes == ("cat", "dog")
    with torch.no_grad():
        torch.testing.assert_close(classifier.logits(pictures()), network(pictures()).logits, rtol=1e-4, atol=1e-5)
    export(classifier, random_patch(classifier, "classifier"), tmp_path / "edited.pth", container="state-dict")
    assert "classifier.weight" in torch.load(tmp_path / "edited.pth", weights_only=True)


def test_without_a_package_a_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(FileNotFoundError, match=r"model-rewriting\[classifiers\]"):
        load_classifier("timm:resnet10t")


def test_inspect_knows_a_classifier_of_ours_and_a_state_dict_of_torchvision(tmp_path, capsys):
    assert main(["inspect", str(small_file(tmp_path))]) == 0
    said = capsys.readouterr().out
    assert "kind: classifier" in said
    assert "classes: cat, dog, owl" in said
    assert "conv2: 4 to 6 channels" in said
    network = pytest.importorskip("torchvision").models.resnet18()
    torch.save(network.state_dict(), tmp_path / "net.pth")
    assert main(["inspect", str(tmp_path / "net.pth")]) == 0
    said = capsys.readouterr().out
    assert "family: torchvision's resnet18" in said
    assert "and 980 more" in said


def test_a_classifier_survives_pickling():
    classifier = wrap(Residual(), images=16)
    copy = torch.load(io.BytesIO(_saved(classifier)), weights_only=False)
    assert torch.equal(copy.logits(pictures()), classifier.logits(pictures()))


def _saved(classifier) -> bytes:
    content = io.BytesIO()
    torch.save(classifier, content)
    return content.getvalue()
