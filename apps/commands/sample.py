"""`rewrite sample`: draw the images of some seeds as one picture."""

import sys
from argparse import Namespace
from collections.abc import Iterable

import torch
from torch import Tensor

from apps.commands.patches import load_patches
from apps.memories import memory_of
from apps.photographs import changes_of
from apps.seeds import images_of
from rewrite import Rule, Stack, load_generator
from rewrite.generators.batches import batched
from rewrite.generators.contract import Generator
from rewrite.generators.latents import Latents, numbered
from rewrite.progress import stage_bar
from rewrite.reports.firing import Search
from rewrite.reports.pictures import overlay, png, save_picture, strips, to_pil
from rewrite.rules import rule_path
from rewrite.storage.files import write_together

BATCH = 16


def run(options: Namespace) -> dict:
    """Draw, and write the PNG file."""
    if not options.patches and (options.compare or options.strengths):
        raise ValueError("--compare and --strength are for patches: name one with --patch")
    if options.out is None and options.each is None:
        raise ValueError("the following arguments are required: --out, a picture, or --each, a folder")
    generator = load_generator(options.model, truncation=options.truncation, label=options.label, device=options.device)
    held = load_patches(generator, options.patches, options.strengths)
    changes = changes_of(options.latents, generator)
    if options.noise:
        generator.noise = options.noise
    images = images_of(options, generator)
    numbers, _ = numbered(images, generator.latents)
    rows: dict[str, list] = {}
    plain = None
    if options.compare or not held:
        with Stack(generator).holding(changes):
            plain = draw(generator, images)
        rows["before" if held else ""] = to_pil(plain)
    if held:
        with Stack(generator).holding([*changes, *held]):
            rows["after" if options.compare else ""] = to_pil(draw(generator, images))
    if options.heat:
        rule = Rule.load(rule_path(options.heat))
        memory = memory_of(generator, rule.layer, options.samples, options.key_space or "patch", progress=True)
        avoid = () if isinstance(images, Latents) else images
        maps = Search.of(generator, memory, rule, avoid=avoid).firing(images)
        drawn = draw(generator, images) if plain is None else plain
        rows["fires"] = [overlay(image, heat) for image, heat in zip(drawn, maps, strict=True)]
    if options.each:
        shown = rows.get("after") or rows[""]
        write_together(options.each, {f"seed{i:04}.png": png(each) for i, each in zip(numbers, shown, strict=True)})
    if options.out:
        captions = [f"{'latent' if isinstance(images, Latents) else 'seed'} {number}" for number in numbers]
        save_picture(options.out, strips(rows, captions, columns=options.columns))
    if generator.truncation != 1:
        print(*generator.assumed, sep="\n", end="\n" * bool(generator.assumed), file=sys.stderr)
    return {"out": str(options.out or options.each), "images": len(numbers), "size": list(generator.size)}


def tell(result: dict) -> str:
    """The number of images, and the file."""
    return f"{result['images']} images of {result['size'][0]} x {result['size'][1]} pixels in {result['out']}"


def draw(generator: Generator, images: Iterable[int] | Latents) -> Tensor:
    """Images of seeds or latents, with a progress bar if it takes long."""
    parts, (numbers, latents) = [], numbered(images, generator.latents)
    with stage_bar(len(numbers), "sample") as bar:
        for part in batched(numbers, BATCH):
            parts.append(generator.sample(latents(part)).cpu())
            bar.update(len(part))
    return torch.cat(parts)
