"""How well two label maps agree: confusion, intersection over union, accuracy."""

import numpy as np
from jaxtyping import Float, Int64


def confusion(truth: np.ndarray, guess: np.ndarray, classes: int) -> Int64[np.ndarray, "classes classes"]:
    """Count the pixels of each pair of classes in two label maps of any one shape: row the truth, column the guess."""
    if truth.shape != guess.shape:
        raise ValueError(f"label maps that are compared must have one shape, got {truth.shape} and {guess.shape}")
    pairs = truth.astype(np.int64).ravel() * classes + guess.ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def class_iou(matrix: Int64[np.ndarray, "classes classes"]) -> Float[np.ndarray, " classes"]:
    """Intersection over union of each class; NaN where neither map holds the class."""
    both, either = np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix)
    return np.divide(both, either, out=np.full(len(matrix), np.nan), where=either > 0)


def accuracy(matrix: Int64[np.ndarray, "classes classes"]) -> float:
    """The share of pixels on which both maps agree."""
    return float(np.diag(matrix).sum() / matrix.sum())
