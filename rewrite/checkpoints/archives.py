"""Files that torch, or pickle itself, wrote: opened without running anything in them, and written back byte for byte.

Four layouts: the zip archive of `torch.save` since 1.6, its older stream of pickles with the numbers after them, a
plain pickle in which each tensor carries such a stream of its own (NVIDIA's networks), and safetensors.
"""

import mmap
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from rewrite.checkpoints.budget import MOST_PATHS, Budget
from rewrite.checkpoints.containers import LEGACY
from rewrite.checkpoints.cursor import DamagedError, Stretch
from rewrite.checkpoints.flat import flat_tensors, looks_flat
from rewrite.checkpoints.made import Made
from rewrite.checkpoints.pickles import Pickle
from rewrite.checkpoints.tensors import MAKERS, NumpyArray, Placed, Storage, storage_type
from rewrite.storage import files
from rewrite.storage.quoting import quoted, reason_of

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
LOCAL_HEADER = 30
DEEPEST = 50
# Steps that a stream inside of a pickle costs, and letters in the name of a storage.
NESTED, LONGEST_KEY = 20, 200
CHECKERS = 2
NOTE = "rewrite.json"


class Archive:
    """An opened file.

    Attributes:
        path: Where it is.
        kind: `zip`, `stream`, `pickle` or `safetensors`.
        content: What it holds: dictionaries, lists, texts and numbers; tensors as `Placed`, everything else as `Made`.
    """

    def __init__(self, path: str | Path):
        """Open a file.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is none of the four layouts, is cut short, or is damaged.
        """
        self.path = Path(path)
        if not self.path.exists():
            raise FileNotFoundError(f"there is no file {self.path}")
        if not self.path.is_file():
            raise ValueError(f"{self.path} is not a file")
        if self.path.stat().st_size == 0:
            raise ValueError(f"{self.path} is empty")
        with self.path.open("rb") as file:
            self.mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.buffer = memoryview(self.mapped)
        self.entries: dict[str, zipfile.ZipInfo] = {}
        self.budget = Budget()
        self._right: set[str] = set()
        try:
            self.content = self._open()
        except DamagedError as error:
            raise ValueError(f"{self.path} cannot be read: {error}") from None

    def read(self, tensor: Placed) -> Tensor:
        """A copy of one tensor.

        Raises:
            ValueError: Its bytes are not all there, or not those that were written.
        """
        try:
            self._check(tensor.storage)
            return tensor.read(self.buffer)
        except DamagedError as error:
            raise ValueError(f"{self.path} cannot be read: {error}") from None

    def read_all(self, tensors: Mapping[str, Placed]) -> dict[str, Tensor]:
        """Copies of many tensors; checksums are taken on other threads meanwhile.

        Raises:
            ValueError: The bytes of one are not all there, or not those that were written.
        """
        storages = {placed.storage.name: placed.storage for placed in tensors.values()}
        checks = [storage for name, storage in storages.items() if name in self.entries]
        try:
            with ThreadPoolExecutor(CHECKERS) as pool:
                checked = pool.map(self._check, checks)
                found = {name: placed.read(self.buffer) for name, placed in tensors.items()}
                list(checked)
        except DamagedError as error:
            raise ValueError(f"{self.path} cannot be read: {error}") from None
        return found

    @property
    def note(self) -> bytes | None:
        """What this library wrote beside a state dict in a zip archive; None if nothing."""
        entry = next((entry for name, entry in self.entries.items() if name.endswith(f"/{NOTE}")), None)
        return None if entry is None else bytes(self.buffer[slice(*self._place(entry))])

    def write(self, path: str | Path, changes: Sequence[tuple[Placed, Tensor]]) -> None:
        """Write the file again with other values for some tensors; every other byte stays as it was.

        Args:
            path: Where to write.
            changes: Tensors of this archive and their new values.

        Raises:
            ValueError: A value does not fit, or the file cannot be written.
        """

        def write(temporary: Path) -> None:
            shutil.copyfile(self.path, temporary)
            with temporary.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
                buffer = memoryview(mapped)
                try:
                    for tensor, values in changes:
                        tensor.write(buffer, values)
                    if self.kind == "zip":
                        self._seal(buffer, {tensor.storage.name for tensor, _ in changes})
                finally:
                    buffer.release()

        files.write_whole(path, write)

    def _open(self) -> Any:
        if looks_flat(bytes(self.buffer[:9])):
            self.kind = "safetensors"
            return flat_tensors(self.path, self.buffer)
        if zipfile.is_zipfile(self.path):
            self.kind = "zip"
            return self._open_zip()
        if bytes(self.buffer[: len(LEGACY)]) == LEGACY:
            self.kind = "stream"
            return self._open_stream(0, len(self.buffer))
        self.kind = "pickle"
        makers = {**MAKERS, ("torch.storage", "_load_from_bytes"): self._nested}
        return Pickle(self.buffer, makers=makers, budget=self.budget).load()

    # The zip archive

    def _open_zip(self) -> Any:
        try:
            with zipfile.ZipFile(self.path) as archive:
                self.entries = {entry.filename: entry for entry in archive.infolist()}
        except UnicodeDecodeError:
            raise DamagedError("its zip archive is damaged (a name in it is not UTF-8)") from None
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
            raise DamagedError(f"its zip archive is damaged ({reason_of(error)})") from None
        name = next((name for name in self.entries if name == "data.pkl" or name.endswith("/data.pkl")), None)
        if name is None:
            raise DamagedError("it is a zip archive, but not one that torch.save writes")
        folder = name.removesuffix("data.pkl")
        order = self.entries.get(f"{folder}byteorder")
        if order is not None and bytes(self.buffer[slice(*self._place(order))]) != b"little":
            raise DamagedError("its numbers are big-endian, which is not read here")
        start, stop = self._place(self.entries[name])
        storages: dict[str, Storage] = {}

        def persistent(identity: Any) -> Storage:
            kind, key, count = _identity(identity)
            entry = self.entries.get(f"{folder}data/{key}")
            if entry is None:
                raise DamagedError(f"its numbers {quoted(key)} are missing")
            if key not in storages:
                first, last = self._place(entry)
                storages[key] = Storage(kind, count, first, entry.filename)
                if storages[key].size > last - first:
                    raise DamagedError(f"its numbers {quoted(key)} are cut short")
            return _same(storages[key], kind, count)

        return Pickle(self.buffer[:stop], start, makers=MAKERS, persistent=persistent, budget=self.budget).load()

    def _place(self, entry: zipfile.ZipInfo) -> tuple[int, int]:
        """Where the bytes of an entry lie."""
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise DamagedError(f"its entry {quoted(entry.filename)} is compressed, as torch.save never does")
        header = self.buffer[entry.header_offset : entry.header_offset + LOCAL_HEADER]
        if len(header) < LOCAL_HEADER or bytes(header[:4]) != b"PK\x03\x04":
            raise DamagedError(f"its entry {quoted(entry.filename)} is not where it should be")
        name, extra = struct.unpack("<HH", header[26:30])
        start = entry.header_offset + LOCAL_HEADER + name + extra
        if start + entry.file_size > len(self.buffer):
            raise DamagedError(f"its entry {quoted(entry.filename)} is cut short")
        return start, start + entry.file_size

    def _check(self, storage: Storage) -> None:
        """Refuse an entry whose bytes are not those that were written."""
        entry = self.entries.get(storage.name)
        if entry is None or storage.name in self._right:
            return
        if zlib.crc32(self.buffer[slice(*self._place(entry))]) != entry.CRC:
            raise DamagedError(f"its entry {quoted(storage.name)} is damaged: the checksum is wrong")
        self._right.add(storage.name)

    def _seal(self, buffer: memoryview, names: set[str]) -> None:
        """Set the checksums of changed entries right, where the archive keeps them."""
        directory = bytes(buffer[self._directory() :])
        for name in names:
            entry = self.entries[name]
            start, stop = self._place(entry)
            fresh = struct.pack("<I", zlib.crc32(buffer[start:stop]))
            flags = struct.unpack("<H", buffer[entry.header_offset + 6 : entry.header_offset + 8])[0]
            if flags & 8:
                # The checksum stands behind the bytes, after a signature.
                if bytes(buffer[stop : stop + 4]) == b"PK\x07\x08":
                    buffer[stop + 4 : stop + 8] = fresh
                else:
                    buffer[stop : stop + 4] = fresh
            if not flags & 8 or bytes(buffer[entry.header_offset + 14 : entry.header_offset + 18]) != bytes(4):
                buffer[entry.header_offset + 14 : entry.header_offset + 18] = fresh
            at = self._directory() + _record(directory, name)
            buffer[at + 16 : at + 20] = fresh

    def _directory(self) -> int:
        """Where the zip archive's central directory begins."""
        with zipfile.ZipFile(self.path) as archive:
            return archive.start_dir

    # The stream of pickles

    def _open_stream(self, start: int, stop: int) -> Any:
        storages: dict[str, Storage] = {}
        persistent = partial(_announced, storages)
        position, parts = start, []
        for number in range(5):
            found = persistent if number == 3 else None
            pickle = Pickle(self.buffer[:stop], position, makers=MAKERS, persistent=found, budget=self.budget)
            parts.append(pickle.load())
            position = pickle.cursor.position
        magic, protocol, system, content, keys = parts
        if (magic, protocol) != (MAGIC, PROTOCOL):
            raise DamagedError("it is a pickle, but not one that torch.save writes")
        if isinstance(system, dict) and system.get("little_endian") is False:
            raise DamagedError("its numbers are big-endian, which is not read here")
        for key in keys if isinstance(keys, list) else []:
            count = struct.unpack("<q", self.buffer[position : position + 8])[0] if position + 8 <= stop else -1
            storage = storages.get(key) if isinstance(key, str) else None
            if storage is None or count != storage.count or position + 8 + storage.size > stop:
                raise DamagedError("it is cut short: not all of its numbers are there")
            storage.start = position + 8
            position = storage.start + storage.size
        return content

    def _nested(self, stretch: Any) -> Any:
        """The storage that a tensor of a plain pickle carries with it."""
        if not isinstance(stretch, Stretch):
            raise DamagedError("it holds a tensor without numbers")
        self.budget.spend(NESTED)
        content = self._open_stream(stretch.start, stretch.stop)
        if not isinstance(content, Storage):
            raise DamagedError("it holds a tensor without numbers")
        return content


