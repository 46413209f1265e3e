"""The editor as people use it, in a real browser: the whole story, sessions, long work, and models."""

import json

from playwright.sync_api import Page

from rewrite import load_generator
from tests.editors import TILES, needs_chromium, running
from tests.pages import (
    CONTEXTS,
    DOME,
    EDITED,
    PLACE,
    PRICE,
    brush,
    brush_all,
    marks,
    pixels_of,
    refusal_on,
    rules,
    shown,
    until_changed,
    walls,
)

pytestmark = needs_chromium


def test_the_whole_story(open_page, towers_editor, tmp_path):
    page = open_page()
    assert page.is_disabled("#rewrite")
    assert "Brush what you want more of" in page.inner_text("#status")
    brush(page, *DOME)
    page.wait_for_selector("#status >> text=Brush where it shall go")
    page.keyboard.press("2")
    brush(page, *PLACE)
    page.wait_for_selector("#status >> text=Better with 3 or more contexts")
    page.keyboard.press("3")
    for context in CONTEXTS:
        brush(page, *context)
    page.wait_for_selector("#status >> text=Contexts 4")
    assert "Context" in marks(page, 7)

    page.wait_for_selector(f"{PRICE} >> text=would be gone where you did not mark")
    page.click(f"{PRICE} summary")
    page.wait_for_selector(f"{PRICE} >> text=Arrives where you did not mark")
    page.wait_for_selector("#status >> text=would be gone where you did not mark")
    page.wait_for_selector(f"{PRICE} svg circle.chosen")
    assert page.locator(f"{PRICE} svg circle").count() == 5
    assert shown(page) == []

    page.click("text=Where would it fire?")
    page.wait_for_selector("#wall .wall[data-hot='12']")
    assert page.locator("#wall .hot:visible").count() == 12
    page.click("text=Where would it fire?")

    page.click("#rewrite")
    page.wait_for_selector(EDITED)
    rules(page, 1)
    whole = shown(page)
    wipe = page.get_by_label("Wipe between before and after")
    wipe.fill("0")
    cut = "getComputedStyle(document.querySelector('#wall .tile .edited')).clipPath"
    assert page.evaluate(cut) == "inset(0px 0px 0px 100%)"
    wipe.fill("100")

    page.locator("#rules input[type=range]").fill("0.5")
    half = until_changed(page, whole)
    page.click("#rules >> text=Undo")
    assert until_changed(page, half) == whole
    page.click("#rules >> text=Redo")
    assert until_changed(page, whole) == half

    name = page.locator("#rules input.name")
    name.fill("Domes for spires")
    name.press("Enter")
    with page.expect_download() as download:
        page.click("#rules >> role=button[name='Save this rule as a file']")
    download.value.save_as(tmp_path / "rule.json")
    assert json.loads((tmp_path / "rule.json").read_text())["name"] == "Domes for spires"

    page.click("#rules >> role=button[name='Delete this rule']")
    rules(page, 0)
    page.click("#files")
    page.set_input_files("#load input[type=file], input[type=file]", tmp_path / "rule.json")
    rules(page, 1)
    page.wait_for_selector(EDITED)
    assert page.input_value("#rules input.name") == "Domes for spires"

    page.click("role=tab[name='Export']")
    page.fill("#name textarea, #name input", "story")
    page.click("#export")
    page.wait_for_selector("#exported >> text=story.safetensors")
    out = towers_editor.folder / "out" / "story"
    assert {"README.md", "report.html", "story.safetensors", "story-rule-1.json"} <= {p.name for p in out.iterdir()}
    page.click("#export")
    page.wait_for_selector("#exported >> text=There already")
    assert "story.safetensors (is there already" in page.inner_text("#planned")
    assert page.is_visible("#replace")
    page.focus("#name textarea, #name input")
    page.keyboard.type(", again!")
    page.wait_for_selector("#planned >> text=story-again.safetensors")
    assert page.is_hidden("#replace")
    with page.expect_download() as download:
        page.click("#downloads >> a[download='story.safetensors'] >> nth=0")
    download.value.save_as(tmp_path / "story.safetensors")
    assert (tmp_path / "story.safetensors").read_bytes() == (out / "story.safetensors").read_bytes()

    edited, plain = load_generator(tmp_path / "story.safetensors"), load_generator("towers")
    page.click("role=tab[name='Rewrite']")
    seeds = page.eval_on_selector_all("#wall .tile", "all => all.map((each) => +each.dataset.seed)")
    seen = pixels_of(page)
    expected = edited.sample(seeds)
    assert float((seen - expected).abs().mean()) < 0.02
    assert float((seen - plain.sample(seeds)).abs().mean()) > 0.02


