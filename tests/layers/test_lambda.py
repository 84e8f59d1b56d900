"""Functions of the user's own within a model: values, gradients, errors."""

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.layers import Dense, Input, Lambda
from cdl.models import Model, Sequential
from cdl.optimizers import SGD
from cdl.utils import custom_object_scope

pytestmark = pytest.mark.filterwarnings(
    "ignore::cdl.UntracedWarning"
)  # functions that cannot be traced, since they ask for arrays, are meant

RNG = np.random.default_rng(10)
X = RNG.normal(size=(40, 4)).astype(np.float32)
Y = RNG.normal(size=(40, 2)).astype(np.float32)


def double(x):
    return 2.0 * x


def halves(x):
    """A function of NumPy's that cannot be traced: central differences give its gradient."""
    return np.stack([np.asarray(x)[:, :2].sum(1), np.asarray(x)[:, 2:].prod(1)], 1)


FUNCTIONS = {
    "square": lambda x: x**2,
    "mixed": lambda x: np.tanh(x) * x.mean(-1, keepdims=True),
    "reshape": lambda x: x.reshape(-1, 2, 2).sum(1),
    "relu": lambda x: np.maximum(x, 0.0) + 0.1 * x,
    "columns": lambda x: x[:, ::2] * np.exp(x[:, 1::2]),
    "batch": lambda x: x - x.mean(0),
    "constant": lambda x: np.ones((len(x), 3), np.float32),
    "matmul": lambda x: x @ np.arange(12.0, dtype=np.float32).reshape(4, 3),
    "differences": halves,
    "float32": lambda x: np.sort(np.asarray(x, np.float32), 1),
}
UNTRACED = {"constant", "differences", "float32"}
KINDS = [(name, name not in UNTRACED) for name in FUNCTIONS]
# Functions in Python, without those that mix samples, which are not trained through there.
KINDS += [(name, False) for name in FUNCTIONS if name not in {"batch", *UNTRACED}]


def in_python(function):
    return lambda x: function(np.asarray(x))


def net(function, **options):
    model = Sequential(
        [Input((4,)), Dense(4, "tanh"), Lambda(function, **options), Dense(2, name="last")]
    )
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize(("name", "traced"), KINDS)
def test_values_in_a_model_are_those_of_the_function(name, traced):
    model = net(FUNCTIONS[name] if traced else in_python(FUNCTIONS[name]))
    hidden = FUNCTIONS[name](model.layers[0](X))
    np.testing.assert_allclose(model.layers[1](model.layers[0](X)), hidden)
    np.testing.assert_allclose(model(X), model.layers[2](hidden), rtol=1e-5, atol=1e-6)


def gradients(model, weight):
    """The gradient of the loss by a weight, by central differences."""
    values = weight.numpy()
    found = np.zeros(values.shape)
    for at in np.ndindex(values.shape):
        losses = []
        for step in (1e-2, -1e-2):
            moved = values.copy()
            moved[at] += step
            weight.assign(moved)
            losses.append(np.square(model(X).astype(np.float64) - Y).mean())
        weight.assign(values)
        found[at] = (losses[0] - losses[1]) / 2e-2
    return found


@pytest.mark.parametrize(("name", "traced"), KINDS)
def test_training_goes_through(name, traced):
    model = net(FUNCTIONS[name] if traced else in_python(FUNCTIONS[name]))
    assert ("host" in str(model.program())) != traced
    kernel = model.layers[0].kernel
    expected, before = gradients(model, kernel), kernel.numpy()
    model.compile(SGD(1.0), "mse")
    model.train_on_batch(X, Y)
    top = np.abs(expected).max() + 1e-3
    np.testing.assert_allclose(before - kernel.numpy(), expected, rtol=0.02, atol=0.03 * top)


