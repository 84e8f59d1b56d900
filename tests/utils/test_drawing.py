"""test_drawing.py - models drawn as boxes and arrows, by Graphviz or by matplotlib."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.layers import Dense, Input
from cdl.models import Model, Sequential
from cdl.utils import model_to_dot, plot_model
from cdl.utils.boxes import leaves, rows_of


@pytest.fixture(autouse=True)
def fresh_names():
    cdl.utils.clear_session()


def chain():
    return Sequential([Input((4,), name="x"), Dense(3, "relu", name="a"), Dense(2, name="b")])


def branches():
    a, b = Input((6,), name="a"), Input((4,), name="b")
    shared = Dense(5, "tanh", name="shared")
    x = layers.Concatenate(name="both")([shared(a), Dense(3, name="of_b")(b)])
    inner = Sequential([Input((8,)), Dense(4, name="in1"), Dense(4, name="in2")], name="inner")
    y = layers.Add(name="sum")([inner(x), Dense(4, name="beside")(x)])
    return Model([a, b], [Dense(2, name="first")(y), Dense(1, name="second")(shared(a))])


def arrows(drawing):
    return {f"{a}>{b}" for a, b in drawing.arrows}


def test_arrows_are_those_of_the_model():
    assert arrows(model_to_dot(chain())) == {"x>a", "a>b"}
    expected = {"a>shared", "b>of_b", "shared>both", "of_b>both", "both>inner", "both>beside"}
    expected |= {"inner>sum", "beside>sum", "sum>first", "shared>second"}
    assert arrows(model_to_dot(branches())) == expected
    inner = {"both>inner/in1", "inner/in1>inner/in2", "inner/in2>sum"}
    found = arrows(model_to_dot(branches(), expand_nested=True))
    assert expected - found == {"both>inner", "inner>sum"}
    assert {each for each in found - expected if "input" not in each} <= inner | {
        "both>inner/input_layer",
        "inner/input_layer>inner/in1",
    }


def test_boxes_say_what_is_asked_for():
    boxes = {box.key: box.lines for box in model_to_dot(chain()).boxes}
    assert boxes == {"x": ("x (InputLayer)",), "a": ("a (Dense)",), "b": ("b (Dense)",)}
    model = branches()
    drawing = model_to_dot(
        model,
        show_shapes=True,
        show_dtype=True,
        show_layer_activations=True,
        show_trainable=True,
        show_layer_names=False,
    )
    boxes = {box.key: box.lines for box in drawing.boxes}
    assert boxes["both"][:3] == (
        "Concatenate",
        "Input shape: [(None, 5), (None, 3)]",
        "Output shape: (None, 8)",
    )
    assert boxes["shared"] == (
        "Dense",
        "Activation: tanh",
        "Input shape: [(None, 6), (None, 6)]",
        "Output shape: (None, 5)",
        "Output dtype: float32",
        "Trainable: True",
    )


def test_text_is_graphviz_s_language(tmp_path):
    model = Sequential([Input((2,)), Dense(1, name='odd"{}<>|\\ name')], name='also "odd"')
    for drawing in (model_to_dot(branches(), expand_nested=True), model_to_dot(model)):
        assert str(drawing) == drawing.to_string() == drawing.source
        assert drawing.source.startswith("digraph ")
        drawing.write(tmp_path / "m.dot")
        assert (tmp_path / "m.dot").read_text() == drawing.source
        if shutil.which("dot"):
            done = subprocess.run(
                ["dot", "-Tplain"], input=drawing.source, capture_output=True, text=True, check=True
            )
            all_boxes = [leaf for box in drawing.boxes for leaf in leaves(box)]
            assert done.stdout.count("\nnode ") == len(all_boxes)


@pytest.mark.parametrize("graphviz", [True, False])
@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_file_is_written_in_its_format(graphviz, form, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    if not graphviz:
        monkeypatch.setattr(shutil, "which", lambda name: None)
    for model in (chain(), branches()):
        path = tmp_path / f"m.{form}"
        for rankdir in ("TB", "LR", "BT", "RL"):
            found = plot_model(model, path, show_shapes=True, rankdir=rankdir, dpi=50)
            assert found is None
        begin = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[form]
        assert path.read_bytes().startswith(begin)


def test_matplotlib_draws_each_box_once_and_arrows_downwards(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    plot_model(branches(), tmp_path / "m.svg", show_layer_names=True, expand_nested=True)
    drawing = model_to_dot(branches(), expand_nested=True)
    rows = rows_of([leaf for box in drawing.boxes for leaf in leaves(box)], drawing.arrows)
    level = {box.key: r for r, row in enumerate(rows) for box in row}
    assert all(level[start] < level[end] for start, end in drawing.arrows)


def test_without_graphviz_and_matplotlib_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'cdl-nn\[plot\]'"):
        plot_model(chain(), tmp_path / "m.png")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: plot_model(Sequential([Dense(2)])), "must be built first"),
        (lambda: plot_model(chain(), rankdir="XY"), "rankdir must be one of"),
        (lambda: plot_model(chain(), dpi=0), "dpi must be a positive int"),
        (lambda: plot_model(chain(), "model"), "to_file must have a suffix"),
        (lambda: plot_model(chain(), color="red"), "arguments not recognized: {'color': 'red'}"),
        (lambda: model_to_dot(chain(), subgraph=True), "arguments not recognized"),
    ],
)
def test_bad_argument_is_refused(call, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


def test_notebook_shows_the_summary_of_a_model():
    model = branches()
    text = model._repr_html_()
    for layer in model.layers:
        assert f"<td>{layer.name} ({type(layer).__name__})</td>" in text
    assert "<td>both[0][0]</td>" in text
    assert f"<b> Total params: </b>{model.count_params()}" in text
    odd = Sequential([Input((2,)), Dense(1, name="<b>&")])
    odd.compile("adam", "mse")
    odd.fit(np.ones((2, 2)), np.ones(2), verbose=0)
    assert "<td>&lt;b&gt;&amp; (Dense)</td>" in odd._repr_html_()
    assert "Optimizer params" in odd._repr_html_()
    assert "0 (unbuilt)" in Sequential([Dense(2)])._repr_html_()
