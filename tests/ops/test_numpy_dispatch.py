"""NumPy's functions on symbolic tensors are those of `cdl.ops`, with NumPy's arguments."""

import random
import warnings

import numpy as np
import pytest
from ops_calls import CALLS
from ops_table import K, P, Q, T, W, X, Y
from traced import of_samples, run, traced

import cdl
from cdl import layers, ops, regularizers, tree
from cdl._tracing.graph import KerasTensor
from cdl.trainers.vjp import Vjp

# Shapes name the number of samples, which must be known then.
FIXED = ("reshape", "broadcast_to")
# Names of another meaning or signature in NumPy.
OTHERS = {"bincount", "histogram", "select", "unique"}


def is_numpys(function, arrays):
    """Whether NumPy takes such arguments."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            function(*arrays)
    except (TypeError, ValueError):
        return False
    return True


def calls_of_numpy():
    found = []
    for name, calls in CALLS.items():
        function = getattr(np, name, None) or getattr(np.linalg, name, None)
        if function is None or name in OTHERS:
            continue
        for i, call in enumerate(calls):
            own, arrays = of_samples(function, call)
            arrays = [each.copy() for each in arrays]  # which some functions may sort in place
            if arrays and is_numpys(own, arrays):
                found.append(pytest.param(name, own, arrays, id=f"{name}-{i}"))
    return found


def check(function, arrays, fixed=False):
    """A traced function of NumPy gives what NumPy gives."""
    with np.errstate(all="ignore"):
        expected = tree.flatten(function(*arrays))
    found = run(function, arrays, fixed)
    for (_, y), wanted in zip(found, expected, strict=True):
        assert y.shape == np.shape(wanted)
        np.testing.assert_allclose(y, np.asarray(wanted, np.float32), rtol=3e-5, atol=3e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "function", "arrays"), calls_of_numpy())
def test_functions_of_one_name_agree(name, function, arrays):
    try:
        traced(function, arrays, name in FIXED)
    except TypeError as error:
        assert " of a symbolic " in str(error) or "take" in name  # of an array at symbolic places
        return
    check(function, arrays, name in FIXED)


SPELLINGS = {
    "clip: one bound": lambda x: np.clip(x, None, 0.5) + np.clip(x, -0.5, None),
    "clip: by name": lambda x: np.clip(x, a_min=-0.5, a_max=0.7),
    "dtype": lambda x: np.sum(x, axis=-1, dtype=np.float64) + np.add(x, 1, dtype="f4")[:, 0],
    "dtype of truths": lambda x: np.mean(x > 0, axis=1, dtype=float),
    "like": lambda x: np.zeros_like(x, dtype=float) + np.full_like(x, 2.0) + np.ones_like(x),
    "nothing changes": lambda x: np.sum(x, 1, None, None) + np.nan_to_num(x, copy=True)[:, 0],
    "where": lambda x: np.where(x > 0, x, -0.5 * x),
    "where=True": lambda x: np.sum(x, axis=1, where=True),
    "lists": lambda x: np.concatenate((x, np.stack([x, x], axis=2)[..., 0]), axis=1),
    "stacks": lambda x: np.hstack([x, x]) * 2.0,
    "einsum": lambda x: np.einsum("bi,ij->bj", x, W, optimize=True),
    "products": lambda x: np.dot(x, W) + x.dot(W) + x @ W + np.matmul(x, W),
    "norms": lambda x: np.linalg.norm(x, axis=1) + np.linalg.norm(x, 1, axis=-1),
    "reduce": lambda x: np.add.reduce(x, axis=1) + np.maximum.reduce(x, axis=-1),
    "more of reduce": lambda x: np.multiply.reduce(x, -1) - np.minimum.reduce(x, 1),
    "truths": lambda x: np.logical_and.reduce(x > 0, axis=1) + np.logical_or.reduce(x > 1, -1),
    "reduce: axis 0": np.add.reduce,
    "reductions": lambda x: x.sum(1) + x.mean(axis=1) + x.max(1) + x.min(1) + x.prod(1),
    "deviations": lambda x: x.std(axis=1) + x.var(1) + np.std(x, 1) + np.ptp(x, axis=1),
    "keepdims": lambda x: x - x.mean(axis=-1, keepdims=True) + x.sum(1, keepdims=True),
    "any and all": lambda x: (x > 0).any(axis=1) + 2.0 * np.all(x > -1, axis=-1),
    "places": lambda x: x.argmax(1) + x.argmin(axis=1) + 0.0,
    "sums so far": lambda x: x.cumsum(axis=1) + np.cumsum(x, 1),
    "rounded": lambda x: x.round(1) + np.around(x, 1) + np.rint(x) + np.fix(x),
    "methods": lambda x: x.clip(-0.5, 0.5).copy() + np.abs(x).repeat(2, axis=1)[:, ::2],
    "shapes": lambda x: x.reshape(-1, 2, 2).swapaxes(1, 2).transpose(0, 2, 1).sum(2),
    "of a tuple": lambda x: x.reshape((-1, 2, 2)).transpose((0, 2, 1))[:, 0].squeeze(),
    "axes": lambda x: np.expand_dims(x, 1).squeeze(1) + x.T.T + np.transpose(x).T,
    "astype": lambda x: x.astype(np.float64) + (x > 0).astype(float) + (x * 3).astype(int),
    "flat": lambda x: x.ravel() + x.flatten() + np.ravel(x),
    "logic": lambda x: np.where((x > 0) & ~(x > 1) | np.isnan(x) ^ (x < -1), x, 0.0),
    "bits": lambda x: np.where(np.bitwise_and(x > 0, np.invert(x > 1)), x, 0.0),
    "other names": lambda x: np.radians(x) + np.degrees(x) + np.remainder(x, 0.7) + np.positive(x),
    "an array before": lambda x: np.ones(4) * x + np.float64(2.0) - np.arange(4.0) / (x * x + 1),
    "number of samples": lambda x: np.sum(x, axis=0) / np.shape(x)[0] + np.sum(x) / np.size(x),
    "indices": lambda x: x[:, 1:] * x[:, :-1] + np.take(x, [0, 1, 2], axis=1),
    "paddings": lambda x: np.pad(x, ((0, 0), (1, 2)), constant_values=2.0),
    "averages": lambda x: np.average(x, axis=1, weights=[1.0, 2.0, 3.0, 4.0]),
    "split": lambda x: np.split(x, 2, axis=1)[1] + np.roll(x, 1, axis=1)[:, :2],
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_calls_are_spelled_as_numpy_spells_them(name):
    check(SPELLINGS[name], [X.array])


def test_several_tensors_may_be_given():
    check(lambda x, y: np.where(x > y, x, np.hypot(x, y)), [X.array, Y.array])
    check(lambda t, q: np.matmul(t, q) + np.einsum("bij,bjk->bik", t, q), [T.array, Q.array])
    check(lambda k, p: np.power(p, 2) + np.maximum(k, p), [K.array, P.array])


def test_weights_are_followed_in_traced_code_and_arrays_elsewhere():
    class Scaled(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(4,), initializer="ones")

        def call(self, x):
            return np.multiply(x, np.exp(self.w)) + np.sum(self.w) + np.stack([self.w, self.w])[0]

    layer = Scaled()
    model = cdl.Sequential([cdl.Input((4,)), layer])
    expected = X.array * np.exp(1) + 5
    np.testing.assert_allclose(model.predict(X.array, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(layer(X.array), expected, rtol=1e-5)
    assert isinstance(np.exp(layer.w), np.ndarray)


def test_it_goes_into_a_model_of_tensors():
    x = cdl.Input((4,))
    model = cdl.Model(x, np.tanh(x) + x.sum(axis=-1, keepdims=True))
    found = model.predict(X.array, verbose=0)
    expected = np.tanh(X.array) + X.array.sum(-1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


x, w = KerasTensor((None, 4)), KerasTensor((3, 4), rows_per_sample=0)
REFUSED = {
    "no such function": (lambda: np.unwrap(x), "numpy.unwrap of .*: cdl.ops has no such function"),
    "of linear algebra": (lambda: np.linalg.cond(x), "numpy.linalg.cond of .*no such function"),
    "of another module": (lambda: np.fft.fft(x), "numpy.fft.fft of"),
    "no such ufunc": (lambda: np.spacing(x), "numpy.spacing of"),
    "out": (lambda: np.sum(x, out=np.zeros(())), "numpy.sum of .* with out=: call it without"),
    "out of a ufunc": (lambda: np.add(x, 1, out=np.zeros(4)), "numpy.add of .* with out="),
    "where": (lambda: np.sum(x, where=np.ones(4, bool)), "numpy.sum of .* with where="),
    "where of a ufunc": (lambda: np.exp(x, where=np.ones(4, bool)), "numpy.exp of .* with where="),
    "ddof": (lambda: x.std(axis=1, ddof=1), "numpy.std of .* with ddof="),
    "order": (lambda: np.reshape(x, (-1, 4), order="F"), "numpy.reshape of .* with order="),
    "in place": (lambda: np.nan_to_num(x, copy=False), "numpy.nan_to_num of .* with copy="),
    "whole numbers": (lambda: np.sum(x, dtype=int), "numpy.sum of .* with dtype=int64: use astype"),
    "accumulate": (lambda: np.add.accumulate(x), "numpy.add.accumulate of"),
    "at": (lambda: np.add.at(x, [0], 1.0), "numpy.add.at of"),
    "outer": (lambda: np.multiply.outer(w, w), "numpy.multiply.outer of"),
    "an array": (lambda: np.asarray(x), "a symbolic tensor is no NumPy array"),
    "a number": (lambda: float(np.sum(x)), "the number in a symbolic tensor is not known"),
    "a branch": (lambda: 1 if np.any(x > 0) else 0, "the truth value of a symbolic tensor"),
    "a size": (lambda: np.sum(x) / x.shape[0], r"not known .*: take a mean, or np.shape\(x\)\[0\]"),
    "a length": (lambda: len(x), r"has no len\(\): take a mean, or np.shape\(x\)\[0\]"),
    "an assignment": (lambda: x.__setitem__(0, 1.0), "cannot be assigned to"),
}
if hasattr(np.linalg, "trace"):  # from NumPy 2 on: of the last two axes
    REFUSED["of other axes"] = (lambda: np.linalg.trace(x), "numpy.linalg.trace of")


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_counterpart_shows_the_users_line(name):
    call, text = REFUSED[name]
    with pytest.raises(TypeError, match=rf"test_numpy_dispatch.py:\d+: .*{text}"):
        call()


def test_arguments_that_numpy_does_not_have_are_refused_by_it():
    with pytest.raises(TypeError, match="no_such"):
        np.sum(x, no_such=3)


def test_a_tensor_that_all_samples_share_has_a_length_and_rows():
    assert len(w) == 3
    assert [row.shape for row in w] == [(4,)] * 3


def test_bounds_stay_within_what_they_are_in_64_bits():
    """`1 - 1e-15` would be 1 in 32 bits, and its logarithm of 1 - p infinite."""
    p = np.float32([[0.0, 0.5, 1.0]])

    def entropy(p):
        p = np.clip(p, 1e-15, 1 - 1e-15)
        q = np.maximum(np.minimum(p, 1 - 1e-12), 1e-300)
        return -np.log(1 - p) - np.log(q) - np.log(np.clip(p * 0.0, 1e-60, 1.0))

    ((_, found),) = run(entropy, [p])
    assert np.isfinite(found).all()
    ((_, same),) = run(lambda p: np.clip(p, 0.25, 0.75), [p])
    np.testing.assert_array_equal(same, [[0.25, 0.5, 0.75]])


# --- derivatives ---

WEIGHT = (np.random.default_rng(0).normal(size=(3, 4)) + 0.1).astype(np.float32)
EYE = np.eye(3, dtype=np.float32)
FORMULAS = {
    "l2": lambda x: 0.1 * np.sum(np.square(x)),
    "power": lambda x: (x**2).sum() + np.sum(np.abs(x) ** 1.5) + np.sum(2.0**x),
    "operators": lambda x: ((3 - x) * -x / (x * x + 2) + x).mean(),
    "broadcast": lambda x: np.sum(x * x.sum(axis=0) - np.mean(x, axis=1, keepdims=True)),
    "products": lambda x: np.sum(np.abs(x @ x.T - EYE)) + np.sum(np.matmul(EYE, x)),
    "norms": lambda x: np.linalg.norm(x) + np.sum(np.linalg.norm(x, axis=0)),
    "roots": lambda x: np.sum(np.sqrt(x * x + 1) + np.log(x * x + 1) + np.exp(-np.abs(x))),
    "waves": lambda x: np.sum(np.tanh(x) + np.sin(x) * np.cos(x) + np.arctan(x) + np.expm1(x)),
    "logs": lambda x: np.sum(np.log1p(x * x) + np.log2(x * x) + np.log10(x * x)),
    "choices": lambda x: np.sum(np.where(x > 0, x, 3 * x * x) + np.clip(x, -0.5, 0.5)),
    "extremes": lambda x: x.max() + np.min(x, axis=1).sum() + np.sum(np.maximum(x, 2 * x)),
    "parts": lambda x: np.sum(x[1:] * x[:-1]) + x[0, 0] ** 2 + np.sum(x[:, [0, 0]]),
    "shapes": lambda x: np.sum(x.reshape(4, 3) @ x) + np.sum(x.ravel()[::2] ** 3),
    "transposed": lambda x: np.sum(np.transpose(x) @ EYE * x.T + np.expand_dims(x, 0).T[..., 0]),
    "diagonal": lambda x: np.trace(x) + np.sum(np.diag(x) ** 2) + np.dot(x[0], x[1]),
    "rows": lambda x: sum(np.sum(row) ** 2 for row in x) / len(x),
    "cumulated": lambda x: np.sum(np.cumsum(x, axis=1) ** 2) + np.sum(np.arcsinh(x)),
    "of products": lambda x: np.multiply.reduce(x.ravel()),
    "twice": lambda x: np.sum((y := np.square(x)) * y) + np.sum(y),
    "l1": lambda x: regularizers.L1(0.1)(x) * 2 + regularizers.L1L2(0.1, 0.2)(x),
}
PENALTIES = {mode: regularizers.OrthogonalRegularizer(0.5, mode) for mode in ("rows", "columns")}


def wide(name):
    """A formula in 64 bits; cdl's own classes, which compute in 32, written anew."""
    if name == "l1":
        return lambda x: 0.3 * np.abs(x).sum() + 0.2 * np.square(x).sum()
    if name in PENALTIES:
        return lambda x: orthogonal(x if name == "rows" else x.T)
    return FORMULAS[name]


