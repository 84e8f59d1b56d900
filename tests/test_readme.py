"""test_readme.py - the Python in README.md runs as it stands, from top to bottom."""

import re

import pytest

pytest.importorskip("sklearn")


def test_python_of_the_readme_runs(root, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert blocks
    names = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["accuracy"] > 0.95


def test_commands_of_the_readme_are_tasks(root):
    readme, makefile = ((root / name).read_text() for name in ("README.md", "Makefile"))
    commands = set(re.findall(r"^\s*make (\w+)", readme, re.MULTILINE))
    tasks = set(re.findall(r"^(\w+):.*##", makefile, re.MULTILINE))
    assert {"demo", "test"} <= commands <= tasks
