"""Who shares the work of a command: nobody, processes of this machine, or the workers of a scheduler."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager

NEEDED = "--scheduler needs the package dask, which is not installed: pip install 'model-rewriting[cluster]'"


@contextmanager
def shared(options: Namespace) -> Iterator[None]:
    """Share what is long inside a `with` block as --workers or --scheduler say.

    Raises:
        FileNotFoundError: --scheduler needs a package that is not installed.
        ValueError: There is no worker, both are given, or no scheduler answers.
    """
    from rewrite.shards.processes import Processes
    from rewrite.shards.sharing import share_among

    if options.workers is not None and options.workers < 1:
        raise ValueError(f"images need at least one worker, got {options.workers}")
    if options.scheduler is not None:
        if options.workers is not None:
            raise ValueError("a scheduler knows its workers: leave --workers or --scheduler out")
        try:
            from rewrite.shards.cluster import connect
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("dask", "distributed"):
                raise
            raise FileNotFoundError(NEEDED) from None
        with closing(connect(options.scheduler)) as client, share_among(client):
            yield
    elif (options.workers or 1) > 1:
        processes = Processes(options.workers)
        try:
            with share_among(processes):
                yield
        finally:
            processes.shutdown(cancel_futures=True)
    else:
        yield