def test_a_whole_fit_and_its_evaluation():
    model, plain = net(double), net(lambda x: x)
    plain.layers[2].kernel.assign(2 * model.layers[2].kernel.numpy())
    np.testing.assert_allclose(model.predict(X, verbose=0), plain.predict(X, verbose=0), rtol=1e-5)
    model.compile("adam", "mse", metrics=["mae"])
    history = model.fit(X, Y, batch_size=8, epochs=20, validation_split=0.2, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert len(model.evaluate(X, Y, verbose=0)) == 2


def test_arguments_and_training_are_handed_over():
    told = []

    def function(x, factor, training=False):
        told.append(training)
        return factor * x

    layer = Lambda(function, arguments={"factor": 3.0})
    np.testing.assert_allclose(layer(X), 3 * X)
    model = Sequential([Input((4,)), layer, Dense(2)])
    model.compile("sgd", "mse")
    told.clear()
    model.fit(X, Y, batch_size=20, verbose=0)
    assert told[-1]
    told.clear()
    model.predict(X, verbose=0)
    assert set(told) == {False}


def test_a_function_that_can_be_followed_is_compiled():
    a, b = Input((4,)), Input((4,))
    y = Lambda(lambda inputs: inputs[0] * 2.0 - inputs[1])([a, b])
    model = Model([a, b], Dense(1)(y))
    assert "host" not in str(model.program())
    found = Model([a, b], y).predict([X, X[::-1]], verbose=0)
    np.testing.assert_allclose(found, 2 * X - X[::-1], rtol=1e-6, atol=1e-6)


def test_the_output_shape_is_tried_given_or_computed():
    assert Lambda(double).compute_output_shape((None, 3)) == (None, 3)
    assert Lambda(halves).compute_output_shape((7, 4)) == (7, 2)
    assert Lambda(double, output_shape=(3,)).compute_output_shape((None, 9)) == (None, 3)
    layer = Lambda(double, output_shape=lambda shape: (shape[0], 5))
    assert layer.compute_output_shape((None, 9)) == (None, 5)
    with pytest.raises(NotImplementedError, match="output_shape must be given"):
        Lambda(lambda x: x.nothing).compute_output_shape((None, 3))
    assert Lambda(double).compute_output_shape((None, None)) == (None, None)
    assert Lambda(halves).compute_output_shape((None, None, 4)) == (None, 2, 4)
    with pytest.raises(ValueError, match="as many samples"):
        Lambda(lambda x: np.asarray(x)[:1]).compute_output_shape((None, 3))


class FailureError(Exception):
    """An error that only the function of this test raises."""


@pytest.mark.parametrize("call", ["predict", "evaluate", "fit"])
def test_an_error_in_the_function_ends_the_run_and_leaves_the_weights(call):
    broken = []

    def function(x):
        if broken and broken.pop():
            raise FailureError("on purpose")
        return np.where(np.isnan(np.asarray(x)), 0.0, x)  # to be called once a batch

    model = net(function)
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=10, verbose=0)
    before = model.get_weights()
    broken.append(True)
    with pytest.raises(FailureError, match="on purpose"):
        model.predict(X, verbose=0) if call == "predict" else getattr(model, call)(X, Y, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.fit(X, Y, verbose=0)  # and the model is still good


def test_a_result_of_another_shape_is_refused():
    sizes = iter([4, 2])
    model = net(lambda x: np.asarray(x)[:, : next(sizes, 2)])
    with pytest.raises(ValueError, match=r"expected an array of shape \(40, 4\), got \(40, 2\)"):
        model.predict(X, batch_size=40, verbose=0)


def test_mixed_samples_that_cannot_be_followed_are_refused_in_training():
    model = net(lambda x: np.asarray(x) - np.asarray(x).mean(0))
    model.predict(X, verbose=0)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="must treat each sample by itself"):
        model.fit(X, Y, verbose=0)


def test_ctrl_c_within_the_function_is_heard():
    def function(x):
        raise KeyboardInterrupt

    model = net(function, output_shape=(4,))
    with pytest.raises(KeyboardInterrupt):
        model.predict(X, verbose=0)


