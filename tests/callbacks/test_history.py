"""The History as a table and as a drawing."""

import sys

import numpy as np
import pytest

from cdl.callbacks import History
from cdl.layers import Dense, Input
from cdl.models import Sequential

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)


def fit(**kwargs):
    model = Sequential([Input((4,)), Dense(2)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model.fit(X, X[:, :2], epochs=4, verbose=0, validation_split=0.5, **kwargs)


def test_table_has_a_row_for_each_epoch():
    pandas = pytest.importorskip("pandas")
    history = fit()
    frame = history.to_pandas()
    assert list(frame.index) == [0, 1, 2, 3]
    assert frame.index.name == "epoch"
    assert frame.columns.tolist() == list(history.history)
    assert frame["val_loss"].tolist() == history.history["val_loss"]
    assert fit(validation_freq=2).to_pandas()["val_loss"].count() == 2
    assert isinstance(pandas.DataFrame(history.history), type(frame))
    assert History().to_pandas().empty


def test_drawing_has_a_line_for_each_name():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    history = fit()
    axes = history.plot()
    assert len(axes) == 2
    for ax, name in zip(axes, ("loss", "mae"), strict=True):
        name = name if name in history.history else "mean_absolute_error"
        lines = {line.get_label(): line for line in ax.get_lines()}
        assert set(lines) == {name, f"val_{name}"}
        assert lines[name].get_xdata().tolist() == [1, 2, 3, 4]
        assert lines[name].get_ydata().tolist() == pytest.approx(history.history[name])
        assert lines[f"val_{name}"].get_linestyle() == "--"
    _, own = pyplot.subplots()
    assert history.plot("loss", own) is own
    assert len(own.get_lines()) == 2
    line = fit(validation_freq=2).plot("loss").get_lines()[1]
    assert len(line.get_xdata()) == 2
    pyplot.close("all")


def test_bad_names_are_refused():
    with pytest.raises(ValueError, match="names must be out of"):
        fit().plot("los")
    with pytest.raises(ValueError, match="there are no values yet"):
        History().plot()


def test_missing_package_is_an_error_that_says_how_to_get_it(monkeypatch):
    history = fit()
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'cdl-nn\[plot\]'"):
        history.plot()
    with pytest.raises(ImportError, match=r"pip install 'cdl-nn\[pandas\]'"):
        history.to_pandas()
