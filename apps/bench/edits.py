"""Edits: the first answer to a rule beside the 2020 method and fine-tuning, and the next one beside drawing."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import count

import torch

from apps.bench.clock import scaled_up, seconds
from apps.bench.descent import STEPS
from apps.bench.fine_tuning import LAYER_OF_FEW_MARKS, tuned_layer
from apps.bench.lines import Line, Pair, SkippedError
from apps.bench.released import released_patch
from apps.bench.subject import BUILT_IN, CONTEXTS, Subject
from apps.bench.unseen import Figures, Unseen
from rewrite import Generator, Goals, Memory, Patch, Rule, Settings, solve
from rewrite.reports.aims import Aim

# Steps of the 2020 loop that are timed.
TIMED, TIMED_QUICK = 101, 41
# Images that no rule knows, on which nothing was tuned.
FIRST_UNSEEN, SEEDS, SEEDS_QUICK = 400_000, 60, 30
BATCH = 4
LIGHTEST_DRIFT = 0.03
MARKS = f"one copy, one paste and {CONTEXTS} contexts"
LOOP = f"the 2020 method's loop of {STEPS:,} steps, scaled up from {TIMED} of them ({TIMED_QUICK} of a quick run)"


def delivered(subject: Subject) -> Iterator[Pair]:
    """The first answer as commands and editor give it, beside the 2020 method."""
    return beside_the_loop(subject, Settings.from_marks())


def closed_form(subject: Subject) -> Iterator[Pair]:
    """The first answer with weights that are given, beside the 2020 method."""
    return beside_the_loop(subject, Settings())


def beside_the_loop(subject: Subject, settings: Settings) -> Iterator[Pair]:
    """First answers to one rule after another, each beside the 2020 method's answer to the same."""
    generator, memory = subject.generator, subject.memory()
    if generator.layer(subject.layer).groups > 1:
        raise SkippedError("the 2020 method is for layers without groups")
    channels, few = subject.memory("channel"), TIMED_QUICK if subject.quick else TIMED
    # What a first call sets up belongs to no method.
    solve(generator, memory, subject.rule(0))
    released(generator, channels, subject.rule(0), 1)
    for number in count():
        rule = subject.rule(number, settings)
        ours = seconds(lambda rule=rule: solve(generator, memory, rule))
        yield Pair(ours, scaled_up(partial(released, generator, channels, rule), few, STEPS))


def released(generator: Generator, memory: Memory, rule: Rule, steps: int) -> None:
    """The 2020 method, without the noise of the image: it looks at a crop, which it would not fit."""
    noise = generator.noise
    generator.noise = noise and "none"
    try:
        released_patch(generator, memory, rule, steps=steps)
    finally:
        generator.noise = noise


def tuning(subject: Subject) -> Iterator[Pair]:
    """The first answer beside fine-tuning of the layer, and how good both are."""
    if not subject.built_in:
        raise SkippedError(f"steps and rate of fine-tuning are tuned, and efficacy is known, for {BUILT_IN} only")
    generator, memory = subject.generator, subject.memory()
    unseen = Unseen(generator, SEEDS_QUICK if subject.quick else SEEDS, FIRST_UNSEEN)
    solve(generator, memory, subject.rule(0))
    for number in count():
        rule, found = subject.rule(number, Settings.from_marks()), list[Patch]()
        ours = seconds(lambda rule=rule, found=found: found.append(solve(generator, memory, rule)))
        tuned = seconds(lambda rule=rule, found=found: found.extend(tuned_layer(generator, rule, LAYER_OF_FEW_MARKS)))
        us, them = (seen(subject, unseen, patch, rule) for patch in found)
        yield Pair(
            ours,
            tuned,
            {
                "our efficacy in %": us.efficacy,
                "our strict outside in %": us.strict,
                "the reference's efficacy in %": them.efficacy,
                "the reference's strict outside in %": them.strict,
                "seeds": sum(map(len, unseen.parts)),
            },
        )


def seen(subject: Subject, unseen: Unseen, patch: Patch, rule: Rule) -> Figures:
    """What a patch does to images that the rule does not know."""
    with patch.applied(subject.generator):
        return unseen.figures(Aim.of(rule.name, rule.effect, unseen.source.concepts))


def again(subject: Subject) -> Iterator[Pair]:
    """Another answer to a rule that was solved before, beside drawing an image."""
    generator, memory, goals = subject.generator, subject.memory(), Goals()
    rule = subject.rule(0)
    solve(generator, memory, rule, goals=goals)
    latents = generator.latents(range(BATCH))

    @torch.no_grad()
    def draw() -> None:
        generator.images(latents)

    draw()
    for number in count(1):
        # Other weights each time: an answer is no copy of the one before.
        settings = replace(rule.settings, drift=LIGHTEST_DRIFT * 1.5**number)
        other = replace(rule, settings=settings)
        ours = seconds(lambda other=other: solve(generator, memory, other, goals=goals))
        yield Pair(ours, seconds(draw) / BATCH)


LINES = (
    Line(
        "edit",
        f"first answer to a rule of {MARKS}; the weights are chosen by the marks, and finished, as commands do",
        LOOP,
        delivered,
        rounds=(3, 1),
        notes="every round has a rule of its own; neither side measures the layer's memory, which a layer needs once; "
        "the two answers are not equally good: see docs/price.md",
    ),
    Line(
        "edit-given",
        "the same with weights that are given: one closed form, no choice and no finish, as the 2020 method has none",
        LOOP,
        closed_form,
        rounds=(3, 2),
        notes="every round has a rule of its own",
    ),
    Line(
        "edit-tuning",
        f"first answer to a rule of {MARKS}, as in edit",
        f"fine-tuning of the layer, {max(LAYER_OF_FEW_MARKS.stops)} steps of Adam at {LAYER_OF_FEW_MARKS.rate:g}, "
        "which were tuned on other marks",
        tuning,
        rounds=(3, 1),
        notes=f"efficacy and what changes outside, by a strict count, are means of few rules and few seeds "
        f"({SEEDS}, {SEEDS_QUICK} of a quick run): they tell a method from none, not a good one from a better one",
    ),
    Line(
        "again",
        "the answer with other weights, once the rule was solved: its goals are kept",
        f"drawing one image, in a batch of {BATCH}",
        again,
    ),
)
