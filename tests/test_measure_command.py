"""Memories that commands measure: what is kept of them, and how one that was ended goes on."""

import signal
import subprocess
import sys
import time

import pytest
import torch

from apps.cli import main
from apps.memories import cached_path, memory_of
from rewrite import Memory, load_generator, measure
from rewrite.memory.measurement import Measurement
from rewrite.storage import files as files_of
from tests.test_cli import LAYER, ROOT, names_in

pytestmark = pytest.mark.usefixtures("cache")


def test_measure_writes_a_memory_that_says_where_it_comes_from(files, tmp_path, answer):
    out = tmp_path / "memory.safetensors"
    result = answer("measure", files["model"], "--layer", LAYER, "--samples", "30", "--out", out)
    assert result["dimensions"] == 36
    assert torch.equal(Memory.load(out).total, Memory.load(files["memory"]).total)


def test_solve_without_a_memory_measures_it_once_and_keeps_it(files, tmp_path, cache, monkeypatch):
    solved = ["solve", str(files["rule"]), "--model", str(files["model"]), "--samples", "20"]
    assert main([*solved, "--out", str(tmp_path / "first.safetensors")]) == 0
    kept = list(cache.glob("*.safetensors"))
    assert len(kept) == 1
    monkeypatch.setattr("apps.memories.Measurement", None)
    assert main([*solved, "--out", str(tmp_path / "again.safetensors")]) == 0
    assert (tmp_path / "first.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_kept_memory_that_is_not_right_is_measured_again(files, capsys, damage):
    generator = load_generator(files["model"])
    path = cached_path(generator, LAYER, 10, "patch")
    memory_of(generator, LAYER, 10)
    good = path.read_bytes()
    if damage == "cut":
        path.write_bytes(good[:100])
    else:
        measure(generator, LAYER, 10, first_seed=5).save(path)
    assert torch.equal(memory_of(generator, LAYER, 10).total, measure(generator, LAYER, 10).total)
    assert "the kept memory is not used" in capsys.readouterr().err
    assert path.read_bytes() == good


def test_a_cache_that_cannot_be_written_does_not_stop_the_work(files, capsys, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("REWRITE_CACHE", str(tmp_path / "file" / "cache"))
    memory_of(load_generator(files["model"]), LAYER, 5)
    assert "the memory is not kept" in capsys.readouterr().err


def test_ctrl_c_in_the_middle_of_a_long_measurement_keeps_its_sums(files, tmp_path, answer, refusal):
    measuring = ["measure", str(files["model"]), "--layer", LAYER, "--samples", "1000000"]
    command = [sys.executable, "-m", "apps.cli", *measuring, "--out", str(tmp_path / "memory.safetensors")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        said = ""
        while "img/s" not in said:
            said += process.stderr.read(1)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
    assert process.returncode == 130
    kept = tmp_path / "memory.unfinished.safetensors"
    assert said.rstrip().endswith(f"images are in {kept}: the same command goes on from there")
    assert "Traceback" not in said
    assert names_in(tmp_path) == [kept.name]
    told = answer("inspect", kept)
    assert (told["kind"], told["layer"], told["samples"]) == ("part of a memory", LAYER, 1_000_000)
    assert told["images"] > 0
    assert "holds a part of a memory, not a memory" in refusal(
        "solve", files["rule"], "--model", files["model"], "--memory", kept, "--out", tmp_path / "patch.safetensors"
    )


def ended_after(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C as soon as a measurement has read so many images."""
    summed = Measurement._read

    def read(self: Measurement, upto: int) -> None:
        def stop(count: int) -> None:
            if count >= images:
                raise KeyboardInterrupt

        self._on_progress = stop
        summed(self, upto)

    monkeypatch.setattr(Measurement, "_read", read)


@pytest.mark.parametrize(
    ("layer", "how"),
    [
        (LAYER, []),
        *((layer, ["--samples", "90"]) for layer in (LAYER, "b16.conv0")),
        *((layer, ["--samples", "90", "--key-space", "channel"]) for layer in (LAYER, "b16.conv0")),
    ],
)
def test_a_measurement_that_was_ended_goes_on_to_the_same_file(files, tmp_path, capsys, monkeypatch, how, layer):
    monkeypatch.setattr("rewrite.memory.accuracy.WITHIN", 0.03)  # so that 200 images are not enough
    measuring = ["measure", str(files["model"]), "--layer", layer, *how]
    assert main([*measuring, "--out", str(tmp_path / "whole.safetensors")]) == 0
    out = tmp_path / "memory.safetensors"
    for images in (1, 40, 60, 250):
        with pytest.MonkeyPatch.context() as patched:
            ended_after(images, patched)
            if main([*measuring, "--out", str(out)]) == 130:
                assert "the same command goes on from there" in capsys.readouterr().err
                assert not out.exists()
    assert main([*measuring, "--out", str(out)]) == 0
    assert out.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert names_in(tmp_path) == ["memory.safetensors", "whole.safetensors"]


def test_what_was_summed_for_another_measurement_or_is_damaged_is_refused(files, tmp_path, monkeypatch, refusal):
    measuring = ["measure", files["model"], "--layer", LAYER, "--out", tmp_path / "memory.safetensors"]
    with pytest.MonkeyPatch.context() as patched:
        ended_after(1, patched)
        assert main([*map(str, measuring), "--samples", "50"]) == 130
    assert "is of another measurement: name another file, or delete it" in refusal(*measuring, "--samples", "60")
    kept = tmp_path / "memory.unfinished.safetensors"
    tensors, about = files_of.load_tensors(kept, "part of a memory")
    for wrong, header in (
        ({**tensors, "0.sum": torch.zeros(2, 2)}, about),
        ({name: each for name, each in tensors.items() if name != "counted"}, about),
        (tensors, {**about, "images": 10**9}),
        (tensors, {**about, "images": 0}),
        (tensors, {**about, "upto": 10**9}),
        ({**tensors, "0.sum": tensors["0.sum"] / 0}, about),
    ):
        files_of.save_tensors(kept, wrong, "part of a memory", header)
        assert str(kept) in refusal(*measuring, "--samples", "50")


def test_solve_goes_on_with_a_measurement_that_ctrl_c_ended(files, tmp_path, cache, capsys):
    solving = ["solve", str(files["rule"]), "--model", str(files["model"]), "--samples", "60"]
    with pytest.MonkeyPatch.context() as patched:
        ended_after(30, patched)
        assert main([*solving, "--out", str(tmp_path / "patch.safetensors")]) == 130
    assert "the sums over 32 images are in" in capsys.readouterr().err
    assert main([*solving, "--out", str(tmp_path / "patch.safetensors")]) == 0
    (kept,) = cache.glob("*.safetensors")
    assert torch.equal(Memory.load(kept).total, measure(load_generator(files["model"]), LAYER, 60).total)


def test_measure_reads_as_many_images_as_are_needed_and_says_so(files, tmp_path, capsys, answer):
    out = tmp_path / "memory.safetensors"
    assert main(["measure", str(files["model"]), "--layer", LAYER, "--out", str(out)]) == 0
    assert "its forecast of damage is within" in capsys.readouterr().out
    said = answer("inspect", out)
    assert said["images"] == Memory.load(out).images < 2000
    assert said["off"] <= 0.1
    assert said["stopped"] == "more images would move the forecast by less than 10%"


def test_a_memory_of_as_many_images_as_are_needed_is_kept(files, cache, monkeypatch):
    generator = load_generator(files["model"])
    found = memory_of(generator, LAYER, "auto")
    monkeypatch.setattr("apps.memories.Measurement", None)
    assert torch.equal(memory_of(generator, LAYER, "auto").total, found.total)


def test_a_stop_after_the_last_images_were_read_keeps_nothing(files, cache):
    said = []

    def stop(images: int) -> None:
        said.append(images)
        if said.count(20) > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        memory_of(load_generator(files["model"]), LAYER, 20, on_progress=stop)
    assert list(cache.rglob("*.safetensors")) == []


def test_a_number_of_images_that_is_none_is_refused(files, refusal, tmp_path):
    said = refusal(
        "measure", files["model"], "--layer", LAYER, "--samples", "many", "--out", tmp_path / "m.safetensors"
    )
    assert "a number of images or auto, got 'many'" in said
