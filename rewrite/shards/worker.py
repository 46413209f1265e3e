"""What a worker does: it unpacks a subject once, holds its fingerprint against the sender's, and does its shards."""

import pickle
import socket
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rewrite.shards.work import Parcel, fingerprint_of, versions
from rewrite.storage.quoting import reason_of

FOUND, RAISED, LACKS = "found", "raised", "lacks"
# Subjects that stay unpacked: more would only fill the memory.
MOST_UNPACKED = 2

# Bytes of subjects that were sent ahead, by key.
kept: dict[str, bytes] = {}
_unpacked: OrderedDict[str, Any] = OrderedDict()
# A network runs once at a time in a process: hooks and patches change it while it runs.
_one_at_a_time = threading.Lock()


def do(parcel: Parcel, task: bytes, numbers: Sequence[int]) -> bytes:
    """Do one shard.

    Args:
        parcel: The subject.
        task: The function and what it is given, pickled.
        numbers: The images.

    Returns:
        What was found, raised, or that the bytes of the subject are not here: pickled here, so that tensors arrive as
        they lie in memory, and an error of the work is told apart from a lost worker.
    """
    with _one_at_a_time:
        try:
            _check_versions(parcel)
            content = None if parcel.key in _unpacked else _content(parcel)
            if content is None and parcel.key not in _unpacked:
                return pickle.dumps((LACKS, None))
            function, given = pickle.loads(task)
            found: tuple[str, Any] = (FOUND, function(_subject(parcel, content), numbers, *given))
        except Exception as error:  # whatever the work raises is the sender's to tell
            found = (RAISED, error)
        try:
            return pickle.dumps(found, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # an error that cannot travel
            return pickle.dumps((RAISED, RuntimeError(f"{type(found[1]).__name__}: {found[1]} ({error})")))


def forget(key: str) -> None:
    """Keep a subject no longer."""
    kept.pop(key, None)
    with _one_at_a_time:
        _unpacked.pop(key, None)


def _content(parcel: Parcel) -> bytes | None:
    if parcel.path is None:
        return kept.get(parcel.key)
    path = Path(parcel.path)
    if not path.exists():
        raise ValueError(f"{_here()} does not see {path}: share the folder, or use a scheduler")
    return path.read_bytes()


def _subject(parcel: Parcel, content: bytes | None) -> Any:
    """The subject of a parcel.

    Raises:
        ValueError: Fingerprints differ on both sides.
    """
    if content is not None:
        _unpacked[parcel.key] = _checked(parcel, content)
        if len(_unpacked) > MOST_UNPACKED:
            _unpacked.popitem(last=False)
    _unpacked.move_to_end(parcel.key)
    return _unpacked[parcel.key]


def _checked(parcel: Parcel, content: bytes) -> Any:
    try:
        subject, network = pickle.loads(content)
    except Exception as error:  # such as a device that is not here, or a package
        raise ValueError(f"{_here()} cannot unpack the model: {reason_of(error)}") from error
    if (here := fingerprint_of(network)) != parcel.fingerprint:
        raise ValueError(f"{_here()} has the model {here}, and was sent {parcel.fingerprint}: it counts nothing of it")
    return subject


def _check_versions(parcel: Parcel) -> None:
    for (name, here), (_, there) in zip(versions(), parcel.versions, strict=True):
        if here != there:
            raise ValueError(f"{_here()} has {name} {here}, and {there} sends it work: install the same on both")


def _here() -> str:
    return f"a worker on {socket.gethostname()}"
