"""The same work by released code: adapters that hand our generator, marks, units and labels to a checkout."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from apps.bench.clock import scaled_up, seconds
from apps.bench.descent import STEPS
from apps.bench.edits import TIMED, TIMED_QUICK
from apps.bench.lines import Line, Pair, SkippedError
from apps.bench.peer import DISSECT, GANDISSECT, MODULES, REWRITING, Peer
from apps.bench.peer_network import Latents, check_same, mask_url, network_of, number_of
from apps.bench.subject import Subject
from apps.bench.units import LABELS, Counted
from rewrite import Rule, Settings, measure, solve
from rewrite.storage.scratch import scratch

IMAGES, IMAGES_QUICK = 100, 40
# How long a step takes does not depend on how many images the statistics are of.
FEW = 20


def peer_of(subject: Subject, *kinds: str) -> Peer:
    """The checkout, which must be of one of some repositories."""
    if subject.peer is None:
        raise SkippedError("it is measured against released code: name its checkout with --peer")
    if subject.peer.kind not in kinds:
        raise SkippedError(f"the checkout is of {subject.peer.kind}, and this is work of {' and '.join(kinds)}")
    return subject.peer


def rewriter_of(subject: Subject, modules: list[Any]) -> Any:
    """The released rewriter of our generator, which has measured its statistics on few images."""
    algorithm, models = modules
    try:
        network = network_of(subject.generator, models)
    except ValueError as error:
        raise SkippedError(str(error)) from None
    check_same(subject.generator, network)
    number, latents = number_of(subject.generator, subject.layer), Latents(subject.generator, FEW)
    return algorithm.SeqStyleGanRewriter(network, latents, number)


def edit(subject: Subject) -> Iterator[Pair]:
    """First answers, each beside the released editor's answer to the same marks."""
    peer, memory = peer_of(subject, REWRITING), subject.memory()
    few = TIMED_QUICK if subject.quick else TIMED
    with peer.modules(*MODULES[REWRITING][:2]) as modules:
        rewriter = rewriter_of(subject, modules)
        solve(subject.generator, memory, subject.rule(0))
        for number in count():
            rule = subject.rule(number, Settings.from_marks())
            request = request_of(rule)
            ours = seconds(lambda rule=rule: solve(subject.generator, memory, rule))
            rewriter.apply_edit(request, rank=1, niter=1)
            run = lambda steps, request=request: rewriter.apply_edit(request, rank=1, niter=steps)  # noqa: E731
            yield Pair(ours, scaled_up(run, few, STEPS))


def request_of(rule: Rule) -> dict[str, Any]:
    """A rule as the released editor saves an edit."""
    marked = [(place.latent.seed, mask_url(place.mask)) for place in (rule.copy[0], *rule.places)]
    return {"object": marked[0], "paste": marked[1], "key": marked[2:] or marked[1:]}


def statistics(subject: Subject) -> Iterator[Pair]:
    """Measuring a memory, beside the released second moment of as many images."""
    peer, images = peer_of(subject, REWRITING), IMAGES_QUICK if subject.quick else IMAGES
    generator, layer = subject.generator, subject.layer
    with peer.modules(*MODULES[REWRITING][:2]) as modules:
        rewriter = rewriter_of(subject, modules)
        rewriter.zds = Latents(generator, images)
        for _ in count():
            theirs = seconds(rewriter.collect_2nd_moment)
            ours = seconds(lambda: measure(generator, layer, images, key_space="channel"))
            yield Pair(ours, theirs, {"images": images})


def counting(subject: Subject) -> Iterator[Pair]:
    """Counting units against concepts, beside the released counting of the same image."""
    peer = peer_of(subject, DISSECT, GANDISSECT, REWRITING)
    counted = Counted.sized(subject)
    counted.ours(0)
    with peer.modules(*MODULES[peer.kind][-1 if peer.kind == GANDISSECT else -3 :]) as modules:
        count_theirs = _gandissect if peer.kind == GANDISSECT else _conditional_means
        for number in count():
            image = number % len(counted.maps)
            theirs = count_theirs(counted, image, modules)
            yield Pair(seconds(lambda image=image: counted.ours(image)), theirs)


def _conditional_means(counted: Counted, image: int, modules: list[Any]) -> float:
    """As `quickdissect` does it: means of what passes its level, under each label."""
    tally, running, upsample = modules
    side = counted.labels.shape[2:]
    upsampled = upsample.upsampler(tuple(side), tuple(counted.maps.shape[2:]))
    # Zero is no label there.
    labels = counted.labels[image : image + 1].long() + 1
    levels = counted.levels[None, :, None, None]

    def work() -> None:
        means = running.RunningConditionalVariance()
        passed = (upsampled(counted.maps[image : image + 1]) > levels).float()
        for condition, sample in tally.conditional_samples(passed, labels):
            means.add(condition, sample)
        tally.iou_from_conditional_indicator_mean(means)

    return seconds(work)


def _gandissect(counted: Counted, image: int, modules: list[Any]) -> float:
    """As its dissection does it, from a segmenter that gives these labels at once."""
    (dissection,) = modules
    labels, maps = counted.labels[image : image + 1].long() + 1, counted.maps[image : image + 1]
    names = [("-", "-"), *((f"concept {number}", "object") for number in range(LABELS))]
    counts = torch.bincount(labels.flatten(), minlength=len(names))[None]

    class Batches(list):
        batch_size = 1

    class Model(nn.Linear):
        def retained_features(self) -> dict[str, Tensor]:
            return {"layer": maps}

    runner = SimpleNamespace(
        get_label_and_category_names=lambda: (names, ["-", "object"]),
        run_and_segment_batch=lambda *_, **__: (labels, counts, None, tuple(labels.shape[2:])),
    )
    levels = defaultdict(lambda: counted.levels)
    with scratch() as folder, torch.no_grad():
        (folder / "layer").mkdir()
        given = (str(folder), Model(1, 1), Batches([None]), levels, runner)
        return seconds(lambda: dissection.collect_bincounts(*given))


LINES = (
    Line(
        "peer-edit",
        "first answer to a rule of marks, as in edit",
        f"the released editor's Execute Change of {STEPS:,} steps on the same weights and marks, scaled up from "
        f"{TIMED} of them ({TIMED_QUICK} of a quick run)",
        edit,
        rounds=(3, 1),
        notes="neither side measures statistics of the layer; its operations for CUDA are replaced by torch's own",
        of_peer=True,
    ),
    Line(
        "peer-statistics",
        "measuring a memory of channel keys",
        "the released second moment of as many images",
        statistics,
        rounds=(3, 1),
        of_peer=True,
    ),
    Line(
        "peer-dissection",
        "counting units against concepts on one image, as in dissection",
        "the released counting of the same units and labels",
        counting,
        rounds=(3, 1),
        of_peer=True,
    ),
)
