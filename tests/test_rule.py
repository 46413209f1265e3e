"""Rules come back from JSON as they were, and no text does worse than being refused."""

import copy
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewrite.rules.masks import Mask
from rewrite.rules.regions import Latent, Region
from rewrite.rules.rule import ACTIONS, ANCHORS, CONTEXT_USES, FITS, Rule
from rewrite.rules.settings import CONSTRAINTS, KEY_SPACES, WEIGHTS, Settings


def objects(**parts) -> st.SearchStrategy[dict]:
    return st.fixed_dictionaries(parts)


positive = st.floats(0, 1e9)
latents = objects(seed=st.integers(0, 2**32 - 1), z=st.none() | st.lists(st.floats(-1e6, 1e6), max_size=4))
masks = st.sampled_from(
    [{"size": [2, 3], "runs": [[0, 6]]}, {"size": [1, 1], "runs": [[0, 1]]}, {"size": [4, 2], "runs": [[1, 2], [5, 3]]}]
)
regions = objects(latent=latents, mask=masks)
several = st.lists(regions, max_size=2)
documents = objects(
    schema=st.just("rewrite-rule/1"),
    name=st.text(),
    model=st.text(),
    layer=st.text(),
    paste=regions,
    copy=st.lists(regions, min_size=1, max_size=2),
    context=several,
    context_use=st.sampled_from(CONTEXT_USES),
    action=st.sampled_from(ACTIONS),
    anchor=st.sampled_from(ANCHORS),
    fit=st.sampled_from(FITS),
    protect=several,
    protect_units=st.lists(st.integers(0, 10_000), max_size=3),
    truncation=st.floats(0, 2),
    settings=objects(
        damage=st.floats(1e-9, 1e9),
        drift=positive,
        others=positive,
        protect=positive | st.just("exact"),
        margin=st.integers(0, 64),
        rank=st.none() | st.integers(1, 10_000),
        constraint=st.sampled_from(CONSTRAINTS),
        steps=st.integers(1, 1000),
        key_space=st.sampled_from(KEY_SPACES),
        refine=st.integers(0, 1000),
        reach=st.floats(0.1, 10).filter(lambda value: value != 1),
        finish=st.integers(0, 1000),
        descent=st.integers(1, 1000),
        still=positive.filter(lambda value: value != Settings.still),
        quiet=positive,
        weights=st.sampled_from(WEIGHTS),
    ),
    effect=st.just({})
    | objects(**{"from": st.lists(st.text(), max_size=2), "to": st.none() | st.text()}).filter(
        lambda effect: effect.get("to") not in effect.get("from", [])
    ),
    expect=st.dictionaries(st.sampled_from(["efficacy", "outside"]), st.floats(0, 1)),
)

DOCUMENT = {
    "schema": "rewrite-rule/1",
    "name": "tree on towers",
    "model": "0123456789abcdef",
    "layer": "b16.conv0",
    "paste": {"latent": {"seed": 2}, "mask": {"size": [4, 4], "runs": [[5, 2], [9, 2]]}},
    "copy": [{"latent": {"seed": 1, "z": [0.5, -1.0]}, "mask": {"size": [4, 4], "runs": [[0, 2]]}}],
    "context": [{"latent": {"seed": 3}, "mask": {"size": [4, 4], "runs": [[0, 16]]}}],
    "context_use": "goal",
    "action": "paste",
    "anchor": "centre",
    "protect": [{"latent": {"seed": 4}, "mask": {"size": [4, 4], "runs": [[0, 1]]}}],
    "protect_units": [2, 0],
    "truncation": 0.7,
    "settings": {
        "damage": 0.1,
        "drift": 0.1,
        "others": 0.5,
        "protect": 2.0,
        "margin": 2,
        "rank": 3,
        "constraint": "fires",
        "steps": 4,
        "key_space": "channel",
        "refine": 2,
        "finish": 3,
        "descent": 4,
        "still": 0.5,
    },
    "effect": {"from": ["dome"], "to": "tree"},
    "expect": {"efficacy": 0.5, "outside": 0.2},
}


