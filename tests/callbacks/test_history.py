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


def test_notebook_shows_curves_and_what_was_reached():
    history = History()
    history.on_train_begin()
    for epoch, loss in enumerate([0.5, 0.125, float("nan"), 0.25]):
        history.on_epoch_end(epoch, {"loss": loss, "<b>": np.float32(3)})
    history.history["val_loss"] = [0.75, 1.5]  # of every second epoch
    shown = history._repr_html_()
    assert "<p>4 epochs</p>" in shown
    assert "<td>0.5</td><td>0.25</td><td>0.125 (epoch 2)</td><td>0.5 (epoch 1)</td>" in shown
    assert "<td>&lt;b&gt;</td>" in shown
    assert shown.count("<svg") == 2 and shown.count("stroke-dasharray") == 2
    assert fit()._repr_html_().count("<tr>") == 1 + len(fit().history)
    assert "<p>0 epochs</p>" in History()._repr_html_()


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


@pytest.mark.parametrize(
    ("count", "rows", "columns"),
    [(1, 1, 1), (2, 1, 2), (4, 1, 4), (5, 2, 3), (7, 2, 4), (8, 2, 4), (9, 3, 3)],
)
def test_panels_are_in_rows_of_at_most_four_and_losses_come_first(count, rows, columns):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    history = History()
    known = ["loss", "auc", "mae", "mse", "b_loss", "a_loss", "f1", "precision", "recall"]
    names = sorted(known[:count])
    for epoch in range(3):
        logs = {name: 1.0 / (epoch + 1) for name in names}
        history.on_epoch_end(epoch, logs | {f"val_{name}": 2.0 for name in names})
    axes = history.plot()
    panels = [axes] if count == 1 else list(axes)
    figure = panels[0].figure
    assert figure.axes == panels
    assert len(panels) == count
    shown = [ax.get_legend_handles_labels()[1][0] for ax in panels]
    assert sorted(shown) == sorted(names)
    kinds = [0 if name == "loss" else 1 if name.endswith("_loss") else 2 for name in shown]
    assert kinds == sorted(kinds)
    figure.canvas.draw()
    boxes = [ax.get_position() for ax in panels]
    for i, box in enumerate(boxes):
        row, column = divmod(i, columns)
        assert abs(box.x0 - boxes[column].x0) < 0.01  # below the one in the first row
        assert abs(box.y0 - boxes[row * columns].y0) < 0.01
    assert len({round(box.y0, 2) for box in boxes}) == rows
    width, height = figure.get_size_inches()
    assert all(box.width * width > 2.5 and box.height * height > 2.0 for box in boxes)
    assert width <= 15
    assert all(tick == int(tick) for ax in panels for tick in ax.get_xticks())
    pyplot.close("all")


def test_one_epoch_is_a_point_that_can_be_seen():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    history = History()
    history.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    assert [line.get_marker() for line in history.plot().get_lines()] == ["o", "o"]
    pyplot.close("all")


def test_too_few_axes_are_refused():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    history = fit()
    _, two = pyplot.subplots(1, 2)
    assert history.plot(axes=list(two)) == list(two)
    assert [len(ax.get_lines()) for ax in two] == [2, 2]
    with pytest.raises(ValueError, match=r"axes must be one, or one for each of .*, got 1"):
        history.plot(axes=two[:1])
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


def test_repr_shows_the_last_values():
    history = History()
    assert repr(history) == "<History epochs=0>"
    for epoch in range(2):
        history.on_epoch_end(epoch, {"loss": 1.0 / (epoch + 1), "val_loss": 123456.789})
    assert repr(history) == "<History epochs=2 loss=0.5 val_loss=1.235e+05>"
