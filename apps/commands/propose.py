"""`rewrite propose`: what would make a rule better."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from apps.classes import label_for
from apps.seeds import parse_seeds
from rewrite import Generator, Proposal, ProposedLayer, Rule, load_generator, propose_contexts, propose_layers, to_pil
from rewrite.goals.scene import latents_of
from rewrite.reports.pictures import grid, outlined, png, save_picture, strips
from rewrite.reports.proposals import SEEDS
from rewrite.reports.report import unseen_seeds
from rewrite.rules import rule_path
from rewrite.storage.files import write_together
from rewrite.storage.quoting import quoted

PICTURE, LAYERS, RULE, ALL = "proposals.png", "layers.png", "rule.json", "all"
SHOWN, SHOWN_LAYERS = 6, 5


def run(options: Namespace) -> dict:
    """Search, draw what was found, and write the rule with what is accepted."""
    rule = Rule.load(rule_path(options.rule))
    generator = load_generator(
        options.model, truncation=rule.truncation, label=label_for(options, [rule]), device=options.device
    )
    found = compared_layers if options.layers else further_contexts
    return {"rule": rule.name, "out": str(options.out), **found(generator, rule, options)}


def compared_layers(generator: Generator, rule: Rule, options: Namespace) -> dict:
    """Compare layers, and draw what the best of them do to unmarked images."""
    if options.accept:
        raise ValueError("--accept takes proposed contexts: leave out --layers, or set the layer in the rule's file")
    named = None if options.layers == ALL else [name.strip() for name in options.layers.split(",")]
    found = propose_layers(generator, rule, named, progress=True)
    if found:
        save_picture(options.out / LAYERS, layer_sheet(generator, rule, found[:SHOWN_LAYERS]))
    names = ("layer", "arrives", "beside", "drawn", "scarce")
    return {"layers": [{name: getattr(each, name) for name in names} for each in found], "now": rule.layer}


def layer_sheet(generator: Generator, rule: Rule, found: Sequence[ProposedLayer]) -> Image.Image:
    """Unmarked images: as they are, and below as the rule at each layer draws them."""
    seeds = unseen_seeds([rule], SHOWN)
    rows = {"before": to_pil(generator.sample(seeds))}
    for each in found:
        with each.patch.applied(generator):
            rows[each.layer] = to_pil(generator.sample(seeds))
    return strips(rows, [f"seed {seed}" for seed in seeds], columns=SHOWN)


def further_contexts(generator: Generator, rule: Rule, options: Namespace) -> dict:
    """Propose contexts, and accept those that are named."""
    named = numbers_of(options.accept)
    seeds = parse_seeds(options.seeds) if options.seeds else SEEDS
    proposals = propose_contexts(
        generator, rule, seeds=seeds, most=options.contexts, layer=options.layer, progress=True
    )
    if named and named[-1] > len(proposals):
        raise ValueError(f"--accept names proposal {named[-1]}, but there are {len(proposals)}")
    accepted = range(1, len(proposals) + 1) if options.accept == ALL else named
    contents = {PICTURE: png(sheet(generator, proposals))} if proposals else {}
    if accepted:
        regions = [region for number in accepted for region in proposals[number - 1].regions]
        contents[RULE] = rule.with_contexts(regions).to_json().encode()
    if contents:
        write_together(options.out, contents)
    return {"contexts": [_document(each) for each in proposals], "accepted": list(accepted)}


def tell(result: dict) -> str:
    """A table of the proposals."""
    return tell_layers(result) if "layers" in result else tell_contexts(result)


def tell_layers(result: dict) -> str:
    """A table of the layers, the best first."""
    if not result["layers"]:
        return f"the marks of rule {result['rule']!r} are too small for every layer that was tried"
    lines = ["what arrives, and changes beside it, in marked images that are left out:"]
    width = max(len(each["layer"]) for each in result["layers"])
    for each in result["layers"]:
        notes = ["the rule's layer"] if each["layer"] == result["now"] else []
        notes += [] if each["drawn"] else ["judged at the layer, not by pictures"]
        notes += ["rough: few samples for so long a key"] if each["scarce"] else []
        shares = f"{each['arrives']:8.1%} {each['beside']:8.3f}"
        lines.append(f"  {each['layer']:{width}} {shares}" + (f"  ({'; '.join(notes)})" if notes else ""))
    lines.append(f"pictures of unmarked images in {Path(result['out']) / LAYERS}")
    return "\n".join(lines)


def tell_contexts(result: dict) -> str:
    """A table of the proposed contexts."""
    found, out = result["contexts"], Path(result["out"])
    if not found:
        return f"no place of the searched images looks like the contexts of rule {result['rule']!r}"
    lines = ["  no.        seed  places  likeness  margin"]
    for number, each in enumerate(found, start=1):
        note = "  marked image" if each["marked"] else ""
        lines.append(
            f"{number:5} {each['seed']:11} {each['places']:7} {each['likeness']:9.2f} {each['margin']:7.2f}{note}"
        )
    lines.append(f"pictures in {out / PICTURE}")
    if result["accepted"]:
        places = sum(found[number - 1]["places"] for number in result["accepted"])
        lines.append(f"rule {result['rule']!r} with {places} more contexts in {out / RULE}")
    return "\n".join(lines)


def numbers_of(accept: str | None) -> list[int]:
    """The numbers that `--accept` names, in order; none if it names all."""
    if accept in (None, ALL):
        return []
    try:
        numbers = sorted(set(parse_seeds(accept)))
    except ValueError:
        raise ValueError(f"--accept takes {ALL}, or numbers such as 1,3 or 1-5, got {quoted(accept)}") from None
    if numbers[0] < 1:
        raise ValueError(f"proposals count from 1, got --accept {accept}")
    return numbers


def sheet(generator: Generator, proposals: Sequence[Proposal]) -> Image.Image:
    """The proposed images with their regions outlined, numbered."""
    with torch.no_grad():
        images = [generator.images(latents_of(generator, [each.latent]))[0].cpu() for each in proposals]
    tiles = [
        outlined(image, [region.mask.array() for region in each.regions])
        for image, each in zip(images, proposals, strict=True)
    ]
    captions = [f"{number}: seed {each.latent.seed}" for number, each in enumerate(proposals, start=1)]
    return grid(tiles, captions)


def _document(proposal: Proposal) -> dict:
    return {
        "seed": proposal.latent.seed,
        "places": len(proposal.regions),
        "likeness": proposal.likeness,
        "margin": proposal.margin,
        "marked": proposal.marked,
    }
