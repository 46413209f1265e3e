"""A photograph in a real browser: found with progress, rewritten by a rule, painted on, put on the wall, kept."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

from dissect import Photograph
from dissect.scenes import scenes
from rewrite import load_generator
from tests.editors import needs_chromium
from tests.pages import EDITED, tab

pytestmark = needs_chromium
EASEL = "#photograph-easel"


@pytest.fixture
def page(open_page) -> Page:
    return open_page()


def choose(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.click("#photograph-file")
    chooser.value.set_files(path)


def image(page: Page) -> str:
    return page.get_attribute(f"{EASEL} .frame img:first-child", "src")


def kept(folder: Path, seed: int) -> Path:
    """The file of a photograph that the built-in generator draws exactly."""
    generator = load_generator("towers")
    latents, drawn = generator.latents([seed]), generator.sample([seed])[0]
    found = latents._replace(w=generator.styles(latents))
    Photograph(drawn, found, (), (), generator.fingerprint).save(folder / "photograph.safetensors")
    return folder / "photograph.safetensors"


def test_a_picture_is_found_and_downloaded(open_page, small_editor, library, tmp_path):
    page = open_page(small_editor.url)
    Image.fromarray(scenes([3_000_000], 64)[0][0]).resize((300, 300)).save(tmp_path / "scene.jpg", quality=95)
    tab(page, "Photo")
    assert page.is_disabled("#photograph-wall")
    choose(page, tmp_path / "scene.jpg")
    page.wait_for_selector("#photograph-status progress")
    page.wait_for_selector("#photograph-stages img[data-stage='as drawn']")
    assert page.locator("#photograph-stages img").count() == 5
    assert "off on average" in page.inner_text("#photograph-status")
    with page.expect_download() as download:
        page.click("#photograph-files a")
    download.value.save_as(tmp_path / "photograph.safetensors")
    found = Photograph.load(tmp_path / "photograph.safetensors")
    drawn = found.drawn(load_generator(library / "small" / "sixteen.safetensors"))[0]
    assert np.abs((drawn - found.picture).numpy()).mean() / 2 == pytest.approx(found.near[-1].colours, abs=0.002)
    choose(page, tmp_path / "photograph.safetensors")
    page.wait_for_function("document.querySelectorAll('#photograph-stages img').length == 2")


def test_a_photograph_is_painted_on_and_rewritten(page, tmp_path):
    tab(page, "Photo")
    choose(page, kept(tmp_path, 3))
    page.wait_for_selector(f"{EASEL} .easel[data-ready='1']:visible")
    page.wait_for_selector("#photograph-stages img[data-stage='as drawn']")
    plain = image(page)
    page.click(f"{EASEL} .concepts button:text-is('tree')")
    page.locator(f"{EASEL} .frame").focus()
    page.keyboard.press("Space")
    page.wait_for_selector(f"{EASEL} .easel[data-strokes='1'][data-done='1']")
    assert image(page) != plain
    assert "Add tree, 15 units" in page.inner_text(EASEL)

    page.click("#photograph-wall")
    tab(page, "Rewrite")
    page.wait_for_selector("#wall .tile[aria-label^='W1']")
    page.click("#try")
    page.wait_for_selector(EDITED)
    tab(page, "Photo")
    page.wait_for_selector("#photograph-stages img[data-stage='with the rules']")
    painted = image(page)
    page.uncheck("#photograph-edited input")
    page.wait_for_selector("#photograph-stages img[data-stage='with the rules']", state="detached")
    assert image(page) != painted


def test_what_is_no_picture_is_refused_and_stop_ends_a_search(page, tmp_path):
    tab(page, "Photo")
    (tmp_path / "text.jpg").write_text("no picture")
    choose(page, tmp_path / "text.jpg")
    page.wait_for_selector("text=a picture is a JPEG or PNG file, text.jpg is neither")
    Image.new("L", (40, 60), 90).save(tmp_path / "grey.png")
    choose(page, tmp_path / "grey.png")
    page.wait_for_selector("#photograph-status progress")
    page.click("#photograph-stop")
    page.wait_for_selector("#photograph-status:has-text('Stopped')")
    assert page.locator("#photograph-stages img").count() == 0


def test_a_picture_and_all_strokes_survive_a_reload_until_the_picture_is_forgotten(page, tmp_path):
    tab(page, "Paint")
    page.wait_for_selector("#easel .easel[data-ready='1']:visible")
    page.click("#paint-another")
    page.wait_for_selector("#easel >> text=seed 4")
    page.locator("#easel .frame").focus()
    page.keyboard.press("Space")
    page.wait_for_selector("#easel .easel[data-strokes='1'][data-done='1']")
    tab(page, "Photo")
    choose(page, kept(tmp_path, 6))
    page.wait_for_selector("#photograph-stages img[data-stage='as drawn']")
    page.uncheck("#photograph-adapted input")
    page.click(f"{EASEL} .concepts button:text-is('tree')")
    page.locator(f"{EASEL} .frame").focus()
    page.keyboard.press("Space")
    page.wait_for_selector(f"{EASEL} .easel[data-strokes='1'][data-done='1']")
    painted = image(page)

    page.reload()
    tab(page, "Photo")
    page.wait_for_selector(f"{EASEL} .easel[data-strokes='1']:visible")
    assert image(page) == painted
    page.wait_for_selector("#photograph-adapted input:not(:checked)")
    page.wait_for_selector("#photograph-files a")
    tab(page, "Paint")
    page.wait_for_selector("#easel .easel[data-strokes='1']:visible")
    assert page.input_value("#paint-seed input") == "4"
    tab(page, "Photo")
    page.click("#photograph-forget")
    page.wait_for_selector("#photograph-status >> text=No picture yet")
    page.reload()
    tab(page, "Photo")
    page.wait_for_selector("#photograph-status >> text=No picture yet")
