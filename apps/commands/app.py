"""`rewrite app`: the editor, in a browser on this machine."""

import time
from argparse import Namespace

from apps.editor.options import Options
from apps.editor.server import serving


def run(options: Namespace) -> dict:
    """Serve the page until Ctrl-C."""
    chosen = Options(
        model=options.model,
        port=options.port,
        folders=tuple(options.models),
        out=options.out,
        segmenter=options.segmenter,
        samples=options.samples,
        tiles=options.tiles,
        truncation=options.truncation,
        label=options.label,
        device=options.device,
        auth=options.auth,
        architecture=options.architecture,
        pictures=options.pictures,
        training=options.training,
        test=options.test,
    )
    with serving(chosen) as url:
        print(f"the editor is at {url} until Ctrl-C", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return {"url": url}


def tell(result: dict) -> str:
    """The end of the program."""
    return "the editor has ended"
