"""Single backticks in docstrings: a link where they name something of cdl, else code."""

from __future__ import annotations

import inspect
import re

import arguments
import named_examples
import reference
from docutils import nodes
from sphinx import addnodes
from sphinx.util.inspect import stringify_signature

IN_CODE = re.compile(r"(``.*?``|`[^`]*`)", re.DOTALL)


def name_role(role, rawtext, text, lineno, inliner, options=None, content=None):
    """Code, with a link to what it names."""
    env = inliner.document.settings.env
    code = nodes.literal(rawtext, text, classes=["name"])
    module = env.docname.rpartition("/")[2].partition("-")[0]
    # Sphinx says which class it describes without its module
    found = reference.target(text, f"{module}.{env.ref_context.get('py:class')}", module)
    if found is None:
        return [code], []
    link = addnodes.pending_xref(
        rawtext, code, reftype="obj", refdomain="py", reftarget=found, refdoc=env.docname
    )
    return [link], []


def plain(app, what, name, thing, options, lines):
    """Keep signs of mathematics, and first lines of properties, from being read as markup."""
    text = "\n".join(lines)
    if what in {"function", "class"}:
        text = arguments.completed(thing, text)
    parts = IN_CODE.split(text)
    parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
    lines[:] = "".join(parts).split("\n") + named_examples.lines(name)
    page = app.env.docname.rpartition("/")[2]
    app.env.note_dependency(str(named_examples.FOLDER / f"{page}.pycon"))
    if what == "property":  # else what stands before a colon is taken for a type
        lines[:0] = ["..", ""]


def signature(app, what, name, thing, options, given, returned):
    """The signature of a class by `__init__`: its `__new__` takes anything, for the config."""
    if what != "class":
        return None
    maker = next(
        (vars(base)["__init__"] for base in thing.__mro__ if "__init__" in vars(base)), None
    )
    if not inspect.isfunction(maker):
        return None
    found = inspect.signature(maker)
    plain = found.replace(parameters=list(found.parameters.values())[1:])
    return stringify_signature(plain, show_annotation=False), None


def setup(app):
    """Connect this extension to Sphinx, which calls it."""
    app.add_role("name", name_role)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", plain, priority=100)
    return {"parallel_read_safe": True}
