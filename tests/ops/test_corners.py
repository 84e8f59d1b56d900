"""Corners of functions: sizes, dtypes and names beyond the usual, as Keras 3.15 has them."""

from collections import OrderedDict, defaultdict, deque

import numpy as np
import pytest

import cdl
from cdl import layers, ops, random, tree

X = np.array([3, 1, 2, 1, 3, 3])


@pytest.mark.parametrize(
    ("size", "fill", "values", "first", "counts"),
    [
        (2, None, [1, 2], [1, 2], [2, 1]),
        (3, None, [1, 2, 3], [1, 2, 0], [2, 1, 3]),
        (5, None, [1, 2, 3, 1, 1], [1, 2, 0, 1, 1], [2, 1, 3, 0, 0]),
        (5, 7, [1, 2, 3, 7, 7], [1, 2, 0, 1, 1], [2, 1, 3, 0, 0]),
    ],
)
def test_unique_of_a_size_has_as_many_counts_and_places(size, fill, values, first, counts):
    options = {"size": size, "fill_value": fill}
    found = ops.unique(X, return_index=True, return_counts=True, **options)
    assert [each.tolist() for each in found] == [values, first, counts]
    assert [each.tolist() for each in ops.unique(X, return_counts=True, **options)] == [
        values,
        counts,
    ]
    found = ops.unique(X, return_inverse=True, return_counts=True, **options)
    assert found[1].tolist() == [2, 0, 1, 0, 2, 2] and found[2].tolist() == counts


def test_moments_of_float16_are_those_of_float32_up_to_its_largest_number():
    x = np.array([40000.0, 20000, -40000, 0], np.float16)
    mean, variance = ops.moments(x, 0)
    assert mean.dtype == variance.dtype == np.float16
    assert float(mean) == 5000.0 and float(variance) == 65504.0
    near = np.array([1000.0, 1001.0, 1002.0, 999.0], np.float16)
    mean, variance = ops.moments(near, 0)
    assert float(mean) == 1000.5 and float(variance) == 1.25


@pytest.mark.parametrize(
    ("ord", "shape", "axis"),
    [
        ("fro", (3,), None),
        ("nuc", (3,), 0),
        ("nope", (2, 3), None),
        (3, (2, 3), (0, 1)),
        ([1], (3,), 0),
    ],
)
def test_norm_of_a_wrong_order_is_refused(ord, shape, axis):
    with pytest.raises(ValueError, match="norm: ord must be"):
        ops.norm(np.ones(shape), ord=ord, axis=axis)


FLOATS = {
    "normal": (),
    "uniform": (),
    "truncated_normal": (),
    "gamma": (1.0,),
    "beta": (1.0, 1.0),
    "binomial": (np.ones(2), np.ones(2)),
}


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("dtype", ["int32", "bool", np.int8])
def test_draws_of_reals_refuse_whole_dtypes(name, dtype):
    with pytest.raises(ValueError, match=f"{name}: dtype must be a float dtype"):
        getattr(random, name)((2,), *FLOATS[name], dtype=dtype)
    assert getattr(random, name)((2,), *FLOATS[name], dtype="float16").dtype == np.float16


@pytest.mark.parametrize("dtype", ["float32", "bool", "bfloat16"])
def test_randint_refuses_other_dtypes_than_integers(dtype):
    with pytest.raises(ValueError, match="randint: dtype must be an integer dtype"):
        random.randint((2,), 0, 3, dtype=dtype)
    assert random.randint((2,), 0, 3, dtype="uint8").dtype == np.uint8


@pytest.mark.parametrize("newshape", [(-2, 3), (-1, -1), [3, -7]])
@pytest.mark.parametrize("x", [np.ones((2, 3)), cdl.KerasTensor((None, 3))])
def test_reshape_by_wrong_sizes_is_refused(newshape, x):
    with pytest.raises(ValueError, match="reshape: newshape must be"):
        ops.reshape(x, newshape)


