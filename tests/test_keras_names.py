"""Public names of Keras are there, or the error says what is near."""

import importlib
import re
import sys
from pathlib import Path

import pytest
from keras_names import divided, whole

from cdl._common.missing_names import explained
from cdl.scripts import older_modules

THERE, MISSING = divided()


def test_a_name_of_keras_is_there_or_explained():
    assert [pair for pair in MISSING if explained(whole(*pair)) is None] == []


def test_the_count_of_names_and_the_reasons_stand_in_the_document():
    text = (Path(__file__).parents[1] / "docs" / "differences.md").read_text()
    section = text[text.index("## Not there yet") :]
    assert f"{len(THERE):,} of {len(THERE) + len(MISSING):,}" in section
    named = {name.rpartition(".")[2] for name in re.findall(r"`([\w.]+)`", section)}
    assert sorted({name for _, name in MISSING} - named) == []


def test_what_is_there_is_not_said_to_be_missing():
    assert [pair for pair in THERE if explained(whole(*pair)) is not None] == []


def test_dir_of_a_module_lists_its_names_of_keras():
    def names(module):
        return dir(importlib.import_module(f"cdl.{module}".rstrip(".")))

    assert [(module, name) for module, name in THERE if name not in names(module)] == []


def test_a_script_imports_each_module_that_is_there(run_python):
    modules = {module for module, _ in THERE if module}
    run_python(
        f"""if True:
        import importlib
        from cdl.scripts import imports
        imports.install()
        import keras
        for module in {sorted(modules)}:
            assert importlib.import_module(f"keras.{{module}}").__name__ == f"keras.{{module}}"
            eval(f"keras.{{module}}")
        """
    )


@pytest.mark.parametrize("module", ["preprocessing.text", "optim"])
def test_a_module_that_is_not_there_is_explained_to_a_script_that_imports_it(module, monkeypatch):
    monkeypatch.setattr("sys.meta_path", [*sys.meta_path])
    older_modules.install()
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(f"cdl.{module}")
    assert str(caught.value) == explained(module)
