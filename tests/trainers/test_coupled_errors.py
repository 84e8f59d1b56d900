"""Errors of code that couples samples: they name the operation, the user's shapes and the line."""

import re
import traceback

import numpy as np
import pytest

import cdl
from cdl import layers, losses, ops

RNG = np.random.default_rng(2)
X = RNG.normal(size=(14, 3)).astype(np.float32)


def ones(*shape):
    return np.ones(shape, np.float32)


def gram(x):
    return ops.matmul(x, ops.transpose(x))


# Functions of x, of shape (None, 3), and what is said.
MISUSES = {
    "sum with a matrix": (lambda x: gram(x) + ones(3, 3), "add: .* (None, None) and (3, 3)"),
    "product": (lambda x: gram(x) * x, "multiply: .* (None, None) and (None, 3)"),
    "pairs": (lambda x: x[:, None] - x[None] - ones(7, 7, 3), "subtract: .* (None, None, 3) and"),
    "a choice": (lambda x: ops.where(x > 0, gram(x), x), "where: .* (None, None) and (None, 3)"),
    "an axis": (lambda x: ops.softmax(gram(x), axis=2), "softmax: .* (None, None) .*axis 2"),
    "an axis of sort": (lambda x: ops.sort(x, axis=2), "sort: .* (None, 3) .*axis 2"),
    "an axis of take": (lambda x: ops.take(x, [0], axis=2), "take: .* (None, 3) .*axis 2"),
    "a reshape": (lambda x: ops.reshape(gram(x), (-1, 7)), "reshape: .* (None, None) .*size None"),
    "a size": (lambda x: ops.reshape(x, (-1, 7)), "reshape: .* (None, 3) .*size None into"),
    "places": (lambda x: ops.broadcast_to(gram(x), (5, 4)), "broadcast_to: .* shape (5,4)"),
    "joined": (lambda x: ops.concatenate([gram(x), x], 0), "concatenate: .* (None, None) and (N"),
    "samples joined": (lambda x: ops.concatenate([x, ones(5, 4)], 0), "concatenate: .* (5, 4)"),
    "stacked": (lambda x: ops.stack([x, gram(x)]), "stack: .* (None, 3) and (None, None)$"),
    "appended": (lambda x: ops.append(gram(x), x, 0), "append: .* (None, None) and (None, 3)$"),
    "letters": (lambda x: ops.einsum("ij,jk->ik", gram(x), ones(4, 2)), "einsum: .* (None, None)"),
    "matrices": (lambda x: gram(x) @ ones(4, 2), "matmul: .* (None, None) and (4, 2)"),
    "transposed": (lambda x: ops.transpose(x) @ ones(4, 2), "matmul: .* (3, None) and (4, 2)"),
    "dot": (lambda x: ops.dot(x, ones(4, 2)), "dot: matrices .* (None, 3) and (4, 2)"),
    "parts": (lambda x: ops.split(gram(x), 1000), "split: .* of size None, got 1000"),
    "an update": (lambda x: ops.slice_update(x, (0, 0), ones(1, 4)), "slice_update: .* (None, 3)"),
    "equations": (lambda x: ops.solve(gram(x) + ops.eye(3), x), "add: .* (None, None) and (3, 3)"),
    "least squares": (lambda x: ops.lstsq(x, ones(4, 2)), "lstsq: .* (None, 3) and (4, 2)"),
    "padding": (lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 0))), "pad: .* (None, 3)"),
    "a loss": (
        lambda x: losses.mean_squared_error(gram(x), ones(3, 3)),
        "MeanSquaredError: y_true must have shape (3, 3) .*, got (None, None)",
    ),
    "classes": (
        lambda x: ops.sparse_categorical_crossentropy(np.zeros(4, int), gram(x)),
        "target must have shape (None,), got (4,)",
    ),
    "a map": (lambda x: ops.map(lambda r: r + ones(4), x), "add: .* (3,) and (4,)"),
    "names": (lambda x: ops.one_hot(ops.argmax(gram(x), 1), 5) + x, "add: .* (None, 5) and (N"),
}


class Called(cdl.Model):
    """Model whose call does something wrong with a Dense's outputs."""

    def __init__(self, do, adds=False):
        super().__init__()
        self.do, self.adds = do, adds
        self.dense = layers.Dense(3)

    def call(self, x):
        z = self.dense(x)
        if not self.adds:
            return self.do(z)
        self.add_loss(ops.sum(self.do(z)))
        return z


def in_graph(do):
    do(cdl.Input((3,)))


def in_layer(do):
    Called(do)(cdl.Input((3,)))


def in_fit(do, adds=False):
    model = Called(do, adds)
    model.compile("sgd", "mse")
    model.fit(X, X, batch_size=6, verbose=0)


def in_add_loss(do):
    in_fit(do, True)


