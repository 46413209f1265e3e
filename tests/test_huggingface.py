"""Networks of transformers label images at their own size; nothing that a folder holds is run."""

import json
import pickle
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from dissect.sources import network as network_source
from dissect.sources.huggingface import HuggingFaceSource
from dissect.sources.network import most_likely
from dissect.units.counting import dissect
from dissect.units.probe import GeneratorProbe
from rewrite import load_generator
from rewrite.checkpoints.huggingface import need_transformers
from tests.networks import marked_rule, patch_of

NAMES = ("wall", "tree", "tree", "", "sky")
MEAN, STD, SIDE = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), 32
PROCESSORS = {
    "segformer": {
        "image_processor_type": "SegformerImageProcessor",
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": STD,
        "size": {"height": SIDE, "width": SIDE},
        "resample": 2,
    },
    # What this one is made for cuts the border off.
    "mobilenet_v2": {
        "image_processor_type": "MobileNetV2ImageProcessor",
        "do_center_crop": True,
        "crop_size": {"height": SIDE, "width": SIDE},
        "image_mean": MEAN,
        "image_std": STD,
        "size": {"shortest_edge": 40},
        "resample": 2,
    },
}


def network(family: str, names: Sequence[str] = NAMES) -> torch.nn.Module:
    """A tiny random network that segments into a few concepts."""
    need_transformers("a test")
    from transformers import (
        MobileNetV2Config,
        MobileNetV2ForSemanticSegmentation,
        SegformerConfig,
        SegformerForSemanticSegmentation,
    )

    named = {"id2label": dict(enumerate(names)), "label2id": {}}
    torch.manual_seed(0)
    if family == "segformer":
        sizes = {"hidden_sizes": [8] * 4, "depths": [1] * 4, "num_attention_heads": [1] * 4, "decoder_hidden_size": 16}
        made = SegformerForSemanticSegmentation(SegformerConfig(**sizes, **named))
    else:
        made = MobileNetV2ForSemanticSegmentation(MobileNetV2Config(depth_multiplier=0.1, output_stride=8, **named))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return with_different_labels(made)


def with_different_labels(made: torch.nn.Module) -> torch.nn.Module:
    """The network with statistics and biases with which no concept always wins."""
    seen = prepared(patterns())
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        made.train()(pixel_values=seen)
        logits = made.eval()(pixel_values=seen).logits
        biases = [each for name, each in made.named_parameters() if name.endswith("bias")]
        last = [each for each in biases if len(each) == made.config.num_labels][-1]
        last -= logits.mean(dim=(0, 2, 3))
    return made


def patterns() -> torch.Tensor:
    """Ten coarse patterns of 24 x 36 pixels."""
    noise = torch.rand(10, 3, 4, 6, generator=torch.Generator().manual_seed(1))
    return F.interpolate(noise, size=(24, 36), mode="nearest") * 2 - 1


def prepared(images: torch.Tensor) -> torch.Tensor:
    """What a network is shown of images, by Pillow and NumPy alone."""
    seen = []
    for image in images:
        picture = Image.fromarray(((image + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())
        small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) / 255
        seen.append(torch.from_numpy((small - MEAN) / STD).permute(2, 0, 1).float())
    return torch.stack(seen)


def saved(made: torch.nn.Module, folder: Path) -> Path:
    """A folder as transformers writes it."""
    made.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[made.config.model_type]))
    return folder


def changed(folder: Path, name: str, **entries) -> None:
    """Change entries of a configuration."""
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.fixture(scope="module")
def networks() -> dict[str, torch.nn.Module]:
    return {family: network(family) for family in PROCESSORS}


@pytest.fixture
def folder(networks, tmp_path) -> Path:
    return saved(networks["segformer"], tmp_path / "network")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return patterns()


