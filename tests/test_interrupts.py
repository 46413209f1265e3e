"""Ctrl-C at any moment, and what a command says of how far it is."""

import os
import re
import shutil
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from apps import estimates
from apps.cli import main
from rewrite import Settings, load_generator, measure
from rewrite.interrupts import goes_on_from, held_off, raised_as_such
from rewrite.memory.measurement import Measurement
from rewrite.progress import in_stage, stage_bar, stages
from rewrite.reports.effect import Comparison
from rewrite.storage.files import load_tensors, save_tensors
from rewrite.storage.ledger import images_in
from tests.fault_cases import OUT, cases, held
from tests.networks import marked_rule

LAYER = "b16.conv1"
pytestmark = pytest.mark.usefixtures("cache")


def pressed(times: int = 1) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("times", "done"), [(1, ["the sum"]), (2, [])])
def test_ctrl_c_waits_for_the_end_of_a_sum_but_a_second_one_does_not(times, done):
    found = []

    @held_off()
    def add() -> None:
        pressed(times)
        found.append("the sum")

    with pytest.raises(KeyboardInterrupt):
        add()
    assert found == done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_that_a_library_makes_of_ctrl_c_is_ctrl_c():
    @raised_as_such()
    def load(times: int) -> None:
        with suppress(KeyboardInterrupt):
            pressed(times)
        raise TypeError("could not determine the shape of an object")

    with pytest.raises(KeyboardInterrupt):
        load(1)
    with pytest.raises(TypeError):
        load(0)


def test_a_thread_beside_is_not_told_of_ctrl_c():
    found = []

    def work() -> None:
        with held_off(), raised_as_such():
            found.append("worked")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["worked"]


def test_only_files_that_are_there_are_said_to_be_gone_on_from(tmp_path):
    (tmp_path / "one").touch()

    @goes_on_from(tmp_path / "one", tmp_path / "two")
    def end() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=f"is in {tmp_path}/one: the same command goes on from there"):
        end()
    (tmp_path / "one").unlink()
    with pytest.raises(KeyboardInterrupt) as raised:
        end()
    assert raised.value.args == ()


def test_bars_say_which_stage_of_how_many_they_are(capsys):
    with stages("levels", "units", "pictures"):
        for name in ("levels", "units", "elsewhere"):
            with stage_bar(10, name, shown=True) as bar:
                bar.delay = 0
                bar.refresh()
        assert list(in_stage(range(3), "pictures", "unit")) == [0, 1, 2]
    said = capsys.readouterr().err
    assert "levels (1 of 3)" in said
    assert "units (2 of 3)" in said
    assert "elsewhere: " in said


@pytest.mark.parametrize("name", ["measure", "units", "effects", "artifacts"])
def test_a_command_that_is_ended_again_and_again_ends_with_the_same_files(tmp_path, capsys, name):
    command = [str(each) for each in cases(tmp_path)[name].arguments]
    if name != "effects":
        command[command.index("--samples") + 1] = "200"

    def run(out: str, seconds: float | None = None) -> int:
        arguments = [each.replace(OUT, str(tmp_path / out)) for each in command]
        return main(arguments) if seconds is None else pressed_after(seconds, arguments)

    assert run("whole") == 0
    seconds, said = 0.2, ""
    while "the same command goes on from there" not in said:
        status = run("ended", seconds)
        said = capsys.readouterr().err
        if status == 0:  # too late
            shutil.rmtree(tmp_path / "ended", ignore_errors=True)
        seconds *= 0.7 if status == 0 else 1.1
    assert run("ended") == 0
    assert [*held(tmp_path / "whole").values()] == [*held(tmp_path / "ended").values()]


def reporting(files, out: Path, *more: str) -> list[str]:
    model, seeds = str(files["model"]), ("--seeds", "0-39")
    return ["report", str(files["patch"]), "--model", model, *seeds, "--out", str(out), *more]


