"""A network that does not fit in memory in large batches is run in smaller ones, and gives the same."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dissect import GeneratorProbe, dissect
from rewrite import Generator, firing, measure, propose_contexts, report_on, solve
from rewrite.generators.batches import in_batches
from rewrite.generators.wrapped import wrap
from tests.test_devices import Drawing, rule_on, striping

SEEDS = tuple(range(20, 36))
APPLE = RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB, max allowed: 18.1 GB)")
PROCESSOR = RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 8 bytes")


class Scarce:
    """Memory in which only a few images fit at once."""

    def __init__(self, fits: int, error: RuntimeError | None = None):
        self.fits, self.error, self.sizes = fits, error or torch.OutOfMemoryError("CUDA out of memory."), list[int]()

    def __call__(self, module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.sizes.append(len(inputs[0]))
        if len(inputs[0]) > self.fits:
            raise self.error


def drawn(generator: Generator) -> Tensor:
    return generator.sample(SEEDS)


def counted(generator: Generator) -> Tensor:
    return measure(generator, "conv", 40).total


def enough(generator: Generator) -> Tensor:
    return measure(generator, "conv").total


def searched(generator: Generator) -> Tensor:
    return firing(generator, measure(generator, "conv", 40), rule_on(generator, "conv"), SEEDS, samples=16)


def reported(generator: Generator) -> Tensor:
    roomy = wrap(Drawing().double(), latents=5)
    patch = solve(roomy, measure(roomy, "conv", 40), rule_on(roomy, "conv"))
    found = report_on(generator, patch, seeds=SEEDS).document()
    return torch.tensor([image["moved"] for image in found["per_image"]])


def proposed(generator: Generator) -> Tensor:
    found = propose_contexts(generator, rule_on(generator, "conv"), seeds=range(40, 72), most=5)
    return torch.tensor([each.regions[0].latent.seed for each in found])


def dissected(generator: Generator) -> Tensor:
    probe = GeneratorProbe(generator, ["conv"], striping())
    found = dissect(probe, 32, level_samples=16)["conv"]
    return torch.cat([each.double().flatten() for each in found.tensors().values()])


@pytest.mark.parametrize("work", [drawn, counted, enough, searched, reported, proposed, dissected])
def test_where_memory_runs_out_batches_are_halved_and_the_work_goes_on(work: Callable[[Generator], Tensor]):
    roomy, scarce = (wrap(Drawing().double(), latents=5) for _ in range(2))
    memory = Scarce(5)
    scarce.module.lift.register_forward_pre_hook(memory)
    found, expected = work(scarce), work(roomy)
    assert max(memory.sizes) > 5
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_measurement_does_not_try_again_what_did_not_fit():
    generator, memory = wrap(Drawing(), latents=5), Scarce(3)
    generator.module.lift.register_forward_pre_hook(memory)
    measure(generator, "conv", 100)
    tried = [size for size in memory.sizes if size > 3]
    assert tried == sorted(set(tried), reverse=True)


@pytest.mark.parametrize("error", [None, APPLE, PROCESSOR], ids=["cuda", "mps", "cpu"])
def test_a_batch_that_does_not_fit_is_tried_once(error):
    generator, memory = wrap(Drawing(), latents=5), Scarce(3, error)
    generator.module.lift.register_forward_pre_hook(memory)
    generator.sample(SEEDS)
    assert memory.sizes == [16, 8, 4, *[2] * 8]


def test_where_not_even_one_image_fits_a_sentence_says_so(files, refusal, tmp_path, monkeypatch):
    def full(self: Generator, latents: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nmore")

    monkeypatch.setattr("rewrite.generators.stylegan2_layers.StyleGAN2Generator.images", full)
    said = refusal("sample", files["model"], "--out", tmp_path / "grid.png")
    assert "one image alone needs more memory than there is: CUDA out of memory. Tried to allocate 20 GiB." in said


def test_other_errors_come_through():
    def broken(part: tuple[int, ...]) -> None:
        raise RuntimeError("the sizes of tensors must match")

    with pytest.raises(RuntimeError, match="sizes of tensors"):
        list(in_batches(range(4), 2, broken))


def test_what_did_not_fit_is_let_go_before_the_next_try():
    held = []

    class Large:
        def __del__(self):
            held.append("gone")

    def work(part: tuple[int, ...]) -> int:
        mine = Large()
        if len(part) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        assert held.count("gone") >= 1, mine
        return part[0]

    assert list(in_batches(range(2), 2, work)) == [((0,), 0), ((1,), 1)]