@pytest.mark.parametrize("family", PROCESSORS)
def test_labels_are_those_of_the_network_at_the_images_own_size(family, networks, images, tmp_path):
    labels = HuggingFaceSource(saved(networks[family], tmp_path)).label(images, range(10))
    assert labels.shape == (10, 1, 24, 36)
    with torch.no_grad():
        logits = networks[family](pixel_values=prepared(images)).logits
    logits = F.interpolate(logits, size=(24, 36), mode="bilinear", align_corners=False)
    best = logits.topk(2, dim=1).values
    # Where two concepts are as good as equal, rounding decides.
    clear = (best[:, 0] - best[:, 1]) > 1e-4 * logits.abs().amax()
    assert clear.float().mean() > 0.98
    assert torch.equal(labels[:, 0][clear], logits.argmax(dim=1).short()[clear])
    assert sum(len(each.unique()) > 1 for each in labels) > 5


def test_concepts_are_the_labels_of_the_configuration_made_different(folder):
    assert HuggingFaceSource(folder).concepts.names == ("wall", "tree", "tree 2", "label 3", "sky")


def test_labels_do_not_hang_on_the_batch(folder, images):
    source = HuggingFaceSource(folder)
    together = source.label(images, range(10))
    alone = torch.cat([source.label(image[None], [0]) for image in images])
    assert (together == alone).float().mean() > 0.999


def test_hundreds_of_concepts_are_upsampled_a_few_at_a_time(monkeypatch):
    logits = torch.randn(23, 5, 7, generator=torch.Generator().manual_seed(2))
    expected = F.interpolate(logits[None], size=(12, 9), mode="bilinear")[0].argmax(dim=0)
    monkeypatch.setattr(network_source, "LOGITS_AT_ONCE", 4 * 12 * 9)
    assert torch.equal(most_likely(logits, (12, 9)).long(), expected)


def test_a_generator_is_dissected_by_a_network_of_transformers(folder, tiny_generator):
    layer = next(iter(tiny_generator.layers))
    found = dissect(GeneratorProbe(tiny_generator, [layer], HuggingFaceSource(folder)), 8, level_samples=4)[layer]
    assert found.concepts.names == ("wall", "tree", "tree 2", "label 3", "sky")
    assert int(found.tally.labelled.sum()) == 8 * tiny_generator.size[0] * tiny_generator.size[1]


def test_a_report_counts_by_a_network_of_transformers_that_knows_hundreds_of_concepts(files, tmp_path, answer):
    names = [f"thing {number}" for number in range(300)]
    folder = saved(network("segformer", names), tmp_path / "network")
    source, generator, seeds = HuggingFaceSource(folder), load_generator(files["model"]), range(5, 13)
    patch = patch_of(generator, "b16.conv1")
    before = source.label(generator.sample(seeds), seeds)
    with patch.applied(generator):
        after = source.label(generator.sample(seeds), seeds)
    # The concept beyond the numbers of a byte that stands on most pixels.
    common = int(before[before > 255].mode().values)
    rule = marked_rule(files["model"], effect={"from": [names[common]], "to": None})
    replace(patch, rules=(rule.to_json(),)).save(tmp_path / "patch.safetensors")
    command = ("report", tmp_path / "patch.safetensors", "--model", files["model"], "--seeds", "5-12")
    found = answer(*command, "--segmenter", f"hf:{folder}", "--out", tmp_path / "report")
    assert found["measured_by"] == "concepts"
    gone, elsewhere = (before == common) & (after != common), before != common
    assert found["efficacy"] == pytest.approx((gone.sum() / (before == common).sum()).item(), abs=1e-3)
    changed = elsewhere & (before != after)
    assert found["outside"] == pytest.approx((changed.sum() / elsewhere.sum()).item(), abs=1e-3)
    assert {each["from"] for each in found["transitions"]} <= set(names) - {names[common]}


def test_the_identity_tells_weights_and_preparation_apart_and_names_no_folder(folder, networks, tmp_path):
    first = HuggingFaceSource(folder).identity
    copy = saved(networks["segformer"], tmp_path / "copy")
    assert HuggingFaceSource(copy).identity == first
    changed(copy, "preprocessor_config.json", image_mean=[0.5, 0.5, 0.5])
    assert HuggingFaceSource(copy).identity != first
    changed(copy, "preprocessor_config.json", image_mean=MEAN)
    weights = load_file(copy / "model.safetensors")
    weights["decode_head.classifier.bias"] += 1
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert HuggingFaceSource(copy).identity != first


