"""The closed form beside the 2020 paper's descent: same layer, goal, rank and seeds, in one process.

    python -m benchmarks.against_descent [--rule rewrite/rules/tree-on-towers.json] [--rank 1] [--steps 2001]

Both get what the released code takes: one copy and one place of the rule, its other places only direct. Prints, for the
descent (2,001 steps of Adam, projected every ten), the loss that it reports, the loss of the weights that it delivers,
and their damage; for the closed form along its λ, and for the polished closed form, delivered loss and damage; and the
seconds of each. The loss is the descent's own: mean |difference| after bias, noise and activation (and the squared
one). The released method itself, which runs the layer on a crop, is timed too (its loss is another: the crop's border
reads zeros). All run on one thread; seconds are those of the processor, so that other work on the machine counts for
little.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from apps.bench.descent import activation_loss, paper_descent
from apps.bench.released import released_patch
from benchmarks.polish import polish
from rewrite import Rule, load_generator, measure
from rewrite.goals.goal import build_goal
from rewrite.solvers.closed_form import ClosedForm
from rewrite.solvers.problem import Problem
from rewrite.solvers.trial import Trial

DAMAGES = (1.0, 0.1, 0.01, 0.001)
LOSSES = ("absolute", "squared")
REPEATS = 5


def timed(act: Callable) -> tuple:
    """What a function gives, and its seconds of the processor."""
    began = time.process_time()
    return act(), time.process_time() - began


def as_released(rule: Rule, rank: int, layer: str | None) -> Rule:
    """What the released code takes of a rule."""
    return replace(
        rule.with_settings(rank=rank, constraint="fires", others=0.0, key_space="channel"),
        layer=layer or rule.layer,
        copy=rule.copy[:1],
        paste=rule.places[0],
        context=rule.places[1:],
        context_use="direction",
    )


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", default="towers")
    parser.add_argument("--rule", default="rewrite/rules/tree-on-towers.json")
    parser.add_argument("--layer")
    parser.add_argument("--rank", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2001)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--losses", nargs="*", choices=LOSSES, default=LOSSES)
    parser.add_argument("--damage", type=float, nargs="*", default=DAMAGES, help="λ of the closed form")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    generator = load_generator(options.generator)
    rule = as_released(Rule.load(options.rule), options.rank, options.layer)
    memory = measure(generator, rule.layer, options.samples, key_space="channel")
    goal = build_goal(generator, rule)
    print(f"{len(goal.wanted)} wanted keys of {goal.wanted.keys.shape[1]} numbers", flush=True)
    problem = Problem.of(generator, memory, goal, rule.settings)
    rows = ClosedForm(problem).rows
    _, seconds = timed(lambda: released_patch(generator, memory, rule, rank=options.rank, steps=options.steps))
    print(f"the released method, on its crop, with its directions: {seconds:.2f} s", flush=True)

    for name in options.losses:
        loss = activation_loss(problem, squared=name == "squared")
        descent, seconds = timed(lambda loss=loss: paper_descent(len(problem.matrix), loss, rows, steps=options.steps))
        told = Trial(problem, descent.change).solution()
        print(
            f"{name}: start {descent.start:.5f}; descent reports {descent.reported:.5f}, delivers {descent.loss:.5f}, "
            f"damage {told.damage:.3f}, drift {told.drift:.3f}, {seconds:.2f} s",
            flush=True,
        )
        for damage in options.damage:
            solver = ClosedForm(replace(problem, settings=replace(problem.settings, damage=damage)))
            solution, first = timed(solver.solve)
            again = statistics.median(timed(solver.solve)[1] for _ in range(REPEATS))
            print(
                f"  λ {damage:<6} closed form {float(loss(solution.change)):.5f} damage {solution.damage:.3f} "
                f"drift {solution.drift:.3f} {first * 1000:.0f} ms ({seconds / first:.0f} times faster), factored "
                f"{again * 1000:.0f} ms ({seconds / again:.0f} times)",
                flush=True,
            )
            better, polished = timed(
                lambda solution=solution, squared=name == "squared", most=told.damage: polish(
                    problem, solution.change, squared=squared, most_damage=most
                )
            )
            after = Trial(problem, better).solution()
            print(
                f"    polished {float(loss(better)):.5f} damage {after.damage:.3f} drift {after.drift:.3f} "
                f"{polished:.1f} s ({seconds / polished:.1f} times)",
                flush=True,
            )


if __name__ == "__main__":
    main()
