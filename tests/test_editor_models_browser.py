"""The models of an editor, in a real browser: opened, measured, left and come back to."""

from playwright.sync_api import Page

from rewrite import load_generator
from tests.brushes import DOME, EDITED, PLACE, brush, marks, pixels_of, refusal_on, rules, shown
from tests.editors import TILES, needs_chromium, running

pytestmark = needs_chromium


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


def walls(page: Page) -> list[str]:
    """The tiles on the wall as they are without rules."""
    return page.eval_on_selector_all("#wall .tile > img:first-of-type", "all => all.map((each) => each.src)")


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
