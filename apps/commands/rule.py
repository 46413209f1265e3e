"""`rewrite rule`: make a rule from the names of concepts, without marking regions by hand."""

from argparse import Namespace

from apps.dissections import resolved_units
from apps.seeds import images_of
from apps.sources import source_for
from dissect.concept_rule import RuleInWords, concept_rule, usual_layer
from rewrite import load_generator


def run(options: Namespace) -> dict:
    """Find the concepts, and write the rule."""
    generator = load_generator(options.model, truncation=options.truncation, label=options.label, device=options.device)
    layer = options.layer or usual_layer(generator)
    words = RuleInWords(
        context=named(options.context),
        copy=named(options.copy),
        protect=named(options.protect),
        protect_units=resolved_units(named(options.protect_units), options.dissection, layer, generator.fingerprint),
        layer=layer,
        name=options.name or options.out.stem,
    )
    source = source_for(options.segmenter, generator)
    rule = concept_rule(generator, source, words, images_of(options, generator), progress=True)
    rule.save(options.out)
    return {
        "out": str(options.out),
        "rule": rule.name,
        "action": rule.action,
        "layer": rule.layer,
        "copies": len(rule.copy),
        "places": len(rule.context),
        "protected": len(rule.protect),
        "images": len({region.latent for region in rule.context}),
    }


def tell(result: dict) -> str:
    """The regions of the rule."""
    copies = f"{result['copies']} copies for " if result["copies"] else ""
    protected = f", {result['protected']} protected regions" if result["protected"] else ""
    return (
        f"rule {result['rule']!r} ({result['action']}) on layer {result['layer']}: {copies}{result['places']} places "
        f"in {result['images']} images{protected}, in {result['out']}"
    )


def named(text: str | None) -> tuple[str, ...]:
    """Parse names separated by commas."""
    return tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))