class Marking:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_pickled_weights_are_refused_unopened(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Marking(tmp_path / "mark")))
    with pytest.raises(FileNotFoundError, match="pickled weights are never read"):
        HuggingFaceSource(folder)
    assert not (tmp_path / "mark").exists()


def test_pickles_beside_the_weights_are_not_opened(folder, tmp_path, images):
    for name in ("pytorch_model.bin", "adapter_model.bin", ".metadata"):
        (folder / name).write_bytes(pickle.dumps(Marking(tmp_path / "mark")))
    HuggingFaceSource(folder).label(images[:1], [0])
    assert not (tmp_path / "mark").exists()


def code_that_marks(folder: Path, mark: Path) -> None:
    """Python beside the network, which leaves a mark when it is imported."""
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass Own: pass\n")


def test_a_network_of_a_known_type_never_runs_the_code_beside_it(folder, tmp_path, images):
    code_that_marks(folder, tmp_path / "mark")
    own = {"AutoConfig": "own.Own", "AutoModelForSemanticSegmentation": "own.Own"}
    changed(folder, "config.json", auto_map=own)
    changed(folder, "preprocessor_config.json", auto_map={"AutoImageProcessor": "own.Own"})
    HuggingFaceSource(folder).label(images[:1], [0])
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("config.json", {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}),
        ("preprocessor_config.json", {"image_processor_type": "Own", "auto_map": {"AutoImageProcessor": "own.Own"}}),
    ],
)
def test_a_network_that_needs_its_own_code_is_refused(name, entries, folder, tmp_path):
    code_that_marks(folder, tmp_path / "mark")
    changed(folder, name, **entries)
    with pytest.raises(ValueError, match="code that comes with the network, which is never run"):
        HuggingFaceSource(folder)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("missing", ["config.json", "preprocessor_config.json"])
def test_a_folder_without_a_configuration_is_told_what_it_needs(missing, folder):
    (folder / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"it needs config.json, .* and has no {missing}"):
        HuggingFaceSource(folder)


def test_a_network_that_does_not_segment_is_refused(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(ValueError, match="of the type vit, which does not label each pixel"):
        HuggingFaceSource(folder)


def test_weights_without_a_head_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    without = {name: weight for name, weight in weights.items() if not name.startswith("decode_head")}
    save_file(without, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"of its weights are missing, first decode_head"):
        HuggingFaceSource(folder)


def test_damaged_files_are_refused_in_one_sentence(folder):
    weights = load_file(folder / "model.safetensors")
    weights["decode_head.classifier.bias"][0] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="values that are not finite, first in decode_head"):
        HuggingFaceSource(folder)
    (folder / "model.safetensors").write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        HuggingFaceSource(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not a valid configuration") as caught:
        HuggingFaceSource(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["/no/such/folder", "nothing", "a/b/c", "../network"])
def test_a_folder_that_is_not_there_is_named(name):
    with pytest.raises(
        FileNotFoundError, match=r"there is no folder .*, and a name on the Hugging Face hub is ORG/NAME"
    ):
        HuggingFaceSource(name)


@pytest.fixture
def offline(tmp_path, monkeypatch) -> Path:
    """The hub's cache in the test's folder, and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub" / "models--owner--name"


@pytest.mark.usefixtures("offline")
def test_offline_a_sentence_says_what_to_put_where():
    with pytest.raises(
        ValueError, match=r"cannot download owner/name .*put them into a folder and give its path"
    ) as caught:
        HuggingFaceSource("owner/name")
    assert "\n" not in str(caught.value)


def test_what_was_downloaded_is_found_again_offline(offline, networks, images):
    (offline / "refs").mkdir(parents=True)
    (offline / "refs" / "main").write_text("0" * 40)
    folder = saved(networks["segformer"], offline / "snapshots" / ("0" * 40))
    expected = HuggingFaceSource(folder).label(images[:2], range(2))
    assert torch.equal(HuggingFaceSource("owner/name").label(images[:2], range(2)), expected)


def test_without_transformers_a_sentence_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(FileNotFoundError, match=r'pip install "model-rewriting\[segmenters\]"'):
        HuggingFaceSource(folder)
