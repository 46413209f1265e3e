"""`rewrite invert`: find the latent that draws a picture, and a change of weights for this picture alone."""

from argparse import Namespace

import torch
from PIL import Image

from apps.features import features_for
from dissect.photographs.reading import read_picture
from dissect.photographs.search import Effort, Search
from dissect.photographs.unfinished import go_on, kept
from dissect.quality.features import FeatureSpace
from rewrite import Generator, load_generator
from rewrite.checkpoints.loading import BUILT_IN
from rewrite.memory import unfinished
from rewrite.reports.pictures import save_picture, show
from rewrite.storage.files import together

NONE = "none"


def run(options: Namespace) -> dict:
    """Search, or go on searching, and write what was found."""
    layers = [] if options.layers == [NONE] else options.layers
    effort = Effort(options.steps, options.starts, layers)
    generator = load_generator(options.model, label=options.label, device=options.device)
    picture = read_picture(options.picture, generator.size)
    search = Search(generator, picture, space_for(options, generator), effort)
    state = unfinished.beside(options.out)
    go_on(search, state)
    with kept(search, state):
        found = search.run(progress=True)
        with together():
            found.save(options.out)
            if options.strip is not None:
                save_picture(options.strip, strip_of(search))
    return {
        "out": str(options.out),
        "size": list(generator.size),
        "latent": found.latent.kind,
        "layers": [change.layer for change in found.changes],
        "near": [each._asdict() for each in found.near],
    }


def space_for(options: Namespace, generator: Generator) -> FeatureSpace | None:
    """The features that are compared beside colours, or None."""
    named = options.features or ("segmenter" if options.model in BUILT_IN else None)
    if named is None:
        return None
    return features_for(named, options.weights, options.model, generator)


def strip_of(search: Search) -> Image.Image:
    """The picture, and what each stage draws."""
    found = search.found.drawn
    images = torch.cat([search.distance.picture, *found.values()]).float().cpu()
    return show(images, ["picture", *found], columns=len(images))


def tell(result: dict) -> str:
    """How near each stage came, and the file."""
    lines = [f"{each['stage']}: {told(each)}" for each in result["near"]]
    changed = f", and a change of {', '.join(result['layers'])}" if result["layers"] else ""
    return "\n".join([*lines, f"{result['latent']}{changed} in {result['out']}"])


def told(near: dict) -> str:
    """One distance as a line."""
    features = "" if near["features"] is None else f", features {near['features']:.0%} of their size"
    return f"colours {near['colours']:.1%} of their range apart{features}"
