"""Files of IDX become pictures of known classes, and what is no such file is refused in one sentence."""

import gzip
import sys
import tracemalloc

import numpy as np
import pytest
from torch import nn

from apps.pictures import pictures_for
from dissect.sources.grey import digits, idx_folder, read_idx
from rewrite import load_classifier, wrap


def idx(array: np.ndarray) -> bytes:
    shape = np.array(array.shape, dtype=">u4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + shape + array.astype(np.uint8).tobytes()


def write_idx(folder, pictures, labels, prefix="t10k"):
    folder.mkdir(exist_ok=True)
    for kind, array in (("images-idx3", pictures), ("labels-idx1", labels)):
        with gzip.open(folder / f"{prefix}-{kind}-ubyte.gz", "wb") as file:
            file.write(idx(array))


@pytest.fixture
def ten():
    return wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 10)), images=12)


def test_pictures_of_idx_are_those_of_the_test_set_at_the_size_of_the_classifier(tmp_path, ten):
    grey = np.zeros((3, 6, 6), dtype=np.uint8)
    grey[1] = 255
    write_idx(tmp_path, np.zeros((2, 6, 6)), np.array([0, 1]), "train")
    write_idx(tmp_path, grey, np.array([7, 1, 7]))
    found = pictures_for(str(tmp_path), ten, 1)
    assert found.classes(found.numbers).tolist() == [7, 1, 7]
    images = found.images([0, 1])
    assert images.shape == (2, 3, 12, 12)
    assert [float(each.mean()) for each in images] == [-1, 1]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:-1], "is damaged"),
        (lambda data: data[:7], "is no file of IDX"),
        (lambda data: b"\0\0\x0d" + data[3:], "is no file of IDX"),
        (lambda data: data[:4] + b"\xff" * 12 + data[16:], "is damaged"),
        (lambda data: data[:8] + bytes(8), "is damaged"),
    ],
)
def test_a_damaged_file_of_idx_is_refused(tmp_path, ten, damage, says):
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(3)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(damage(idx(np.zeros((3, 6, 6)))))
    with pytest.raises(ValueError, match=says):
        idx_folder(tmp_path, ten)


def test_a_compressed_file_is_read_only_as_far_as_it_says_and_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros((3, 6, 6))) + bytes(2**26)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="is damaged"):
        read_idx(path, 3)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    packed = gzip.compress(idx(np.random.default_rng(0).integers(0, 256, (3, 30, 30))))
    path.write_bytes(packed[:12] + b"\xff" * 8 + packed[20:])
    with pytest.raises(ValueError, match="cannot be read"):
        read_idx(path, 3)


def test_pictures_without_labels_or_with_other_classes_are_refused(tmp_path, ten):
    (tmp_path / "images-idx3-ubyte").write_bytes(idx(np.zeros((2, 6, 6))))
    with pytest.raises(ValueError, match="needs its labels beside it"):
        idx_folder(tmp_path, ten)
    (tmp_path / "labels-idx1-ubyte").write_bytes(idx(np.array([1])))
    with pytest.raises(ValueError, match="holds 2 pictures"):
        idx_folder(tmp_path, ten)
    (tmp_path / "labels-idx1-ubyte").write_bytes(idx(np.array([1, 10])))
    with pytest.raises(LookupError, match="no class '10'"):
        idx_folder(tmp_path, ten)


def test_digits_without_scikit_learn_are_refused_with_what_to_install(monkeypatch):
    for name in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(FileNotFoundError, match=r"model-rewriting\[digits\]"):
        digits()


def test_digits_are_what_the_classifier_of_digits_is_asked_about():
    pytest.importorskip("sklearn")
    shown = pictures_for(None, load_classifier("digits"), 5)
    assert len(shown.numbers) == 1000
    assert shown.images([0]).shape == (1, 3, 8, 8)
    assert not set(map(bytes, shown.pictures)) & set(map(bytes, digits(training=True).pictures[:50]))