def orthogonal(rows):
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    n = len(rows)
    products = rows @ rows.T
    return 0.5 * np.abs(products - np.diag(np.diag(products))).sum() / (n * (n - 1))


def value_and_gradient(function, w):
    """The value of a traced function of a weight, and its derivative."""
    graph, reason = regularizers.traced(function, w.shape)
    assert graph is not None, reason

    def append(program, values):
        return program.broadcast_batch(
            graph.lower(program, [program.batch_reduce(values[0], "sum")])
        )

    value, (gradient,) = Vjp(append, [w.shape]).of([w[None]])
    return float(value[0]), gradient[0]


@pytest.mark.parametrize("name", [*FORMULAS, *PENALTIES])
def test_the_derivative_of_a_penalty_is_that_of_central_differences(name):
    function, exact = {**FORMULAS, **PENALTIES}[name], wide(name)
    value, gradient = value_and_gradient(function, WEIGHT)
    expected = np.empty(WEIGHT.shape)
    for i in np.ndindex(WEIGHT.shape):
        above, below = WEIGHT.astype(np.float64), WEIGHT.astype(np.float64)
        above[i] += 1e-6
        below[i] -= 1e-6
        expected[i] = (float(exact(above)) - float(exact(below))) / 2e-6
    assert value == pytest.approx(float(exact(WEIGHT.astype(np.float64))), rel=1e-5)
    np.testing.assert_allclose(gradient, expected, rtol=2e-4, atol=2e-5)


