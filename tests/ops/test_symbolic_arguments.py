"""Symbolic tensors as arguments that were numbers only, and errors in Keras's words."""

import numpy as np
import pytest

import cdl
from cdl import KerasTensor, layers, ops
from cdl._tracing.graph import scope

X = np.random.default_rng(3).normal(size=(5, 7)).astype(np.float32)
X[1, 2], X[2, 3] = np.nan, np.inf
Q = np.array([0.1, 0.35, 0.5, 1.0], np.float32)


class _Quantiles(layers.Layer):
    def __init__(self, method, keepdims):
        super().__init__()
        self.method, self.keepdims = method, keepdims

    def build(self, shape):
        self.q = self.add_weight(shape=Q.shape, initializer=lambda shape, dtype=None: Q)
        super().build(shape)

    def call(self, x):
        found = ops.quantile(x, self.q, 1, self.method, self.keepdims)
        return ops.moveaxis(found, 0, -1)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_q_of_a_quantile_may_be_symbolic(method, keepdims):
    model = cdl.Sequential([cdl.Input((7,)), _Quantiles(method, keepdims)])
    found = model.predict(X, verbose=0)
    expected = np.moveaxis(ops.quantile(X, Q.astype(float), 1, method, keepdims), 0, -1)
    np.testing.assert_allclose(found[:2], expected[:2], atol=1e-6)
    np.testing.assert_allclose(found[3:], expected[3:], atol=1e-6)
    np.testing.assert_allclose(found[2, ..., :2], expected[2, ..., :2], atol=1e-6)
    assert found.shape == expected.shape


def test_shapes_of_quantiles_at_symbolic_q_are_those_of_keras():
    x, q = KerasTensor((None, 3)), KerasTensor((2,))
    assert ops.quantile(x, KerasTensor(())).shape == ()
    assert ops.percentile(x, q).shape == (2,)
    assert ops.percentile(x, q, axis=1).shape == (2, None)
    assert ops.quantile(x, q, axis=1, keepdims=True).shape == (2, None, 1)


@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles_of_what_is_no_nan_take_the_places_that_numpy_takes(method):
    numbers = np.tile(np.arange(30, dtype=np.float32), (30, 1))
    numbers[np.triu_indices(30, 1)] = np.nan
    x = cdl.Input((30,))
    for q in (0.1, 0.28, 0.55, 0.7):
        found = cdl.Model(x, ops.nanquantile(x, q, 1, method)).predict(numbers, verbose=0)
        expected = np.nanquantile(numbers, q, 1, method=method)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_samples_are_cut_into_halves():
    x = cdl.Input((3,))
    first, second = ops.split(x, 2)
    assert first.shape == (None, 3)
    model = cdl.Model(x, [first, second])
    for n in (2, 6):
        data = np.arange(3.0 * n, dtype=np.float32).reshape(n, 3)
        found = np.concatenate(model.predict(data, batch_size=n, verbose=0))
        np.testing.assert_array_equal(found, data)


def test_scales_of_normalizations_may_have_all_axes():
    x, scale = X[:2, None], np.arange(14, dtype=np.float32).reshape(2, 1, 7)
    plain = ops.rms_normalization(x)
    np.testing.assert_allclose(ops.rms_normalization(x, scale), plain * scale)
    plain = ops.layer_normalization(x)
    np.testing.assert_allclose(ops.layer_normalization(x, scale, scale), plain * scale + scale)