def end_in_batch(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C while a report compares the images of a batch."""
    compared, count = Comparison._compared, iter(range(1000))

    def compare(self: Comparison, *images):
        if next(count) == number:
            pressed()
        return compared(self, *images)

    monkeypatch.setattr(Comparison, "_compared", compare)


def test_a_report_that_is_ended_again_and_again_goes_on_to_the_same_files(files, tmp_path, capsys):
    assert main(reporting(files, tmp_path / "whole")) == 0
    out = tmp_path / "report"
    for number, images in ((0, 0), (1, 16), (0, 16), (1, 32)):
        with pytest.MonkeyPatch.context() as patched:
            end_in_batch(number, patched)
            assert main(reporting(files, out)) == 130
        kept = out / "unfinished.safetensors"
        if images:
            assert f"is in {kept}: the same command goes on from there" in capsys.readouterr().err
            assert images_in(kept, "compare") == images
    with pytest.MonkeyPatch.context() as patched:
        end_in_batch(1, patched)  # eight images are left, which is one batch
        assert main(reporting(files, out)) == 0
    assert held(out) == held(tmp_path / "whole")
    assert sorted(path.name for path in out.iterdir()) == ["before-after.png", "report.html", "report.json"]


def test_what_was_compared_for_another_report_or_is_damaged_is_refused(files, tmp_path, refusal):
    with pytest.MonkeyPatch.context() as patched:
        end_in_batch(1, patched)
        assert main(reporting(files, tmp_path)) == 130
    kept = tmp_path / "unfinished.safetensors"
    assert f"{kept} belongs to another run" in refusal(*reporting(files, tmp_path, "--strength", "0.5"))
    tensors, about = load_tensors(kept, "report")
    for wrong in ({**tensors, "compare|moved": torch.zeros(2, 2)}, {"compare|moved": tensors["compare|moved"]}):
        save_tensors(kept, wrong, "report", about)
        assert f"{kept} is damaged" in refusal(*reporting(files, tmp_path))


# Where it comes in a callback of Python's own, Python says that it is ignored there.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("samples", ["auto", 600])
def test_ctrl_c_at_any_moment_of_a_measurement_changes_no_number(files, tmp_path, samples):
    generator, state, seconds, ended = load_generator(files["model"]), tmp_path / "state", 0.02, 0
    whole = measure(generator, LAYER, samples)
    while True:
        measurement = Measurement(generator, LAYER, samples)
        measurement.go_on(state)
        press = threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGINT])
        press.start()
        try:
            with measurement.kept(state):
                memory = measurement.memory()
                press.cancel()
                press.join()
            break
        except KeyboardInterrupt:
            ended, seconds = ended + 1, 1.2 * seconds
    assert ended
    assert not state.exists()
    assert (memory.images, memory.accuracy) == (whole.images, whole.accuracy)
    assert torch.equal(memory.total, whole.total)
    assert torch.equal(memory.style_power, whole.style_power)


def pressed_after(seconds: float, arguments: list[str]) -> int:
    """The status of a command during which Ctrl-C is pressed."""
    press = threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGINT])
    press.start()
    with suppress(KeyboardInterrupt):
        status = main(arguments)
        press.cancel()
        press.join()
        return status
    return 0


def test_how_long_it_takes_is_told_before_it_begins_where_it_is_long(files, capsys, monkeypatch):
    generator = load_generator(files["model"])
    monkeypatch.setattr(estimates, "LEAST_SECONDS", 3600)
    estimates.foretell(generator, 1000)
    monkeypatch.setattr(estimates, "LEAST_SECONDS", 0)
    estimates.foretell(generator, 10)
    assert capsys.readouterr().err == ""
    estimates.foretell(generator, 1000)
    assert re.fullmatch(r"about \d+ (s|min) to draw 1000 images\n", capsys.readouterr().err)
    measuring = ["measure", str(files["model"]), "--layer", LAYER, "--samples", "60"]
    assert main([*measuring, "--out", str(Path(files["model"]).parent / "timed.safetensors")]) == 0
    assert "to draw 60 images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("effects", r"about \d+ s to draw and name about \d+ images from layer b16.conv1 on"),
        ("omissions", r"about \d+ s to draw and name 24 images"),
        ("solve", r"about \d+ s for 20 steps of the solution"),
    ],
)
def test_the_time_of_work_that_is_no_drawing_of_images_is_told_before_it(tmp_path, capsys, monkeypatch, name, said):
    monkeypatch.setattr(estimates, "LEAST_TIMES", 0)
    monkeypatch.setattr(estimates, "LEAST_SECONDS", 0)
    case = cases(tmp_path)[name]
    if name == "solve":
        marked_rule(tmp_path / "model.safetensors", settings=Settings(finish=20)).save(tmp_path / "rule.json")
    assert main([str(each).replace(OUT, str(tmp_path / "out")) for each in case.arguments]) == 0
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(20.4, "20 s"), (89, "89 s"), (100, "2 min"), (3600, "60 min"), (7200, "2 h"), (90000, "25 h")],
)
def test_a_time_is_told_in_the_unit_that_people_would_use(seconds, said):
    assert estimates.spoken(seconds) == said
