"""Sphinx's settings for `make docs`: the Markdown of docs/ and the docstrings of cdl."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_site"), str(HERE.parent)]

import reference

import cdl

project, author = "cdl", "cdl contributors"
version = release = cdl.__version__
copyright = author
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "sphinx_copybutton",
    "forge",
    "names",
    "figures",
]
exclude_patterns = ["_site", "api_examples"]
nitpicky = True
nitpick_ignore_regex = [("py:class", r"numpy\..*"), ("py:exc", r"queue\.Full")]  # not cdl's

# Markdown is read as GitHub shows it; a heading's anchor is made of its words.
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

# Docstrings are in Google's style. A single backtick is a name: a link where cdl has one.
default_role = "name"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "none"
toc_object_entries = False  # each has a heading
autodoc_member_order = "alphabetical"

html_theme = "pydata_sphinx_theme"
html_title = "cdl"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_show_sourcelink = False
html_copy_source = False
html_use_index = False
html_context = {"default_mode": "auto"}
html_show_copyright = False
html_theme_options = {
    "logo": {"text": "cdl"},
    "header_links_before_dropdown": 9,
    "navbar_align": "left",
    "navbar_center": ["navbar-nav"],
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": [],
    "footer_center": [],
    "footer_end": [],
    "show_prev_next": True,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# Pages without any below them need no list of these.
html_sidebars = {page: [] for page in ("index", "benchmarks/index", "differences", "changelog")}
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True


def setup(app):
    """Write the pages of the API before the sources are read."""
    app.connect("builder-inited", lambda app: reference.write(Path(app.srcdir) / "api"))
