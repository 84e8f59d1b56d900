"""Every public name is in docs/api.md, with the first sentence of its docstring."""

import importlib
import inspect

import pytest

pytest.importorskip("sklearn")

from api_page import LEFT_OUT, PAGE, page
from keras_names import divided


def test_the_page_of_names_is_what_the_docstrings_say():
    if page() != PAGE.read_text():
        pytest.fail("python tests/helpers/api_page.py writes another docs/api.md")


def test_what_keras_has_too_is_on_the_page():
    text = PAGE.read_text()
    for module, name in divided()[0]:
        home = importlib.import_module(f"cdl.{module}".rstrip("."))
        if inspect.isroutine(getattr(home, name)) and name not in LEFT_OUT:
            assert f"`{name}`" in text, (module, name)
