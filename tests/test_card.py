"""A model card says what is known, nothing else, and nothing that a rule's name could inject."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from rewrite import Patch, Rule, load_generator, model_card, report_on
from rewrite.reports.report import load_report
from tests.networks import marked_rule

HOSTILE = '</h1><script>x</script> [a](http://b.c) ![i](j) |`c`| **b** {{y}}\n---\n# Head: @me\x1b[31m\u202e & "q"'


@pytest.fixture
def patch(files) -> Patch:
    return Patch.load(files["patch"])


@pytest.fixture
def report(files, patch, tmp_path) -> Path:
    found = report_on(load_generator(files["model"]), patch, seeds=range(20, 24))
    found.save(tmp_path / "report")
    return tmp_path / "report"


def card_of(files, patches, **more) -> str:
    return model_card(load_generator(files["model"]), patches, model=files["model"], **more)


def front_of(card: str) -> dict[str, str]:
    """The YAML header, of which only lines `name: value` are read here."""
    head = card.split("---\n")[1]
    return dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)


def test_a_card_names_the_base_the_layers_the_rules_and_how_to_use_it(files, patch):
    card, generator = card_of(files, patch, out="edited.safetensors"), load_generator(files["model"])
    assert json.loads(front_of(card)["base_model"]) == "model.safetensors"
    assert front_of(card)["library_name"] == "model-rewriting"
    assert f"| Fingerprint | `{generator.fingerprint}` |" in card
    assert hashlib.sha256(files["model"].read_bytes()).hexdigest() in card
    assert f"| `b16.conv1` | 4 x 4 x 3 x 3 | {patch.rank} | 1 | `{patch.base}` |" in card
    assert "### r\n" in card
    assert 'load_generator("edited.safetensors")' in card
    assert f"| `b16.conv1` | Damage | {patch.forecast['damage']:.3g} |" in card


def test_what_was_not_measured_is_not_made_up(files, patch):
    card = card_of(files, replace(patch, forecast={}))
    assert "Efficacy: not measured. Outside: not measured." in card
    assert "The forecast is not stated." in card
    assert "Expected: not stated" in card
    assert "Effect: not stated" in card
    assert "The patches carry no rules." in card_of(files, replace(patch, rules=()))


def test_a_report_gives_the_figures(files, patch, report):
    document = load_report(report)
    card = card_of(files, patch, report=document)
    assert f"| Efficacy | {document['efficacy']:.3g} |" in card
    assert f"| Change outside | {document['outside']:.3g} |" in card
    assert "On 4 images" in card
    assert "| LPIPS, outside | not measured |" in card
    assert load_report(report / "report.json") == document


def test_outside_is_told_strictly_first_where_concepts_were_counted(files, patch, report):
    counted = {"measured_by": "concepts", "outside": 0.02, "outside_strict": 0.04, "outside_lenient": 0.02}
    told = [
        line for line in card_of(files, patch, report=load_report(report) | counted).splitlines() if "outside" in line
    ]
    assert told[0].startswith("| Change outside, strict | 0.04 |")
    assert told[1].startswith("| Change outside, lenient | 0.02 |")


def test_a_report_of_an_earlier_version_is_told_as_it_was_measured(files, patch, report):
    document = load_report(report)
    new = {name for name in document if name.startswith(("outside_strict", "outside_lenient"))}
    old = {name: value for name, value in document.items() if name not in new}
    old["places"] = [{"rule": "r", "images": 2, "residual": 0.1}]
    (report / "report.json").write_text(json.dumps(old))
    card = card_of(files, patch, report=load_report(report))
    assert "Share of the wanted change that happened at the layer" in card
    assert f"| Change outside | {document['outside']:.3g} |" in card
    assert "strict |" not in card_of(files, patch, report=old | {"measured_by": "concepts"})
    assert "happened at the layer" not in card_of(files, patch, report=document)


def test_the_forecast_is_told_at_places_that_were_not_marked_first(files, patch, report):
    left_out = {"arrives": 0.3, "beside": 0.1, "each": [0.2, 0.4]}
    changed = replace(patch, forecast={**patch.forecast, "left_out": left_out, "notes": ["a [note](http://b.c)"]})
    card = card_of(files, changed)
    assert card.index("| Arrives at the layer | 0.3 (0.2 to 0.4) |") < card.index("| Residual |")
    assert "a \\[note\\]" in card
    assert "too few images are marked" in card_of(files, replace(patch, forecast={"left_out": None}))


def test_expectations_are_held_against_the_report(files, patch, tmp_path):
    rule = marked_rule(
        files["model"], expect={"efficacy": 1.0, "outside": 1.0}, effect={"from": ["dome"], "to": "tree"}
    )
    patch = replace(patch, rules=(rule.to_json(),))
    report_on(load_generator(files["model"]), patch, seeds=range(20, 22)).save(tmp_path / "report")
    document = load_report(tmp_path / "report")
    card = card_of(files, patch, report=document)
    assert f"- Expected efficacy: at least 1; measured: {document['efficacy']:.3g} (not met)" in card
    assert f"- Expected outside: at most 1; measured: {document['outside']:.3g} (met)" in card
    assert "- Effect: dome becomes tree" in card
    assert "- Expected efficacy: at least 1; measured: not measured\n" in card_of(files, patch)


def test_texts_of_a_hostile_rule_do_nothing(files, patch, tmp_path):
    effect = {"from": [HOSTILE], "to": f"another {HOSTILE}"}
    rule = marked_rule(files["model"], name=HOSTILE, layer=HOSTILE, effect=effect, expect={"outside": 0.5})
    patch = replace(patch, rules=(rule.to_json(),))
    card = card_of(files, patch, out=tmp_path / "a`b\n```\n.safetensors")
    assert len(card.split("---\n")) == len(card_of(files, replace(patch, rules=())).split("---\n"))
    assert all(sign.isprintable() or sign == "\n" for sign in card)
    plain = re.sub(r"```python\n.*?\n```|`[^`\n]*`|\\.", "", card.split("---\n", 2)[2], flags=re.DOTALL)
    for sign in ("<", ">", "[", "]", "`", "*", "{", "http:", "@", "!"):
        assert sign not in plain, sign
    assert card.count("```") == 2
    heads = [line for line in card.splitlines() if line.startswith("#")]
    assert len(heads) == 8
    assert {line.count("|") for line in re.sub(r"\\\|", "", card).splitlines() if line.startswith("| ")} <= {3, 5, 6}


def test_numbers_and_notes_of_a_hostile_report_do_nothing(files, patch, report):
    document = load_report(report)
    for value in (HOSTILE, True, 10**400, float("nan"), [1], {}):
        changed = {"efficacy": value, "outside_interval": [value, 1], "images": value, "lpips": {"trunk": HOSTILE}}
        changed |= {"notes": [HOSTILE, value], "expectations": [value, {"rule": value}], "measured_by": value}
        card = card_of(files, patch, report=document | changed)
        assert "| Efficacy | not measured |" in card
        assert "<script>" not in card
        assert "\n# Head" not in card


def test_a_report_on_something_else_is_refused(files, patch, report, tmp_path):
    document = load_report(report)
    with pytest.raises(ValueError, match="was not measured with these patches"):
        card_of(files, patch, strengths=[0.5], report=document)
    with pytest.raises(ValueError, match="was not measured with these patches"):
        card_of(files, patch, report=document | {"model": "0" * 16})
    with pytest.raises(FileNotFoundError, match="there is no report"):
        load_report(tmp_path / "none.json")
    for content in ("{", "[]", "{}", "[" * 100_000):
        (tmp_path / "wrong.json").write_text(content)
        with pytest.raises(ValueError, match=r"wrong\.json is not a (valid )?report"):
            load_report(tmp_path / "wrong.json")


@pytest.mark.parametrize(
    ("container", "use"),
    [("safetensors", "load_generator("), ("state-dict", "weights_only=True"), ("peft", "PeftModel.from_pretrained")],
)
def test_each_container_says_how_it_is_used(files, patch, container, use):
    assert use in card_of(files, patch, container=container)


def test_the_command_writes_the_card_beside_the_checkpoint(files, tmp_path, report, answer, refusal):
    out, card = tmp_path / "edited.safetensors", tmp_path / "README.md"
    arguments = ["export", files["model"], files["patch"], "--out", out]
    said = answer(*arguments, "--card", card, "--report", report)
    assert said["card"] == str(card)
    assert "On 4 images" in card.read_text(encoding="utf-8")
    assert Rule.from_json(Patch.load(files["patch"]).rules[0]).name in card.read_text(encoding="utf-8")
    out.unlink()
    card.unlink()
    assert "name the card with --card" in refusal(*arguments, "--report", report)
    said = refusal(*arguments, "--card", card, "--report", report, "--strength", "0.5")
    assert "was not measured with these patches" in said
    assert not out.exists()
    assert not card.exists()
    (tmp_path / "file").write_text("in the way")
    assert "cannot write" in refusal(*arguments, "--card", tmp_path / "file" / "README.md")