def test_the_derivative_of_an_absolute_value_at_0_is_0():
    at = np.float32([-2, 0, 0, 3])
    for function in (np.abs, np.fabs, np.absolute, abs):
        _, gradient = value_and_gradient(lambda x, f=function: np.sum(f(x)), at)
        np.testing.assert_array_equal(gradient, np.sign(at))


def test_equal_largest_elements_share_the_derivative():
    at = np.float32([1, 3, 3])
    np.testing.assert_allclose(value_and_gradient(np.max, at)[1], [0, 0.5, 0.5])
    _, gradient = value_and_gradient(lambda x: np.sum(np.maximum(x, 3)), at)
    np.testing.assert_allclose(gradient, [0, 0.5, 0.5])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: float(np.sum(x)),
        lambda x: np.sum(np.asarray(x)),
        lambda x: np.sum(np.spacing(x)),
        lambda x: x,
        lambda x: np.sum(x[x > 0]),
    ],
)
def test_a_penalty_that_cannot_be_traced_is_no_graph_of_one_number(function):
    graph, _ = regularizers.traced(function, WEIGHT.shape)
    assert graph is None or graph.outputs.shape != ()


def test_such_a_penalty_is_differentiated_by_differences():
    def penalty(x):
        return float(np.sum(np.square(np.asarray(x))))

    value, gradient = regularizers.gradient(penalty, WEIGHT)
    assert value == pytest.approx(np.square(WEIGHT).sum())
    np.testing.assert_allclose(gradient, 2 * WEIGHT, rtol=1e-5)


