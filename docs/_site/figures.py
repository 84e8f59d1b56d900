"""Pictures in SVG become part of the page, so that they take its colours, light and dark."""

from __future__ import annotations

import html
import re
from pathlib import Path

from docutils import nodes


def inline(app, doctree):
    """Put the lines of each SVG file in place of its image."""
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir) / image["uri"]
        if path.suffix != ".svg" or not path.is_file():
            continue
        svg = re.sub(r"<\?xml.*?\?>\s*", "", path.read_text(), flags=re.DOTALL)
        label = html.escape(image.get("alt", ""), quote=True)
        svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
        image.replace_self(nodes.raw("", f'<div class="figure">{svg}</div>', format="html"))


def setup(app):
    """Connect this extension to Sphinx, which calls it."""
    app.connect("doctree-read", inline)
    return {"parallel_read_safe": True}
