"""The Python in README.md runs from top to bottom, and the names in it exist."""

import operator
import re
import subprocess
import tomllib

import pytest

import cdl

pytest.importorskip("sklearn")


def run_page(path):
    """Run the blocks of Python of a page one after the other; what they have defined."""
    blocks = re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
    names = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, path.name, "exec"), names)
    return names


def test_python_of_the_readme_runs(root, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_page(root / "README.md")["accuracy"] > 0.95


def test_commands_of_the_readme_are_tasks(root):
    readme, makefile = ((root / name).read_text() for name in ("README.md", "Makefile"))
    commands = set(re.findall(r"^\s+make ([\w-]+)|`make ([\w-]+)", readme, re.MULTILINE))
    tasks = set(re.findall(r"^([\w-]+):.*##", makefile, re.MULTILINE))
    assert {"demo", "test", "test-quick"} <= {a or b for a, b in commands} <= tasks


def test_the_readme_leads_to_every_page(root):
    found, waiting = set(), [root / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in found or not page.is_relative_to(root):
            continue
        assert page.exists(), page
        found.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text())
        waiting += [(page.parent / link).resolve() for link in links if ":" not in link]
    assert set((root / "docs").rglob("*.md")) <= found


def test_the_readme_names_every_extra(root):
    rows = re.findall(r"^\| (`[a-z0-9`, ]+`) \|", (root / "README.md").read_text(), re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(rows))
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert sorted(named) == sorted(project["optional-dependencies"])


def test_names_in_the_readme_are_those_of_cdl(root):
    names = re.findall(r"`cdl\.([\w.]+)", (root / "README.md").read_text())
    assert {"explain", "train_many", "grad"} <= set(names)
    for name in names:
        operator.attrgetter(name)(cdl)


def test_quick_tests_are_there(root):
    listing = ["make", "--dry-run", "--no-print-directory", "test-quick", "VENV=nowhere"]
    line = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True).stdout
    paths = re.findall(r"tests/\S+", line)
    assert len(paths) > 10
    assert not [path for path in paths if not (root / path).is_file()]
