"""Models with open axes as ONNX: one file predicts what cdl does for every size."""

import numpy as np
import pytest

import cdl
from cdl import Input, Sequential, layers, ops

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

SIZES = ((2, 6), (8, 8), (16, 4), (40, 12), (7, 7), (5, 9), (31, 17))


def functional(*shapes):
    """A decorator: the model of a function of inputs of these shapes."""

    def made(function):
        def make():
            inputs = [Input(shape) for shape in shapes]
            return cdl.Model(inputs, function(*inputs))

        return make

    return made


@functional((None, 8))
def decoder(x):
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True))
    return x + layers.Dense(8)(layers.Dense(16, "gelu")(x))


@functional((None, None, 3))
def unet(x):
    outer = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    inner = layers.Conv2D(8, 3, padding="same")(layers.MaxPooling2D()(outer))
    y = layers.Conv2DTranspose(4, 2, strides=2)(inner)
    return layers.Conv2D(1, 1)(layers.Concatenate()([outer, y]))


@functional((None, 4))
def places(x):
    n = x.shape[1] or 1
    turned = ops.flip(x[:, 1:], axis=1) - x[:, :-1]
    return turned * (1.0 / n) + ops.sum(x, axis=1, keepdims=True) * n


class Numbered(cdl.Model):
    def call(self, x):
        n = x.shape[1]
        return x + ops.cast(ops.arange(3, 3 + n), "float32")[:, None] + ops.ones((n, 1)) / n


def numbered():
    model = Numbered()
    model.build((None, None, 4))
    return model


NETS = {
    "bag": lambda: Sequential([Input((None, 4)), layers.GlobalAveragePooling1D(), layers.Dense(2)]),
    "masked bag": lambda: Sequential(
        [Input((None, 4)), layers.Masking(0.0), layers.GlobalAveragePooling1D()]
    ),
    "conv": lambda: Sequential(
        [
            Input((None, None, 3)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.BatchNormalization(),
            layers.GlobalMaxPooling2D(),
        ]
    ),
    "conv by two": lambda: Sequential(
        [
            Input((None, None, 3)),
            layers.Conv2D(4, 3, strides=2, padding="same"),
            layers.MaxPooling2D(3, 2, padding="same"),
        ]
    ),
    "conv of whole windows": lambda: Sequential(
        [Input((None, None, 3)), layers.Conv2D(4, 3, strides=2), layers.AveragePooling2D(2)]
    ),
    "causal conv": lambda: Sequential(
        [Input((None, 4)), layers.Conv1D(3, 3, padding="causal", dilation_rate=2)]
    ),
    "pads": lambda: Sequential(
        [Input((None, 2)), layers.ZeroPadding1D((2, 1)), layers.Cropping1D(1)]
    ),
    "larger": lambda: Sequential(
        [Input((None, None, 2)), layers.UpSampling2D(2), layers.Conv2D(2, 3)]
    ),
    "both directions": lambda: Sequential(
        [
            Input((None, 5)),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.GRU(3),
        ]
    ),
    "flat": lambda: Sequential([Input((None, 4)), layers.Flatten()]),
    "three": functional((None, 6))(layers.Reshape((-1, 3))),
    "groups": lambda: Sequential([Input((None, None, 4)), layers.GroupNormalization(2)]),
    "softmax of steps": lambda: Sequential([Input((None, 4)), layers.Softmax(axis=1)]),
    "sums": functional((None, 4))(lambda x: ops.cumsum(x, axis=1)),
    "sorted": functional((None,))(lambda x: ops.sort(x, axis=1)),
    "two of one size": functional((None, 8), (None, 8))(lambda a, b: layers.Dense(2)(a * b)),
    "two of two": functional((None, 8), (None, 8))(lambda a, b: layers.Dot(axes=2)([a, b])),
    "attention": functional((None, 8), (None, 8))(
        lambda a, b: layers.MultiHeadAttention(2, 4)(query=a, value=b)
    ),
    "decoder": decoder,
    "unet": unet,
    "places": places,
    "numbered": numbered,
}


def session(path):
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def of_sizes(shapes, sizes, rng):
    """A batch for each of these shapes with its open axes of such sizes."""
    for shape in shapes:
        left = iter(sizes)
        yield rng.normal(size=(3, *(next(left) if n is None else n for n in shape))).astype("f4")


@pytest.mark.parametrize("name", NETS)
def test_one_file_predicts_for_every_size(name, tmp_path):
    rng = np.random.default_rng(0)
    model = NETS[name]()
    model.export(tmp_path / "m.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)
    made = session(tmp_path / "m.onnx")
    shapes = [tuple(info.shape)[1:] for info in model._graph_of_model.input_infos()]
    done = 0
    for sizes in SIZES:
        arrays = list(of_sizes(shapes, sizes, rng))
        if name in ("two of two", "attention"):
            arrays[1] = next(of_sizes(shapes[1:], sizes[::-1], rng))
        try:
            expected = model.predict(arrays if len(arrays) > 1 else arrays[0], verbose=0)
        except ValueError:  # an image that the windows do not fit into
            continue
        feed = {each.name: x for each, x in zip(made.get_inputs(), arrays, strict=True)}
        np.testing.assert_allclose(made.run(None, feed)[0], expected, rtol=2e-5, atol=2e-6)
        done += 1
    assert done > 3


def test_sizes_have_names_and_outputs_have_those_of_inputs(tmp_path):
    x, y = Input((None, 8), name="x"), Input((None, 8), name="y")
    NETS["bag"]().export(tmp_path / "bag.onnx")
    cdl.Model([x, y], [x + y, ops.concatenate([x, y], axis=1)]).export(tmp_path / "m.onnx")
    made = session(tmp_path / "m.onnx")
    assert [each.shape for each in made.get_inputs()] == [["batch", "x_1", 8]] * 2
    first, second = (each.shape for each in made.get_outputs())
    assert first == ["batch", "x_1", 8]
    assert second[0] == "batch" and second[1] not in ("x_1", None)
    (only,) = session(tmp_path / "bag.onnx").get_outputs()
    assert only.shape == ["batch", 2]


def test_some_axes_may_be_given(tmp_path):
    model = NETS["conv"]()
    model.export(tmp_path / "m.onnx", input_signature=[(None, 12, None, 3)])
    (x,) = session(tmp_path / "m.onnx").get_inputs()
    assert x.shape[:2] == ["batch", 12] and isinstance(x.shape[2], str) and x.shape[3] == 3


@pytest.mark.parametrize(
    ("layer", "op"),
    [
        (lambda: layers.AdaptiveAveragePooling1D(3), "pool"),
        (lambda: Sequential([layers.Masking(), layers.LSTM(2)]), "recurrent"),
    ],
)
def test_what_needs_a_size_in_onnx_is_named(layer, op, tmp_path):
    model = Sequential([Input((None, 4)), layer()])
    with pytest.raises(ValueError, match=f"op '{op}' cannot be of any size in ONNX.*input_sign"):
        model.export(tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
    model.export(tmp_path / "m.onnx", input_signature=[(None, 5, 4)])
    (x,) = session(tmp_path / "m.onnx").get_inputs()
    assert x.shape == ["batch", 5, 4]


def test_a_net_of_no_size_says_why(tmp_path):
    x, y = Input((None, 3)), Input((4, 3))
    model = cdl.Model([x, y], x + y)  # which 4 steps alone can be
    with pytest.raises(ValueError, match="shapes"):
        model.export(tmp_path / "m.onnx")
