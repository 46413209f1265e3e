"""`rewrite cache`: what the library keeps of its own accord, and how to be rid of it."""

from argparse import Namespace
from pathlib import Path

from apps import memories
from rewrite.checkpoints import registry
from rewrite.storage.caches import cache_folder


def run(options: Namespace) -> dict:
    """Count what is kept, and remove what is asked for."""
    kept = {"memories": memories.kept(), "checkpoints": registry.kept()}
    sizes = {kind: {"files": len(paths), "bytes": _bytes(paths)} for kind, paths in kept.items()}
    cleared = [kind for kind in kept if options.clear in (kind, "all")]
    for kind in cleared:
        for path in kept[kind]:
            path.unlink(missing_ok=True)
    return {"folder": str(cache_folder()), "kept": sizes, "cleared": cleared}


def tell(result: dict) -> str:
    """The folder, then each kind with its size."""
    return "\n".join([result["folder"], *(_line(kind, result) for kind in result["kept"])])


def _line(kind: str, result: dict) -> str:
    found = result["kept"][kind]
    removed = ", removed" if kind in result["cleared"] else ""
    return f"{kind}: {found['files']} files, {found['bytes'] / 1e6:.1f} MB{removed}"


def _bytes(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)
