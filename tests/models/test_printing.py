"""Printed output of fit, evaluate, predict and summary, and the streams that it goes to."""

import io
import sys
import textwrap

import numpy as np
import pytest
from trainers.nets import data, net

import cdl
from cdl.layers import Dense, Dropout, Input, Layer
from cdl.models import Sequential
from cdl.utils import clear_session

X, VALUES, _, _ = data(20)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    clear_session()
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def model():
    model = net((4, "relu"), (2, "linear"))
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def test_fit_into_a_file_prints_one_line_an_epoch(model, capsys):
    model.fit(X, VALUES, batch_size=5, epochs=2, validation_split=0.25)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" - ")[:2] for line in lines] == [["Epoch 1/2", "3/3"], ["Epoch 2/2", "3/3"]]
    names = [part.split(":")[0] for part in lines[0].split(" - ")[4:]]
    assert names == ["loss", "mae", "val_loss", "val_mae"]


@pytest.mark.parametrize("watched", [False, True])
def test_verbose_2_prints_a_line_an_epoch(model, monkeypatch, watched):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal() if watched else io.StringIO())
    model.fit(X, VALUES, epochs=2, verbose=2)
    lines = sys.stdout.getvalue().splitlines()
    assert [line[:17] for line in lines] == ["Epoch 1/2 - 1/1 -", "Epoch 2/2 - 1/1 -"]
    assert all("loss: " in line and "mae: " in line for line in lines)


def test_verbose_2_of_evaluate_and_predict_is_a_line(model, capsys):
    model.evaluate(X, VALUES, 5, 2)
    assert capsys.readouterr().out.startswith("4/4 - 0s - ")
    model.predict(X, 5, 2)
    assert capsys.readouterr().out.startswith("4/4 - 0s - ")


def test_verbose_0_prints_nothing(model, capsys):
    model.fit(X, VALUES, verbose=0)
    model.evaluate(X, VALUES, verbose=0)
    model.predict(X, verbose=0)
    assert capsys.readouterr().out == ""


def test_predictions_into_a_file_are_silent(model, capsys):
    model.predict(X)
    model.predict(X[:1])
    assert capsys.readouterr().out == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_each_prediction_shows_its_line_on_a_terminal(model, monkeypatch):
    model.predict(X)  # into a file first
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    for rows in (1, 20, 20):
        model.predict(X[:rows])
    model.predict(X, verbose=0)
    model.predict_on_batch(X)
    out = sys.stdout.getvalue()
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    model.predict(X)
    assert out.count("1/1") == out.count("/step") == 3
    assert sys.stdout.getvalue() == ""