# --- the user's code in training ---


def numpy_loss(y, p):
    return -np.sum(y * np.log(np.clip(p, 1e-7, 1.0)), axis=-1)


def ops_loss(y, p):
    return -ops.sum(y * ops.log(ops.clip(p, 1e-7, 1.0)), axis=-1)


ROWS = np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32)
TARGETS = np.eye(3, dtype=np.float32)[np.random.default_rng(2).integers(0, 3, 40)]


def fitted(loss, *more, metrics=(), jit_compile=True, **options):
    hidden = [layers.Dense(4, "tanh", **options), *more, layers.Dense(3, "softmax")]
    model = cdl.Sequential([cdl.Input((4,)), *hidden])
    model.compile("adam", loss, metrics=list(metrics), jit_compile=jit_compile)
    logs = model.fit(ROWS, TARGETS, batch_size=8, epochs=3, verbose=0).history
    return list(logs.values()), model.get_weights()


class NumpyStates(cdl.metrics.Metric):
    np = np

    def __init__(self):
        super().__init__(name="own")
        self.total = self.add_weight(name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(self.np.sum(self.np.abs(y_true - y_pred)))

    def result(self):
        return self.total


class OpsStates(NumpyStates):
    np = ops


PAIRS = {
    "loss": (lambda np: {"loss": numpy_loss if np is not ops else ops_loss}),
    "metric": (lambda np: {"metrics": [lambda y, p: np.max(y - p, axis=-1)]}),
    "states": (lambda np: {"metrics": [OpsStates() if np is ops else NumpyStates()]}),
    "regularizer": (lambda np: {"kernel_regularizer": lambda w: 0.1 * np.sum(np.abs(w))}),
    "of activities": (lambda np: {"activity_regularizer": lambda x: np.sum(np.square(x))}),
    "Lambda": (lambda np: {"more": layers.Lambda(lambda x: np.sin(x) + np.mean(x, 0))}),
    "activation": (lambda np: {"more": layers.Dense(3, activation=lambda x: np.maximum(x, 0.1))}),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_what_is_in_numpy_trains_with_the_very_bits_of_the_same_in_ops(kind):
    found = []
    for each in (np, ops):
        cdl.utils.set_random_seed(0)
        options = {"loss": "mse", **PAIRS[kind](each)}
        more = [options.pop("more")] if "more" in options else []
        found.append(fitted(options.pop("loss"), *more, **options))
    assert all(np.array_equal(a, b) for a, b in zip(found[0][0], found[1][0], strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))


@pytest.mark.parametrize("count", [len, lambda y: y.shape[0], lambda y: y.size / 3])
def test_a_loss_that_counts_the_samples_has_an_exact_gradient_all_the_same(count):
    """The loss is traced for each batch's size, which is known when it is called."""
    found = []
    for loss in (lambda y, p: np.sum((y - p) ** 2) / (3 * count(y)), "mse"):
        cdl.utils.set_random_seed(0)
        found.append(fitted(loss, jit_compile=False)[0])
    np.testing.assert_allclose(*found, rtol=1e-5)


GENERATOR = np.random.default_rng(3)
COUNTED = []
DRAWS = {
    "numpy.random": lambda y, p: np.mean(np.square(y - p), -1) * np.random.uniform(),
    "a generator": lambda y, p: np.mean(np.square(y - p + GENERATOR.normal(size=3)), axis=-1),
    "beside operators alone": lambda y, p: (y - p + GENERATOR.normal(size=3)) ** 2,
    "Python's": lambda y, p: np.sum(np.square(y - p), axis=-1) + random.random(),
    "a count": lambda y, p: np.sum(np.square(y - p), axis=-1) * (COUNTED.append(1) or len(COUNTED)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_what_draws_is_called_on_each_batch_and_says_so(name):
    with pytest.warns(cdl.UntracedWarning, match="other numbers each time that it is called"):
        fitted(DRAWS[name], jit_compile=False)
    with pytest.raises(ValueError, match=r"draw them with cdl\.random"):
        fitted(DRAWS[name], jit_compile=True)


def test_a_metric_with_states_that_draws_is_called_too():
    class Draws(NumpyStates):
        def update_state(self, y_true, y_pred):
            self.total.assign_add(np.sum(y_true) * np.random.uniform())

    with pytest.warns(cdl.UntracedWarning, match="other numbers each time"):
        fitted("mse", metrics=[Draws()], jit_compile=False)


def test_numbers_that_are_drawn_alike_each_time_are_constants():
    fitted(lambda y, p: np.mean((y - p) ** 2 * np.random.default_rng(0).uniform(size=3), axis=-1))


def test_random_numbers_of_cdl_are_drawn_anew_in_each_step():
    seed = cdl.random.SeedGenerator(1)
    fitted(lambda y, p: np.mean(np.square(y - p), -1) + cdl.random.uniform((), seed=seed))