A, B = KerasTensor((3, 4)), KerasTensor((None, 3, 4, 5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: KerasTensor(3), "KerasTensor: shape must be a sequence of sizes, got 3"),
        (lambda: ops.inner(A, KerasTensor((5,))), "inner: .* the same last dimension"),
        (lambda: ops.split(A, 2, axis=10), "axis 10 is out of bounds"),
        (lambda: ops.diff(A, axis=10), "axis 10 is out of bounds"),
        (lambda: ops.stack([A, A], axis=10), "axis 10 is out of bounds"),
        (lambda: ops.concatenate([A, A], axis=None), "concatenate: axis must be an int"),
        (lambda: ops.slice(A, (1, 1), (2, 2, 2)), "dimensions in `inputs` must match .* `shape`"),
        (lambda: ops.slice(A, (1, 1, 1), (2, 2)), "`start_indices` must match .* `inputs`"),
        (lambda: ops.qr(np.eye(2), "full"), "qr: Expected one of {'reduced', 'complete'}"),
        (lambda: ops.average(A, weights=KerasTensor((4,))), "average: axis must be given"),
        (lambda: ops.view_as_complex(np.ones((2, 3))), "view_as_complex: .* last axis of 2"),
        *(
            (
                lambda name=name: ops.batch_normalization(
                    B, *[KerasTensor((5,))] * 2, -1, **{name: KerasTensor((3,))}
                ),
                f"batch_normalization: `{name}` must be a vector of length 5, got shape .3,",
            )
            for name in ("offset", "scale")
        ),
    ],
)
def test_errors_are_values_and_say_what_keras_says(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_complex_numbers_are_refused_by_programs_by_name():
    x = cdl.Input((2,))
    with pytest.raises(TypeError, match="polar: a program has no complex numbers"):
        cdl.Model(x, ops.real(ops.polar(x, x))).predict(np.ones((1, 2)), verbose=0)
    angles = cdl.Model(x, ops.angle(x)).predict(np.array([[-2.0, np.inf]]), verbose=0)
    np.testing.assert_allclose(angles, [[np.pi, 0.0]], rtol=1e-6)


def test_sizes_that_do_not_fit_are_told_for_the_batch_that_they_are_of():
    x = cdl.Input((3,))
    model = cdl.Model(x, ops.split(x, 2)[0])
    with pytest.raises(ValueError, match=r"split: .* must divide the axis, of size 5, got 2"):
        model.predict(X[:, :3], verbose=0)
    np.testing.assert_array_equal(model.predict(X[:4, :3], verbose=0), X[:2, :3])


def test_shapes_in_the_inside_of_keras_are_broadcast_and_compared():
    from cdl.scripts import keras_src

    broadcast, equal = keras_src._INSIDE["broadcast_shapes"], keras_src._INSIDE["shape_equal"]
    assert broadcast((5, 1, None), (3, 1)) == [5, 3, None]
    assert broadcast((1, None), (4, 2)) == [4, 2]
    with pytest.raises(ValueError, match="Cannot broadcast shape"):
        broadcast((2, 3), (2, 4))
    assert equal((2, None), (2, 3))
    assert not equal((2, None), (2, 3), allow_none=False)
    assert equal((2, 9, 4), (2, 3, 4), axis=-2)
    assert not equal((2, 3), (2, 3, 4))


@pytest.mark.parametrize("function", [ops.conj, ops.conjugate, ops.real, ops.round])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float32"])
def test_functions_that_move_numbers_keep_their_dtype(function, dtype):
    assert function(KerasTensor((None, 3), dtype)).dtype == dtype
    assert function(np.ones((2, 3), dtype)).dtype == dtype


class _Part(layers.Layer):
    """Rows of a weight from a start that is a weight too, and columns of x from there."""

    def build(self, shape):
        self.start = self.add_weight(shape=(), dtype="int32", initializer="ones", trainable=False)
        self.w = self.add_weight(shape=(6, 3), initializer=cdl.initializers.RandomUniform(seed=1))

    def call(self, x):
        columns = ops.slice(x, (0, self.start), (ops.shape(x)[0], 4))
        return columns @ ops.slice(self.w, (self.start, 0), (4, 3))


def test_a_slice_may_start_where_the_program_says():
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    model = cdl.Sequential([cdl.Input((6,)), _Part()])
    layer = model.layers[0]
    for start in (1, 2, 0):
        layer.start.assign(start)
        weights = np.array(layer.w)
        expected = x[:, start : start + 4] @ weights[start : start + 4]
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)
    model.compile(cdl.optimizers.SGD(1.0), "mse")
    model.fit(x, np.zeros((3, 3)), verbose=0)
    by_rows = np.zeros_like(weights)
    by_rows[:4] = x[:, :4].T @ expected * 2 / expected.size
    np.testing.assert_allclose(weights - np.array(layer.w), by_rows, atol=1e-6)
    layer.start.assign(-4)
    expected = x[:, -4:] @ np.array(layer.w)[-4:]
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)
    for start in (3, -3, -1):  # of which -3 and -1 would go on at the front
        layer.start.assign(start)
        with pytest.raises(ValueError, match=r"expected numbers in \[0, 6\), got 6"):
            model.predict(x, verbose=0)


