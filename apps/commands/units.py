"""`rewrite units`: which units of some layers agree with which concepts."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from apps.estimates import foretell
from apps.sources import source_for
from dissect.units.counting import dissect
from dissect.units.dissection import UNITS
from dissect.units.parts import finish_parts
from dissect.units.probe import GeneratorProbe
from dissect.units.unit_report import write_units
from rewrite import Classifier, Generator, load_generator
from rewrite.interrupts import goes_on_from
from rewrite.progress import stages

STATE = "units.safetensors"


def run(options: Namespace) -> dict:
    """Dissect, and write what was found."""
    probe, state = probe_of(options), options.out / STATE
    foretell(probe.generator, options.level_samples + options.samples)
    levels = {"tail": options.tail, "level_samples": options.level_samples, "informative": options.informative}
    with goes_on_from(state), stages("levels", UNITS, "pictures"):
        finish_parts(probe, options.samples, state=state, progress=True, **levels)
        found = dissect(probe, options.samples, state=state, progress=True, **levels)
        title = f"Units of {options.model}"
        document = write_units(options.out, probe, found, title, least=options.iou, progress=True)
    return result_of(document, options.out)


def probe_of(options: Namespace) -> GeneratorProbe:
    """The probe of the generator's layers."""
    generator = load_generator(options.model, truncation=options.truncation, label=options.label, device=options.device)
    source = source_for(options.segmenter, generator)
    return GeneratorProbe(generator, layers_of(generator, options.layers), source, options.first_seed)


def tell(result: dict) -> str:
    """The detectors and concepts of each layer."""
    lines = []
    for layer in result["layers"]:
        concepts = ", ".join(f"{name} {count}" for name, count in layer["by_concept"].items())
        lines.append(
            f"{layer['layer']}: {layer['detectors']} of {layer['units']} units detect {layer['concepts_detected']} "
            f"concepts{f' ({concepts})' if concepts else ''}"
        )
        if few := len(layer["far_fewer_lit"]):
            lines.append(f"  {few} units pass their level at far fewer pixels than asked: their greatest are equal")
    return "\n".join([*lines, f"page: {Path(result['out']) / 'units.html'}"])


def result_of(document: dict, out: Path) -> dict:
    """The JSON result: the document without the list of units."""
    layers = [{name: value for name, value in layer.items() if name != "unit"} for layer in document["layers"]]
    return {"out": str(out), "images": document["images"], "layers": layers}


def layers_of(generator: Generator | Classifier, named: Sequence[str]) -> list[str]:
    """The named layers; `all` are those whose output is neither colours nor a vector."""
    if "all" in named:
        return [name for name, layer in generator.layers.items() if layer.outputs > 4 and layer.kind != "linear"]
    return list(named)
