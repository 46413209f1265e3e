"""Who shares the long work inside a `with` block: the workers of an executor, or of a Dask cluster."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rewrite.shards.crew import Crew, Shard, present
from rewrite.shards.work import Parcel
from rewrite.shards.worker import do


@contextmanager
def share_among(workers: Executor | Any) -> Iterator[None]:
    """Share all long work inside a `with` block among workers: memories, dissections, effects, roles, reports.

    What is found is what one process finds, to the byte, where all run on the same kind of processor. A shard whose
    worker is lost is done again by another.

    Args:
        workers: An executor of `concurrent.futures` whose processes run on this machine, such as `Processes`; or a
            `distributed.Client` of Dask.

    Returns:
        The `with` block, which gets nothing.

    Raises:
        ValueError: The work cannot be sent to other processes, or a worker has other versions or another model.
        ChildProcessError: A shard was lost with its worker again and again.
    """
    with ExitStack() as stack:
        if isinstance(workers, Executor):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rewrite-"))
            crew: Crew = Executing(workers, Path(folder))
        else:
            from rewrite.shards.cluster import Cluster

            crew = stack.enter_context(closing(Cluster(workers)))
        token = present.set(crew)
        try:
            yield
        finally:
            present.reset(token)


class Executing(Crew):
    """The workers of an executor on this machine, or of one that sees its folder of temporary files."""

    def __init__(self, executor: Executor, folder: Path):
        super().__init__()
        self.executor, self.folder = executor, folder

    @property
    def size(self) -> int:
        # By this name, the executors of Python know it.
        return int(getattr(self.executor, "_max_workers", 1))

    def carry(self, parcel: Parcel, content: bytes) -> Parcel:
        path = self.folder / parcel.key
        path.write_bytes(content)
        return replace(parcel, path=str(path))

    def submit(self, parcel: Parcel, task: bytes, shard: Shard) -> "Future[bytes]":
        return self.executor.submit(do, parcel, task, shard)