class _Cut(layers.Layer):
    """A part whose first start is a weight, so that the others alone are known."""

    def __init__(self, starts, sizes):
        super().__init__()
        self.starts, self.sizes = starts, sizes

    def build(self, shape):
        self.start = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, x):
        return ops.slice(x, (0, self.start, *self.starts), (-1, *self.sizes))


@pytest.mark.parametrize(
    ("starts", "sizes", "said"),
    [
        ((0,), (7, 2), "must stay within inputs, of shape"),
        ((3,), (3, 2), "must stay within inputs, of shape"),
        ((), (3, 2), "`start_indices` must match that of the dimensions in `inputs`"),
        ((0,), (3,), "dimensions in `inputs` must match that of the dimensions in `shape`"),
    ],
)
def test_what_is_known_of_a_slice_beside_a_symbolic_start_is_checked(starts, sizes, said):
    with pytest.raises(ValueError, match=said):
        cdl.Sequential([cdl.Input((5, 4)), _Cut(starts, sizes)])


def test_a_slice_counts_known_starts_from_the_end_beside_a_symbolic_one():
    x = np.arange(40.0, dtype=np.float32).reshape(2, 5, 4)
    model = cdl.Sequential([cdl.Input((5, 4)), _Cut((-2,), (3, 2))])
    np.testing.assert_array_equal(model.predict(x, verbose=0), x[:, :3, 2:])


def test_a_slice_of_symbolic_starts_has_the_shape_that_is_asked_for():
    x, starts = KerasTensor((3, 3)), KerasTensor((2,), "int32")
    assert ops.slice(x, starts, (2, 2)).shape == (2, 2)
    assert ops.slice(x, starts, (-1, -1)).shape == (None, None)
    with pytest.raises(ValueError, match="must stay within inputs"):
        ops.slice(x, starts, (2, 4))
    with pytest.raises(ValueError, match=r"start_indices must be a number for each axis"):
        ops.slice(cdl.Input((6,)), (0, cdl.Input((), dtype="int32")), (2, 2))


_OUTLINES = {
    "nonzero": (lambda x: ops.nonzero(x)[1], (None,)),
    "unique": (ops.unique, (None,)),
    "unique along an axis": (lambda x: ops.unique(x, axis=-1), (None, None)),
    "which of the unique": (lambda x: ops.unique(x, return_inverse=True)[1], (None, 3)),
    "view": (lambda x: ops.view(x, "int16"), (None, 6)),
    "scale": (
        lambda x: ops.image.scale_and_translate(
            x, (None, 5), ops.sum(x, 0)[:1], [0.0], [1], "linear"
        ),
        (None, 5),
    ),
}


def test_unique_along_an_axis_that_is_not_there_has_no_shape():
    with pytest.raises(ValueError, match="axis"):
        ops.unique(cdl.Input((3,)), axis=2)
    with pytest.raises(ValueError, match=r"unique: axis must be an int.*\(0, 1\)"):
        ops.unique(cdl.Input((3,)), axis=(0, 1))


@pytest.mark.parametrize("name", _OUTLINES)
def test_what_no_program_computes_has_a_shape_and_is_refused_where_a_program_is_made(name):
    function, shape = _OUTLINES[name]
    x = cdl.Input((3,))
    found = function(x)
    assert found.shape == shape
    with pytest.raises(TypeError, match=r"(unique|nonzero|view|scale_and_translate) of a symbolic"):
        cdl.Model(x, found).predict(X[:, :3], verbose=0)
    with pytest.raises(TypeError, match="of a symbolic value"), scope(training=False):
        function(x)


_UNFIT = {
    "psnr": (lambda: (cdl.Input((2,)), cdl.Input((5,))), lambda x, y: ops.psnr(x, y, 1.0), ()),
    "dot_product_attention": (
        lambda: (cdl.Input((3, 8, 16)), cdl.Input((4, 6, 16))),
        lambda x, y: ops.dot_product_attention(x, y, y),
        (None, 3, 8, 16),
    ),
}