WAVE = np.ones(32, np.float32)
SIZES = {"sequence_length": 16, "sequence_stride": 4, "fft_length": 16}


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [None, 0, -1, 4.5])
def test_windows_of_fourier_transforms_have_positive_ints(name, value):
    sizes = {**SIZES, name: value}
    with pytest.raises(ValueError, match=f"stft: {name} must be a positive int"):
        ops.stft(WAVE, **sizes)
    with pytest.raises(ValueError, match=f"istft: {name} must be a positive int"):
        ops.istft(ops.stft(WAVE, **SIZES), **sizes)


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (4, 4), (2, 3, 3), (2, 2, 3, 5), (3, 4, 1)])
def test_lu_factor_of_any_matrices_gives_them_back(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    factors, swaps = ops.lu_factor(x)
    m, n = shape[-2:]
    assert factors.shape == shape and swaps.shape == (*shape[:-2], min(m, n))
    lower = np.tril(factors, -1)[..., : min(m, n)] + np.eye(m, min(m, n))
    found = lower @ np.triu(factors)[..., : min(m, n), :]
    for each, places in zip(found.reshape(-1, m, n), swaps.reshape(-1, min(m, n)), strict=True):
        for i in reversed(range(len(places))):
            each[[i, places[i]]] = each[[places[i], i]]
    np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-5)


def test_lu_factor_of_a_column_of_zeros_has_no_nan():
    factors, _ = ops.lu_factor(np.array([[0.0, 1.0], [0.0, 2.0]]))
    assert np.isfinite(factors).all()


def test_split_of_nothing_gives_nothing():
    assert [each.shape for each in ops.split(np.ones((0, 3)), 2)] == [(0, 3), (0, 3)]
    for count in (0, -1):
        with pytest.raises(ValueError, match="split: indices_or_sections must be at least 1"):
            ops.split(np.ones((4, 3)), count)


def test_affine_transform_of_eight_numbers_sees_from_another_side():
    rows, columns = np.mgrid[:6, :8].astype(np.float32)
    image = np.stack([rows, columns], -1)
    a, b, c, d, e, f, g, h = transform = np.array([0.9, 0.1, 0.2, 0.05, 0.8, 0.4, 0.01, 0.02])
    moved = ops.image.affine_transform(image, transform)
    for y, x in ((1, 1), (3, 4), (4, 2)):
        k = g * x + h * y + 1
        wanted = (d * x + e * y + f) / k, (a * x + b * y + c) / k
        np.testing.assert_allclose(moved[y, x], wanted, atol=1e-5)
    images, transforms = np.stack([image] * 2), np.stack([transform, [1, 0, 0, 0, 1, 0, 0, 0]])
    both = ops.image.affine_transform(images, transforms)
    np.testing.assert_allclose(both, [moved, image], atol=1e-5)


@pytest.mark.parametrize("layer", [layers.MixUp(seed=1), layers.CutMix(seed=1)])
def test_one_image_is_mixed_with_itself(layer):
    image, labels = np.random.default_rng(0).random((4, 4, 3), np.float32), np.eye(3)[0]
    np.testing.assert_allclose(layer(image, training=True), image, atol=1e-6)
    found = layer({"images": image, "labels": labels}, training=True)
    np.testing.assert_allclose(found["labels"], labels, atol=1e-6)
    assert found["images"].shape == image.shape


@pytest.mark.parametrize("name", ["segment_sum", "segment_prod", "segment_max", "segment_min"])
def test_segment_ids_that_do_not_fit_are_refused(name):
    for ids in ([0, 1, 1], [0, 1, 1, 0, 1]):
        with pytest.raises(ValueError, match=f"{name}: segment_ids must be as many"):
            getattr(ops, name)(np.ones(4), np.array(ids), num_segments=2)


@pytest.mark.parametrize("kind", [layers.Attention, layers.AdditiveAttention])
def test_attention_of_one_array_is_refused(kind):
    with pytest.raises(ValueError, match="inputs must be a list"):
        kind()(np.ones((2, 3, 4)))


def test_patches_of_volumes_want_three_sizes():
    with pytest.raises(TypeError, match="extract_patches_3d: size must be"):
        ops.image.extract_patches_3d(np.ones((1, 4, 4, 4, 2)), (2, 2))


@pytest.mark.parametrize("outputs", [[], {}, ()])
def test_function_of_no_outputs_is_refused(outputs):
    with pytest.raises(ValueError, match="Function: outputs must be at least one"):
        cdl.Function([cdl.KerasTensor((2, 3))], outputs)


def test_mesh_keeps_a_tuple_as_its_shape():
    assert cdl.distribution.DeviceMesh((1,), ["a"], ["cpu:0"]).shape == (1,)


def test_bare_layer_says_that_it_does_nothing_whatever_it_is_called_on():
    for given in (None, np.ones(2), [np.ones(2)]):
        with pytest.raises(NotImplementedError, match="does nothing by itself"):
            layers.Layer()(given)


