"""Damaged and hostile checkpoints: nothing runs, nothing hangs, nothing swallows memory; each gets one sentence.

`REWRITE_FUZZ=10000 python -m pytest -n auto tests/test_fuzz.py` tries as many files as it says, on all cores.
"""

import io
import os
import pickle
import random
import zipfile
from functools import cache
from pathlib import Path

import pytest
import torch

from rewrite import load_discriminator, load_generator
from rewrite.checkpoints import native
from rewrite.checkpoints.containers import describe
from tests.foreign_files import proggan_state, write_rosinality
from tests.fuzzed_kinds import INPUT, Kind, kinds
from tests.fuzzing import CORPUS, failure, fuzz, kind_of, warm
from tests.guards import outcome
from tests.mutations import mutated
from tests.networks import CONFIG, random_discriminator, random_stylegan2, random_stylegan3
from tests.nvidia_files import discriminator, stylegan2, write_network, write_stylegan3
from tests.peak import Peak

FILES = int(os.environ.get("REWRITE_FUZZ", "48"))
PARTS = -(-FILES // 500)
ACTS = (load_generator, load_discriminator, describe)
# What an allocator takes in one go is no matter of the file's size.
ALLOCATOR = 8 * 2**20


@pytest.fixture
def seeds(tmp_path, scaled) -> list[bytes]:
    """One good file of each kind."""
    path = tmp_path / "seed"
    native.save_stylegan2(path, random_stylegan2().state_dict(), CONFIG, {})
    found = [path.read_bytes(), write_rosinality(path, scaled).read_bytes()]
    content = torch.load(path, weights_only=True)
    torch.save(content, path, _use_new_zipfile_serialization=False)
    both = write_network(path, stylegan2(scaled.network), D=discriminator(random_discriminator()))
    found += [path.read_bytes(), both.read_bytes()]
    found.append(write_stylegan3(path, random_stylegan3()).read_bytes())
    torch.save(proggan_state(), path)
    found.append(path.read_bytes())
    for content in found:
        path.write_bytes(content)
        load_generator(path)
    return found


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_files_end_in_a_sentence(tmp_path, seeds, part):
    chance, path, peak = random.Random(part), tmp_path / "file", Peak()
    opened, count = 0, len(range(part, FILES, PARTS))
    for number in range(count):
        path.write_bytes(mutated(chance, seeds[number % len(seeds)]))
        for act in ACTS:
            peak.start()
            opened += outcome(act, path) == "opened"
            assert peak.bytes() <= 4 * path.stat().st_size + ALLOCATOR
    assert 0 < opened < len(ACTS) * count


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@cache
def hostile() -> dict[str, bytes]:
    """Files that do harm when they are unpickled."""
    system, code = Call(os.system, "touch was-run"), Call(eval, "open('was-run', 'w').close()")
    contents = {
        "system": {"g_ema": system},
        "eval": {"G_ema": code},
        "exec": Call(exec, "open('was-run', 'w').close()"),
        "hub": {"state_dict": Call(torch.hub.load, "someone/something", "model")},
        "nested": {"g_ema": [Call(getattr, Call(__import__, "os"), "system"), system]},
        "key": {Call(getattr, Call(__import__, "os"), "sep"): 1},
        "load": Call(pickle.loads, pickle.dumps(system)),
        "import": Call(__import__, "antigravity"),
        "write": Call(Path.write_text, Path("was-run"), "x"),
    }
    files = {name: pickle.dumps(content) for name, content in contents.items()}
    for name, content in list(files.items()):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as written:
            written.writestr("archive/data.pkl", content)
            written.writestr("archive/version", b"3\n")
        files[f"{name} in an archive"] = archive.getvalue()
    files["deep"] = b"\x80\x02" + b"]" * 5_000 + b"a" * 4_999 + b"."
    files["long text"] = b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"x."
    files["long number"] = b"\x80\x02\x8b" + (2**31 - 1).to_bytes(4, "little") + b"\1."
    places = (i.to_bytes(4, "little") for i in range(0, 2**31, 2**22))
    files["endless memo"] = b"\x80\x02" + b"".join(b"]r" + place for place in places) + b"."
    files["doubling"] = b"\x80\x02(" + b"]q\0" + b"".join(b"(h\0h\0tq\0" for _ in range(60)) + b"."
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("archive/data.pkl", b"\x80\x02" + b"]" * 100_000_000 + b".")
    files["bomb"] = bomb.getvalue()
    files["header"] = (2**63).to_bytes(8, "little") + b"{}"
    wide = b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}'
    files["wide"] = len(wide).to_bytes(8, "little") + wide + bytes(4)
    return files


@pytest.mark.parametrize("name", hostile())
def test_hostile_files_do_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path, peak = tmp_path / "file", Peak()
    path.write_bytes(hostile()[name])
    for act in ACTS:
        peak.start()
        said = outcome(act, path)
        assert peak.bytes() <= 4 * path.stat().st_size + ALLOCATOR
        assert said != "opened" or act is describe
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> tuple[dict[str, Kind], Path]:
    """Every kind of file, and where inputs of it are to be written."""
    folder = tmp_path_factory.mktemp("kinds")
    found = kinds(folder)
    warm(found, folder / INPUT)
    return found, folder / INPUT


def test_inputs_of_every_kind_end_in_a_sentence(known):
    tried, failed = fuzz(max(len(known[0]), FILES // 2), 7)
    assert set(tried) == set(known[0])
    assert failed == {}


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.glob("*.*")))
def test_what_failed_once_fails_no_more(known, name):
    found, path = known
    path.write_bytes((CORPUS / name).read_bytes())
    acts = found[kind_of(CORPUS / name)].acts
    assert [failure(act, path, Peak()) for act in acts] == [None] * len(acts)
