"""Asking a running editor without a browser."""

import urllib.error
import urllib.request

from gradio_client import Client

from tests.editors import Editor

WHOLE = {
    "marks": [
        {"seed": 1, "role": "copy", "runs": [[34, 4], [50, 4], [66, 4]]},
        {"seed": 2, "role": "paste", "runs": [[136, 4], [152, 4], [168, 4]]},
        {"seed": 3, "role": "context", "runs": [[132, 4], [148, 4]]},
    ],
    "heat": False,
}


def begin(editor: Editor) -> Client:
    """One session. There is no TLS on this machine: reading the system's certificates would take most of the time."""
    return Client(editor.url, verbose=False, ssl_verify=False)


def ask(url: str, path: str = "", **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(
        url.rstrip("/") + path, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")


def after(answer: tuple) -> list[str]:
    """The edited tiles that an answer to the wall holds."""
    return answer[0]["props"]["after"]
