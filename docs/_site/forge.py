"""Markdown that is read on a forge as it is, made fit for the site.

An index.md's children are the pages that it links to, in its order and by its words, so that it
needs no second list for Sphinx. Links to files that the site has under another name are mended.
The names in api.md lead to their pages.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import reference

NAME = re.compile(r"(?<!`)`([\w.]+)`(?!`)")
CHILD = re.compile(r"\[([^\]!\[]+)\]\(([\w./-]+)\.md\)")
LINK = re.compile(r"(\]\()((?:\.\./)*[\w./-]+\.md)((?:#[\w-]+)?\))")
# Pages by the files of the tree that they show.
SHOWN = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks/index.md",
}


def toctree(lines):
    """The pages below one, which the page itself does not show."""
    return "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(lines) + "\n```\n" if lines else ""


def linked(text):
    """The table of all names with links to what is said of each."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    for i in range(1, len(parts), 2):
        module = parts[i].replace("Methods of ", "cdl.")

        def link(match, module=module):
            found = reference.target(match[1], module, module)
            return f"{{py:obj}}`{match[1]} <{found}>`" if found else match[0]

        parts[i] = f"## {parts[i]}\n"
        parts[i + 1] = NAME.sub(link, parts[i + 1])
    pages = [f"{reference.title(page)} <api/{page}>" for page in reference.pages()]
    return "".join(parts) + toctree(pages)


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
        text += toctree([f"{title.replace('`', '')} <{page}>" for page, title in children.items()])
    if docname == "api":
        text = linked(text)
    source[0] = LINK.sub(mended, text)


def setup(app):
    """Connect this extension to Sphinx, which calls it."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
