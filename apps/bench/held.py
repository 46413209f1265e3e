"""Memory: the most that a process holds while it measures or solves, beside the size of the weights."""

import ctypes
import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from apps.bench.clock import alone
from apps.bench.lines import BYTES, Line, Pair, SkippedError
from apps.bench.subject import Subject
from rewrite import Settings, measure, solve

STATUS, REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MEASURING, SOLVING = "measuring", "solving"
IMAGES = 64


def measuring(subject: Subject) -> Iterator[Pair]:
    """What measuring a memory takes, in a process of its own."""
    return apart(subject, MEASURING)


def solving(subject: Subject) -> Iterator[Pair]:
    """What solving a rule takes, in a process of its own."""
    return apart(subject, SOLVING)


def apart(subject: Subject, what: str) -> Iterator[Pair]:
    """Some work in one new process after another."""
    if not REFS.exists():
        raise SkippedError("only Linux tells a process the most that it held since a moment")
    weights = sum(each.nbytes for each in subject.generator.module.state_dict().values())
    while True:
        yield Pair(_of_a_process(subject.named, what), weights)


def _of_a_process(named: str, what: str) -> int:
    """What `grown_by` gives in a new process."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(theirs, named, what), daemon=True)
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise SkippedError("the process that was to tell its memory ended before it did") from None
    finally:
        # Asked to end where this one is interrupted; else it ends by itself, and leaves nothing behind.
        if sys.exc_info()[0] is not None:
            process.terminate()
        process.join()


def _tell(pipe: Connection, named: str, what: str) -> None:
    """The life of such a process, which leaves Ctrl-C to the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe.send(grown_by(named, what))


def grown_by(named: str, what: str) -> int:
    """By how many bytes this process grows while it works, from when it has opened the generator and drawn with it."""
    with alone():
        subject = Subject(named)
        subject.generator.sample(range(2))
        if what == SOLVING:
            memory = subject.memory(samples=IMAGES)
            rule = subject.rule(0, Settings.from_marks())
            before = begin()
            solve(subject.generator, memory, rule)
        else:
            before = begin()
            measure(subject.generator, subject.layer)
    return field("VmHWM") - before


def begin() -> int:
    """Forget the most that this process held, and say what it holds now."""
    gc.collect()
    # What was freed and not given back would hide what is taken next.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    REFS.write_text("5")
    return field("VmRSS")


def field(name: str) -> int:
    """Bytes by the name that Linux has for them."""
    line = next(each for each in STATUS.read_text().splitlines() if each.startswith(name))
    return int(line.split()[1]) * 1024


WEIGHTS = "the size of the generator's weights"
NOTES = "in a process of its own, beyond what it held when it had opened the generator and drawn with it"
LINES = (
    Line("memory-measure", "the most memory that measuring takes", WEIGHTS, measuring, (1, 1), BYTES, NOTES),
    Line("memory-solve", "the most memory that a first answer takes", WEIGHTS, solving, (1, 1), BYTES, NOTES),
)