CASES = [
    (where, name)
    for name in MISUSES
    for where in (in_graph, in_layer, in_fit, in_add_loss)
    if (where, name) != (in_graph, "places")  # which has Keras's shape between Inputs
]


@pytest.mark.parametrize(("where", "name"), CASES)
def test_errors_name_the_operation_and_shapes_without_a_size_of_the_batch(where, name):
    do, text = MISUSES[name]
    with pytest.raises(ValueError, match=re.sub(r"[()]", r"\\\g<0>", text)) as caught:
        where(do)
    assert not re.search(r"\b(97|89|120|240|194)\b", str(caught.value))
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert any((frame.filename, frame.name) == (__file__, "<lambda>") for frame in frames)


@pytest.mark.parametrize("where", [in_layer, in_fit])
def test_code_behind_a_product_of_samples_is_blamed_itself(where):
    def chosen(z):
        z = gram(z)
        return z if ops.sum(z) > 0 else -z

    with pytest.raises(TypeError, match=r"the truth value(.|\n)*return z if ops\.sum"):
        where(chosen)


class Segments(layers.Layer):
    def call(self, x):
        return x + ops.segment_sum(x, np.array([0, 1, 1, 0]), 1)


@pytest.mark.parametrize("kind", ["layer", "graph"])
def test_what_only_a_batch_shows_has_the_line_of_the_call(kind):
    inputs = cdl.Input((3,))
    z = layers.Dense(3)(inputs)
    outputs = Segments()(z) if kind == "layer" else z + ops.segment_sum(z, np.array([0, 1]), 1)
    model = cdl.Model(inputs, outputs)
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"segment_ids must be .*\(6, 3\)") as caught:
        model.fit(X, X, batch_size=6, verbose=0)
    notes = "".join(caught.value.__notes__)
    assert re.search(
        rf"segment_sum is called at {re.escape(__file__)}:\d+\n.*ops.segment_sum", notes
    )
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_compute_loss_shows_the_sizes_of_its_batch():
    class Model(cdl.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
            return ops.sum(ops.einsum("ij,jk->ik", gram(y_pred), ones(4, 2)))

    model = Model([cdl.Input((3,)), layers.Dense(3)])
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"of shapes \(6, 6\) and \(4, 2\)"):
        model.fit(X, X, batch_size=6, verbose=0)


def test_an_operation_on_arrays_names_itself_before_an_axis_that_there_is_not():
    for do in (ops.sum, ops.logsumexp, ops.sort, ops.flip):
        with pytest.raises(ValueError, match=rf"^{do.__name__}: axis 2 is out of bounds"):
            do(X, axis=2)


def test_a_lambda_shows_shapes_for_any_batch_and_the_line():
    inputs = cdl.Input((3,))
    with pytest.raises(NotImplementedError, match=r"shapes \(None,None\) \(4,\)") as caught:
        layers.Lambda(lambda z: gram(z) + ones(4))(inputs)
    assert f"{__file__}:" in str(caught.value)


def of_samples(kind):
    """Model whose outputs are a matrix of samples by samples."""
    if kind == "call":
        return Called(gram)
    inputs = cdl.Input((3,))
    return cdl.Model(inputs, gram(layers.Dense(3)(inputs)))


@pytest.mark.parametrize("kind", ["call", "graph"])
def test_targets_of_samples_by_samples_fit_the_batch(kind):
    model = of_samples(kind)
    model.compile("sgd", "mse", metrics=["mae"])
    y = RNG.normal(size=(14, 7))
    model.build((None, 3))
    kernel, bias = (each.astype(float) for each in model.get_weights())
    z = (X.astype(float) @ kernel + bias).reshape(2, 7, 3)
    errors = z @ z.swapaxes(1, 2) - y.reshape(2, 7, 7)
    found = model.evaluate(X, y, batch_size=7, verbose=0)
    np.testing.assert_allclose(found, [np.square(errors).mean(), np.abs(errors).mean()], 1e-5)
    model.fit(X, y, batch_size=7, verbose=0)
    before = model.get_weights()
    for batch, sizes in ((14, "14"), (6, "2"), (4, "2")):
        with pytest.raises(ValueError, match=rf"y must have shape \(n, {sizes}\), .* \(14, 7\)"):
            model.fit(X, y, batch_size=batch, verbose=0)
    with pytest.raises(ValueError, match=r"y must have shape \(n, 7\), .*got \(7, 3\)"):
        model.train_on_batch(X[:7], X[:7])
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    model.train_on_batch(X[:7], y[:7])


def test_summary_shows_no_size_of_a_trial():
    model, lines = of_samples("call"), []
    model.build((None, 3))
    model.summary(print_fn=lines.append)
    assert "(None, 3)" in "".join(lines)
    assert "97" not in "".join(lines)