def tensors(content: Any) -> Iterator[tuple[tuple, Placed]]:
    """Every tensor in what an archive holds, with the keys that lead to it; one that two paths reach comes twice.

    Raises:
        DamagedError: It is nested too deeply, or parts of it are shared so that there is no end of paths.
    """
    yield from _tensors(content, (), 0, Budget(MOST_PATHS))


def _tensors(content: Any, path: tuple, depth: int, budget: Budget) -> Iterator[tuple[tuple, Placed]]:
    budget.spend(1)
    if depth > DEEPEST:
        raise DamagedError("its content is nested too deeply")
    entries: Iterable = ()
    if isinstance(content, Placed):
        yield path, content
    elif isinstance(content, NumpyArray):
        if content.placed is not None:
            yield path, content.placed
    elif isinstance(content, dict):
        entries = content.items()
    elif isinstance(content, list | tuple):
        entries = enumerate(content)
    elif isinstance(content, Made):
        for part in (content.state, content.entries, content.items):
            yield from _tensors(part, path, depth + 1, budget)
    for key, value in entries:
        yield from _tensors(value, (*path, key), depth + 1, budget)


def _identity(identity: Any) -> tuple[Any, str, int]:
    """Type, key and count of a storage, as torch writes them into a persistent id."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise DamagedError("it refers to something that is not a storage")
    _, kind, key, _, count = identity[:5]
    if not isinstance(key, str) or len(key) > LONGEST_KEY or not isinstance(count, int) or not 0 <= count < 2**48:
        raise DamagedError("it refers to a storage of no size")
    if len(identity) > 5 and identity[5] is not None:
        raise DamagedError("it holds a view of a storage, as only torch before 0.4 wrote them")
    return storage_type(kind), key, count


def _announced(storages: dict[str, Storage], identity: Any) -> Storage:
    """The storage of a persistent id, whose numbers come later in the stream; a new one is put among `storages`."""
    kind, key, count = _identity(identity)
    return _same(storages.setdefault(key, Storage(kind, count, name=key)), kind, count)


def _same(storage: Storage, kind: Any, count: int) -> Storage:
    if (storage.dtype, storage.count) != (kind, count):
        raise DamagedError(f"its numbers {quoted(storage.name)} are of two types")
    return storage


def _record(directory: bytes, name: str) -> int:
    """Where in the central directory an entry's record begins."""
    position, wanted = 0, name.encode()
    while directory[position : position + 4] == b"PK\x01\x02":
        sizes = struct.unpack("<HHH", directory[position + 28 : position + 34])
        if directory[position + 46 : position + 46 + sizes[0]] == wanted:
            return position
        position += 46 + sum(sizes)
    raise DamagedError(f"its directory does not name {quoted(name)}")