def test_the_rules_are_measured_on_new_images_and_a_rank_is_proposed(open_page):
    page = open_page()
    brush_all(page)
    page.wait_for_selector(PRICE)
    page.click("button:has-text('Where and how')")
    page.wait_for_selector("#why >> text=directions carry 95 % of the change")
    page.click("#propose")
    page.wait_for_function("Number(document.querySelector('#rank input').value) > 1")
    page.wait_for_selector("#why >> text=what other directions would add is cut away")
    page.click("#rewrite")
    rules(page, 1)
    page.click("#measure-rules")
    page.wait_for_selector("#report .measured[data-images='100']")
    assert page.locator("#report img").count() == 8
    # What was measured held for the rules as they were.
    page.locator("#rules input[type=range]").first.fill("0.5")
    page.wait_for_selector("#report .measured", state="detached")


def test_a_second_session_sees_nothing_of_the_first(open_page, small_editor):
    second, first = open_page(small_editor.url), open_page(small_editor.url)
    brush(first, *DOME)
    first.keyboard.press("2")
    brush(first, *PLACE)
    first.wait_for_selector("#rewrite:enabled")
    first.click("#rewrite")
    first.wait_for_selector(EDITED)
    rules(first, 1)
    rules(second, 0)
    second.bring_to_front()
    assert shown(second) == []
    brush(second, *DOME)
    second.wait_for_selector("#status >> text=Brush where it shall go")
    rules(second, 0)
    assert "no marks" in marks(second, PLACE[0])


def test_long_work_is_stopped_and_leaves_nothing(open_page, tmp_path):
    # So many images that a busy machine is not done with them before Stop is pressed.
    with running(tmp_path, "towers", "--samples", 20_000, "--tiles", 4) as editor:
        page, cache = open_page(editor.url), editor.folder / "cache"
        kept = sorted(path.name for path in cache.rglob("*"))
        page.click("role=tab[name='Model']")
        page.click("#layer-to-measure input")
        page.click("role=option[name='b64.conv1']")
        page.click("#measure")
        page.wait_for_selector("#progress progress")
        page.click("#stop-measuring")
        page.wait_for_selector("#progress >> text=Stopped")
        page.wait_for_timeout(1000)
        assert "Stopped" in page.inner_text("#progress")
        assert sorted(path.name for path in cache.rglob("*")) == kept


def open_model(page: Page, name: str) -> None:
    """Write the path of a model and press Open."""
    page.click("role=tab[name='Model']")
    page.fill("#model input", name)
    page.press("#model input", "Enter")
    page.click("#open")


def test_another_model_is_opened_by_its_path_and_each_keeps_its_own_marks_and_rules(open_page, library):
    page = open_page()
    brush(page, *DOME)
    page.keyboard.press("2")
    brush(page, *PLACE)
    page.wait_for_selector("#rewrite:enabled")
    page.click("#rewrite")
    page.wait_for_selector(EDITED)
    rules(page, 1)
    page.click("role=tab[name='Model']")
    before = (page.inner_text("#about .facts"), walls(page), shown(page))

    for name in (
        "../outside.safetensors",
        str(library.parent / "outside.safetensors"),
        "small/../../outside.safetensors",
    ):
        open_model(page, name)
        assert refusal_on(page) == (
            "this server may open no such model: it opens files of the folders given with --models"
        )
    open_model(page, "letter.pt")
    text = refusal_on(page)
    assert len(text) < 400
    assert "Traceback" not in text
    assert (page.inner_text("#about .facts"), walls(page), shown(page)) == before
    assert "Copy" in marks(page, DOME[0])
    page.click("role=tab[name='Rewrite']")
    rules(page, 1)

    open_model(page, "small/sixteen.safetensors")
    page.wait_for_selector("#opened >> text=small/sixteen.safetensors is open")
    opened, facts = load_generator(library / "small" / "sixteen.safetensors"), page.inner_text("#about")
    assert opened.fingerprint in facts
    assert "16 × 16 pixels" in facts
    assert page.locator("#about tbody tr td:first-child").all_inner_texts() == list(opened.layers)
    page.click("role=tab[name='Rewrite']")
    page.wait_for_selector("#wall .wall[data-edited='0']")
    rules(page, 0)
    assert all("no marks" in marks(page, seed) for seed in range(TILES))
    assert "Brush what you want more of" in page.inner_text("#status")
    seen = pixels_of(page, "#wall .tile img:first-of-type", 16)
    assert float((seen - opened.sample(range(TILES))).abs().mean()) < 0.05
    page.keyboard.press("1")
    brush(page, 1, 0.5, 0.5)
    page.wait_for_selector("#status >> text=Brush where it shall go")
    assert "Copy" in marks(page, 1)

    # Each model has what it was left with, and one that is opened while it is open stays as it is.
    for _ in range(2):
        open_model(page, "towers")
        page.wait_for_selector("#opened >> text=towers is open")
        page.click("role=tab[name='Rewrite']")
        page.wait_for_selector(f"#wall .tile[data-seed='{DOME[0]}'][aria-label*='Copy']")
        page.wait_for_selector("#rewrite:enabled")
        page.wait_for_selector(EDITED)
        rules(page, 1)
        assert "no marks" in marks(page, 1)
