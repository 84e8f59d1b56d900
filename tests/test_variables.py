"""A weight is computed with as its array; Variable takes Keras's arguments."""

import copy
import operator
import pickle

import numpy as np
import pytest

import cdl
from cdl import Input, Sequential, Variable, layers, saving

VALUES = np.array([[1.0, -2.0], [3.0, 4.5]], np.float32)
TWO = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod,
    operator.matmul, operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
    np.maximum, np.dot, np.allclose, lambda a, b: np.concatenate([a, b]),
]  # fmt: skip
ONE = [operator.neg, operator.pos, abs, np.mean, np.square, np.linalg.norm, len, list, np.shape,
       np.ndim, lambda a: a[0], lambda a: a[:, 1], lambda a: a[0, 1], lambda a: a[a > 0],
       lambda a: a**2, lambda a: 2**a, lambda a: np.sum(a, axis=0), np.isnan,
       np.transpose]  # fmt: skip


@pytest.fixture(params=["weight", "variable"])
def weight(request):
    if request.param == "variable":
        return Variable(VALUES)
    layer = cdl.layers.Dense(2)
    layer.build((None, 2))
    layer.kernel.assign(VALUES)
    return layer.kernel


def same(got, expected):
    np.testing.assert_array_equal(got, expected)
    assert type(got) is type(expected)
    assert getattr(got, "dtype", None) == getattr(expected, "dtype", None)


@pytest.mark.parametrize("operation", TWO)
def test_operations_of_two_are_those_of_the_array(weight, operation):
    for other in (2.0, VALUES[::-1].copy(), Variable(VALUES.T)):
        array = other if isinstance(other, float) else np.asarray(other)
        try:
            expected = operation(VALUES, array)
        except ValueError:
            with pytest.raises(ValueError):
                operation(weight, other)
            continue
        same(operation(weight, other), expected)
        same(operation(other, weight), operation(array, VALUES))


@pytest.mark.parametrize("operation", ONE)
def test_operations_of_one_are_those_of_the_array(weight, operation):
    same(operation(weight), operation(VALUES))


def test_single_number_is_a_number():
    one = Variable(2.75)
    assert (float(one), int(one), round(one), f"{one:.1f}") == (2.75, 2, 3.0, "2.8")
    with pytest.raises(TypeError, match="single number, got shape"):
        float(Variable(VALUES))
    with pytest.raises(TypeError, match="cannot be used as True or False"):
        bool(one)


def test_results_are_arrays_of_their_own(weight):
    weight[0][0] = 99.0
    (weight + 0)[:] = 0
    np.testing.assert_array_equal(weight.numpy(), VALUES)


def test_assigning_gives_the_new_values(weight):
    np.testing.assert_array_equal(weight.assign(VALUES + 1), VALUES + 1)
    np.testing.assert_array_equal(weight.assign_add(VALUES), 2 * VALUES + 1)
    np.testing.assert_array_equal(weight.assign_sub([[1, 1], [1, 1]]), 2 * VALUES)
    np.testing.assert_array_equal(weight, 2 * VALUES)
    for wrong in (1.0, VALUES[0], np.ones((2, 3))):
        with pytest.raises(ValueError, match=r"\(2, 2\)"):
            weight.assign(wrong)


def test_weights_are_told_apart_by_identity():
    a, b = Variable([1.0]), Variable([1.0])
    assert len({a, b}) == 2 and {a: 1}[a] == 1
    assert a is not b and (a == b).all()


@pytest.mark.parametrize(
    ("arguments", "dtype", "values"),
    [
        (([1, 2],), "int32", [1, 2]),
        ((np.array([1, 2]),), "int32", [1, 2]),
        ((np.array([1.0]),), "float32", [1.0]),
        ((True,), "bool", True),
        ((3, None, "float32"), "float32", 3.0),
        (("ones", (2,)), "float32", [1, 1]),
        ((cdl.initializers.Constant(2), (1, 2), "int64"), "int64", [[2, 2]]),
        ((lambda shape, dtype: np.full(shape, 7.0), [2]), "float32", [7.0, 7.0]),
    ],
)
def test_values_and_dtype_are_those_of_keras(arguments, dtype, values):
    made = Variable(*arguments)
    assert made.dtype == dtype
    np.testing.assert_array_equal(np.asarray(made), values)


def test_everything_that_stands_for_one_is_an_instance(weight):
    assert isinstance(weight, Variable)
    assert isinstance(Variable(1, dtype="int32"), Variable)
    assert isinstance(cdl.optimizers.SGD().iterations, Variable)
    assert not isinstance(VALUES, Variable)


def test_names_count_up_and_can_be_given():
    cdl.utils.clear_session()
    assert [Variable(0.0).name for _ in range(2)] == ["variable", "variable_1"]
    assert Variable(0.0, name="w").path == "w"
    assert "path=w, shape=(), dtype=float32, value=1.5" in repr(Variable(1.5, name="w"))


