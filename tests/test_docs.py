"""The Python in docs/ runs as it stands, prints what the pages show, and no link is dead."""

import contextlib
import io
import re
import textwrap
import warnings
from pathlib import Path

import pytest
from shown import alike

import cdl

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
# The code of docs/gallery/ is that of examples/, which tests/test_examples.py runs.
PAGES = [
    str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if path.parent.name != "gallery"
]
PAGES = sorted([*PAGES, "gallery/notebook.md"])
# Packages that a page needs beside scikit-learn.
NEEDS = {
    "get-started/keras.md": ["pandas"],
    "get-started/scikit-learn.md": ["pandas"],
    "guides/data.md": ["pandas", "pyarrow", "PIL"],
    "guides/explaining.md": ["matplotlib", "pandas"],
    "guides/saving.md": ["onnx", "safetensors"],
    "guides/training.md": ["matplotlib", "pandas"],
}
FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


def blocks(text):
    """(language, code, first line) of each fenced block; those of tabs and lists are indented."""
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start(3)) + 1
        yield match.group(2), textwrap.dedent(match.group(3)), line


def pages_with_code():
    return [page for page in PAGES if "```python" in (DOCS / page).read_text()]


def run_page(path):
    """Run the blocks in order, and compare each shown output with the printed one."""
    cdl.utils.clear_session()  # layers are numbered from the first one on
    names, printed, before = {"__name__": "__main__"}, "", ""
    for language, code, line in blocks(path.read_text()):
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile("\n" * (line - 1) + code, str(path), "exec"), names)
            printed = out.getvalue()
        elif language == "text" and before == "python":
            shown, found = (
                "\n".join(each.rstrip() for each in text.strip().splitlines())
                for text in (code, printed)
            )
            assert alike(shown, found), f"line {line} of {path.name} shows\n{shown}\nnot\n{found}"
        before = language
    return names


@pytest.mark.parametrize("page", pages_with_code())
def test_python_of_a_page_runs_and_prints_what_is_shown(page, monkeypatch, tmp_path):
    for package in ["sklearn", *NEEDS.get(page, [])]:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    try:
        with warnings.catch_warnings():
            run_page(DOCS / page)
    finally:
        cdl.distribution.set_distribution(None)  # the guide to it sets one


def test_shown_output_may_differ_in_the_last_digits_only():
    assert alike("loss 0.4321, 12 rows", "loss 0.4322, 12 rows")
    assert alike("took ... ms", "took 12.5 ms")
    assert not alike("loss 0.4321", "loss 0.9321")
    assert not alike("loss 0.43, 12 rows", "loss 0.43, 13 rows")
    assert not alike("loss 0.43", "error 0.43")


def anchors(text):
    """The names by which links find the headings of a page."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title).strip().lower() for title in titles]
    return {re.sub(r"[- ]+", "-", each) for each in plain}


@pytest.mark.parametrize("page", sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")))
def test_links_of_a_page_lead_somewhere(page):
    path = DOCS / page
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{page} links to {target}"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there.read_text()), f"{page} links to {target}"


@pytest.mark.parametrize("page", ["speed.md", "serving.md"])
def test_figures_of_a_guide_are_those_of_the_benchmarks(page):
    measured = (ROOT / "benchmarks" / "README.md").read_text()
    cells = {cell.strip() for line in measured.splitlines() for cell in line.split("|")}
    rows = [line for line in (DOCS / "guides" / page).read_text().splitlines() if line[0:1] == "|"]
    figures = [cell.strip() for row in rows for cell in row.split("|")[2:-1]]
    figures = [figure for figure in figures if re.fullmatch(r"[\d.,]+", figure)]
    assert len(figures) >= 10
    assert not [figure for figure in figures if figure not in cells]