def test_trees_may_hold_deques_and_keep_their_kinds():
    made = tree.map_structure(lambda n: n + 1, deque([1, [2]], maxlen=3))
    assert made == deque([2, [3]]) and made.maxlen == 3
    assert tree.flatten(deque([1, (2, 3)])) == [1, 2, 3] and tree.is_nested(deque())
    assert tree.pack_sequence_as(deque([1, [2]]), [5, 6]) == deque([5, [6]])
    several = defaultdict(list, {"b": 1, "a": 2})
    made = tree.map_structure(lambda n: n + 1, several)
    assert type(made) is defaultdict and made.default_factory is list and made == {"b": 2, "a": 3}
    assert type(tree.map_structure(str, OrderedDict(b=1, a=2))) is OrderedDict
    with pytest.raises(ValueError, match="alike"):
        tree.assert_same_structure(deque([1]), [1])


SOFTMAXES = {
    "ops": ops.softmax,
    "activations": cdl.activations.softmax,
    "axis": lambda x: ops.softmax(x.T, axis=0),
    "layer": layers.Softmax(),
    "Dense": layers.Dense(1, activation="softmax"),
    "Activation": layers.Activation("softmax"),
    "model": lambda x: cdl.Sequential([layers.Dense(1, "softmax")]).predict(x, verbose=0),
}


@pytest.mark.parametrize("name", SOFTMAXES)
def test_softmax_over_one_number_warns(name):
    with pytest.warns(UserWarning, match=r"softmax over axis .*size 1.*sigmoid"):
        SOFTMAXES[name](np.ones((2, 1), np.float32))


def test_attention_to_one_key_does_not_warn():
    x = np.ones((2, 1, 4), np.float32)
    layers.MultiHeadAttention(2, 3)(x, x)
    layers.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True)
    layers.GroupQueryAttention(3, 4, 2)(x, x)
    layers.Attention()([x, x])


# --- an output of one number a sample, of shape (n,) ---

OUTPUTS = {
    "EinsumDense": lambda x: layers.EinsumDense("ab,b->a", ())(x * 1.0),
    "ops": lambda x: ops.squeeze(layers.Dense(1, use_bias=False)(x), -1),
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "binary_crossentropy"])
@pytest.mark.parametrize("weighted", [False, True])
def test_output_of_one_number_is_trained_as_a_column_is(name, loss, weighted):
    rng = np.random.default_rng(0)
    data, y = rng.random((8, 3), np.float32), rng.random(8).round()
    weight = rng.random(8) if weighted else None
    x = cdl.Input((3,))
    nets = [cdl.Model(x, OUTPUTS[name](x)), cdl.Model(x, layers.Dense(1, use_bias=False)(x))]
    seen = []
    for net, target in zip(nets, (y, y[:, None]), strict=True):
        net.set_weights([np.full(w.shape, 0.3) for w in net.get_weights()])
        net.compile("sgd", loss, metrics=["mae"])
        history = net.fit(data, target, sample_weight=weight, epochs=2, verbose=0).history
        seen.append([*history["loss"], *history["mae"], *net.predict(data, verbose=0).ravel()])
    np.testing.assert_allclose(*seen, rtol=1e-6)


VIEWS = {
    "16 bits as another": (np.array([1, -3], "int16"), "float16"),
    "float16 as whole numbers": (np.array([1.0, 0.1, -2.5], "float16"), "int16"),
    "float16 as bytes": (np.array([1.0, 0.1], "float16"), "uint8"),
    "bytes as float16": (np.array([[0, 60, 0, 64]], "uint8"), "float16"),
    "a single number": (np.array(7, "int16"), "float16"),
    "float32 as whole numbers": (np.array([1.0, -0.5], "float32"), "int32"),
}


@pytest.mark.parametrize("case", VIEWS)
def test_view_keeps_the_bits(case):
    x, dtype = VIEWS[case]
    found = ops.view(x, dtype=dtype)
    assert found.dtype == dtype and found.shape == x.view(dtype).shape
    assert found.tobytes() == x.tobytes()
    np.testing.assert_array_equal(ops.view(found, x.dtype.name), x)


def test_each_nan_is_unique():
    values, counts = ops.unique(np.float32([1, np.nan, 2, np.nan, 1]), return_counts=True)
    np.testing.assert_array_equal(values, np.float32([1, 2, np.nan, np.nan]))
    np.testing.assert_array_equal(counts, [2, 1, 1, 1])