@settings(deadline=None, max_examples=40)
@given(documents)
def test_a_rule_is_its_document_and_comes_back_from_it_as_it_was(document):
    rule = Rule.from_json(json.dumps(document))
    text = rule.to_json()
    assert json.loads(text) == document
    assert Rule.from_json(text) == rule
    assert Rule.from_json(text).to_json() == text


def test_a_rule_made_in_python_comes_back_from_json_as_it_was():
    place = Region(Latent(7, (0.1, -2.0)), Mask((2, 3), ((0, 2), (4, 2))))
    rule = Rule("n", "m", "l", paste=place, copy=(place,), settings=Settings(protect=math.inf, rank=2))
    assert Rule.from_json(rule.to_json()) == rule
    assert json.loads(rule.to_json())["settings"]["protect"] == "exact"
    # A rule with the usual reach is written as it was before there was one, and so it is with a descent.
    assert not {"reach", "descent", "still"} & json.loads(rule.to_json())["settings"].keys()
    later = json.loads(rule.with_settings(reach=1.5, descent=7, still=3.0).to_json())["settings"]
    assert (later["reach"], later["descent"], later["still"]) == (1.5, 7, 3.0)


def test_a_name_with_brackets_stays_as_it_is():
    rule = Rule.from_json(json.dumps(DOCUMENT | {"name": "[ 1,  2 ] and [\n 3\n]"}))
    assert Rule.from_json(rule.to_json()).name == "[ 1,  2 ] and [\n 3\n]"
    assert "[5, 2]" in rule.to_json()


def test_a_saved_rule_comes_back_and_equal_rules_are_equal_files(tmp_path):
    rule = Rule.from_json(json.dumps(DOCUMENT))
    rule.save(tmp_path / "one.json")
    Rule.from_json(json.dumps(dict(reversed(DOCUMENT.items())))).save(tmp_path / "two.json")
    assert Rule.load(tmp_path / "one.json") == rule
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_what_may_be_left_out_has_a_default():
    needed = ("schema", "name", "model", "layer", "copy", "paste")
    rule = Rule.from_json(json.dumps({name: DOCUMENT[name] for name in needed}))
    assert (rule.settings, rule.fit) == (Settings.from_marks(), "none")
    assert (rule.context, rule.protect, rule.truncation, rule.effect, rule.expect) == ((), (), 1.0, {}, {})


def test_other_settings_leave_the_rest_of_a_rule_alone():
    rule = Rule.from_json(json.dumps(DOCUMENT))
    changed = rule.with_settings(rank=7)
    assert changed.settings.rank == 7
    assert changed.with_settings(rank=3) == rule


def test_a_weight_that_is_given_is_not_chosen_by_the_marks_any_more():
    place = Region(Latent(7), Mask((2, 3), ((0, 2),)))
    rule = Rule("n", "m", "l", paste=place, copy=(place,))
    assert rule.settings.weights == "marks"
    assert rule.with_settings(rank=3).settings.weights == "marks"
    alone = {"weights": "given", "finish": 0, "descent": 0}
    assert rule.with_settings(drift=0.1).settings == replace(rule.settings, drift=0.1, **alone)
    assert rule.with_settings(drift=0.1, finish=5).settings.finish == 5
    assert rule.with_settings(still=0.1, descent=5).settings == replace(
        rule.settings, still=0.1, **alone | {"descent": 5}
    )


def test_settings_are_told_by_what_is_not_as_usual():
    assert repr(Settings.from_marks()) == "Settings(refine=10, weights='marks', finish=20, descent=80)"
    assert repr(Settings()) == "Settings()"


