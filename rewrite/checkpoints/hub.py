"""The Hugging Face hub: `hf://owner/name/file` becomes a file in that hub's own cache."""

import re
import socket
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit
from urllib.request import getproxies

from rewrite.storage.quoting import quoted

SCHEME = "hf://"
ADDRESS = re.compile(r"hf://(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<file>.+)")


def fetch(address: str) -> Path:
    """The file at an address such as `hf://owner/name/folder/file.pkl`, or `hf://owner/name@revision/file.pkl`.

    It is downloaded where it is not in the cache. Tokens, mirrors and the folder of the cache are those of the
    huggingface_hub package.

    Raises:
        FileNotFoundError: The huggingface_hub package is not installed.
        ValueError: The address is not valid, or the hub, the network or the disk refused.
    """
    where, package = _where(address), _package(address)
    if not isinstance(package.try_to_load_from_cache(**where), str):
        _check_reachable(address)
    try:
        return Path(package.hf_hub_download(**where))
    except Exception as error:  # its own types, and those of the HTTP library below it, which has changed before
        reason = " ".join(str(error).split())[:300].rstrip(". ")
        raise ValueError(
            f"cannot download {address}: {reason}; if you can get the file in another way, give its path"
        ) from None


def cached(address: str) -> Path:
    """The file at an address, if it was downloaded before.

    Raises:
        FileNotFoundError: It was not, or the huggingface_hub package is not installed.
        ValueError: The address is not valid.
    """
    where = _where(address)
    # Not hf_hub_download(local_files_only=True): that may still ask the hub about other things.
    found = _package(address).try_to_load_from_cache(**where)
    if not isinstance(found, str):
        raise FileNotFoundError(f"{address} has not been downloaded yet")
    return Path(found)


def _check_reachable(address: str) -> None:
    """Say at once where the hub cannot be found: its package would try for most of a minute.

    Raises:
        ValueError: Its host has no address here, and there is no proxy that might know one.
    """
    from huggingface_hub import constants

    host = urlsplit(constants.ENDPOINT).hostname
    if constants.HF_HUB_OFFLINE or getproxies():
        return
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        raise ValueError(
            f"cannot download {address}: {host} cannot be reached from here; if you can get the file in another way, "
            "give its path"
        ) from None


def _where(address: str) -> dict[str, str | None]:
    parts = ADDRESS.fullmatch(address)
    if parts is None:
        raise ValueError(f"an address of the Hugging Face hub is hf://owner/name/file, got {quoted(address)}")
    return {"repo_id": parts["repository"], "filename": parts["file"], "revision": parts["revision"]}


def _package(address: str) -> ModuleType:
    try:
        import huggingface_hub
    except ImportError:
        raise FileNotFoundError(
            f"{address} needs the huggingface_hub package, which is not installed: pip install 'model-rewriting[hub]'"
        ) from None
    return huggingface_hub
