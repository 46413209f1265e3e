"""What must hold while a file is opened or a page is answered: no code runs, nothing hangs, no memory is swallowed."""

import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SECONDS = 5
# Limits of time hold as they are where `loop_seconds` gives no more than this; and how many times slower it may be.
LOOP_SECONDS, MOST_SLOWNESS = 0.07, 4.0
FORBIDDEN = {
    "exec",
    "compile",
    "import",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "pickle.find_class",
    "socket.connect",
    "subprocess.Popen",
    "ctypes.dlopen",
}

# Where an object lies in memory is no part of a sentence.
ADDRESS = re.compile(r"\bat 0x[0-9a-f]+|<[\w.]+ object\b")

watched: list[str] = []
watching = False


def _hook(event: str, arguments: tuple) -> None:
    if watching and (event in FORBIDDEN or (event == "open" and str(arguments[1]).strip("rb"))):
        # The checks of types that the tests switch on are compiled as functions are first called.
        frames = [Path(frame.f_code.co_filename).parts for frame in _frames(sys._getframe(1))]
        if "jaxtyping" not in frames[0] and not any("beartype" in parts for parts in frames):
            watched.append(f"{event} {arguments[0]}"[:120])


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


sys.addaudithook(_hook)


@contextmanager
def nothing_runs() -> Iterator[None]:
    """Fail where code is run, a module imported, a file written, a process started or a connection made."""
    global watching
    watched.clear()
    watching = True
    try:
        yield
    finally:
        watching = False
    assert not watched, watched


def loop_seconds() -> float:
    """How many seconds of the processor a loop takes now."""
    begun = time.thread_time()
    sum(number * number for number in range(10**6))
    return time.thread_time() - begun


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Fail after some seconds of the processor, or after far more on the clock, of which other work takes its share.

    A processor that is slower then than the one that limits are meant for has so much more time.
    """
    granted = []

    def stop(number: int, _: object) -> None:
        slowness = 1.0 if granted or number == signal.SIGALRM else loop_seconds() / LOOP_SECONDS
        if slowness <= 1.1:
            raise AssertionError(f"it hung for {seconds} s")
        granted.append(slowness)
        signal.setitimer(signal.ITIMER_PROF, (min(slowness, MOST_SLOWNESS) - 1) * seconds)

    clocks = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, 12 * seconds))
    before = [signal.signal(raised, stop) for _, raised, _ in clocks]
    try:
        for clock, _, most in clocks:
            signal.setitimer(clock, most)
        yield
    finally:
        for (clock, raised, _), handler in zip(clocks, before):
            signal.setitimer(clock, 0)
            signal.signal(raised, handler)


def outcome(act: Callable[[Path], object], path: Path, seconds: int = SECONDS) -> str:
    """Open a file; what is wrong with it is said in one sentence."""
    try:
        with limited(seconds), nothing_runs():
            act(path)
    except (ValueError, LookupError, OSError) as error:
        said = " ".join(str(error).split())
        assert 0 < len(said) < 500
        assert "Traceback" not in said
        assert not ADDRESS.search(said)
        return said
    return "opened"
