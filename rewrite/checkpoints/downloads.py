"""A download: resumed where it broke off, checked, and given its name only when it is whole.

By hand, because `torch.hub.download_url_to_file` starts again from the beginning, and huggingface_hub serves only
files of its own site.
"""

import hashlib
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

CHUNK = 2**16
TIMEOUT = 30.0


def download(url: str, path: Path, sha256: str | None, *, progress: bool = False) -> str:
    """Download a file; one that was cut short is resumed where it ended.

    What has come so far lies beside `path` with `.part` added; it takes the name `path` once its hash is right.

    Args:
        url: Where the file is published.
        path: Where to put it.
        sha256: Its SHA-256, or as many of the first digits as are known; None if it is not known.
        progress: Show a bar on stderr.

    Returns:
        The SHA-256 of what came.

    Raises:
        ValueError: The hash is wrong (then the part is removed), or the network or the disk refused (then it stays).
    """
    part, version = parts_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, part, sha256 is not None, progress)
        found = sha256_of(part)
        version.unlink(missing_ok=True)
        if not found.startswith(sha256 or ""):
            part.unlink()
            raise ValueError(
                f"{url} did not give the file that was expected: its SHA-256 is {found}, not {shown(sha256 or '')}"
            )
        part.replace(path)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        reason = getattr(reason, "strerror", None) or reason
        raise ValueError(
            f"cannot download {url}: {reason}; if you can get the file in another way, put it at {path}"
        ) from None
    return found


def parts_of(path: Path) -> tuple[Path, Path]:
    """Where what has come so far of a download lies, and the version that the server named first."""
    part = path.with_name(path.name + ".part")
    return part, _version(part)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shown(sha256: str) -> str:
    """A hash, marked where it is only a beginning."""
    return sha256 if len(sha256) == 64 else f"{sha256}…"


def _fetch(url: str, part: Path, checked: bool, progress: bool) -> None:
    headers = _resume(part, checked)
    done = part.stat().st_size if headers else 0
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not done:
            raise
        # The server has nothing more to send: the file is whole, and its hash says whether it is right.
        error.close()
        return
    with answer:
        if answer.headers.get_content_type() == "text/html":
            raise OSError("a web page came in its place")
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {done}-")
        length = int(answer.headers.get("Content-Length") or 0)
        first = done if resumed else 0
        if not resumed:
            _note_version(part, answer.headers.get("ETag", ""))
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(
                total=first + length or None,
                initial=first,
                unit="B",
                unit_scale=True,
                desc=f"download {part.stem}",
                disable=not progress,
            ) as bar,
        ):
            while content := answer.read(CHUNK):
                file.write(content)
                bar.update(len(content))
        if length and part.stat().st_size != first + length:
            raise OSError(f"the connection ended after {part.stat().st_size} of {first + length} bytes")


def _resume(part: Path, checked: bool) -> dict[str, str]:
    """The headers that ask for the rest of a file; none to start from the beginning.

    Where no hash is known, parts of two versions must not be joined: the rest is requested only of the version that the
    server named first.
    """
    version = _version(part)
    if not part.exists() or not part.stat().st_size or not (checked or version.exists()):
        return {}
    same = {"If-Range": version.read_text(encoding="latin-1")} if version.exists() else {}
    return {"Range": f"bytes={part.stat().st_size}-", **same}


def _note_version(part: Path, tag: str) -> None:
    _version(part).unlink(missing_ok=True)
    # A weak tag (W/"...") promises no equal bytes.
    if tag.startswith('"'):
        _version(part).write_text(tag, encoding="latin-1")


def _version(part: Path) -> Path:
    return part.with_name(part.name + ".etag")