def test_named_functions_go_through_configs():
    layer = Lambda(double, output_shape=(4,), arguments={})
    config = layer.get_config()
    assert config["function"]["class_name"] == "function"
    with custom_object_scope({"double": double}):
        again = Lambda.from_config(config)
    assert again.function is double
    assert again.compute_output_shape((None, 9)) == (None, 4)
    with pytest.warns(UserWarning, match="a lambda is written without its code"):
        Lambda(lambda x: x).get_config()


def test_it_stands_beside_everything_else():
    model = Sequential(
        [
            Input((4,)),
            Dense(6),
            layers.BatchNormalization(),
            Lambda(lambda x: np.maximum(x, 0)),
            layers.Dropout(0.2),
            Dense(2, activity_regularizer="l2"),
        ]
    )
    model.compile("adam", "mse")
    history = model.fit(X, Y, epochs=15, batch_size=8, verbose=0).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: Lambda(3), TypeError, "function must be a function"),
        (lambda: Lambda(double, arguments=[1]), ValueError, "arguments must be a dict"),
        (lambda: net(double, mask=np.ones(4)), ValueError, "mask must be a function in a model"),
        (lambda: Lambda(double, foo=1), ValueError, "foo"),
    ],
)
def test_bad_argument_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        model = call()
        model.predict(X, verbose=0)


def looks(args):
    """A function of two inputs that reads a number, so that it cannot be traced."""
    a, b = args
    if float(np.sum(a)) > 1e9:
        return a
    return a * 2 + b[:, :2] * np.sin(a)


SHAPES = [(2,), lambda shapes: (shapes[0][0], 2), lambda shapes: tuple(shapes[0])]


@pytest.mark.parametrize("output_shape", SHAPES)
def test_function_of_two_inputs_that_is_not_traced_has_the_shape_it_says(output_shape):
    a, b = cdl.Input((2,)), cdl.Input((3,))
    y = cdl.layers.Lambda(looks, output_shape=output_shape)([a, b])
    assert y.shape == (None, 2)
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(5, n)).astype(np.float32) for n in (2, 3)]
    found = cdl.Model([a, b], y).predict(given, verbose=0)
    np.testing.assert_allclose(found, looks(given), rtol=1e-6)


def test_function_of_nested_inputs_of_several_axes_is_called_with_them():
    def joined(parts):
        assert isinstance(float(np.max(parts["a"])), float)
        return parts["a"].sum(axis=2) + parts["b"][0]

    a, b = cdl.Input((2, 3)), cdl.Input((2,))
    y = cdl.layers.Lambda(joined, output_shape=(2,))({"a": a, "b": [b]})
    given = [np.arange(12.0).reshape(2, 2, 3), np.ones((2, 2))]
    found = cdl.Model([a, b], y).predict(given, verbose=0)
    np.testing.assert_allclose(found, given[0].sum(2) + 1)


def test_training_goes_through_a_function_of_two_inputs():
    rng = np.random.default_rng(1)
    x, target = rng.normal(size=(16, 4)), rng.normal(size=(16, 2))
    weights = []
    for function in (looks, lambda args: args[0] * 2 + args[1][:, :2] * np.sin(args[0])):
        cdl.utils.set_random_seed(2)
        inputs = cdl.Input((4,))
        parts = [cdl.layers.Dense(2)(inputs), cdl.layers.Dense(3)(inputs)]
        model = cdl.Model(inputs, cdl.layers.Lambda(function, output_shape=(2,))(parts))
        model.compile("sgd", "mse")
        model.fit(x, target, epochs=3, verbose=0)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_shape_of_several_inputs_must_be_given():
    with pytest.raises(NotImplementedError, match="output_shape must be given, since the function"):
        cdl.layers.Lambda(looks)([cdl.Input((2,)), cdl.Input((3,))])
