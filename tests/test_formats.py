"""The page about files says what the library reads and writes."""

import json
import re
from dataclasses import asdict, fields
from pathlib import Path

from dissect.causes.painting import Painting
from dissect.causes.stroke import Stroke
from rewrite import Memory, Patch, Rule, Settings

PAGE = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
EXAMPLES = {json.loads(text)["schema"]: text for text in re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL)}


def test_the_examples_are_read():
    rule = Rule.from_json(EXAMPLES["rewrite-rule/1"])
    assert (rule.copy[0].latent.seed, rule.effect["to"], rule.settings) == (12, "tree", Settings.from_marks())
    painting = Painting.from_json(EXAMPLES["rewrite-painting/1"])
    assert [stroke.concept or stroke.units for stroke in painting.strokes] == ["tree", (3, 17)]


def test_every_field_is_told():
    told = set(re.findall(r"`(\w+)`", PAGE))
    for kind in (Rule, Settings):
        assert {entry.name for entry in fields(kind)} <= told
    strokes = EXAMPLES["rewrite-painting/1"]
    assert all(entry.name in told or f'"{entry.name}"' in strokes for entry in fields(Stroke))
    assert {entry.name for entry in fields(Patch)} | {entry.name for entry in fields(Memory)} <= told


def test_the_defaults_are_those_of_the_settings():
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", PAGE, re.MULTILINE))
    expected = {name: "null" if value is None else str(value) for name, value in asdict(Settings()).items()}
    assert {name: rows[name].strip("`") for name in expected} == expected
