"""The tab "Model": what the session looks at, its layers, and another one in its place."""

from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr

from apps.editor.frame import AT_ONCE, IN_TURN, Page, only, progress, said
from apps.editor.session import Session


def build(page: Page) -> None:
    """Put the tab on the page."""
    new = page.new()
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            gr.Markdown("### Open a model")
            name = gr.Dropdown(
                page.models.names(),
                value=page.models.options.model,
                allow_custom_value=True,
                label="Model",
                info="Built in, downloaded before, or in the folders that this server was given",
                elem_id="model",
            )
            with gr.Row(elem_classes="line"):
                go = gr.Button("Open", variant="primary", elem_id="open", scale=2)
                look = gr.Button("Look again", scale=1, min_width=110)
            gr.HTML(f'<p class="soft">{_folders(page)}</p>')
            said_so = gr.HTML(elem_id="opened")
            gr.Markdown("### Measure a layer")
            layer = gr.Dropdown(
                list(new.model.generator.layers), value=new.model.layer, label="Layer", elem_id="layer-to-measure"
            )
            with gr.Row(elem_classes="line"):
                measure = gr.Button("Measure what it reads", elem_id="measure", scale=2)
                stop = gr.Button("Stop", scale=1, min_width=80, elem_id="stop-measuring")
            done = gr.HTML(elem_id="progress")
        with gr.Column(scale=7, min_width=320):
            about = gr.HTML(described(new), elem_id="about")
    go.click(said(opened), [page.session, name], [page.opened, about, said_so, layer], api_name="open", **IN_TURN)
    look.click(said(listed), [page.session], [name], api_name="models", **AT_ONCE)
    measure.click(said(measured, only(0, 2, stopped)), [page.session, layer], [done, about], **IN_TURN)
    stop.click(said(stopped), [page.session], [done], api_name="stop_measuring", **AT_ONCE)


def listed(session: Session) -> Any:
    """What may be opened now: files may have come since."""
    return gr.update(choices=session.models.names())


def opened(session: Session, name: Any) -> tuple:
    """Look at another model."""
    if not isinstance(name, str):
        raise ValueError("choose a model first")
    session.open(name)
    layers = list(session.model.generator.layers)
    text = (
        f'<p role="status">{escape(name)} is open. Its wall is in the first tab; it begins without marks and rules.</p>'
    )
    return session.opened, described(session), text, gr.update(choices=layers, value=session.model.layer)


def measured(session: Session, layer: Any) -> Iterator[tuple]:
    """Measure the memory of a layer, with its progress."""
    if not isinstance(layer, str):
        raise ValueError("choose a layer first")
    session.model.generator.layer(layer)
    session.begin()
    for share in session.measuring(layer):
        yield progress(share, f"{100 * share:.0f} % of {session.model.samples} images"), gr.skip()
    memory = session.model.memory(layer)
    text = f"{memory.count} keys of {memory.images} images, seeds {memory.seeds[0][0]} to {memory.seeds[-1][1] - 1}"
    yield progress(1.0, text), described(session)


def stopped(session: Session) -> str:
    """End the measurement."""
    session.stop()
    return progress(0.0, "Stopped; nothing of it is kept.")


def described(session: Session) -> str:
    """What a model holds, as HTML."""
    model = session.model
    generator = model.generator
    numbers = sum(parameter.numel() for parameter in generator.module.parameters())
    facts = (
        ("Model", model.name),
        ("Fingerprint", model.fingerprint),
        ("Images", f"{generator.size[0]} × {generator.size[1]} pixels"),
        ("Latents", f"{generator.z_dim} numbers, truncation {generator.truncation:g}"),
        ("Weights", f"{numbers / 1e6:.2f} million, on {generator.device}"),
        ("Concepts", "none" if model.source is None else ", ".join(model.source.concepts.names)),
    )
    rows = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    layers = "".join(
        f"<tr><td>{escape(name)}</td><td>{layer.inputs} → {layer.outputs}</td>"
        f"<td>{layer.output_grid[0]} × {layer.output_grid[1]}</td>"
        f"<td>{'measured' if model.measured(name) else ''}{' · proposed' if name == model.layer else ''}</td></tr>"
        for name, layer in generator.layers.items()
    )
    return (
        f'<div class="facts"><dl>{rows}</dl><h3>Layers</h3><table><thead><tr><th>Layer</th><th>Channels</th>'
        f"<th>Writes</th><th></th></tr></thead><tbody>{layers}</tbody></table></div>"
    )


def _folders(page: Page) -> str:
    folders = ", ".join(str(folder) for folder in page.models.options.folders)
    if folders:
        return f"Folders: {escape(folders)}."
    return "This server was given no folder; start it with --models DIR to open files of your own."