@pytest.mark.parametrize("name", _UNFIT)
def test_sizes_that_do_not_go_together_are_told_with_the_line_of_the_call(name):
    make, function, shape = _UNFIT[name]
    inputs = make()
    found = function(*inputs)
    assert found.shape == shape
    arrays = [np.ones((4, *x.shape[1:]), np.float32) for x in inputs]
    model = cdl.Model(inputs, found)
    for run in (model.predict, model):
        with pytest.raises(ValueError, match=rf"^{name}: .*\d\).* .*\(.*\d\)") as caught:
            run(arrays)
        assert "test_symbolic_arguments.py" in caught.value.__notes__[0]
        assert f"ops.{name}(x, y" in caught.value.__notes__[0]
    for others in (arrays, [cdl.KerasTensor((2, 3)), cdl.KerasTensor((2,))]):
        with pytest.raises(ValueError, match=rf"{name}: .* must have"):
            function(*others)


def test_complex_numbers_of_sizes_that_do_not_go_together_have_a_shape():
    found = ops.polar(cdl.KerasTensor((1, 2)), cdl.KerasTensor((3, 4)))
    assert found.shape == (1, 2)


def test_open_sizes_that_do_not_meet_are_told_with_the_line_of_the_call():
    x, y = cdl.Input((None,)), cdl.Input((None,))
    model = cdl.Model([x, y], ops.add(x, y))  # the line
    with pytest.raises(ValueError, match=r"add: .*\(None, 3\) and \(None, 4\)") as caught:
        model.predict([np.ones((2, 3)), np.ones((2, 4))], verbose=0)
    assert caught.value.__notes__[0].endswith("# the line")


def test_slices_of_samples_have_no_size_where_there_may_be_fewer():
    x = cdl.Input((5, 4))
    part = x[:5, 3:, 1::2]
    assert part.shape == (None, 2, 2)
    numbers = np.arange(160, dtype=np.float32).reshape(8, 5, 4)
    for n in (3, 8):
        found = cdl.Model(x, part).predict(numbers[:n], verbose=0)
        np.testing.assert_array_equal(found, numbers[:n][:5, 3:, 1::2])
    assert x[5].shape == (5, 4)
    assert ops.diagonal(x).shape == (4, None)


def test_diagonals_have_no_size_where_a_side_has_none():
    x = cdl.Input((2,))
    for found in (ops.diag(x), ops.diagonal(x), ops.diag(x, k=-1), ops.diag(ops.transpose(x))):
        assert found.shape == (None,)
    assert cdl.Model(x, ops.diag(x)).predict(np.float32([[3, 4]]), verbose=0).shape == (1,)
    assert ops.diag(KerasTensor((4, 3)), k=1).shape == (2,)
    assert ops.diag(cdl.Input((3,), batch_size=2)).shape == (2,)
    assert ops.diagonal(cdl.Input((3, 5)), 1, 2, 1).shape == (None, 2)
    assert ops.diagonal(cdl.Input((3, None, 5)), axis1=2, axis2=3).shape == (None, 3, None)


def test_running_sums_without_nan_go_along_several_axes():
    x = np.float32([[1, np.nan], [2, 3]])
    np.testing.assert_array_equal(ops.nancumsum(x, (0, 1)), [[1, 1], [3, 6]])
    np.testing.assert_array_equal(ops.nancumprod(x, [1]), [[1, 1], [2, 6]])
    np.testing.assert_array_equal(ops.nancumsum(x, ()), [[1, 0], [2, 3]])
    assert ops.nancumsum(KerasTensor((None, 2, 3)), (1,)).shape == (None, 2, 3)


def test_channels_that_are_not_known_fit_any_kernel():
    x = KerasTensor((2, 10, None))
    assert ops.conv(x, np.ones((3, 5, 4), np.float32), padding="valid").shape == (2, 8, 4)
    assert ops.conv(x, KerasTensor((3, 5, 4)), padding="valid").shape == (2, 8, 4)
    assert ops.conv_transpose(x, KerasTensor((2, 4, 5)), 2).shape == (2, 20, 4)
