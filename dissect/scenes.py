"""The built-in world "towers": scenes drawn from known factors, with the exact label of every pixel.

A scene is first composed (what stands where, as plain numbers) and then drawn. Coordinates are in
units of 1/64 of the image side, y pointing down, so that a scene can be drawn at any resolution.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

CONCEPTS = (
    "sky",
    "cloud",
    "mountain",
    "grass",
    "path",
    "building",
    "roof",
    "dome",
    "spire",
    "window",
    "door",
    "trunk",
    "tree",
)
TOPS = ("roof", "dome", "spire")

UNITS = 64.0
OVERSAMPLING = 4
TOWER_SLOTS = (14.0, 32.0, 50.0)
TREE_SLOTS = (5.0, 23.0, 41.0, 59.0)
TOWER_COUNTS = {1: 0.35, 2: 0.40, 3: 0.25}
TREE_COUNTS = {0: 0.15, 1: 0.30, 2: 0.35, 3: 0.20}
CLOUD_COUNTS = {0: 0.2, 1: 0.3, 2: 0.3, 3: 0.2}

SKIES = {
    "day": ((92, 150, 220), (190, 220, 245)),
    "pale": ((150, 180, 210), (225, 232, 238)),
    "dusk": ((110, 100, 165), (250, 190, 140)),
}
STONES = ((178, 172, 164), (206, 180, 140), (168, 108, 88))
TOP_COLOURS = {"roof": (190, 62, 48), "dome": (60, 190, 180), "spire": (62, 52, 112)}
LEAVES = ((44, 120, 44), (84, 150, 48), (28, 92, 60))

CIRCLE = tuple((math.cos(i * math.pi / 16), math.sin(i * math.pi / 16)) for i in range(32))

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Tower:
    """One tower: `x` of its axis, `top` and `base` of its body, and the kind of its top."""

    x: float
    width: float
    top: float
    base: float
    kind: str
    windows: int
    stone: Colour


@dataclass(frozen=True)
class Tree:
    """One tree: where its trunk meets the ground, and the radius of its crown."""

    x: float
    base: float
    radius: float
    leaves: Colour


@dataclass(frozen=True)
class Cloud:
    """One cloud: its centre and its width."""

    x: float
    y: float
    width: float


@dataclass(frozen=True)
class Scene:
    """Everything that is known about one picture."""

    seed: int
    sky: str
    horizon: float
    mountain: tuple[float, float, float] | None
    clouds: tuple[Cloud, ...]
    towers: tuple[Tower, ...]
    path: int
    trees: tuple[Tree, ...]


def compose(seed: int) -> Scene:
    """Draw the factors of one scene. The same seed gives the same scene on every machine."""
    random = np.random.RandomState(seed)
    horizon = random.uniform(41, 45)
    mountain = (random.uniform(12, 52), random.uniform(20, 28), random.uniform(20, 30)) if random.rand() < 0.5 else None
    towers = tuple(_tower(random, x, horizon) for x in _slots(random, TOWER_SLOTS, TOWER_COUNTS))
    return Scene(
        seed=seed,
        sky=str(random.choice(list(SKIES))),
        horizon=horizon,
        mountain=mountain,
        clouds=_clouds(random),
        towers=towers,
        path=int(random.randint(len(towers))),
        trees=tuple(_tree(random, x, horizon) for x in _slots(random, TREE_SLOTS, TREE_COUNTS)),
    )


def draw(scene: Scene, size: int = 64, without: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Draw a scene.

    Args:
        scene: What stands where.
        size: Side of the picture in pixels.
        without: Concepts that are left out: what lies behind them is seen.

    Returns:
        The picture, uint8 of shape (size, size, 3), and the index into `CONCEPTS` of what stands at
        the middle of each pixel, uint8 of shape (size, size).
    """
    canvas = _Canvas(size, SKIES[scene.sky], without)
    if scene.mountain:
        x, peak, reach = scene.mountain
        slope = [(x - reach, scene.horizon + 1), (x - 0.3 * reach, peak + 5), (x, peak), (x + reach, scene.horizon + 1)]
        canvas.polygon("mountain", (122, 128, 142), slope)
    for cloud in scene.clouds:
        _draw_cloud(canvas, cloud)
    canvas.rectangle("grass", (112, 168, 84), (0.0, scene.horizon, UNITS, UNITS))
    canvas.rectangle("grass", (100, 158, 76), (0.0, scene.horizon + 9, UNITS, UNITS))
    _draw_path(canvas, scene.towers[scene.path])
    for tower in scene.towers:
        _draw_tower(canvas, tower)
    for tree in sorted(scene.trees, key=lambda tree: tree.base):
        _draw_tree(canvas, tree)
    return canvas.reduced()


