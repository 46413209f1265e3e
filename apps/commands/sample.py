"""`rewrite sample`: draw the images of some seeds as one picture."""

import sys
from argparse import Namespace
from collections.abc import Sequence

import torch
from torch import Tensor

from apps.commands.patches import load_patches
from apps.memories import memory_of
from apps.seeds import parse_seeds
from rewrite import Rule, Stack, load_generator
from rewrite.generators.batches import batched
from rewrite.generators.contract import Generator
from rewrite.generators.latent_files import read_latents
from rewrite.generators.latents import Latents
from rewrite.progress import stage_bar
from rewrite.reports.firing import Search
from rewrite.reports.pictures import overlay, save_picture, strips, to_pil
from rewrite.rules import rule_path

BATCH = 16


def run(options: Namespace) -> dict:
    """Draw, and write the PNG file."""
    if not options.patches and (options.compare or options.strengths):
        raise ValueError("--compare and --strength are for patches: name one with --patch")
    if options.out is None and options.each is None:
        raise ValueError("the following arguments are required: --out, a picture, or --each, a folder")
    generator = load_generator(options.model, truncation=options.truncation, label=options.label, device=options.device)
    held = load_patches(generator, options.patches, options.strengths)
    if options.noise:
        generator.noise = options.noise
    latents = None if options.latents is None else read_latents(options.latents, generator)
    seeds = parse_seeds(options.seeds) if latents is None else latents.seeds
    rows: dict[str, list] = {}
    plain = draw(generator, seeds, latents) if options.compare or not held else None
    if plain is not None:
        rows["before" if held else ""] = to_pil(plain)
    if held:
        with Stack(generator).holding(held):
            rows["after" if options.compare else ""] = to_pil(draw(generator, seeds, latents))
    if options.heat:
        rule = Rule.load(rule_path(options.heat))
        memory = memory_of(generator, rule.layer, options.samples, options.key_space or "patch", progress=True)
        maps = Search.of(generator, memory, rule, avoid=seeds).firing(seeds)
        images = draw(generator, seeds, latents) if plain is None else plain
        rows["fires"] = [overlay(image, heat) for image, heat in zip(images, maps, strict=True)]
    if options.each:
        for seed, picture in zip(seeds, rows.get("after") or rows[""], strict=True):
            save_picture(options.each / f"seed{seed:04}.png", picture)
    if options.out:
        captions = [f"{'seed' if latents is None else 'latent'} {seed}" for seed in seeds]
        save_picture(options.out, strips(rows, captions, columns=options.columns))
    if generator.truncation != 1:
        print(*generator.assumed, sep="\n", end="\n" * bool(generator.assumed), file=sys.stderr)
    return {"out": str(options.out or options.each), "images": len(seeds), "size": list(generator.size)}


def tell(result: dict) -> str:
    """The number of images, and the file."""
    return f"{result['images']} images of {result['size'][0]} x {result['size'][1]} pixels in {result['out']}"


def draw(generator: Generator, seeds: Sequence[int], latents: Latents | None = None) -> Tensor:
    """Images of seeds, or of latents that stand in for them, with a progress bar if it takes long."""
    parts = []
    with stage_bar(len(seeds), "sample") as bar:
        for part in batched(seeds, BATCH):
            parts.append(_drawn(generator, part, latents).cpu())
            bar.update(len(part))
    return torch.cat(parts)


@torch.no_grad()
def _drawn(generator: Generator, part: Sequence[int], latents: Latents | None) -> Tensor:
    if latents is None:
        return generator.sample(part)
    assert latents.w is not None
    chosen = list(part)
    return generator.images(Latents(latents.z[chosen], tuple(part), latents.w[chosen])).clamp(-1, 1)
