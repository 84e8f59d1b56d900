"""The examples in docstrings of public names run, and give what they show."""

import doctest
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "_site"))

import reference

import cdl


def described():
    """Each public class, function and method, by the name that its page has."""
    for entry in reference.entries():
        yield entry.whole, entry.thing
        if inspect.isclass(entry.thing):
            for name in reference.methods(entry.thing):
                yield f"{entry.whole}.{name}", getattr(entry.thing, name)


WITH_EXAMPLES = {name: thing for name, thing in described() if ">>> " in (thing.__doc__ or "")}
# What most programs use has one.
USED_MOST = {
    *(f"cdl.layers.{name}" for name in ("Dense", "Conv2D", "LSTM", "Embedding")),
    *(f"cdl.layers.{name}" for name in ("BatchNormalization", "MultiHeadAttention")),
    *(f"cdl.models.Model.{name}" for name in ("compile", "fit", "evaluate", "predict")),
    *(f"cdl.optimizers.{name}" for name in ("Adam", "AdamW", "SGD")),
    "cdl.losses.MeanSquaredError",
    "cdl.losses.BinaryCrossentropy",
    "cdl.losses.SparseCategoricalCrossentropy",
    *(f"cdl.metrics.{name}" for name in ("AUC", "BinaryAccuracy", "Mean")),
}


def test_what_most_programs_use_has_an_example():
    assert set(WITH_EXAMPLES) >= USED_MOST


@pytest.mark.parametrize("name", sorted(WITH_EXAMPLES))
def test_an_example_gives_what_it_shows(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = inspect.getdoc(WITH_EXAMPLES[name])
    test = doctest.DocTestParser().get_doctest(text, {"cdl": cdl, "np": np}, name, name, 0)
    told = []
    doctest.DocTestRunner().run(test, out=told.append)
    assert not told, "".join(told)
