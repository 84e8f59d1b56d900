"""Markdown that is read on a forge as it is, made fit for the site.

An index.md's children are the pages that it links to, in its order and by its words, so that it
needs no second list for Sphinx. Links to files that the site has under another name are mended.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

CHILD = re.compile(r"\[([^\]!\[]+)\]\(([\w./-]+)\.md\)")
LINK = re.compile(r"(\]\()((?:\.\./)*[\w./-]+\.md)((?:#[\w-]+)?\))")
# Of files in the tree the pages that show them.
SHOWN = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks/index.md",
    "docs/api.md": "api/index.rst",
}


def read(app, docname, source):
    """Change the text of a page before it is parsed."""
    path = Path(app.env.doc2path(docname))
    if path.suffix != ".md":
        return
    docs, text = Path(app.srcdir), source[0]

    def mended(match):
        there = os.path.relpath(path.parent / match[2], docs.parent)
        page = SHOWN.get(there)
        return match[0] if page is None else f"{match[1]}/{page}{match[3]}"

    if docname.endswith("/index") and "{toctree}" not in text:
        children = {page: " ".join(title.split()) for title, page in CHILD.findall(text)}
        lines = [f"{title.replace('`', '')} <{page}>" for page, title in children.items()]
        text += "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(lines) + "\n```\n" if lines else ""
    source[0] = LINK.sub(mended, text)


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
