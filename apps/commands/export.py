"""`rewrite export`: a checkpoint with patches folded in."""

from argparse import Namespace

from apps.commands.patches import load_patches
from rewrite import export, load_generator


def run(options: Namespace) -> dict:
    """Write the edited checkpoint."""
    patches = [patch for patch, _ in load_patches(options.patches, None)]
    export(load_generator(options.model), patches, options.out, model=options.model)
    return {"out": str(options.out), "model": options.model, "layers": sorted({patch.layer for patch in patches})}


def tell(result: dict) -> str:
    """Say what was written."""
    return f"{result['model']} with an edited weight at {' and '.join(result['layers'])}, in {result['out']}"
