"""HTML that notebooks show for layers, optimizers and weights."""

import html.parser

import numpy as np
import pytest

import cdl


class Parser(html.parser.HTMLParser):
    """A parser of HTML: its texts, and an error for tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag not in ("br", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip(" ,\n"))


def shown(thing):
    return Parser(thing._repr_html_()).texts


def test_a_layer_shows_its_weights_and_arguments():
    layer = cdl.layers.Dense(3, activation="relu", kernel_initializer="ones", name="a<b")
    assert {"Dense", "a<b, not built", "units", "3", "relu", "Ones"} <= set(shown(layer))
    layer(np.ones((1, 4)))
    found = shown(layer)
    assert "a<b, 15 parameters" in found
    kernel = found[found.index("a<b/kernel") :][:7]
    assert kernel == ["a<b/kernel", "(4, 3)", "float32", "True", "1", "1", "1"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: cdl.layers.Bidirectional(cdl.layers.LSTM(2)),
        lambda: cdl.layers.StringLookup(vocabulary=["a"]),
        lambda: cdl.layers.Dropout(0.5),
        lambda: cdl.layers.Lambda(np.tanh),
    ],
)
def test_any_layer_is_shown(make):
    layer = make()
    assert type(layer).__name__ in shown(layer)


def test_a_layer_without_a_config_is_shown():
    class Mine(cdl.layers.Layer):
        def __init__(self, size):
            super().__init__()
            self.size = size

        def get_config(self):
            raise NotImplementedError

    assert "Mine" in shown(Mine(3))


def test_an_optimizer_shows_its_arguments_as_they_are_now():
    optimizer = cdl.optimizers.Adam(0.25)
    found = shown(optimizer)
    assert found[:2] == ["Adam", "adam, no steps yet"] or found[0] == "Adam"
    assert found[found.index("learning_rate") + 1] == "0.25"
    model = cdl.Sequential([cdl.layers.Dense(1)])
    model.compile(optimizer, "mse")
    model.fit(np.ones((8, 2)), np.ones(8), batch_size=4, verbose=0)
    optimizer.learning_rate = 0.125
    found = shown(optimizer)
    assert found[1].endswith("2 steps")
    assert found[found.index("learning_rate") + 1] == "0.125"


def test_a_weight_shows_its_range():
    weight = cdl.Variable(np.array([1.0, 2.0, 6.0], np.float32), name="w")
    assert shown(weight)[7:] == ["w", "(3,)", "float32", "True", "1", "3", "6"]
    assert "int32" in shown(cdl.Variable(np.arange(3)))
    assert shown(cdl.Variable(np.zeros((0, 2), np.float32)))[8] == "(0, 2)"
    low = cdl.layers.Dense(2, dtype="bfloat16")
    low.build((None, 2))
    assert "bfloat16" in shown(low.kernel)
