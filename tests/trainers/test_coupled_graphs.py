"""Graphs between Inputs, and Lambdas, whose functions compare the samples of a batch."""

import numpy as np
import pytest

import cdl
from cdl import layers, losses, ops

RNG = np.random.default_rng(8)
X = RNG.normal(size=(22, 5)).astype(np.float32)
Y = RNG.normal(size=(22, 4)).astype(np.float32)
KERNEL = (RNG.normal(size=(5, 4)) / 2).astype(np.float32)


def softmax(z, axis=-1):
    z = np.exp(z - z.max(axis, keepdims=True))
    return z / z.sum(axis, keepdims=True)


def scores(z):
    return ops.matmul(z, ops.transpose(z))


def attended_in_lambda(z):
    return layers.Lambda(lambda z: ops.softmax(scores(z)) @ z)(z)


def sorted_in_lambda(z):
    return layers.Lambda(lambda z: np.sort(z, axis=0) * np.median(z, axis=0))(z)


# Functions of a Dense's outputs between Inputs, and the same in NumPy.
GRAPHS = {
    "attention": (lambda z: ops.softmax(scores(z)) @ z, lambda z: softmax(z @ z.T) @ z),
    "layers between": (
        lambda z: layers.Rescaling(1.0)(layers.Softmax()(scores(z))) @ z,
        lambda z: softmax(z @ z.T) @ z,
    ),
    "a Dense behind": (
        lambda z: layers.Dense(4, kernel_initializer="ones")(ops.softmax(scores(z)) @ z),
        lambda z: softmax(z @ z.T) @ z @ np.ones((4, 4)),
    ),
    "sort": (lambda z: ops.sort(z, axis=0) * z, lambda z: np.sort(z, 0) * z),
    "cumsum": (lambda z: ops.cumsum(z, axis=0), lambda z: np.cumsum(z, 0)),
    "flip": (lambda z: ops.flip(z, axis=0) - z, lambda z: z[::-1] - z),
    "argmax": (
        lambda z: z * ops.cast(ops.argmax(z, axis=0), "float32"),
        lambda z: z * np.argmax(z, 0),
    ),
    "sum": (
        lambda z: z / ops.sqrt(ops.sum(z * z, axis=0)),
        lambda z: z / np.sqrt((z * z).sum(0)),
    ),
    "median": (lambda z: z - ops.median(z, axis=0), lambda z: z - np.median(z, 0)),
    "roll": (lambda z: ops.roll(z, 1, axis=0), lambda z: np.roll(z, 1, 0)),
    "all turned": (
        lambda z: ops.reshape(ops.flip(ops.ravel(z)), (-1, 4)),
        lambda z: z.ravel()[::-1].reshape(-1, 4),
    ),
    "all repeated": (
        lambda z: ops.reshape(ops.repeat(z, 2), (-1, 8))[:, 2:6],
        lambda z: np.repeat(z, 2).reshape(-1, 8)[:, 2:6],
    ),
    "one hot": (
        lambda z: ops.one_hot(ops.argmax(scores(z), 1), 4) * z,
        lambda z: np.eye(8)[np.argmax(z @ z.T, 1)][:, :4] * z,
    ),
    "first sample": (lambda z: z - z[:1] * z[0], lambda z: z - z[:1] * z[0]),
    "neighbours": (
        lambda z: ops.concatenate([z[1:], z[:1]], axis=0) - z,
        lambda z: np.concatenate([z[1:], z[:1]]) - z,
    ),
    "pairs": (
        lambda z: ops.sum(ops.square(z[:, None] - z[None]), axis=1),
        lambda z: np.square(z[:, None] - z[None]).sum(1),
    ),
    "order": (
        lambda z: ops.take(z, ops.argsort(z[:, 0]), axis=0),
        lambda z: z[np.argsort(z[:, 0])],
    ),
    "covariance": (lambda z: z @ (ops.transpose(z) @ z), lambda z: z @ (z.T @ z)),
    "einsum": (lambda z: ops.einsum("ij,kj->ik", z, z) @ z, lambda z: z @ z.T @ z),
    "nearest": (
        lambda z: ops.top_k(scores(z), 1)[0] + 0 * z,
        lambda z: (z @ z.T).max(1, keepdims=True) + 0 * z,
    ),
}
# Graphs of what has no form in a file.
WITHOUT_FILE = {
    "activation": (
        lambda z: cdl.activations.softmax(scores(z)) @ z,
        lambda z: softmax(z @ z.T) @ z,
    ),
    "activation of samples": (
        lambda z: cdl.activations.softmax(z, axis=0),
        lambda z: softmax(z, 0),
    ),
    "number of samples": (
        lambda z: ops.where(ops.eye(ops.shape(z)[0]) > 0, 0.0, scores(z)) @ z,
        lambda z: (z @ z.T - np.diag(np.diag(z @ z.T))) @ z,
    ),
    "reshape": (
        lambda z: ops.reshape(ops.reshape(scores(z), (-1,)), (-1, ops.shape(z)[0])) @ z,
        lambda z: z @ z.T @ z,
    ),
    "loss": (
        lambda z: (
            losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)(
                ops.arange(ops.shape(z)[0]), scores(z)
            )[:, None]
            + 0 * z
        ),
        lambda z: -np.log(np.diag(softmax(z @ z.T)))[:, None] + 0 * z,
    ),
    "Lambda": (attended_in_lambda, lambda z: softmax(z @ z.T) @ z),
    "Lambda of NumPy": (sorted_in_lambda, lambda z: np.sort(z, 0) * np.median(z, 0)),
}
every_graph = pytest.mark.parametrize("name", [*GRAPHS, *WITHOUT_FILE])


