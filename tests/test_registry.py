"""Names instead of paths: published checkpoints come into the cache once, and are checked ever after."""

import hashlib
import sys
from dataclasses import replace

import pytest
import torch

from apps.cli import main
from rewrite import export, load_generator
from rewrite.checkpoints import downloads, registry
from rewrite.checkpoints.loading import BUILT_IN, checkpoint_path
from rewrite.checkpoints.registry import PUBLISHED, Published
from tests.foreign_files import proggan_state

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def published(server, tmp_path, monkeypatch):
    """A small ProgressiveGAN that the local server publishes as `small`, without a hash."""
    handler, address = server
    torch.save(proggan_state(), tmp_path / "served.pth")
    handler.content, handler.tag = (tmp_path / "served.pth").read_bytes(), '"1"'
    small = Published("small", f"{address}/small.pth", "made by the test", "ProgressiveGAN")
    monkeypatch.setitem(PUBLISHED, "small", small)
    return handler, small


def no_network(monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(downloads.urllib.request, "urlopen", refuse)


def test_the_table_is_well_formed():
    files = [each.path.name for each in PUBLISHED.values()]
    assert len(set(files)) == len(files)
    assert len({each.url for each in PUBLISHED.values()}) == len(files)
    for name, each in PUBLISHED.items():
        assert each.name == name
        assert each.url.startswith("https://")
        assert each.path.suffix in {".pt", ".pth", ".pkl"}
        assert each.family in {"StyleGAN2", "StyleGAN3", "ProgressiveGAN"}
        assert each.licence
        assert each.sha256 is None or len(each.sha256) == 64


def test_the_table_holds_the_release_of_2020_and_nvidias_networks():
    named = set(registry.names())
    scenes = ("bedroom", "car", "cat", "church", "faces", "horse", "kitchen", "places")
    rooms = "bedroom", "celebhq", "church", "conferenceroom", "diningroom", "kitchen", "livingroom", "restaurant"
    assert {f"stylegan2-{scene}" for scene in scenes} | {f"proggan-{room}" for room in rooms} <= named
    assert {"stylegan2-ada-ffhq", "stylegan2-ada-cifar10", "stylegan2-ffhq-256x256"} <= named
    assert {f"stylegan3-{kind}-{data}" for kind in "rt" for data in ("afhqv2-512x512", "ffhqu-256x256")} <= named
    assert len(named) == 8 + 8 + 7 + 15 + 12


def test_a_hash_is_expected_only_where_the_authors_give_a_part_of_it():
    assert PUBLISHED["stylegan2-horse"].expected == "499b5380"
    assert PUBLISHED["proggan-church"].expected == "7e701dd5"
    assert {each.expected for each in PUBLISHED.values() if "nvidia" in each.url} == {None}
    assert replace(PUBLISHED["stylegan2-horse"], sha256="ab" * 32).expected == "ab" * 32


def test_a_generator_is_loaded_by_its_name_and_downloaded_once(published, capfd, tmp_path):
    handler, small = published
    generator = load_generator("small")
    assert "download small.pth" in capfd.readouterr().err
    assert torch.equal(generator.sample([3]), load_generator(tmp_path / "served.pth").sample([3]))
    export(generator, [], tmp_path / "same.pth", model="small")
    assert (tmp_path / "same.pth").read_bytes() == small.path.read_bytes() == handler.content
    assert handler.asked == (None,)
    assert "download" not in capfd.readouterr().err


def test_a_cut_download_is_resumed_at_the_next_call(published):
    handler, small = published
    handler.breaks_after = 1000
    with pytest.raises(ValueError, match="the connection ended after 1000 of"):
        registry.fetch("small")
    assert not small.path.exists()
    handler.breaks_after = None
    assert registry.fetch("small").read_bytes() == handler.content
    assert handler.asked == (None, "bytes=1000-")


def test_a_file_with_a_wrong_checksum_is_not_kept(published, monkeypatch):
    _, small = published
    monkeypatch.setitem(PUBLISHED, "small", replace(small, sha256="0" * 64))
    with pytest.raises(ValueError, match="did not give the file that was expected"):
        load_generator("small")
    assert list(small.path.parent.iterdir()) == []


def test_the_hash_in_a_files_name_is_checked(published, monkeypatch):
    handler, small = published
    found = hashlib.sha256(handler.content).hexdigest()
    right, wrong = (f"{small.url.removesuffix('.pth')}-{digits}.pth" for digits in (found[:8], "0123abcd"))
    monkeypatch.setitem(PUBLISHED, "small", replace(small, url=right))
    assert registry.fetch("small").read_bytes() == handler.content
    monkeypatch.setitem(PUBLISHED, "small", replace(small, url=wrong))
    with pytest.raises(ValueError, match="not 0123abcd…"):
        registry.fetch("small")


def test_an_unknown_checksum_is_noted_and_a_later_change_is_noticed(published):
    handler, _ = published
    path = registry.fetch("small")
    noted = path.with_name("small.pth.sha256")
    assert noted.read_text() == f"{hashlib.sha256(handler.content).hexdigest()}  small.pth\n"
    path.write_bytes(handler.content[:-1] + b"x")
    with pytest.raises(ValueError, match=r"small\.pth is damaged or another file: .*remove it to download it again"):
        load_generator("small")
    path.unlink()
    assert registry.fetch("small").read_bytes() == handler.content


def test_a_file_put_into_the_cache_by_hand_is_used_and_noted(published, monkeypatch):
    handler, small = published
    no_network(monkeypatch)
    small.path.parent.mkdir(parents=True)
    small.path.write_bytes(handler.content)
    load_generator("small")
    assert small.path.with_name("small.pth.sha256").exists()
    monkeypatch.setitem(PUBLISHED, "small", replace(small, sha256="0" * 64))
    with pytest.raises(ValueError, match="damaged or another file"):
        load_generator("small")


def test_offline_one_sentence_says_which_file_belongs_where(published, monkeypatch, refusal):
    _, small = published
    monkeypatch.setitem(PUBLISHED, "small", replace(small, url="http://127.0.0.1:1/small.pth"))
    said = refusal("sample", "small", "--out", "a.png")
    assert said.startswith("rewrite: cannot download http://127.0.0.1:1/small.pth: Connection refused; ")
    assert said.endswith(f"put it at {small.path}")


def test_a_local_file_wins_over_a_name_and_a_folder_does_not(published, tmp_path, monkeypatch):
    handler, small = published
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    load_generator("small")
    assert handler.asked == (None,)
    (tmp_path / "small").rmdir()
    small.path.unlink()
    (tmp_path / "served.pth").rename(tmp_path / "small")
    load_generator("small")
    assert handler.asked == (None,)


def test_the_built_in_generator_and_the_listing_do_not_touch_the_network(monkeypatch, answer):
    no_network(monkeypatch)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert checkpoint_path("towers") == BUILT_IN["towers"]
    assert len(answer("models")["published"]) == len(PUBLISHED)


def test_the_listing_says_licence_and_place(published, answer, capsys):
    _, small = published
    before = {each["name"]: each for each in answer("models")["published"]}
    assert before["small"]["downloaded"] is False
    assert before["stylegan2-horse"]["licence"].startswith("MIT")
    assert before["stylegan2-horse"]["size"] is None
    registry.fetch("small")
    after = {each["name"]: each for each in answer("models")["published"]}
    assert after["small"]["size"] == small.path.stat().st_size
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert f"{small.path}\n" in said
    assert "ProgressiveGAN (licence: made by the test)" in said


def test_inspect_tells_of_a_published_file_without_downloading_it(published, answer, refusal):
    handler, small = published
    told = answer("inspect", "small")
    assert (told["kind"], told["path"], told["size"]) == ("published checkpoint", str(small.path), "unknown")
    assert handler.asked == ()
    registry.fetch("small")
    assert answer("inspect", "small")["file"] == str(small.path)
    assert "did you mean stylegan2-horse?" in refusal("inspect", "stylegan2-horze")


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(FileNotFoundError, match=r"there is towers, towers-early\): did you mean stylegan2-horse\?"):
        load_generator("stylegan2-horze")
    with pytest.raises(LookupError, match=r"no published checkpoint 'stylegan2-horze': did you mean"):
        registry.find("stylegan2-horze")
    with pytest.raises(LookupError, match=r"no published checkpoint '': there are stylegan2-bedroom, "):
        registry.fetch("")