def test_regularizer_and_constraint_are_kept():
    made = Variable([1.0], regularizer="l2", constraint="non_neg", trainable=False)
    assert isinstance(made.regularizer, cdl.regularizers.L2)
    assert isinstance(made.constraint, cdl.constraints.NonNeg)
    assert not made.trainable


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"initializer": "zeros"}, "shape must be given beside an initializer"),
        ({"initializer": ["a"]}, "initializer must be numbers or an initializer"),
        ({"initializer": [1.0], "shape": (2,)}, "shape must be that of the values"),
        ({"initializer": [1.0], "name": "a/b"}, "name must be a string without '/'"),
        ({"initializer": [1.0], "name": 3}, "name must be a string without '/'"),
        ({"initializer": [1.0], "aggregation": "most"}, "aggregation must be one of"),
        ({"initializer": [1.0], "autocast": False}, "autocast=False is not supported"),
        ({"initializer": [1.0], "layout": "x"}, "layout='x' is not supported"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Variable(**arguments)


def test_an_array_of_bfloat16_is_taken_as_it_is():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    given = np.array([1.0, 2.5], bfloat16)
    made = Variable(given)
    assert made.dtype == "bfloat16" and made.shape == (2,)
    np.testing.assert_array_equal(made, given)
    assert Variable(given, dtype="float32").dtype == "float32"


def test_copies_and_pickles_are_variables_of_their_own(weight):
    for twin in (copy.deepcopy(weight), pickle.loads(pickle.dumps(weight))):
        weight.assign(VALUES * 0)
        np.testing.assert_array_equal(twin, VALUES)
        weight.assign(VALUES)


def test_optimizer_trains_a_variable_of_the_user_s():
    made = Variable([1.0, 2.0])
    cdl.optimizers.SGD(0.5).apply([np.array([1.0, -2.0])], [made])
    np.testing.assert_allclose(made, [0.5, 3.0])


@saving.register_keras_serializable("variables")
class Holding(layers.Layer):
    """A layer with a variable of some dtype, made without `add_weight`."""

    def __init__(self, dtype, trainable=True, counts=False, **kwargs):
        super().__init__(**kwargs)
        self.given = {"dtype": dtype, "trainable": trainable, "counts": counts}
        first = np.zeros(()) if counts else np.ones(3)
        self.held = cdl.Variable(first, dtype=dtype, trainable=trainable, name="held")

    def call(self, x):
        if self.given["counts"]:
            self.held.assign_add(cdl.ops.ones((), self.held.dtype))
        return x * cdl.ops.cast(self.held, "float32")

    def get_config(self):
        return {**super().get_config(), **self.given}


def holding(*args, **options):
    model = Sequential([Input((3,)), Holding(*args, **options), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


X = np.arange(24, dtype=np.float32).reshape(8, 3) / 10


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_variable_of_16_bits_in_a_layer_learns_and_is_in_files(dtype, tmp_path):
    model = holding(dtype)
    layer = model.layers[0]
    assert [each.path for each in layer.trainable_variables] == [layer.held.path]
    model.fit(X, X[:, :1] + 3, verbose=0)
    learned = np.asarray(layer.held, np.float32)
    assert (learned != 1).any()
    assert str(np.asarray(layer.held).dtype) == layer.held.dtype == dtype
    model.save(tmp_path / "model.keras")
    again = cdl.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again.layers[0].held, np.float32), learned)


def test_one_of_float64_that_is_to_learn_is_refused_in_a_layer():
    variable = cdl.Variable(1.0, dtype="float64")
    cdl.optimizers.SGD(0.5).apply([np.ones(())], [variable])
    assert float(variable) == 0.5
    with pytest.raises(ValueError, match="'held' of float64 does not learn"):
        holding("float64").fit(X, X[:, :1], verbose=0)
    assert holding("float64", trainable=False).layers[0].non_trainable_variables


@pytest.mark.parametrize("dtype", ["float16", "int32", "int64", "uint8", "bool"])
def test_one_that_does_not_learn_is_read_anew_and_is_in_files(dtype, tmp_path):
    model = holding(dtype, trainable=False)
    layer = model.layers[0]
    assert [each.path for each in layer.non_trainable_variables] == [layer.held.path]
    before = model.predict(X, verbose=0), model.evaluate(X, X[:, :1], verbose=0)
    layer.held.assign([1, 0, 1])
    after = model.predict(X, verbose=0), model.evaluate(X, X[:, :1], verbose=0)
    assert not np.array_equal(before[0], after[0])
    assert before[1] != after[1]
    model.save(tmp_path / "model.keras")
    again = cdl.saving.load_model(tmp_path / "model.keras")
    assert again.layers[0].held.dtype == dtype
    np.testing.assert_array_equal(again.predict(X, verbose=0), after[0])


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int64"])
def test_one_that_counts_calls_counts_each_batch(dtype):
    model = holding(dtype, trainable=False, counts=True)
    model.fit(X, X[:, :1], batch_size=2, epochs=2, verbose=0)
    assert float(model.layers[0].held) == 8


def test_one_of_integers_takes_no_penalty():
    with pytest.raises(ValueError, match="Variable: regularizer"):
        cdl.Variable(1, regularizer="l2")


def test_a_weight_is_never_overwritten_with_its_gradient():
    v = cdl.Variable(np.zeros(2))
    v.overwrite_with_gradient = False
    with pytest.raises(ValueError, match="overwrite_with_gradient must be False, got True"):
        v.overwrite_with_gradient = True
    assert v.overwrite_with_gradient is False


def test_values_are_assigned_by_name(weight):
    weight.assign(value=2 * VALUES)
    weight.assign_add(value=VALUES)
    weight.assign_sub(value=2 * VALUES)
    np.testing.assert_array_equal(weight.numpy(), VALUES)
    with pytest.raises(TypeError, match=r"assign\(\) got an unexpected keyword argument 'read'"):
        weight.assign(VALUES, read=False)