def made(name):
    """Model of a graph, and its outputs for all rows in batches of 8."""
    function, of_numpy = {**GRAPHS, **WITHOUT_FILE}[name]
    dense = layers.Dense(4, use_bias=False)
    x = cdl.Input((5,))
    model = cdl.Model(x, function(dense(x)))
    dense.set_weights([KERNEL])
    parts = [of_numpy(X[at : at + 8].astype(float) @ KERNEL) for at in (0, 8, 16)]
    return model, np.concatenate(parts)


@every_graph
def test_outputs_and_losses_are_those_of_numpy(name):
    model, expected = made(name)
    assert model.output_shape == (None, 4)
    found = model.predict(X, batch_size=8, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)
    np.testing.assert_array_equal(model(X[:8]), found[:8])
    model.compile("sgd", "mse")
    loss = model.evaluate(X, Y, batch_size=8, verbose=0)
    assert loss == pytest.approx(np.mean(np.square(expected - Y)), rel=1e-4)


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_come_back_from_files_and_copies(name, tmp_path):
    model, _ = made(name)
    found = model.predict(X, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = cdl.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for each in (cdl.models.load_model(tmp_path / "model.keras"), copy):
        assert each.output_shape == (None, 4)
        np.testing.assert_array_equal(each.predict(X, batch_size=8, verbose=0), found)


@every_graph
def test_fit_makes_the_steps_of_train_on_batch_and_stays_in_the_core(name):
    (fitted, _), (stepped, _) = made(name), made(name)
    for model in (fitted, stepped):
        model.compile(cdl.optimizers.Adam(0.01), "mse")
    fitted.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    assert not fitted._last_train_function.in_python
    for at in (0, 8, 16) * 2:
        stepped.train_on_batch(X[at : at + 8], Y[at : at + 8])
    for one, other in zip(fitted.get_weights(), stepped.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["attention", "pairs", "sort"])
def test_a_model_within_a_model_compares_samples(name):
    inner, expected = made(name)
    x = cdl.Input((5,))
    outer = cdl.Model(x, layers.Rescaling(2.0)(inner(x)))
    assert outer.output_shape == (None, 4)
    found = outer.predict(X, batch_size=8, verbose=0)
    np.testing.assert_allclose(found, 2 * expected, rtol=2e-4, atol=1e-5)
    stacked = cdl.Sequential([cdl.Input((5,)), inner])
    np.testing.assert_array_equal(2 * stacked.predict(X, batch_size=8, verbose=0), found)


def test_a_call_takes_all_samples_as_one_batch():
    model, _ = made("cumsum")
    many = np.tile(X, (3, 1))
    expected = np.cumsum(many.astype(float) @ KERNEL, 0)
    for training in (False, True):
        np.testing.assert_allclose(model(many, training=training), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("of", [lambda z: z - ops.mean(z, axis=0), lambda z: ops.sum(z, axis=0)])
def test_reductions_over_samples_are_those_of_each_batch(of):
    x = cdl.Input((5,))
    model = cdl.Model(x, of(x))
    many = np.tile(X, (14, 1))[:300]
    for rows in (None, 32, 8, 300):
        parts = [of(many[at : at + (rows or 32)]) for at in range(0, 300, rows or 32)]
        found = model.predict(many, batch_size=rows, verbose=0)
        np.testing.assert_allclose(found, np.concatenate(parts), rtol=1e-4, atol=1e-4)
    for found in (model(many), model.predict_on_batch(many)):
        np.testing.assert_allclose(found, of(many), rtol=1e-4, atol=1e-4)
    for _ in range(2):
        np.testing.assert_allclose(model(X), of(X), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(model.predict(X, verbose=0), of(X), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        model.predict(X, batch_size=11, verbose=0),
        np.concatenate([of(X[:11]), of(X[11:])]),
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_model_gives_several_rows_for_each_sample_in_each_call():
    x = cdl.Input((5,))
    model = cdl.Model(x, ops.repeat(x, 2, axis=0))
    for _ in range(2):
        for found in (model(X), model.predict(X, verbose=0)):
            np.testing.assert_array_equal(found, np.repeat(X, 2, axis=0))


def test_matrices_of_samples_by_samples_have_shapes_as_in_keras():
    x = cdl.Input((3,))
    z = scores(x)
    assert z.shape == (None, None)
    assert ops.sum(z).shape == ()
    assert ops.sum(z, axis=0).shape == (None,)
    assert ops.expand_dims(z, -1).shape == (None, None, 1)
    assert ops.reshape(z, (-1,)).shape == (None,)
    assert (z @ x).shape == (None, 3)
    assert (ops.transpose(x) @ x).shape == (3, 3)
    assert layers.Softmax()(z).shape == (None, None)
    assert ops.sort(x, axis=0).shape == (None, 3)
    assert ops.argmax(x, axis=0).shape == (3,)
    assert x[0].shape == (3,)
    fixed = cdl.Input(batch_shape=(4, 3))
    assert scores(fixed).shape == (4, 4)
    assert layers.Dense(2)(scores(fixed)).shape == (4, 2)
    with pytest.raises(ValueError, match="fully-defined"):
        layers.Dense(2)(z)


def test_open_sizes_and_coupled_samples_go_together():
    x = cdl.Input((None, 3))
    z = ops.mean(layers.Dense(3)(x), axis=1)
    model = cdl.Model(x, ops.softmax(scores(z)) @ z)
    kernel, _ = model.get_weights()
    model.compile("sgd", "mse")
    for length in (2, 5):
        given = RNG.normal(size=(7, length, 3)).astype(np.float32)
        z = given.astype(float).mean(1) @ kernel
        expected = softmax(z @ z.T) @ z
        found = model.predict(given, verbose=0)
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)
    model.fit(given, RNG.normal(size=(7, 3)), batch_size=4, verbose=0)


def test_outputs_that_no_sample_has_come_batch_by_batch():
    x = cdl.Input((3,))
    given = X[:, :3]
    first = cdl.Model(x, ops.sort(x, axis=0)[:1])
    assert first.output_shape == (1, 3)
    parts = [np.sort(given[at : at + 8], 0)[:1] for at in (0, 8, 16)]
    np.testing.assert_array_equal(
        first.predict(given, batch_size=8, verbose=0), np.concatenate(parts)
    )
    square = cdl.Model(x, scores(x))
    assert square.output_shape == (None, None)
    assert square.predict(given, verbose=0).shape == (22, 22)
    assert square.predict(given, batch_size=11, verbose=0).shape == (22, 11)
    with pytest.raises(ValueError, match=r"last batch have shapes \(\(16, 8\),\)"):
        square.predict(given, batch_size=8, verbose=0)


def test_samples_of_a_batch_are_classes_of_a_compiled_loss():
    x = cdl.Input((5,))
    model = cdl.Model(x, scores(layers.Dense(4, use_bias=False)(x)))
    model.set_weights([KERNEL])
    model.compile(
        "sgd", losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    z = X[:16].reshape(2, 8, 5).astype(float) @ KERNEL
    z = z @ z.swapaxes(1, 2)
    numbers = np.arange(16) % 8
    expected = -np.log(np.diagonal(softmax(z), axis1=1, axis2=2)).mean()
    found = model.evaluate(X[:16], numbers, batch_size=8, verbose=0)
    np.testing.assert_allclose(found, [expected, np.mean(z.argmax(2).ravel() == numbers)], 1e-5)
    assert model.train_on_batch(X[:8], numbers[:8])
    with pytest.raises(ValueError, match=r"from 0 to 7 for the loss .*, got 8 in row 7"):
        model.train_on_batch(X[:8], numbers[:8] + 1)


def test_outputs_of_one_number_come_batch_by_batch():
    x = cdl.Input((5,))
    model = cdl.Model(x, ops.max(x))
    assert model.predict(X, verbose=0) == X.max()
    found = model.predict(X, batch_size=8, verbose=0)
    np.testing.assert_array_equal(found, [X[:8].max(), X[8:16].max(), X[16:].max()])


def test_what_does_not_fit_is_told_as_ever():
    x = cdl.Input((3,))
    with pytest.raises(ValueError, match=r"add: .* \(None, 3\) and \(4,\)"):
        ops.add(x, np.ones(4))
    with pytest.raises(ValueError, match=r"shapes \(None, 3\) and \(97, 2\)"):
        ops.add(x, np.ones((97, 2)))
    with pytest.raises(ValueError, match=r"shapes \(None, 3\) and \(97, 3\)"):
        ops.add(x, np.ones((97, 3)))
    with pytest.raises(TypeError, match="how many there are is not known"):
        ops.unique(scores(x))


def test_a_graph_may_begin_within_another_one():
    model, expected = made("attention")
    hidden = cdl.Input((4,))
    z = model.layers[1].output
    part = cdl.Model(z, model.output)
    assert part.output_shape == (None, 4)
    found = part.predict(X[:8] @ KERNEL, verbose=0)
    np.testing.assert_allclose(found, expected[:8], rtol=2e-4, atol=1e-5)
    assert part(hidden).shape == (None, 4)


def test_a_lambda_tells_the_shapes_that_come_out():
    square = layers.Lambda(scores)
    assert square.compute_output_shape((None, 3)) == (None, None)
    assert square.compute_output_shape((None, 7)) == (None, None)
    assert cdl.Sequential([cdl.Input((3,)), square]).output_shape == (None, None)
    np.testing.assert_allclose(square(X), X @ X.T, rtol=1e-5, atol=1e-5)


def test_an_export_names_the_op_that_couples_samples(tmp_path):
    model, _ = made("attention")
    x = cdl.Input(batch_shape=(4, 3))
    by_weights = cdl.Model(x, layers.LayerNormalization(axis=0)(x))
    for format in ("c", "onnx"):
        with pytest.raises(ValueError, match=r"must compute each sample by itself.*matmul"):
            model.export(tmp_path / "model", format=format)
        with pytest.raises(ValueError, match=r"by itself.*LayerNormalization 'layer_norm"):
            by_weights.export(tmp_path / "model", format=format)
