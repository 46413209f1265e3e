"""`rewrite ablate`: a patch that switches units off."""

from argparse import Namespace

from apps.commands.rule import named
from apps.dissections import resolved_units
from apps.seeds import parse_seeds
from dissect.causes.ablation import ablation_patch
from rewrite import load_generator


def run(options: Namespace) -> dict:
    """Make the patch, compare it with units held at zero, and write it."""
    generator = load_generator(options.model, truncation=options.truncation, label=options.label, device=options.device)
    entries = named(options.units)
    generator.layer(options.layer)
    units = resolved_units(entries, options.dissection, options.layer, generator.fingerprint, options.count)
    called = ", ".join(entry for entry in entries if not entry.isdecimal())
    patch = ablation_patch(generator, options.layer, units, seeds=parse_seeds(options.seeds), name=called)
    patch.save(options.out)
    return {"out": str(options.out), "layer": patch.layer, "rank": patch.rank, **patch.forecast}


def tell(result: dict) -> str:
    """The units, and how the patch differs from units held at zero."""
    shown, name = ", ".join(map(str, result["units"])), f" ({result['name']})" if result["name"] else ""
    lines = [
        f"{len(result['units'])} units of {result['units_of']} off{name}: {shown}",
        f"images move by {result['moved']:.4f} on average; beside units held at zero they differ by "
        f"{result['difference']:.2g} on average and {result['largest']:.2g} at most, on {result['images']} images",
        *(f"note: {note}" for note in result["notes"]),
        f"patch: {result['out']}",
    ]
    return "\n".join(lines)
