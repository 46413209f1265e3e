"""Concepts by text, on a tiny CLIPSeg of random weights that the test makes."""

import json

import pytest
import torch

from apps.sources import source_for
from dissect.sources.text import TextSource
from rewrite import load_classifier
from rewrite.reports.concepts import NONE

transformers = pytest.importorskip("transformers")

WORDS = ("<|startoftext|>", "<|endoftext|>", *"tredom", *(f"{letter}</w>" for letter in "tredom"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as transformers writes it."""
    torch.manual_seed(0)
    text = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 12, "bos_token_id": 0, "eos_token_id": 1}
    seen = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    seen |= {"image_size": 32, "patch_size": 8}
    config = transformers.CLIPSegConfig(
        text_config=text, vision_config=seen, projection_dim=16, reduce_dim=8, extract_layers=[0, 1, 2],
        conditional_layer=0, decoder_num_attention_heads=2, decoder_intermediate_size=16,
    )  # fmt: skip
    made = transformers.CLIPSegForImageSegmentation(config)
    path = tmp_path_factory.mktemp("clipseg")
    made.save_pretrained(path)
    processor = {
        "image_processor_type": "ViTImageProcessor", "do_resize": True, "do_normalize": True, "do_rescale": True,
        "size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 255,
        "resample": 2,
    }  # fmt: skip
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
    (path / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(WORDS)}))
    (path / "merges.txt").write_text("#version: 0.2\n")
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "pad_token": WORDS[1]}))
    return path


def test_each_pixel_is_of_the_text_that_agrees_most_or_of_none(folder, monkeypatch):
    source = TextSource(("tree", "dome"), folder)
    images = torch.rand(3, 3, 24, 40) * 2 - 1
    assert source.concepts.names == ("tree", "dome")
    labels = source.label(images, range(3))
    assert labels.shape == (3, 1, 24, 40)
    logits = source._logits(images[:1])
    assert logits.shape == (2, 32, 32)
    assert float((logits[0] - logits[1]).abs().max()) > 0
    for bound, expected in ((0.0, {0, 1}), (1.0, {NONE})):
        monkeypatch.setattr("dissect.sources.text.LEAST", bound)
        assert set(source.label(images, range(3)).unique().tolist()) <= expected


def test_the_words_of_the_command_line_name_texts_and_a_network(folder):
    found = source_for(f"text:tree,dome@{folder}", load_classifier("scenes-random"))
    assert found.concepts.names == ("tree", "dome")
    assert found.identity != TextSource(("tree",), folder).identity


def test_without_a_network_of_ones_own_the_published_one_is_asked_for_and_its_absence_is_one_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ValueError, match="cannot download CIDAS/clipseg-rd64-refined from the Hugging Face hub"
    ) as said:
        source_for("text:tree,dome", load_classifier("scenes-random"))
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("texts", [("",), ("tree", "tree"), ("tree", " ")])
def test_texts_are_different_and_not_empty(folder, texts):
    with pytest.raises(ValueError, match="different texts"):
        TextSource(texts, folder)


def test_what_does_not_segment_by_text_or_lacks_a_tokenizer_is_refused(folder, tmp_path):
    for path in folder.iterdir():
        if path.name not in ("vocab.json", "tokenizer.json"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(FileNotFoundError, match="has no tokenizer"):
        TextSource(("tree",), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "vit"}))
    with pytest.raises(ValueError, match="does not segment by text"):
        TextSource(("tree",), tmp_path)
