"""How many things an image of the towers world shows, counted from its label map, and which modes are covered.

Towers are counted by their tops: in this world nothing stands in front of a top, and tops of neighbours do not
touch. Trees are counted by their crowns.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from dissect.scenes import CONCEPTS, TOPS, TOWER_COUNTS, TREE_COUNTS
from rewrite.rules.masks import labelled_regions

# The smallest crown and the smallest top of the world cover more than twice this share of the image.
LEAST_SHARE = 20 / 64**2
Census = tuple[tuple[str, ...], int]


def things(labels: UInt8[np.ndarray, "height width"], concepts: Iterable[str]) -> list[str]:
    """Connected regions of the given concepts, each named by the one that covers most of it, from left to right.

    Regions smaller than `LEAST_SHARE` of the image are left out: they are crumbs of a generator or of a segmenter.
    """
    regions, count = labelled_regions(np.isin(labels, [CONCEPTS.index(concept) for concept in concepts]))
    found = []
    for number, box in enumerate(ndimage.find_objects(regions, count), start=1):
        inside = labels[box][regions[box] == number]
        if len(inside) >= LEAST_SHARE * labels.size:
            found.append((box[1].start, CONCEPTS[np.bincount(inside).argmax()]))
    return [name for _, name in sorted(found)]


def census(labels: UInt8[np.ndarray, "height width"]) -> Census:
    """The kinds of the towers from left to right, and the number of trees."""
    return tuple(things(labels, TOPS)), len(things(labels, ("tree",)))


def modes(taken: Iterable[Census]) -> dict[str, float]:
    """Share of images with each number of towers, each number of trees, and each kind of tower at least once.

    Images with a number that the world does not know are under "other".
    """
    taken = list(taken)
    shares = {f"{count} towers": _share(len(kinds) == count for kinds, _ in taken) for count in TOWER_COUNTS}
    shares["other towers"] = _share(len(kinds) not in TOWER_COUNTS for kinds, _ in taken)
    shares |= {f"{count} trees": _share(trees == count for _, trees in taken) for count in TREE_COUNTS}
    shares["other trees"] = _share(trees not in TREE_COUNTS for _, trees in taken)
    return shares | {top: _share(top in kinds for kinds, _ in taken) for top in TOPS}


def coverage(data: Mapping[str, float], generated: Mapping[str, float]) -> dict[str, float]:
    """How often each mode of the data is generated, as a ratio: 1 is as often as in the data, 0 is never."""
    return {mode: generated[mode] / share for mode, share in data.items() if share > 0 and not mode.startswith("other")}


def _share(flags: Iterable[bool]) -> float:
    return float(np.mean(list(flags)))
