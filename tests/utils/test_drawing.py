"""Models drawn as boxes and arrows, by Graphviz or by matplotlib."""

import re
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


def lines_of(drawing):
    """The text in each box that has no others in it."""

    def leaves(blocks):
        for block in blocks:
            yield from leaves(block.within) if block.within else [block]

    return {block.key: block.lines for block in leaves(drawing.blocks)}


def test_inputs_show_their_names_whatever_the_others_do():
    lines = lines_of(model_to_dot(branches(), show_layer_names=False))
    assert lines["a"] == ("a (InputLayer)",) and lines["b"] == ("b (InputLayer)",)
    assert lines["shared"] == ("Dense",)


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


def test_arrows_of_an_expanded_model_lead_to_the_input_and_from_the_output_they_belong_to():
    p, q = Input((4,), name="p"), Input((4,), name="q")
    inner = Model([p, q], [Dense(2, name="u")(p), Dense(3, name="v")(q)], name="inner")
    x, y = Input((4,), name="x"), Input((4,), name="y")
    u, v = inner([y, x])
    model = Model([x, y], [Dense(1, name="of_v")(v), Dense(1, name="of_u")(u)])
    found = arrows(model_to_dot(model, expand_nested=True))
    inside = {"inner/p>inner/u", "inner/q>inner/v"}
    assert found == inside | {"x>inner/q", "y>inner/p", "inner/v>of_v", "inner/u>of_u"}


def test_model_with_a_call_is_drawn_as_what_it_calls():
    class Residual(Model):
        def __init__(self):
            super().__init__(name="residual")
            self.one, self.two = Dense(4, name="one"), Dense(4, name="two")

        def call(self, x):
            x = self.one(x)
            return cdl.ops.relu(x + self.two(x))

    model = Residual()
    model.build((None, 3))
    expected = {"input_1>one", "one>two", "one>add", "two>add", "add>relu"}
    drawing = model_to_dot(model, show_shapes=True)
    assert arrows(drawing) == expected
    assert lines_of(drawing)["add"][0] == "add (Add)"
    assert lines_of(drawing)["input_1"] == ("input_1 (Input)", "Output shape: (None, 3)")
    outer = Model(x := Input((3,), name="x"), model(x))
    assert arrows(model_to_dot(outer)) == {"x>residual"}
    inside = {">".join(f"residual/{key}" for key in each.split(">")) for each in expected}
    assert arrows(model_to_dot(outer, expand_nested=True)) == inside | {"x>residual/input_1"}

    class Untraced(Residual):
        def build(self, input_shape):
            self.built = True

    model = Untraced()
    model.build((None, 3))
    assert lines_of(model_to_dot(model)) == {"residual": ("residual (Untraced)",)}


def test_layers_that_are_called_again_are_one_box_with_all_its_arrows():
    d, e = Dense(4, name="d"), Dense(4, name="e")
    x = Input((4,), name="x")
    drawing = model_to_dot(Model(x, d(e(d(d(x))))))
    assert arrows(drawing) == {"x>d", "d>d", "d>e", "e>d"}
    wide = Dense(2, name="wide")
    steps = Input((5, 4), name="steps")
    lines = lines_of(model_to_dot(Model([x, steps], [wide(x), wide(steps)]), show_shapes=True))
    assert lines["wide"][1:] == (
        "Input shape: (None, 4) or (None, 5, 4)",
        "Output shape: (None, 2) or (None, 5, 2)",
    )


