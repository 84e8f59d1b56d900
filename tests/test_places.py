"""A test that leaves a file outside its own folder fails, by its own name."""

import os
import tempfile
import textwrap
from pathlib import Path

import pytest
from places import OTHERS, Places


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "sources" / "cdl").mkdir(parents=True)
    return tmp_path / "sources"


@pytest.fixture
def places(sources):
    places = Places(sources)
    yield places
    places.remove()


def test_the_folders_of_a_run_are_new_and_its_own():
    for name in ("HOME", "TMPDIR", "KERAS_HOME"):
        folder = Path(os.environ[name])
        assert folder.parent.name.startswith("cdl-tests-")
        assert not [name for name in os.listdir(folder) if not name.startswith(OTHERS)]
    assert tempfile.gettempdir() == os.environ["TMPDIR"]
    assert os.path.expanduser("~") == os.environ["HOME"]


@pytest.mark.parametrize("name", ["HOME", "TMPDIR", "KERAS_HOME"])
def test_files_left_behind_are_reported_once(name, places):
    path = Path(places.variables[name]) / "left"
    path.mkdir()
    assert places.left() == [str(path)]
    assert not places.left()


def test_what_is_left_among_the_sources_is_told(places, sources):
    (sources / "model.keras").write_text("")
    assert places.left() == ["model.keras"]
    (sources / "cdl" / "cache.txt").write_text("")
    assert places.left_in_sources() == ["cdl/cache.txt", "model.keras"]
    (sources / "cdl" / "__pycache__").mkdir()
    (sources / "cdl" / "__pycache__" / "x.pyc").write_text("")
    assert not places.left_in_sources()


def test_new_folders_are_removed(sources):
    places = Places(sources)
    places.remove()
    assert not places.folder.exists()


def test_a_test_that_leaves_something_fails_by_its_name(run_python, root, tmp_path):
    (tmp_path / "test_leaving.py").write_text(
        textwrap.dedent(
            """
            import os, tempfile
            import pytest

            @pytest.mark.parametrize("place", ["HOME", "TMPDIR", "KERAS_HOME"])
            def test_leaves(place):
                open(os.path.join(os.environ[place], "left.txt"), "w").close()

            def test_leaves_a_temporary_file():
                tempfile.mkstemp(prefix="left")

            def test_leaves_nothing(tmp_path):
                open(tmp_path / "own.txt", "w").close()
                with tempfile.TemporaryDirectory():
                    pass
            """
        )
    )
    path = os.pathsep.join(map(str, (root / "tests", root / "tests" / "helpers", root)))
    options = ("-p", "conftest", "-p", "no:cacheprovider", "-c", str(root / "pyproject.toml"))
    done = run_python(
        *("-m", "pytest", "-q", *options, "--rootdir", str(tmp_path), "test_leaving.py"),
        env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
        check=False,
    )
    assert "5 passed, 4 errors" in done.stdout, done.stdout
    for name in ("leaves[HOME]", "leaves[TMPDIR]", "leaves[KERAS_HOME]", "a_temporary_file"):
        assert any(name in line for line in done.stdout.split("\n") if line.startswith("ERROR"))
    assert "left.txt" in done.stdout
