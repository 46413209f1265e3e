"""Addresses of the Hugging Face hub, against a stub of it on this machine."""

import hashlib
import sys

import pytest
import torch

from rewrite import load_generator
from rewrite.checkpoints import hub
from tests.foreign_files import proggan_state

ADDRESS = "hf://owner/name/folder/model.pth"
COMMIT = "0" * 40
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def stub(server, tmp_path, monkeypatch):
    """The hub's answers for one file; huggingface_hub asks here, and keeps its cache in the test's folder."""
    constants = pytest.importorskip("huggingface_hub.constants")
    handler, address = server
    torch.save(proggan_state(), tmp_path / "served.pth")
    handler.content = (tmp_path / "served.pth").read_bytes()
    handler.tag = f'"{hashlib.sha256(handler.content).hexdigest()}"'
    handler.paths = []

    def head(self):
        self.paths.append(self.path)
        there = self.path.endswith("/folder/model.pth")
        self.send_response(200 if there else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", self.tag)
        self.send_header("Content-Length", str(len(self.content)))
        if not there:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()

    handler.do_HEAD = head
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    return handler, constants


def test_a_generator_of_the_hub_is_loaded_and_found_again_offline(stub, tmp_path, monkeypatch, refusal):
    handler, constants = stub
    assert "has not been downloaded yet" in refusal("inspect", ADDRESS)
    assert (handler.paths, handler.asked) == ([], ())
    generator = load_generator(ADDRESS)
    assert handler.paths[0] == "/owner/name/resolve/main/folder/model.pth"
    assert torch.equal(generator.sample([3]), load_generator(tmp_path / "served.pth").sample([3]))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.fetch(ADDRESS).read_bytes() == handler.content
    assert hub.cached(ADDRESS) == hub.fetch(ADDRESS)


def test_a_revision_can_be_named(stub):
    handler, _ = stub
    hub.fetch("hf://owner/name@v1/folder/model.pth")
    assert handler.paths[0] == "/owner/name/resolve/v1/folder/model.pth"


def test_offline_the_hub_is_one_sentence(stub, monkeypatch, refusal):
    _, constants = stub
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    said = refusal("sample", ADDRESS, "--out", "a.png")
    assert said.startswith(f"rewrite: cannot download {ADDRESS}: ")
    assert said.endswith("if you can get the file in another way, give its path")


def test_a_file_that_the_hub_lacks_is_one_sentence(stub):
    with pytest.raises(ValueError, match=r"cannot download hf://owner/name/other: .*404"):
        load_generator("hf://owner/name/other")


def test_without_the_package_a_sentence_names_the_extra(monkeypatch, refusal):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    said = refusal("sample", ADDRESS, "--out", "a.png")
    assert "not installed: pip install 'model-rewriting[hub]'" in said


@pytest.mark.parametrize("address", ["hf://", "hf://owner", "hf://owner/name", "hf://owner/name/", "hf:///name/file"])
def test_an_incomplete_address_is_refused(address):
    with pytest.raises(ValueError, match="is hf://owner/name/file, got"):
        load_generator(address)