def test_terminal_shows_a_bar_and_is_left_in_order(model, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    model.fit(np.tile(X, (2000, 1)), np.tile(VALUES, (2000, 1)), batch_size=1)
    model.predict(X)
    out = sys.stdout.getvalue()
    assert "40000/40000" in out
    assert "━" * 20 in out
    assert out.count("\x1b[?25l") == out.count("\x1b[?25h")


def test_summary_is_keras_s_table(model, capsys):
    model.summary()
    assert capsys.readouterr().out == textwrap.dedent(
        """\
        Model: "sequential"
        ┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
        ┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃
        ┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
        │ dense (Dense)                   │ (None, 4)              │            24 │
        ├─────────────────────────────────┼────────────────────────┼───────────────┤
        │ dense_1 (Dense)                 │ (None, 2)              │            10 │
        └─────────────────────────────────┴────────────────────────┴───────────────┘
         Total params: 34 (136.00 B)
         Trainable params: 34 (136.00 B)
         Non-trainable params: 0 (0.00 B)
        """
    )


def test_summary_counts_the_optimizer_once_it_is_built(model):
    said = []
    model.fit(X, VALUES, verbose=0)
    model.summary(print_fn=said.append)
    assert len(said) == 1
    assert " Total params: 36 (144.00 B)\n" in said[0]
    assert " Optimizer params: 2 (8.00 B)\n" in said[0]


UNBUILT = """\
│ a_very_long_layer_name_that_go… │ ?                      │   0 (unbuilt) │
│ (Dense)                         │                        │               │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dropout (Dropout)               │ ?                      │             0 │
"""


def test_summary_of_an_unbuilt_model_and_long_names(monkeypatch):
    name = "a_very_long_layer_name_that_goes_on_and_on"
    model = Sequential([Dense(2, name=name), Dropout(0.2)])
    said = []
    model.summary(76, print_fn=said.append)
    assert UNBUILT in said[0]
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stdout", Terminal())
    model.summary()
    assert UNBUILT in sys.stdout.getvalue()


@pytest.mark.parametrize("printed", [True, False])
def test_summary_into_a_file_cuts_no_word(capsys, printed):
    a, b = Input((6,), name="the_first_of_all_inputs_of_this_model"), Input((4,), name="b" * 50)
    y = cdl.layers.Concatenate(name="joined")([a, b])
    model = cdl.Model([a, b], cdl.layers.Dense(2, name="l" * 90)(y), name="m" * 300)
    said = []
    model.summary(print_fn=None if printed else said.append, show_trainable=True)
    text = capsys.readouterr().out if printed else said[0]
    assert "…" not in text
    for word in ("l" * 90, "b" * 50, "m" * 100, "b" * 50 + "[0][0]", "Trainable", "joined[0][0]"):
        assert word in text
    rows = [line for line in text.splitlines() if line.startswith(("┃", "│", "├"))]
    assert len({len(line) for line in rows}) == 1


TRAINABLE = """\
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━┓
┃ Layer (type)                ┃ Output Shape          ┃    Param # ┃ Trai… ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━┩
│ dense (Dense)               │ (None, 2000)          │  4,002,000 │   N   │
├─────────────────────────────┼───────────────────────┼────────────┼───────┤
│ dropout (Dropout)           │ (None, 2000)          │          0 │   -   │
└─────────────────────────────┴───────────────────────┴────────────┴───────┘
 Total params: 4,002,000 (15.27 MB)
 Trainable params: 0 (0.00 B)
 Non-trainable params: 4,002,000 (15.27 MB)
"""


def test_summary_shows_what_trains(capsys):
    model = Sequential([Input((2000,)), Dense(2000), Dropout(0.2)], name="foo")
    model.layers[0].trainable = False
    model.summary(76, show_trainable=True)
    assert TRAINABLE in capsys.readouterr().out


def test_summary_writes_a_shape_of_one_axis_as_keras(capsys):
    Sequential([Input(()), Dropout(0.2)]).summary()
    assert "│ (None)    " in capsys.readouterr().out


def test_summary_of_a_part_in_another_width(model):
    said = []
    model.summary(60, print_fn=said.append, layer_range=["dense_1", "dense_1"])
    lines = said[0].splitlines()
    assert lines[1] == "┏━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━┓"
    assert "dense (Dense)" not in said[0]
    assert "dense_1 (Dense)" in said[0]


NESTED = """\
│ sequential (Sequential)         │ (None, 3)              │            15 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│    └ dense (Dense)              │ (None, 3)              │            15 │
"""


def test_summary_opens_nested_models(capsys):
    inner = Sequential([Input((4,)), Dense(3)])
    model = Sequential([Input((4,)), inner])
    model.summary(expand_nested=True)
    assert NESTED in capsys.readouterr().out


def test_summary_opens_a_layer_that_has_layers(capsys):
    class Pair(Layer):
        def __init__(self):
            super().__init__()
            self.layers = [Dense(2, name="first"), Dense(2, name="second")]

        def call(self, x):
            return self.layers[1](self.layers[0](x))

    Sequential([Input((3,)), Pair()]).summary(expand_nested=True)
    shown = capsys.readouterr().out
    assert shown.index("pair (Pair)") < shown.index("└ first") < shown.index("└ second")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"layer_range": ["zz", "dense"]}, r"names out of \['dense', 'dense_1'\], got 'zz'"),
        ({"layer_range": ["dense"]}, "list of two layer names"),
        ({"line_length": 5}, "4 characters to each column, got 5"),
    ],
)
def test_summary_refuses_what_it_cannot_show(model, arguments, text):
    with pytest.raises(ValueError, match=text):
        model.summary(**arguments)


def test_summary_prints_names_as_they_are(capsys):
    Sequential([Input((4,)), Dense(3, name="[bold]x")], name="[red]m").summary()
    out = capsys.readouterr().out
    assert 'Model: "[red]m"' in out
    assert "[bold]x (Dense)" in out


def test_summary_of_a_chain_shows_functions_of_ops_between_its_layers():
    x = cdl.Input((None, 3))
    last = cdl.layers.LSTM(3, return_sequences=True)(x)[:, -1]
    model = cdl.Model(x, cdl.layers.Dense(2)(cdl.ops.tanh(last)))
    lines = []
    model.summary(print_fn=lines.append)
    rows = [line.split("│")[1].split()[0] for line in "".join(lines).split("\n") if "│" in line]
    assert [row.rstrip("_0123456789") for row in rows] == [
        "input_layer",
        "lstm",
        "get_item",
        "tanh",
        "dense",
    ]
    assert "Connected to" not in lines[0]
