"""The closed form beside the 2020 paper's descent: same layer, rule, rank and seeds, in one process.

    python benchmarks/against_descent.py [--rule rewrite/rules/tree-on-towers.json] [--rank 1] [--steps 2001]

Prints, for the descent (2,001 steps of Adam, projected every ten), the loss that it reports, the loss of the weights
that it delivers, and their damage; for the closed form along its λ, and for the polished closed form, delivered loss
and damage; and the seconds of each. The loss is the descent's own: mean |difference| after bias, noise and activation
(and the squared one).
"""

import argparse
import time
from dataclasses import replace

import torch

from rewrite import Rule, load_generator, measure
from rewrite.descent import activation_loss, paper_descent
from rewrite.goal import build_goal
from rewrite.polish import polish
from rewrite.problem import Problem
from rewrite.solvers import ClosedForm

DAMAGES = (1.0, 0.1, 0.01, 0.001)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", default="towers")
    parser.add_argument("--rule", default="rewrite/rules/tree-on-towers.json")
    parser.add_argument("--layer")
    parser.add_argument("--rank", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2001)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    torch.manual_seed(0)
    generator, rule = load_generator(options.generator), Rule.load(options.rule)
    rule = replace(
        rule.with_settings(rank=options.rank, constraint="fires", others=0.0, key_space="channel"),
        layer=options.layer or rule.layer,
    )
    began = time.perf_counter()
    memory = measure(generator, rule.layer, options.samples, key_space="channel")
    goal = build_goal(generator, rule)
    print(
        f"memory and goal: {time.perf_counter() - began:.1f} s, {len(goal.wanted)} keys of {goal.wanted.keys.shape[1]}"
    )
    problem = Problem.of(generator, memory, goal, rule.settings)
    losses = {name: activation_loss(problem, squared=name == "squared") for name in ("absolute", "squared")}
    rows = ClosedForm(problem).rows

    for name, loss in losses.items():
        began = time.perf_counter()
        descent = paper_descent(problem, loss, rows, steps=options.steps)
        seconds = time.perf_counter() - began
        told = problem.describe(descent.change)
        print(
            f"{name}: start {descent.start:.4f}; descent reports {descent.reported:.4f}, delivers {descent.loss:.4f}, "
            f"damage {told.damage:.3f}, drift {told.drift:.3f}, {seconds:.2f} s"
        )
        for damage in DAMAGES:
            solver = ClosedForm(replace(problem, settings=replace(problem.settings, damage=damage)))
            began = time.perf_counter()
            solver.solve()
            first = time.perf_counter() - began
            began = time.perf_counter()
            solution = solver.solve()
            again = time.perf_counter() - began
            began = time.perf_counter()
            better = polish(problem, solution.change, squared=name == "squared", most_damage=told.damage)
            polished = time.perf_counter() - began
            after = problem.describe(better)
            print(
                f"  λ {damage:<6} closed form {float(loss(solution.change)):.4f} damage {solution.damage:.3f} "
                f"drift {solution.drift:.3f} {first * 1000:.0f} ms ({seconds / first:.0f} times faster), factored "
                f"{again * 1000:.0f} ms ({seconds / again:.0f} times) | polished {float(loss(better)):.4f} damage "
                f"{after.damage:.3f} drift {after.drift:.3f} {polished:.1f} s ({seconds / polished:.0f} times)",
                flush=True,
            )


if __name__ == "__main__":
    main()
