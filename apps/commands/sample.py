"""`rewrite sample`: draw the images of some seeds as one picture."""

from argparse import Namespace
from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from apps.commands.patches import load_patches
from apps.memories import memory_of
from apps.seeds import parse_seeds
from rewrite import Rule, Stack, load_generator
from rewrite.generators.contract import Generator, batched
from rewrite.reports.firing import Search
from rewrite.reports.pictures import overlay, save_picture, strips, to_pil
from rewrite.rules import rule_path

BATCH = 16


def run(options: Namespace) -> dict:
    """Draw, and write the PNG file."""
    if not options.patches and (options.compare or options.strengths):
        raise ValueError("--compare and --strength are for patches: name one with --patch")
    seeds = parse_seeds(options.seeds)
    generator = load_generator(options.model, truncation=options.truncation, device=options.device)
    held = load_patches(generator, options.patches, options.strengths)
    if options.noise:
        generator.noise = options.noise
    rows: dict[str, list] = {}
    plain = draw(generator, seeds) if options.compare or not held else None
    if plain is not None:
        rows["before" if held else ""] = to_pil(plain)
    if held:
        with Stack(generator).holding(held):
            rows["after" if options.compare else ""] = to_pil(draw(generator, seeds))
    if options.heat:
        rule = Rule.load(rule_path(options.heat))
        memory = memory_of(generator, rule.layer, options.samples, options.key_space or "patch", progress=True)
        maps = Search.of(generator, memory, rule, avoid=seeds).firing(seeds)
        images = draw(generator, seeds) if plain is None else plain
        rows["fires"] = [overlay(image, heat) for image, heat in zip(images, maps, strict=True)]
    captions = [f"seed {seed}" for seed in seeds]
    save_picture(options.out, strips(rows, captions, columns=options.columns))
    return {"out": str(options.out), "images": len(seeds), "size": list(generator.size)}


def tell(result: dict) -> str:
    """The number of images, and the file."""
    return f"{result['images']} images of {result['size'][0]} x {result['size'][1]} pixels in {result['out']}"


def draw(generator: Generator, seeds: Sequence[int]) -> Tensor:
    """Images of seeds, with a progress bar if it takes long."""
    parts = []
    with tqdm(total=len(seeds), desc="sample", unit="img", delay=1) as bar:
        for part in batched(seeds, BATCH):
            parts.append(generator.sample(part).cpu())
            bar.update(len(part))
    return torch.cat(parts)
