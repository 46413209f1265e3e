"""Seeds as people write them."""

import pytest

from apps.seeds import parse_seeds


def test_seeds_are_numbers_and_ranges_with_both_ends():
    assert parse_seeds("0-3,7, 9-9") == (0, 1, 2, 3, 7, 9)


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "1,,2", "0-100000", "4294967296", "1.5"])
def test_other_texts_are_no_seeds(text):
    with pytest.raises(ValueError, match="seeds"):
        parse_seeds(text)