def scenes(seeds, size: int = 64, without: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Compose and draw one scene for each seed: pictures (n, size, size, 3) and labels (n, size, size), uint8."""
    pairs = [draw(compose(int(seed)), size, without) for seed in seeds]
    return np.stack([picture for picture, _ in pairs]), np.stack([labels for _, labels in pairs])


class _Canvas:
    """A picture and its label map, drawn together on a finer grid."""

    def __init__(self, size: int, sky: tuple[Colour, Colour], without: Sequence[str] = ()):
        self.size, self.without = size, without
        self.side = size * OVERSAMPLING
        self.scale = self.side / UNITS
        blend = np.clip(np.linspace(0, 1.4, self.side), 0, 1)[:, None, None]
        column = ((1 - blend) * np.array(sky[0]) + blend * np.array(sky[1])).round().astype(np.uint8)
        self.picture = Image.fromarray(np.repeat(column, self.side, axis=1))
        self.labels = Image.new("L", (self.side, self.side), CONCEPTS.index("sky"))
        self.picture_pen, self.label_pen = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.labels)

    def rectangle(self, concept: str, colour: Colour, box: tuple[float, float, float, float]) -> None:
        x0, y0, x1, y1 = box
        self.polygon(concept, colour, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)])

    def polygon(self, concept: str, colour: Colour, points: list[tuple[float, float]]) -> None:
        if concept in self.without:
            return
        # Pillow includes the far border: half a fine pixel less on both sides makes a 3-unit box 3 units wide.
        scaled = [(x * self.scale - 0.5, y * self.scale - 0.5) for x, y in points]
        self.picture_pen.polygon(scaled, fill=colour)
        self.label_pen.polygon(scaled, fill=CONCEPTS.index(concept))

    def ellipse(self, concept: str, colour: Colour, x: float, y: float, rx: float, ry: float) -> None:
        self.polygon(concept, colour, [(x + rx * c, y + ry * s) for c, s in CIRCLE])

    def reduced(self) -> tuple[np.ndarray, np.ndarray]:
        middles = slice(OVERSAMPLING // 2, None, OVERSAMPLING)
        return np.array(self.picture.reduce(OVERSAMPLING)), np.array(self.labels)[middles, middles]


def _slots(random: np.random.RandomState, slots: tuple[float, ...], counts: dict[int, float]) -> list[float]:
    count = random.choice(list(counts), p=list(counts.values()))
    chosen = sorted(random.choice(len(slots), size=count, replace=False))
    return [slots[i] + random.uniform(-2.0, 2.0) for i in chosen]


def _tower(random: np.random.RandomState, x: float, horizon: float) -> Tower:
    return Tower(
        x=x,
        width=random.uniform(9.0, 12.0),
        top=random.uniform(21.0, 29.0),
        base=horizon + random.uniform(2.5, 4.5),
        kind=str(random.choice(TOPS)),
        windows=int(random.randint(1, 3)),
        stone=STONES[random.randint(len(STONES))],
    )


def _tree(random: np.random.RandomState, x: float, horizon: float) -> Tree:
    return Tree(
        x=x,
        base=horizon + random.uniform(5.0, 15.0),
        radius=random.uniform(4.0, 6.0),
        leaves=LEAVES[random.randint(len(LEAVES))],
    )


def _clouds(random: np.random.RandomState) -> tuple[Cloud, ...]:
    count = random.choice(list(CLOUD_COUNTS), p=list(CLOUD_COUNTS.values()))
    columns = random.choice(3, size=count, replace=False)
    return tuple(
        Cloud(x=11 + 21 * column + random.uniform(-4, 4), y=random.uniform(4, 10), width=random.uniform(9, 14))
        for column in sorted(columns)
    )


def _draw_cloud(canvas: _Canvas, cloud: Cloud) -> None:
    half = cloud.width / 2
    for dx, dy, r in ((-0.5, 0.4, 0.5), (0.5, 0.4, 0.5), (0.0, 0.0, 0.6)):
        canvas.ellipse("cloud", (250, 250, 252), cloud.x + dx * half, cloud.y + dy * half / 2, r * half, r * half * 0.6)


def _draw_path(canvas: _Canvas, tower: Tower) -> None:
    x, top = tower.x, tower.base - 0.5
    end = x + 0.35 * (UNITS / 2 - x)
    corners = [(x - 1.8, top), (x + 1.8, top), (end + 4.5, UNITS), (end - 4.5, UNITS)]
    canvas.polygon("path", (214, 190, 142), corners)


def _draw_tower(canvas: _Canvas, tower: Tower) -> None:
    left, right = tower.x - tower.width / 2, tower.x + tower.width / 2
    canvas.rectangle("building", tower.stone, (left, tower.top, right, tower.base))
    colour, half = TOP_COLOURS[tower.kind], tower.width / 2
    if tower.kind == "dome":
        canvas.ellipse("dome", colour, tower.x, tower.top - 2, half, half * 1.15)
        canvas.rectangle("dome", colour, (left, tower.top - 2, right, tower.top))
        canvas.rectangle("building", tower.stone, (left, tower.top, right, tower.top + half))
    elif tower.kind == "spire":
        tip = tower.top - 1.35 * tower.width
        canvas.polygon("spire", colour, [(left, tower.top), (tower.x, tip), (right, tower.top)])
    else:
        ridge = tower.top - 6.5
        eaves = [(left - 1, tower.top), (left + 1.5, ridge), (right - 1.5, ridge), (right + 1, tower.top)]
        canvas.polygon("roof", colour, eaves)
    for i in range(tower.windows):
        y = tower.top + 3.0 + 6.0 * i
        canvas.rectangle("window", (48, 54, 84), (tower.x - 1.75, y, tower.x + 1.75, y + 4.0))
    canvas.rectangle("door", (108, 66, 36), (tower.x - 1.8, tower.base - 5.5, tower.x + 1.8, tower.base))


def _draw_tree(canvas: _Canvas, tree: Tree) -> None:
    centre = tree.base - 4.0 - tree.radius
    canvas.rectangle("trunk", (98, 66, 42), (tree.x - 1.1, centre, tree.x + 1.1, tree.base))
    canvas.ellipse("tree", tree.leaves, tree.x, centre, tree.radius, tree.radius * 1.1)
    red, green, blue = (min(255, c + 26) for c in tree.leaves)
    half = 0.5 * tree.radius
    canvas.ellipse("tree", (red, green, blue), tree.x - 0.25 * tree.radius, centre - 0.3 * tree.radius, half, half)