def test_histogram_of_a_matrix_is_refused():
    with pytest.raises(ValueError, match=r"histogram: x must be 1-dimensional.*\(2, 3\)"):
        ops.histogram(np.ones((2, 3)))


def test_layer_normalization_takes_the_deprecated_scaling_of_keras():
    x = np.array([[3.0, 1, 2, 6], [0, 5, 1, 2]], np.float32)
    gamma, beta = np.float32([1, 2, 3, 4]), np.float32([9, 9, 9, 9])
    inputs = cdl.Input((4,))
    with pytest.warns(UserWarning, match="you passed `rms_scaling=True`, which is deprecated"):
        found = ops.layer_normalization(x, gamma, beta, rms_scaling=True)
        outputs = ops.layer_normalization(inputs, gamma, beta, rms_scaling=True)
        model = cdl.Model(inputs, outputs)
        np.testing.assert_allclose(model.predict(x, verbose=0), found, rtol=1e-6)
        again = cdl.Model.from_config(model.get_config())
        assert np.array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    wanted = x / np.sqrt(x.var(1, keepdims=True) + 1e-7) * gamma
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    plain = ops.layer_normalization(x, gamma, beta, rms_scaling=False)
    assert np.array_equal(plain, ops.layer_normalization(x, gamma, beta))
    with pytest.raises(ValueError, match="rms_scaling"):
        ops.layer_normalization(x, rms_scaling="yes")


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "complex64"])
def test_stft_of_other_dtypes_than_floats_is_a_type_error(dtype):
    with pytest.raises(TypeError, match="stft: x must be of `float32` or `float64`, got"):
        ops.stft(np.ones(600, dtype), **SIZES)


_TRUTHS = np.array([[True, False], [True, True]])


@pytest.mark.parametrize(
    "product",
    [
        ops.matmul,
        ops.dot,
        ops.inner,
        ops.vdot,
        lambda a, b: ops.tensordot(a, b, 1),
        lambda a, b: ops.einsum("ij,jk->k", a, b),
    ],
)
def test_products_of_truths_are_truths(product):
    found = product(_TRUTHS, _TRUTHS)
    counts = product(_TRUTHS.astype(np.int32), _TRUTHS.astype(np.int32))
    assert found.dtype == bool and counts.dtype == np.int32
    np.testing.assert_array_equal(found, counts > 0)
    assert product(cdl.KerasTensor((2, 2), "bool"), cdl.KerasTensor((2, 2), "bool")).dtype == "bool"


def test_products_of_truths_are_truths_in_programs():
    x = cdl.Input((2, 2))
    numbers = np.random.default_rng(0).normal(size=(5, 2, 2)).astype(np.float32)
    found = cdl.Model(x, ops.matmul(x > 0, x > -0.5)).predict(numbers, verbose=0)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, np.matmul(numbers > 0, numbers > -0.5))


@pytest.mark.parametrize("shapes", [((2, 0), (0, 3)), ((2, 3), (3, 0)), ((0, 3), (3, 2))])
def test_tensor_contraction_takes_axes_of_size_0(shapes):
    one, other = (np.ones(shape, np.float32) for shape in shapes)
    expected = np.tensordot(one, other, 1)
    np.testing.assert_array_equal(ops.tensordot(one, other, 1), expected, strict=True)
    np.testing.assert_array_equal(ops.inner(one, other.T), expected, strict=True)


