"""The file of a run: what goes on from it, and what is refused."""

import pytest
import torch

from rewrite.storage import files
from rewrite.storage.ledger import Ledger, images_in, ranges_of


def sums(numbers) -> dict[str, torch.Tensor]:
    return {"sum": torch.tensor(sum(numbers))}


def test_every_stage_goes_on_where_it_was(tmp_path):
    path, looked_at = tmp_path / "state.safetensors", []
    first = Ledger(path, {"run": 1})
    first.once("values", lambda: {"value": torch.tensor(3.5)})
    first.over("early", range(100), sums, batch=7)
    first.over("late", range(1000, 1050), sums, batch=7)
    again = Ledger(path, {"run": 1})
    assert again.once("values", lambda: pytest.fail("made again"))["value"] == 3.5
    assert again.over("early", range(100), lambda some: pytest.fail("summed again"), batch=7)["sum"] == sum(range(100))
    found = again.over("late", range(1000, 1080), lambda some: looked_at.extend(some) or sums(some), batch=7)
    assert found["sum"] == sum(range(1000, 1080))
    assert looked_at == list(range(1050, 1080))
    assert images_in(path, "late") == 80


def test_a_run_never_goes_on_inside_a_shard(tmp_path):
    path = tmp_path / "state.safetensors"
    Ledger(path, {}).over("shards", range(100), sums)
    with pytest.raises(ValueError, match="holds the images 0 to 99, which a run of 128 images from 0 on"):
        Ledger(path, {}).over("shards", range(128), sums)
    Ledger(path, {}).over("pieces", range(100), sums, batch=9)
    assert Ledger(path, {}).over("pieces", range(128), sums, batch=9)["sum"] == sum(range(128))


def test_images_that_do_not_follow_each_other_are_known_again(tmp_path):
    path, numbers = tmp_path / "state.safetensors", (3, 4, 5, 9, 12, 13)
    Ledger(path, {}).over("some", numbers, sums, batch=4)
    assert ranges_of(numbers) == ((3, 6), (9, 10), (12, 14))
    assert Ledger(path, {}).left("some", (*numbers, 20), whole=False) == (20,)
    with pytest.raises(ValueError, match="holds the images 3 to 5, 9 to 9, 12 to 13"):
        Ledger(path, {}).left("some", range(3, 20), whole=False)


def test_sums_of_the_first_version_are_gone_on_with(tmp_path):
    """It wrote down how many images a stage had seen, and not which."""
    path = tmp_path / "effects.safetensors"
    files.save_tensors(path, {"sets|sum": torch.tensor(10)}, "effects", {"identity": {}, "done": {"sets": 5}})
    ledger = Ledger(path, {}, "effects")
    assert ledger.over("sets", range(8), sums, batch=4)["sum"] == sum(range(8))
    assert images_in(path, "sets") == 8


def test_inspect_tells_what_run_a_file_is_of_and_how_far_it_came(tmp_path, answer):
    run = Ledger(tmp_path / "effects.safetensors", {"model": "m1", "layer": "b8.conv1", "plan": {"n": 3}}, "effects")
    run.once("levels", lambda: {"level": torch.tensor(3.5)})
    run.over("removals", (*range(8), *range(20, 24)), sums, batch=4)
    said = answer("inspect", run.path)
    assert said["kind"] == "effects of a run, which can go on from it"
    assert said["stages"] == {"levels": "done", "removals": "12 images"}
    assert (said["model"], said["layer"]) == ("m1", "b8.conv1")


def test_files_of_other_runs_and_versions_and_damaged_ones_are_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    Ledger(path, {"run": 1}).over("some", range(4), sums)
    with pytest.raises(ValueError, match="belongs to another run"):
        Ledger(path, {"run": 2})
    with pytest.raises(ValueError, match="holds a ledger, not a table"):
        Ledger(path, {"run": 1}, "table")
    for tensors, about, text in (
        ({"sum": torch.tensor(1)}, {"identity": {}}, "another version"),
        ({"some|sum": torch.tensor(1)}, {"identity": {}, "done": {}}, "damaged"),
        ({"some|sum": torch.tensor(1)}, {"identity": {}, "done": {"some": [], "more": []}}, "damaged"),
        ({"some|sum": torch.tensor(1)}, {"identity": {}, "done": {"some": "all"}}, "damaged"),
    ):
        files.save_tensors(path, tensors, "ledger", about)
        with pytest.raises(ValueError, match=text):
            Ledger(path, {})


def test_an_interrupt_keeps_what_was_counted_and_says_how_to_go_on(tmp_path):
    def measure(part: tuple[int, ...]) -> dict[str, torch.Tensor]:
        if part[0] >= 4:
            raise KeyboardInterrupt
        return {"sum": torch.tensor([sum(part)])}

    path = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt, match="the same command goes on from there"):
        Ledger(path, {"run": 1}).over("count", range(8), measure, batch=2)
    kept = Ledger(path, {"run": 1})
    assert list(kept.left("count", range(8), whole=False)) == [4, 5, 6, 7]
