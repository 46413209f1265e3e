"""A training run that is stopped goes on as if it had not been."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from apps.towers.runs import Plan, Run

PLAN = Plan(steps=6, batch=4, rate=1e-2, decay=1e-3, warm_up=2)


def run_of(plan: Plan) -> Run:
    return Run(plan, lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.Conv2d(4, 1, 3)))


def loss_of(run: Run, *, stop_at: int | None = None):
    """The loss of a step, on images of its own; a stop raises."""

    def loss_at(step: int) -> torch.Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        images = torch.randn(run.plan.batch, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        return run.network(images).square().mean()

    return loss_at


def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr("apps.towers.runs.SAVE_EVERY_S", 0)
    whole = run_of(PLAN)
    whole.train(tmp_path / "whole.pt", loss_of(whole))
    stopped = run_of(PLAN)
    with pytest.raises(KeyboardInterrupt):
        stopped.train(tmp_path / "run.pt", loss_of(stopped, stop_at=4))
    again = run_of(PLAN)
    again.train(tmp_path / "run.pt", loss_of(again))
    assert again.progress["steps"] == PLAN.steps
    for mine, other in zip(again.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_run_keeps_its_plan_and_ends_where_its_loss_is_not_finite(tmp_path):
    run = run_of(PLAN)
    run.save(tmp_path / "run.pt")
    with pytest.raises(ValueError, match="a run keeps the plan of its state"):
        run_of(replace(PLAN, rate=1.0)).load(tmp_path / "run.pt")
    with pytest.raises(ValueError, match="the loss is not finite after 0 steps"):
        run.train(tmp_path / "other.pt", lambda step: torch.tensor(torch.nan))