@pytest.mark.parametrize("order", [1, 2, np.inf, 3])
def test_norms_of_integers_are_floats(order):
    for x in (np.int32([2**31 - 1, -(2**31)]), np.int8([-128, 127]), np.array([True, True])):
        found = ops.norm(x, order)
        assert found.dtype == np.float32
        expected = np.linalg.norm(x.astype(float), order)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    x = np.int32([[2**31 - 1, 2**31 - 1], [5, -7]])
    np.testing.assert_allclose(ops.norm(x, 1), np.linalg.norm(x.astype(float), 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("normalize", "name"),
    [
        (ops.layer_normalization, "layer_normalization: gamma"),
        (lambda x, part: ops.layer_normalization(x, beta=part), "layer_normalization: beta"),
        (ops.rms_normalization, "rms_normalization: scale"),
    ],
)
def test_a_factor_of_a_wrong_shape_is_named(normalize, name):
    text = rf"{name} must have shape \(4,\).* got shape \(4, 3\)"
    for x in (np.ones((2, 3, 4), np.float32), cdl.Input((3, 4))):
        with pytest.raises(ValueError, match=text):
            normalize(x, np.ones((4, 3), np.float32))


@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (3, 3), (1, 3), (2, 3, 3)])
def test_a_factor_of_the_last_axis_broadcasts(shape):
    x = np.arange(18, dtype=np.float32).reshape(2, 3, 3) ** 2
    gamma = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    for normalize in (ops.layer_normalization, ops.rms_normalization):
        inputs = cdl.Input((3, 3))
        model = cdl.Model(inputs, normalize(inputs, gamma if len(shape) < 3 else gamma[:1]))
        wanted = normalize(x) * gamma
        np.testing.assert_allclose(normalize(x, gamma), wanted, rtol=1e-6)
        np.testing.assert_allclose(model.predict(x)[:1], wanted[:1], rtol=1e-6)


SMOOTH = {
    "norm": (ops.norm, [0.0, 3, 4], lambda v: np.sqrt((v**2).sum())),
    "norm of matrices": (
        lambda v: ops.norm(ops.reshape(v, (2, 2))),
        [0.0, 2, 0, 1],
        lambda v: np.sqrt((v**2).sum()),
    ),
    "hypot": (lambda v: ops.hypot(v[0], v[1]), [0.0, -2.0], lambda v: np.hypot(*v)),
    "hypot of equal": (lambda v: ops.hypot(v[0], v[1]), [1.5, 1.5], lambda v: np.hypot(*v)),
    "logaddexp": (lambda v: ops.logaddexp(v[0], v[1]), [2.0, 2.0], lambda v: np.logaddexp(*v)),
    "logaddexp2": (lambda v: ops.logaddexp2(v[0], v[1]), [-1.0, -1], lambda v: np.logaddexp2(*v)),
    "det of a singular matrix": (
        lambda v: ops.det(ops.reshape(v, (3, 3))),
        [1.0, 2, 3, 2, 4, 6, 1, 0, 1],
        lambda v: np.linalg.det(v.reshape(3, 3)),
    ),
    "det of zeros": (
        lambda v: ops.sum(ops.det(ops.reshape(v, (2, 2, 2)))),
        [0.0, 0, 0, 0, 1, 2, 3, 4],
        lambda v: np.linalg.det(v.reshape(2, 2, 2)).sum(),
    ),
    "det of one number": (
        lambda v: ops.sum(ops.det(ops.reshape(v**2, (2, 1, 1)))),
        [0.0, 3],
        lambda v: (v**2).sum(),
    ),
    "scatter_update": (
        lambda v: ops.sum(ops.scatter_update(v**3, np.array([[0], [2], [0]]), v[:3] ** 2)),
        [1.0, 2, 3, -1],
        lambda v: v[2] ** 2 + v[1] ** 3 + v[1] ** 2 + v[3] ** 3,
    ),
    "scatter_update that adds": (
        lambda v: ops.sum(ops.scatter_update(v**3, np.array([[0], [0]]), v[:2] ** 2, "add")),
        [1.0, 2, 3],
        lambda v: (v**3).sum() + (v[:2] ** 2).sum(),
    ),
    "sinc": (lambda v: ops.sum(ops.sinc(v)), [0.0, 1e-3, 0.1, 1], lambda v: np.sinc(v).sum()),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives_are_right_where_formulas_have_corners_and_functions_do_not(name):
    function, at, exact = SMOOTH[name]
    at, step = np.array(at), 1e-4

    def by_differences(j, k):
        a, b = step * np.eye(len(at))[[j, k]]
        return (exact(at + a + b) - exact(at + a - b) - exact(at - a + b) + exact(at - a - b)) / (
            4 * step**2
        )

    expected = [[by_differences(j, k) for k in range(len(at))] for j in range(len(at))]
    found = cdl.hessian(function)(at.astype("float32"))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_derivatives_of_sinc_of_large_numbers_are_finite():
    x = np.float32([1e5, -1e6, 1e20])
    assert np.all(np.abs(cdl.grad(lambda v: ops.sum(ops.sinc(v)))(x)) <= 1 / np.abs(x) + 1e-7)
    assert np.isfinite(cdl.hessian(lambda v: ops.sum(ops.sinc(v)))(x)).all()
