"""A rule becomes numbers: the keys that shall give other values, the values, and the keys that must not change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from scipy.ndimage import binary_dilation
from scipy.sparse.linalg import splu
from torch import Tensor

from rewrite.generators.contract import Cut, Generator, Latents, batched
from rewrite.layers import Layer
from rewrite.masks import Mask, cover
from rewrite.refine import Wish, refine
from rewrite.rule import Latent, Region, Rule, Settings

LEAST_COVER = 0.05
MOST_OTHERS_PER_DIMENSION = 4
KEPT = 8


@dataclass(frozen=True)
class Keys:
    """Keys of some images at one layer, and what the unedited layer writes for them.

    Attributes:
        keys: One patch key a row, float64.
        values: What the layer writes for each (after demodulation, before noise, bias and activation), float64.
        weights: Weight of each key; all weights of a set add up to its weight in the rule.
        image: Which row of the goal's styles belongs to each key.
        offsets: Bias and noise that are added to each value before the activation, float64; zero where other steps
            (a blur) come first.
        position: Which cell of the written map each stands at, counted row by row.
    """

    keys: Float[Tensor, "n key"]
    values: Float[Tensor, "n outputs"]
    weights: Float[Tensor, " n"]
    image: Int[Tensor, " n"]
    offsets: Float[Tensor, "n outputs"]
    position: Int[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Goal:
    """What an edit of one layer is to achieve.

    Attributes:
        wanted: The keys of all places of the rule.
        targets: The values that they shall get, in the units of `wanted.values`.
        others: Keys of the same images away from the places (hard negatives); they shall keep their values.
        protected: Keys of protected regions; they shall keep their values.
        context: Keys under the marked context itself, which say when the rule fires.
        styles: The modulation of each image, empty for a plain layer.
        kept_units: Units whose values stay everywhere.
    """

    wanted: Keys
    targets: Float[Tensor, "n outputs"]
    others: Keys
    protected: Keys
    context: Float[Tensor, "m key"]
    styles: Float[Tensor, "images inputs"]
    kept_units: tuple[int, ...] = ()


def build_goal(generator: Generator, rule: Rule) -> Goal:
    """Run the generator up to the rule's layer and collect what the rule asks for.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: The rule was written on another model, or a mask does not fit.
    """
    layer = generator.layer(rule.layer)
    if rule.model != generator.fingerprint:
        raise ValueError(f"this rule was written on model {rule.model}, not on model {generator.fingerprint}")
    if rule.truncation != generator.truncation:
        raise ValueError(f"this rule was written at truncation {rule.truncation}, not {generator.truncation}")
    beyond = [unit for unit in rule.protect_units if unit >= layer.outputs]
    if beyond:
        raise ValueError(f"layer {layer.name} has units 0 to {layer.outputs - 1}, unit {beyond[0]} is to be protected")
    regions = (*rule.copy, *rule.places, *rule.protect)
    for region in regions:
        region.mask.check_size(generator.size)
    scene = _Scene.of(generator, layer, [region.latent for region in regions])
    wanted = [
        _Wanted.erased(scene, place) if rule.action == "erase" else _Wanted.pasted(scene, rule, place)
        for place in _goal_places(rule)
    ]
    wanted = [place for place in wanted if place.cells.any()]
    if not wanted:
        raise ValueError("the marked places cover no cell of this layer: mark more, or take a layer of a finer grid")
    if rule.settings.refine:
        wanted = _refined(generator, scene, rule, wanted)
    return Goal(
        wanted=scene.collect([(place.image, place.cells) for place in wanted], [place.share for place in wanted], 1.0),
        targets=torch.cat([place.targets for place in wanted]),
        others=_others(scene, rule, wanted),
        protected=scene.collect([(scene.index(r.latent), scene.cells(r.mask)) for r in rule.protect], None, 1.0),
        context=scene.collect([(scene.index(r.latent), scene.cells(r.mask)) for r in rule.places], None, 1.0).keys,
        styles=scene.styles,
        kept_units=rule.protect_units,
    )


class Goals:
    """The goals that were built last, for whoever solves a rule and then measures it, or solves it again.

    Refining takes most of a rule's time, and hangs on the marks and on the generator, not on the solver's settings. A
    goal is given again only for the same generator, with the same weights and set alike, and the same marks.
    """

    def __init__(self, most: int = KEPT):
        self.most = most
        self._kept: dict[tuple, Goal] = {}

    def of(self, generator: Generator, rule: Rule) -> Goal:
        """What `build_goal` gives, or gave before; it raises the same errors."""
        given = {name: getattr(rule.settings, name) for name in ("others", "margin", "refine")}
        marks = replace(rule, name="", effect={}, expect={}, settings=Settings(**given)).to_json()
        # Beside its weights, a generator has plain settings: truncation, noise, class.
        plain = [(name, value) for name, value in vars(generator).items() if isinstance(value, str | int | float)]
        key = (generator, generator.fingerprint, *sorted(plain), marks)
        goal = self._kept.pop(key, None) or build_goal(generator, rule)
        self._kept[key] = goal
        while len(self._kept) > self.most:
            del self._kept[next(iter(self._kept))]
        return goal


def _goal_places(rule: Rule) -> Sequence[Region]:
    if rule.context_use == "goal":
        return rule.places
    assert rule.paste is not None
    return (rule.paste,)


class _Scene:
    """The images that a rule speaks of, at its layer: what is read and what is written there."""

    def __init__(
        self,
        layer: Layer,
        images: dict[Latent, int],
        features: Tensor,
        values: Tensor,
        offsets: Tensor,
        styles: Tensor,
    ):
        self.layer, self.images, self.features = layer, images, features
        self.pictures: dict[Latent, Tensor] = {}
        self.values, self.offsets, self.styles = values, offsets, styles

    @classmethod
    def of(cls, generator: Generator, layer: Layer, latents: Sequence[Latent], batch: int = 16) -> "_Scene":
        order = list(dict.fromkeys(latents))
        features, values, offsets, styles = [], [], [], []
        with torch.no_grad():
            for i in range(0, len(order), batch):
                cut = generator.cut(layer.name, latents_of(generator, order[i : i + batch]))
                features.append(cut.features.cpu())
                values.append(written_values(generator, layer, cut).double().cpu())
                offsets.append(generator.offset(layer.name, cut).double().expand_as(values[-1]).cpu())
                styles.append(torch.zeros(len(cut.features), 0) if cut.style is None else cut.style.cpu())
        return cls(
            layer,
            {latent: i for i, latent in enumerate(order)},
            torch.cat(features),
            torch.cat(values),
            torch.cat(offsets),
            torch.cat(styles).double(),
        )

    def index(self, latent: Latent) -> int:
        return self.images[latent]

    def cells(self, mask: Mask) -> np.ndarray:
        """The cells of the written map that a mask covers at least a little."""
        return (cover(mask.array(), self.layer) > LEAST_COVER).numpy()

    def picture(self, generator: Generator, latent: Latent) -> Float[Tensor, "3 height width"]:
        """What an image looks like; drawn once."""
        if latent not in self.pictures:
            with torch.no_grad():
                self.pictures[latent] = generator.images(latents_of(generator, [latent]))[0].cpu()
        return self.pictures[latent]

    def collect(self, parts: Sequence[tuple[int, np.ndarray]], shares: Sequence[Tensor] | None, total: float) -> Keys:
        """The keys of cells of images, with weights in proportion to `shares` that add up to `total`."""
        places = [(image, torch.from_numpy(np.flatnonzero(cells))) for image, cells in parts]
        # Only the keys that are asked for: all keys of many images are many times their features.
        keys = [self.layer.keys(self.features[image][None], flat[None])[0].double() for image, flat in places]
        values = [self.values[image].flatten(1).T[flat] for image, flat in places]
        offsets = [self.offsets[image].flatten(1).T[flat] for image, flat in places]
        images = [torch.full([len(flat)], image) for image, flat in places]
        empty = torch.zeros(0, dtype=torch.float64)
        weights = torch.cat([*(shares or [torch.ones(len(flat)).double() for _, flat in places]), empty])
        return Keys(
            keys=torch.cat([*keys, torch.zeros(0, self.layer.width, dtype=torch.float64)]),
            values=torch.cat([*values, torch.zeros(0, self.values.shape[1], dtype=torch.float64)]),
            offsets=torch.cat([*offsets, torch.zeros(0, self.values.shape[1], dtype=torch.float64)]),
            weights=weights * (total / weights.sum()) if len(weights) else weights,
            image=torch.cat([*images, torch.zeros(0, dtype=torch.int64)]),
            position=torch.cat([*(flat for _, flat in places), torch.zeros(0, dtype=torch.int64)]),
        )


@dataclass(frozen=True)
class _Wanted:
    """One place of a rule: its cells, how much each counts, and what each shall get."""

    image: int
    cells: np.ndarray
    share: Float[Tensor, " n"]
    targets: Float[Tensor, "n outputs"]
    place: Region
    copy: Region | None = None

    @classmethod
    def pasted(cls, scene: _Scene, rule: Rule, place: Region) -> "_Wanted":
        source, (down, right) = _best_copy(scene, rule, place)
        share = _shifted(cover(source.mask.array(), scene.layer), down, right)
        object_values = _shifted(scene.values[scene.index(source.latent)], down, right)
        return cls._of(scene, place, share, object_values, source)

    @classmethod
    def erased(cls, scene: _Scene, place: Region) -> "_Wanted":
        share = cover(place.mask.array(), scene.layer)
        return cls._of(scene, place, share, filled(scene.values[scene.index(place.latent)], share > LEAST_COVER))

    @classmethod
    def _of(cls, scene: _Scene, place: Region, share: Tensor, values: Tensor, copy: Region | None = None) -> "_Wanted":
        cells, image = share > LEAST_COVER, scene.index(place.latent)
        blended = torch.lerp(scene.values[image], values, share)
        return cls(image, cells.numpy(), share[cells], blended[:, cells].T, place, copy)


def _refined(
    generator: Generator, scene: _Scene, rule: Rule, wanted: Sequence[_Wanted], batch: int = 8
) -> list[_Wanted]:
    """The same places, whose values make the image itself show the copy, or the surroundings of what is erased."""
    by_image: dict[int, list[_Wanted]] = {}
    for each in wanted:
        by_image.setdefault(each.image, []).append(each)
    latents, values = list(scene.images), {}
    for part in batched(by_image, batch):
        chosen = latents_of(generator, [latents[image] for image in part])
        with torch.no_grad():
            images = generator.images(chosen).cpu()
        wishes = [
            _wish(generator, scene, rule, picture, by_image[image]) for image, picture in zip(part, images, strict=True)
        ]
        values |= zip(part, refine(generator, scene.layer, chosen, wishes, rule.settings.refine), strict=True)
    return [replace(each, targets=values[each.image][:, torch.from_numpy(each.cells)].T) for each in wanted]


def _wish(generator: Generator, scene: _Scene, rule: Rule, picture: Tensor, places: Sequence[_Wanted]) -> Wish:
    """One image with every copy pasted into it, or every place filled from around it."""
    values, cells = scene.values[places[0].image].clone(), np.zeros(scene.layer.output_grid, dtype=bool)
    inside, pasted = torch.zeros(generator.size, dtype=torch.bool), picture.clone()
    for each in places:
        values[:, torch.from_numpy(each.cells)] = each.targets.T
        cells |= each.cells
        if each.copy is None:
            mask = torch.from_numpy(each.place.mask.resized(generator.size))
        else:
            source, shift = each.copy, _pixels_between(generator, rule.anchor, each)
            mask = _shifted(torch.from_numpy(source.mask.resized(generator.size)), *shift)
            pasted = torch.where(mask, _shifted(scene.picture(generator, source.latent), *shift), pasted)
        inside |= mask
    if any(each.copy is None for each in places):
        pasted = filled(pasted.double(), inside).to(picture)
    return Wish(pasted, inside, torch.from_numpy(cells), values)


def _pixels_between(generator: Generator, anchor: str, wanted: _Wanted) -> tuple[int, int]:
    """How far a copy moves to its place, in whole pixels."""
    assert wanted.copy is not None
    at, to = _anchor(wanted.copy.mask, anchor), _anchor(wanted.place.mask, anchor)
    down, right = (round((to[axis] - at[axis]) * generator.size[axis]) for axis in (0, 1))
    return down, right


def written_values(generator: Generator, layer: Layer, cut: Cut) -> Float[Tensor, "images outputs height width"]:
    """What the layer writes after demodulation, before blur, noise, bias and activation."""
    written = layer.apply(cut.features, generator.weight(layer.name))
    factor = generator.demodulation(layer.name, cut.style)
    return written if factor is None else written * factor[:, :, None, None]


def filled(values: Float[Tensor, "outputs height width"], hole: Tensor) -> Float[Tensor, "outputs height width"]:
    """Replace the values in a hole by those of its surroundings (the discrete Laplace equation, solved exactly).

    Neighbours to the left and right count four times as much as those above and below: pictures are layered by
    height more than by width. Beyond the border of the map there is nothing, so that no flow crosses it.
    """
    inside, outside = (np.flatnonzero(each.numpy()) for each in (hole, ~hole))
    if not len(outside):
        raise ValueError("the whole image is marked: nothing is left that could fill it")
    cells = np.arange(hole.numel()).reshape(hole.shape)
    pairs = ((cells[:, :-1], cells[:, 1:], 4.0), (cells[:-1], cells[1:], 1.0))
    ends = [np.concatenate([pair[end].ravel() for pair in pairs]) for end in (0, 1)]
    weights = np.concatenate([np.full(one.size, weight) for one, _, weight in pairs])
    half = sparse.csr_array((weights, ends), shape=(cells.size, cells.size))
    links = (half + half.T)[inside]
    system = sparse.diags_array(links.sum(axis=1)) - links[:, inside]
    known = links[:, outside] @ values[:, ~hole].T.numpy()
    result = values.clone()
    result[:, hole] = torch.from_numpy(splu(system.tocsc()).solve(known)).T.to(values)
    return result


def _others(scene: _Scene, rule: Rule, wanted: Sequence[_Wanted]) -> Keys:
    """Every place of the context images that is neither context nor wanted, nor near to either."""
    near: dict[int, np.ndarray] = {}
    marked = [(scene.index(place.latent), scene.cells(place.mask)) for place in rule.places]
    for image, cells in [*((place.image, place.cells) for place in wanted), *marked]:
        near[image] = near.get(image, np.zeros_like(cells)) | cells
    if rule.settings.others == 0:
        near = {}
    grown = {
        image: binary_dilation(cells, np.ones((3, 3)), rule.settings.margin) if rule.settings.margin else cells
        for image, cells in near.items()
    }
    away = {image: ~cells for image, cells in grown.items()}
    count, most = sum(int(cells.sum()) for cells in away.values()), MOST_OTHERS_PER_DIMENSION * scene.layer.width
    if count > most:
        # The same cells on every machine, so that a rule replays: drawn from a fixed seed, evenly over the images.
        random = np.random.default_rng(0)
        away = {image: cells & (random.random(cells.shape) < most / count) for image, cells in away.items()}
    return scene.collect(list(away.items()), None, rule.settings.others)


def _best_copy(scene: _Scene, rule: Rule, place: Region) -> tuple[Region, tuple[int, int]]:
    """The copy whose position within a cell fits the place best, and its shift in whole cells."""
    layer, scores = scene.layer, []
    for number, copy in enumerate(rule.copy):
        exact = [
            (to - at) * layer_cells(layer, axis)
            for axis, (at, to) in enumerate(
                zip(_anchor(copy.mask, rule.anchor), _anchor(place.mask, rule.anchor), strict=True)
            )
        ]
        whole = (round(exact[0]), round(exact[1]))
        misfit = sum((a - b) ** 2 for a, b in zip(exact, whole, strict=True))
        scores.append((misfit, number, whole))
    _, chosen, whole = min(scores)
    return rule.copy[chosen], whole


def layer_cells(layer: Layer, axis: int) -> float:
    """How many cells of the written map span the image along an axis."""
    return layer.output_grid[axis] - 2 * layer.overhang


def _anchor(mask: Mask, anchor: str) -> tuple[float, float]:
    """The anchoring point of a mask, as shares of the image's height and width."""
    top, bottom, left, right = mask.box
    row = bottom + 1 if anchor == "bottom" else (top + bottom + 1) / 2
    return row / mask.size[0], (left + right + 1) / 2 / mask.size[1]


def _shifted(values: Tensor, down: int, right: int) -> Tensor:
    """Move a map by whole cells; what comes in from outside is zero."""
    height, width = values.shape[-2:]
    moved = torch.zeros_like(values)
    if abs(down) >= height or abs(right) >= width:
        return moved
    rows_to = slice(max(0, down), min(height, height + down))
    rows_from = slice(max(0, -down), min(height, height - down))
    columns_to = slice(max(0, right), min(width, width + right))
    columns_from = slice(max(0, -right), min(width, width - right))
    moved[..., rows_to, columns_to] = values[..., rows_from, columns_from]
    return moved


def latents_of(generator: Generator, chosen: Sequence[Latent]) -> Latents:
    """The generator's latents for those of a rule.

    Raises:
        ValueError: A latent by value has another length than the generator's.
    """
    for latent in chosen:
        if latent.z is not None and len(latent.z) != generator.z_dim:
            raise ValueError(f"latents of this generator have {generator.z_dim} numbers, got {len(latent.z)}")
    drawn = generator.latents(latent.seed for latent in chosen)
    rows = [z if latent.z is None else torch.tensor(latent.z).to(z) for z, latent in zip(drawn.z, chosen, strict=True)]
    return Latents(torch.stack(rows), drawn.seeds)
