"""What Keras has is here by the same name, or cdl says what is near."""

import importlib
import sys

import pytest
from keras_names import NO_MODULES, divided, whole

from cdl._common.missing_names import explained
from cdl.scripts import older_modules

THERE, MISSING = divided()


def test_a_name_of_keras_is_there_or_explained():
    assert [pair for pair in MISSING if explained(whole(*pair)) is None] == []


def test_what_is_there_is_not_said_to_be_missing():
    assert [pair for pair in THERE if explained(whole(*pair)) is not None] == []


def test_what_is_there_is_listed():
    def names(module):
        return dir(importlib.import_module(f"cdl.{module}".rstrip(".")))

    assert [(module, name) for module, name in THERE if name not in names(module)] == []


@pytest.mark.parametrize("module", sorted(NO_MODULES))
def test_a_module_that_is_not_there_is_explained_to_a_script_that_imports_it(module, monkeypatch):
    monkeypatch.setattr("sys.meta_path", [*sys.meta_path])
    older_modules.install()
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(f"cdl.{module}")
    assert str(caught.value) == explained(module)
