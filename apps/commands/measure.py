"""`rewrite measure`: the second moment of a layer's keys."""

from argparse import Namespace

from apps.estimates import foretell
from rewrite import load_generator
from rewrite.generators.classes import marked
from rewrite.memory import unfinished
from rewrite.memory.measurement import Measurement
from rewrite.memory.memory import said_of


def run(options: Namespace) -> dict:
    """Measure, or go on measuring, and write the memory."""
    generator = load_generator(options.model, truncation=options.truncation, label=options.label, device=options.device)
    measurement = Measurement(generator, options.layer, options.samples, key_space=options.key_space or "patch")
    state = unfinished.beside(options.out)
    measurement.go_on(state)
    foretell(generator, measurement.least - measurement.images)
    with measurement.kept(state):
        memory = measurement.memory(progress=True)
        memory.save(options.out)
    return {
        "out": str(options.out),
        "layer": memory.layer,
        "key_space": memory.key_space,
        "keys": memory.count,
        "dimensions": len(memory.total),
        "images": memory.images,
        **marked(memory.label),
        **said_of(memory.accuracy),
    }


def tell(result: dict) -> str:
    """The number of keys, the file, and how good the memory is."""
    known = f"\nits forecast of damage is within {result['off']:.0%}: {result['stopped']}" if "off" in result else ""
    drawn = f" of class {result['class']}" if "class" in result else ""
    return (
        f"{result['keys']} {result['key_space']} keys of {result['dimensions']} numbers at layer {result['layer']}, "
        f"from {result['images']} images{drawn}, in {result['out']}{known}"
    )
