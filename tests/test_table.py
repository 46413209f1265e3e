"""Tables of numbers by image: parts merge exactly, and a run that was cut short goes on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dissect.quality.table import tabulate
from rewrite.storage.ledger import images_in


def squares(numbers) -> dict[str, torch.Tensor]:
    values = torch.tensor(numbers, dtype=torch.float32)[:, None]
    return {"square": values**2, "both": torch.cat([values, -values], dim=1)}


@settings(max_examples=20, deadline=None)
@given(numbers=st.sets(st.integers(0, 500), min_size=2, max_size=200), data=st.data())
def test_parts_in_any_order_merge_to_the_whole(numbers, data):
    ordered = sorted(numbers)
    first = sorted(data.draw(st.sets(st.sampled_from(ordered), min_size=1, max_size=len(ordered) - 1)))
    rest = [number for number in ordered if number not in first]
    whole, merged = tabulate(ordered, squares, {}), tabulate(rest, squares, {}) + tabulate(first, squares, {})
    assert whole.numbers.tolist() == merged.numbers.tolist() == ordered
    for name in whole.columns:
        assert torch.equal(whole.columns[name], merged.columns[name])


def test_a_run_that_was_cut_short_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("rewrite.storage.ledger.SECONDS_BETWEEN_SAVES", 0.0)
    seen = []

    def failing(numbers):
        seen.extend(numbers)
        if len(seen) > 200:
            raise KeyboardInterrupt
        return squares(numbers)

    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        tabulate(range(300), failing, {"of": 1}, state=state)
    kept = images_in(state, "table")
    assert 0 < kept < 300
    counted = []
    tabulate(range(300), lambda numbers: counted.extend(numbers) or squares(numbers), {"of": 1}, state=state)
    assert counted == list(range(kept, 300))
    tabulate(range(300), squares, {"of": 1}, state=tmp_path / "undisturbed.safetensors")
    assert state.read_bytes() == (tmp_path / "undisturbed.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("identity", "numbers", "text"),
    [
        ({"of": 2}, range(10), "belongs to another run"),
        ({"of": 1}, range(1, 11), "holds the images 0 to 9, which a run of 10 images from 1 on does not go on from"),
        ({"of": 1}, range(9), "does not go on from"),
    ],
)
def test_a_table_of_another_run_is_refused(identity, numbers, text, tmp_path):
    state = tmp_path / "state.safetensors"
    tabulate(range(10), squares, {"of": 1}, state=state)
    with pytest.raises(ValueError, match=text):
        tabulate(numbers, squares, identity, state=state)


def test_a_table_goes_on_to_more_images(tmp_path):
    state = tmp_path / "state.safetensors"
    tabulate(range(10), squares, {"of": 1}, state=state)
    assert tabulate(range(90), squares, {"of": 1}, state=state)["square"][:, 0].tolist() == [n**2 for n in range(90)]


def test_parts_that_share_an_image_or_differ_are_refused():
    part = tabulate(range(5), squares, {})
    with pytest.raises(ValueError, match="both hold image 4"):
        part + tabulate(range(4, 8), squares, {})
    with pytest.raises(ValueError, match="one model"):
        part + tabulate(range(5, 8), squares, {"of": 2})


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="square of images 0 to 3 is not finite"):
        tabulate(range(4), lambda numbers: {"square": torch.full((4, 1), torch.nan)}, {})