def test_places_are_the_paste_and_then_the_contexts():
    rule = Rule.from_json(json.dumps(DOCUMENT))
    assert [place.latent.seed for place in rule.places] == [2, 3]


def replaced(path: tuple, value) -> dict:
    """The document with one place changed, or taken out if `value` is MISSING."""
    document = copy.deepcopy(DOCUMENT)
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


MISSING = object()
SEED, MASK = ("paste", "latent", "seed"), ("paste", "mask")
HOSTILE = [
    (("schema",), "rewrite-rule/2", "must say"),
    (("schema",), MISSING, "must say"),
    (("name",), MISSING, "name must be a text, got nothing"),
    (("model",), 7, "model must be a text, got int"),
    (("layer",), None, "layer must be a text, got nothing"),
    (("colour",), 1, "rule has no field 'colour'"),
    (("two\nlines",), 1, r"rule has no field 'two\\nlines'"),
    (("action",), "cut\noff", r"action is one of paste, erase, got 'cut\\noff'"),
    (("action",), "x" * 10**6, "action is one of paste, erase"),
    (("anchor",), "top", "anchor is one of centre, bottom"),
    (("context_use",), "both", "context_use is one of goal, direction"),
    (("copy",), [], "a rule that pastes needs a copy"),
    (("copy",), {}, "copy must be a list, got dict"),
    (("copy",), [[]], "copy must be an object, got list"),
    (("protect",), "all", "protect must be a list, got str"),
    (("truncation",), math.nan, "truncation lies between 0 and 2, got nan"),
    (("truncation",), math.inf, "truncation lies between 0 and 2, got inf"),
    (("truncation",), 10**400, "a whole number has at most 20 digits"),
    (("truncation",), True, "truncation must be a number, got bool"),
    (SEED, -1, "a seed lies between 0 and 4294967295, got -1"),
    (SEED, 2**32, "a seed lies between"),
    (SEED, True, "seed must be a whole number, got bool"),
    (SEED, 1.0, "seed must be a whole number, got float"),
    (SEED, MISSING, "seed must be a whole number, got nothing"),
    (("copy", 0, "latent", "z"), [math.nan], "numbers of a latent lie between"),
    (("copy", 0, "latent", "z"), [1e39], "numbers of a latent lie between"),
    (("copy", 0, "latent", "z"), [False], "z must be a number, got bool"),
    (("copy", 0, "latent", "z"), [[1]], "z must be a number, got list"),
    (("copy", 0, "latent", "v"), 1, "latent has no field 'v'"),
    ((*MASK, "size"), [10**9, 10**9], "a mask is 1 to 4096 pixels"),
    ((*MASK, "size"), [4], "size must be two numbers, got 1"),
    ((*MASK, "size"), [4.0, 4.0], "size must be a whole number, got float"),
    ((*MASK, "size"), [True, True], "size must be a whole number, got bool"),
    ((*MASK, "runs"), [], "at least one pixel"),
    ((*MASK, "runs"), [[0, 3], [1, 3]], "in order, apart, and inside"),
    ((*MASK, "runs"), [[0, 17]], "in order, apart, and inside"),
    ((*MASK, "runs"), [[0, 1, 2]], "run must be two numbers, got 3"),
    ((*MASK, "runs"), [7], "run must be a list, got int"),
    (("settings", "damage"), 0, "damage is more than 0"),
    (("settings", "damage"), math.inf, "damage is a number of at least 0, got inf"),
    (("settings", "drift"), math.nan, "drift is a number of at least 0, got nan"),
    (("settings", "others"), -1, "others is a number of at least 0, got -1"),
    (("settings", "reach"), 0, "reach is more than 0 and at most 10, got 0"),
    (("settings", "reach"), math.inf, "reach is more than 0 and at most 10, got inf"),
    (("settings", "protect"), math.nan, "protect is a number of at least 0, or infinity, got nan"),
    (("settings", "protect"), -math.inf, "protect is a number of at least 0, or infinity, got -inf"),
    (("settings", "margin"), 65, "margin lies between 0 and 64 cells"),
    (("settings", "margin"), 1.5, "margin must be a whole number, got float"),
    (("protect_units",), [3, -1], "units count from 0, got -1"),
    (("protect_units",), [1.5], "a unit of protect_units must be a whole number, got float"),
    (("settings", "rank"), 0, "rank must be at least 1, got 0"),
    (("settings", "rank"), True, "rank must be a whole number, got bool"),
    (("settings", "constraint"), "both", "constraint is one of written, fires"),
    (("settings", "steps"), 10**6, "steps lie between 1 and 1000"),
    (("settings", "speed"), 1, "settings has no field 'speed'"),
    (("settings",), [], "settings must be an object, got list"),
    (("effect", "from"), "dome", "effect.from must be a list, got str"),
    (("effect", "to"), 3, "effect.to must be a text, got int"),
    (("expect", "efficacy"), math.nan, "the expected efficacy is a finite number, got nan"),
    (("expect", "efficacy"), "much", "efficacy must be a number, got str"),
    (("expect", "luck"), 1.0, "expect has no field 'luck'"),
]