def test_boxes_say_what_is_asked_for():
    boxes = lines_of(model_to_dot(chain()))
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
    boxes = lines_of(drawing)
    assert boxes["both"][:3] == (
        "Concatenate",
        "Input shape: [(None, 5), (None, 3)]",
        "Output shape: (None, 8)",
    )
    assert boxes["shared"] == (
        "Dense",
        "Activation: tanh",
        "Input shape: (None, 6)",
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
            assert done.stdout.count("\nnode ") == len(lines_of(drawing))


@pytest.mark.parametrize("graphviz", [True, False])
def test_any_name_can_be_drawn(graphviz, tmp_path, monkeypatch):
    drawn_by(graphviz, monkeypatch)
    name = '$odd$ "{}<>&|\\\n name\x07'
    model = Sequential([Input((2,)), Dense(1, name=name)], name=name)
    outer = Sequential([Input((2,)), model])
    for each in (model, outer):
        plot_model(each, tmp_path / "m.svg", show_layer_names=True, expand_nested=True)
    assert lines_of(model_to_dot(model))[name] == ('$odd$ "{}<>&|\\  name  (Dense)',)


def drawn_by(graphviz, monkeypatch):
    if not graphviz:
        pytest.importorskip("matplotlib")
        monkeypatch.setattr(shutil, "which", lambda name: None)
    elif not shutil.which("dot"):
        pytest.skip("Graphviz is not installed")


@pytest.mark.parametrize("graphviz", [True, False])
@pytest.mark.parametrize("form", ["png", "svg", "pdf"])
def test_file_is_written_in_its_format(graphviz, form, tmp_path, monkeypatch):
    drawn_by(graphviz, monkeypatch)
    for model in (chain(), branches()):
        path = tmp_path / f"m.{form}"
        for rankdir in ("TB", "LR", "BT", "RL"):
            found = plot_model(model, path, show_shapes=True, rankdir=rankdir, dpi=50)
            assert found is None
        begin = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[form]
        assert path.read_bytes().startswith(begin)


@pytest.mark.parametrize("graphviz", [True, False])
def test_same_model_always_gives_the_same_file(graphviz, tmp_path, monkeypatch):
    drawn_by(graphviz, monkeypatch)
    for form in ("png", "svg") if graphviz else ("png", "svg", "pdf"):
        files = []
        for turn in range(2):
            cdl.utils.clear_session()
            monkeypatch.setenv("SOURCE_DATE_EPOCH", str(turn))
            plot_model(branches(), tmp_path / f"m.{form}", expand_nested=True, dpi=50)
            files.append((tmp_path / f"m.{form}").read_bytes())
        assert files[0] == files[1]


@pytest.mark.parametrize("graphviz", [True, False])
def test_svg_shows_the_whole_picture(graphviz, tmp_path, monkeypatch):
    drawn_by(graphviz, monkeypatch)
    plot_model(branches(), tmp_path / "m.svg", show_layer_names=True, dpi=200)
    found = re.search(
        r'<svg[^>]*? width="([\d.]+)pt" height="([\d.]+)pt"\s+viewBox="\S+ \S+ ([\d.]+) ([\d.]+)"',
        (tmp_path / "m.svg").read_text(),
    )
    width, height, shown_width, shown_height = map(float, found.groups())
    assert (shown_width, shown_height) == pytest.approx((width, height), abs=1)


def test_arrows_are_curves_or_straight_lines_as_splines_says(tmp_path, monkeypatch):
    assert "splines=ortho" in model_to_dot(chain(), splines="ortho").source
    drawn_by(False, monkeypatch)
    for splines, curves in (("spline", True), ("polyline", False)):
        plot_model(branches(), tmp_path / "m.svg", splines=splines)
        assert ("\nC " in (tmp_path / "m.svg").read_text()) == curves
    with pytest.raises(ValueError, match=r"splines must be one of \('spline', 'polyline'\) where"):
        plot_model(branches(), tmp_path / "m.svg", splines="ortho")


def test_picture_that_is_too_large_for_its_dots_is_refused(tmp_path, monkeypatch):
    drawn_by(False, monkeypatch)
    model = Sequential([Input((1,)), *(Dense(1) for _ in range(30))])
    with pytest.raises(
        ValueError, match=r"dpi must be at most \d+ for a picture of [12] x 2\d inches"
    ):
        plot_model(model, tmp_path / "m.png", dpi=10000)
    plot_model(model, tmp_path / "m.svg", dpi=10000)


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
        (lambda: plot_model(chain(), splines="bent"), "splines must be one of"),
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
