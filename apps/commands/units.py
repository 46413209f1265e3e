"""`rewrite units`: which units of some layers agree with which concepts."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apps.estimates import foretell
from apps.sources import source_for
from apps.workers import in_workers
from dissect.units.counting import begin, dissect
from dissect.units.dissection import UNITS
from dissect.units.parts import Part, dissect_part, join_parts, uncounted_parts
from dissect.units.probe import GeneratorProbe
from dissect.units.unit_report import write_units
from rewrite import Classifier, Generator, load_generator
from rewrite.interrupts import goes_on_from
from rewrite.progress import stage_bar, stages
from rewrite.storage.ledger import images_in

STATE = "units.safetensors"


def run(options: Namespace) -> dict:
    """Dissect, and write what was found."""
    if options.workers < 1:
        raise ValueError(f"images need at least one worker, got {options.workers}")
    if options.part and options.workers > 1:
        raise ValueError("one part is counted by one worker: leave --part or --workers out")
    probe = probe_of(options)
    if options.part:
        return count_part(options, Part.parse(options.part), probe)
    foretell(probe.generator, options.level_samples + options.samples)
    with goes_on_from(options.out / STATE), stages("levels", UNITS, "pictures"):
        if options.workers > 1:
            count_in_workers(options, probe)
        found = dissect(probe, options.samples, state=options.out / STATE, progress=True, **levels_of(options))
        title = f"Units of {options.model}"
        document = write_units(options.out, probe, found, title, least=options.iou, progress=True)
    return result_of(document, options.out)


def probe_of(options: Namespace) -> GeneratorProbe:
    """The probe of the generator's layers."""
    generator = load_generator(options.model, truncation=options.truncation, label=options.label, device=options.device)
    source = source_for(options.segmenter, generator)
    return GeneratorProbe(generator, layers_of(generator, options.layers), source, options.first_seed)


def levels_of(options: Namespace) -> dict[str, Any]:
    """The options for levels, as `dissect` takes them."""
    return {"tail": options.tail, "level_samples": options.level_samples, "informative": options.informative}


def count_part(options: Namespace, part: Part, probe: GeneratorProbe | None = None, progress: bool = True) -> dict:
    """Count one part into a file of its own."""
    probe, state = probe or probe_of(options), options.out / STATE
    found = dissect_part(probe, options.samples, part, state=state, progress=progress, **levels_of(options))
    return {
        "out": str(options.out),
        "part": options.part,
        "images": int(next(iter(found.values())).tally.images),
        "state": str(part.path(state)),
    }


def count_in_workers(options: Namespace, probe: GeneratorProbe) -> None:
    """Count the parts that are not counted yet in worker processes, and join them."""
    state, parts = options.out / STATE, [Part(number + 1, options.workers) for number in range(options.workers)]
    whole, numbers = begin(probe, options.samples, state=state, progress=True, **levels_of(options))
    done = len(numbers) - len(whole.left(UNITS, numbers))
    if done == len(numbers):
        return
    with stage_bar(options.samples, UNITS, done=done) as bar:

        def look() -> None:
            if more := done + sum(images_in(part.path(state), UNITS) for part in parts) - bar.n:
                bar.update(more)

        rest = uncounted_parts(probe, whole, numbers, options.workers, state)
        in_workers(count_part, [(options, part, None, False) for part in rest], look)
    join_parts(state, options.workers)


def tell(result: dict) -> str:
    """The detectors and concepts of each layer."""
    if "part" in result:
        return f"part {result['part']}: {result['images']} images, in {result['state']}"
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