@pytest.mark.parametrize(
    ("path", "value", "message"), HOSTILE, ids=lambda part: "left out" if part is MISSING else str(part)[:30]
)
def test_a_document_that_breaks_a_rule_is_refused_in_one_line(path, value, message):
    with pytest.raises(ValueError, match=message) as caught:
        Rule.from_json(json.dumps(replaced(path, value)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_contexts_that_only_steer_need_a_paste():
    document = replaced(("paste",), None) | {"context_use": "direction"}
    with pytest.raises(ValueError, match="contexts that only steer need one paste"):
        Rule.from_json(json.dumps(document))
    with pytest.raises(ValueError, match="a rule needs a place: paste or context"):
        Rule.from_json(json.dumps(document | {"context": []}))


TEXTS = {
    "nothing": "",
    "no JSON": "rule",
    "cut short": json.dumps(DOCUMENT)[:-30],
    "a list": "[]",
    "a number": "1e400",
    "deep lists": "[" * 100_000,
    "deep objects": '{"schema":' * 100_000,
    "many digits": f'{{"schema": "rewrite-rule/1", "truncation": {"9" * 100_000}}}',
    "a truncation beyond every float": json.dumps(DOCUMENT).replace('"truncation": 0.7', '"truncation": 1e400'),
    "half of a pair of surrogates": '{"schema": "\\ud800"}',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_that_is_no_rule_is_refused_in_one_line(tmp_path, text):
    with pytest.raises(ValueError, match=r"\w") as caught:
        Rule.from_json(text)
    assert "\n" not in str(caught.value)
    (tmp_path / "rule.json").write_text(text)
    with pytest.raises(ValueError, match=r"rule\.json is not a valid rule") as caught:
        Rule.load(tmp_path / "rule.json")
    assert "\n" not in str(caught.value)


paths = st.sampled_from([path for path, *_ in HOSTILE if path[-1] != "two\nlines"])
numbers = st.integers() | st.integers(10**15, 10**60) | st.floats()
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)


@settings(deadline=None, max_examples=80)
@given(paths, anything)
def test_anything_anywhere_is_a_rule_or_refused_in_one_line(path, value):
    try:
        rule = Rule.from_json(json.dumps(replaced(path, value)))
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert Rule.from_json(rule.to_json()) == rule


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"bytes\.json is not a valid rule"):
        Rule.load(path)


def test_a_folder_or_nothing_is_no_rule(tmp_path):
    with pytest.raises(ValueError, match="is not a file"):
        Rule.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Rule.load(tmp_path / "none.json")


def test_a_rule_file_of_any_size_is_not_read(tmp_path):
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="a rule file has at most"):
        Rule.load(tmp_path / "large.json")
