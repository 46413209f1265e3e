"""`rewrite units`: which units of some layers agree with which concepts."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from apps.sources import source_for
from dissect.dissection import dissect
from dissect.probe import GeneratorProbe
from dissect.unit_report import write_units
from rewrite import Generator, load_generator

STATE = "units.safetensors"


def run(options: Namespace) -> dict:
    """Dissect, and write what was found."""
    generator = load_generator(options.model, truncation=options.truncation)
    source = source_for(options.segmenter, generator)
    probe = GeneratorProbe(generator, layers_of(generator, options.layers), source, options.first_seed)
    found = dissect(
        probe,
        options.samples,
        tail=options.tail,
        level_samples=options.level_samples,
        informative=options.informative,
        state=options.out / STATE,
        progress=True,
    )
    title = f"Units of {options.model}"
    document = write_units(options.out, probe, found, title, least=options.iou, progress=True)
    return result_of(document, options.out)


def tell(result: dict) -> str:
    """Say what was found."""
    lines = []
    for layer in result["layers"]:
        concepts = ", ".join(f"{name} {count}" for name, count in layer["by_concept"].items())
        lines.append(
            f"{layer['layer']}: {layer['detectors']} of {layer['units']} units detect {layer['concepts_detected']} "
            f"concepts{f' ({concepts})' if concepts else ''}"
        )
    return "\n".join([*lines, f"page: {Path(result['out']) / 'units.html'}"])


def result_of(document: dict, out: Path) -> dict:
    """What programs read: the document without its units one by one."""
    layers = [{name: value for name, value in layer.items() if name != "unit"} for layer in document["layers"]]
    return {"out": str(out), "images": document["images"], "layers": layers}


def layers_of(generator: Generator, named: Sequence[str]) -> list[str]:
    """The layers that are asked for; `all` are those that give maps of units and not of colours."""
    if "all" in named:
        return [name for name, layer in generator.layers.items() if layer.outputs > 4 and layer.kind != "linear"]
    return list(named)
