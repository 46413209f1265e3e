"""`rewrite paint`: apply the strokes of a file to images, before and after."""

from argparse import Namespace

from apps.classes import label_for
from apps.dissections import dissection_for
from apps.photographs import changes_of
from apps.seeds import images_of
from dissect.causes.intervention import Prefix
from dissect.causes.painting import Painting, painted
from rewrite import Latents, Stack, load_generator
from rewrite.reports.pictures import save_picture, strips, to_pil


def run(options: Namespace) -> dict:
    """Paint, and write the picture."""
    painting = Painting.load(options.strokes)
    generator = load_generator(
        options.model, truncation=painting.truncation, label=label_for(options, [painting]), device=options.device
    )
    painting.check(generator)
    chosen = images_of(options, generator)
    images = (painting.seed,) if chosen is None else chosen
    named = any(stroke.needs_levels for stroke in painting.strokes)
    dissection = dissection_for(options.dissection, painting.layer, generator.fingerprint) if named else None
    with Stack(generator).holding(changes_of(options.latents, generator)):
        prefix = Prefix.of(generator, painting.layer, images)
        rows = {
            "before": to_pil(prefix.images()),
            "after": to_pil(painted(prefix, painting, dissection)),
        }
    kind, seeds = ("latent", range(prefix.count)) if isinstance(images, Latents) else ("seed", images)
    save_picture(options.out, strips(rows, [f"{kind} {seed}" for seed in seeds]))
    concepts = sorted({stroke.concept for stroke in painting.strokes} - {""})
    return {
        "out": str(options.out),
        "layer": painting.layer,
        "seeds": list(seeds),
        "strokes": len(painting.strokes),
        "concepts": concepts,
    }


def tell(result: dict) -> str:
    """The strokes, and the file."""
    images = "one image" if len(result["seeds"]) == 1 else f"{len(result['seeds'])} images"
    concepts = f" ({', '.join(result['concepts'])})" if result["concepts"] else ""
    return f"{result['strokes']} strokes{concepts} with units of {result['layer']} on {images}, in {result['out']}"
