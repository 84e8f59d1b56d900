"""Initial values have the distribution of their initializer's formula."""

import math

import numpy as np
import pytest

from cdl import initializers, layers, random
from cdl.utils import set_random_seed

SHAPE = (400, 300)
DRAWN = [
    initializers.RandomNormal,
    initializers.RandomUniform,
    initializers.TruncatedNormal,
    initializers.VarianceScaling,
    initializers.GlorotNormal,
    initializers.GlorotUniform,
    initializers.HeNormal,
    initializers.HeUniform,
    initializers.LecunNormal,
    initializers.LecunUniform,
]
CUT = 0.87962566103423978  # standard deviation of a normal variable cut off at 2 sigma


@pytest.mark.parametrize(
    ("name", "stddev", "largest"),
    [
        ("glorot_uniform", math.sqrt(2 / 700), math.sqrt(6 / 700)),
        ("glorot_normal", math.sqrt(2 / 700), 2 * math.sqrt(2 / 700) / CUT),
        ("he_uniform", math.sqrt(2 / 400), math.sqrt(6 / 400)),
        ("he_normal", math.sqrt(2 / 400), 2 * math.sqrt(2 / 400) / CUT),
        ("lecun_uniform", math.sqrt(1 / 400), math.sqrt(3 / 400)),
        ("lecun_normal", math.sqrt(1 / 400), 2 * math.sqrt(1 / 400) / CUT),
        ("variance_scaling", math.sqrt(1 / 400), 2 * math.sqrt(1 / 400) / CUT),
        ("random_uniform", 0.1 / math.sqrt(12), 0.05),
        ("truncated_normal", 0.05 * CUT, 0.1),
        ("random_normal", 0.05, math.inf),
    ],
)
def test_values_have_the_spread_and_the_limit(name, stddev, largest):
    values = initializers.get(name)(SHAPE).astype(np.float64)
    assert abs(values.mean()) < 4 * stddev / math.sqrt(values.size)
    assert values.std() == pytest.approx(stddev, rel=0.01)
    assert np.abs(values).max() <= largest * (1 + 1e-6)
    if math.isfinite(largest):
        assert np.abs(values).max() > 0.97 * largest


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["truncated_normal", "untruncated_normal", "uniform"])
def test_variance_is_scale_by_fan(mode, distribution):
    values = initializers.VarianceScaling(3.0, mode, distribution, seed=1)(SHAPE)
    n = {"fan_in": 400, "fan_out": 300, "fan_avg": 350}[mode]
    assert values.std() == pytest.approx(math.sqrt(3 / n), rel=0.01)


@pytest.mark.parametrize(
    ("shape", "fans"),
    [((), (1, 1)), ((7,), (7, 7)), ((3, 5), (3, 5)), ((2, 3, 4, 5), (24, 30))],
    ids=str,
)
def test_fans_include_the_window(shape, fans):
    assert initializers.VarianceScaling()._fans(shape) == fans


def test_axes_give_the_fans():
    scaling = initializers.GlorotUniform(input_axes=(0,), output_axes=(1, 2))
    assert scaling._fans((3, 4, 5)) == (3, 20)


@pytest.mark.parametrize("cls", DRAWN)
def test_seed_gives_the_same_values_at_each_call_and_to_each_object(cls):
    first = cls(seed=3)
    np.testing.assert_array_equal(first((4, 5)), first((4, 5)))
    np.testing.assert_array_equal(first((4, 5)), cls(seed=3)((4, 5)))
    assert not np.array_equal(first((4, 5)), cls(seed=4)((4, 5)))


def test_seed_that_was_not_given_is_drawn_once_from_python():
    set_random_seed(5)
    first = initializers.GlorotUniform()
    second = initializers.GlorotUniform()
    np.testing.assert_array_equal(first((3, 3)), first((3, 3)))
    assert not np.array_equal(first((3, 3)), second((3, 3)))
    set_random_seed(5)
    np.testing.assert_array_equal(initializers.GlorotUniform()((3, 3)), first((3, 3)))
    assert first.get_config()["seed"] is None


@pytest.mark.parametrize(
    ("initializer", "expected"),
    [
        (initializers.Zeros(), [[0, 0, 0]]),
        (initializers.Ones(), [[1, 1, 1]]),
        (initializers.Constant(2.5), [[2.5, 2.5, 2.5]]),
        (initializers.Constant([1, 2, 3]), [[1, 2, 3]]),
        (initializers.get(np.array([[4, 5, 6]])), [[4, 5, 6]]),
    ],
)
def test_known_values(initializer, expected):
    values = initializer((1, 3))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("dtype", ["int32", "float64", np.float16])
def test_dtype_is_honoured(dtype):
    assert initializers.Ones()((2,), dtype=dtype).dtype == np.dtype(dtype)


def test_shape_may_be_one_int_or_a_list():
    assert initializers.Zeros()(3).shape == (3,)
    assert initializers.GlorotUniform()([2, 3]).shape == (2, 3)


def test_clone_has_the_same_arguments():
    assert initializers.RandomNormal(1.0, 2.0, seed=3).clone().get_config() == {
        "seed": 3,
        "mean": 1.0,
        "stddev": 2.0,
    }


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: initializers.VarianceScaling(scale=0), "scale must be a number > 0, got 0"),
        (lambda: initializers.VarianceScaling(mode="x"), "mode must be one of 'fan_in', 'fan_out'"),
        (lambda: initializers.VarianceScaling(distribution="x"), "distribution must be one of"),
        (lambda: initializers.VarianceScaling(distribution=3), "distribution must be one of"),
        (lambda: initializers.RandomNormal(seed="a"), "seed must be an int from 0 to 2**32 - 1"),
        (lambda: initializers.RandomNormal(seed=1.5), "RandomNormal: seed must be"),
        (lambda: initializers.HeNormal(seed=-1), "HeNormal: seed must be"),
        (lambda: initializers.RandomNormal(stddev=-1), "stddev must be a number >= 0"),
        (
            lambda: initializers.RandomUniform("a"),
            "RandomUniform: minval must be a number, got 'a'",
        ),
        (lambda: initializers.Zeros()((2, None)), "Zeros: shape must have known sizes"),
        (lambda: initializers.Zeros()((2, -2)), "Zeros: shape must have known sizes"),
        (lambda: initializers.Zeros()((2,), dtype="foo"), "dtype must be that of numbers, "),
        (lambda: initializers.get(np.ones(3))((4,)), "the weight's shape (4,), got (3,)"),
    ],
)
def test_bad_argument_is_refused(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (2, 3, 4)], ids=str)
def test_orthogonal_rows_or_columns_are_orthonormal(shape):
    values = initializers.Orthogonal(gain=2.0, seed=1)(shape)
    assert values.shape == shape and values.dtype == np.float32
    flat = values.reshape(-1, shape[-1]) / 2
    small = flat.T @ flat if flat.shape[0] >= flat.shape[1] else flat @ flat.T
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-6)


def test_identity_is_1_on_the_diagonal_times_gain():
    np.testing.assert_array_equal(initializers.Identity(2.0)((2, 3)), [[2, 0, 0], [0, 2, 0]])
    assert initializers.Identity().get_config() == {}
    again = initializers.Identity.from_config(initializers.Identity(2.0).get_config())
    assert again.gain == 2.0


@pytest.mark.parametrize("name", ["identity", "IdentityInitializer", "orthogonal"])
@pytest.mark.parametrize("shape", [(3,), ()])
def test_matrices_have_two_axes(name, shape):
    with pytest.raises(ValueError, match="shape must have"):
        initializers.get(name)(shape)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("scaling", ["density", "spectrum", None])
@pytest.mark.parametrize("window", ["hann", "blackman", "parzen", None])
def test_stft_is_the_fourier_transform_of_the_windowed_signal(window, scaling, periodic):
    signal = pytest.importorskip("scipy.signal")
    values = np.ones(16) if window is None else signal.get_window(window, 16, periodic)
    norm = 1.0
    if window is not None and scaling is not None:
        norm = np.sqrt((values**2).sum()) if scaling == "density" else np.abs(values).sum()
    x = np.random.default_rng(0).normal(size=16)
    expected = np.fft.rfft(x * values / norm)
    found = [
        x @ initializers.STFT(side, window, scaling, periodic)((16, 1, 9))[:, 0]
        for side in ("real", "imag")
    ]
    np.testing.assert_allclose(found[0] + 1j * found[1], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize(
    "name",
    ["boxcar", "hann", "hamming", "blackman", "nuttall", "blackmanharris", "flattop", "bartlett"],
)
def test_windows_that_need_no_scipy_are_scipy_s(name, periodic):
    signal = pytest.importorskip("scipy.signal")
    for length in (1, 2, 7, 16):
        expected = signal.get_window(name, length, periodic)
        kernel = initializers.STFT("real", name, None, periodic)((length, 1, 1))
        np.testing.assert_allclose(kernel[:, 0, 0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"side": "left"}, "side must be one of 'real', 'imag'"),
        ({"window": "unknown"}, "window must be a window"),
        ({"scaling": "l2"}, "scaling must be one of"),
        ({"periodic": "no"}, "periodic must be True or False"),
    ],
)
def test_stft_says_what_is_wrong(arguments, words):
    pytest.importorskip("scipy")
    with pytest.raises(ValueError, match=words):
        initializers.STFT(**arguments)


def test_stft_says_what_does_not_fit_when_called():
    with pytest.raises(ValueError, match="3 axes"):
        initializers.STFT()((4, 3))
    with pytest.raises(ValueError, match="window must be 4 numbers"):
        initializers.STFT(window=[1.0, 2.0])((4, 1, 3))


def test_seed_generator_gives_other_values_at_each_call():
    seed = random.SeedGenerator(3)
    initializer = initializers.RandomNormal(seed=seed)
    first, second = initializer((50,)), initializer((50,))
    assert not np.array_equal(first, second)
    again = initializers.RandomNormal.from_config(initializer.get_config())
    np.testing.assert_array_equal(again((50,)), first)
    np.testing.assert_array_equal(again((50,)), second)


class _Scaled(initializers.VarianceScaling):
    def __init__(self, gain):
        super().__init__(gain, "fan_in", "untruncated_normal")


class _Wide(initializers.RandomNormal):
    def __init__(self, stddev):
        super().__init__(0.0, stddev)


class _Filled(initializers.Initializer):
    def __init__(self, value):
        self.value = value

    def __call__(self, shape, dtype=None):
        return np.full(shape, self.value, dtype)


def _rows(shape, dtype=None):
    return np.broadcast_to(np.arange(shape[-1], dtype=dtype), shape)


_OF_USERS = [lambda: _Scaled(2.0), lambda: _Wide(3.0), lambda: _Filled(4.0), lambda: _rows]
_LAYERS = [
    lambda **more: layers.EinsumDense("abc,cde->abde", (None, 4, 8), **more),
    lambda **more: layers.MultiHeadAttention(4, 8, **more),
    lambda **more: layers.GroupQueryAttention(8, 4, 2, **more),
]


@pytest.mark.parametrize("layer", _LAYERS)
@pytest.mark.parametrize("of_user", _OF_USERS)
def test_initializer_of_a_user_s_class_without_config_fits_each_layer(layer, of_user):
    layer = layer(kernel_initializer=of_user())
    shape = (None, 5, 32)
    if isinstance(layer, layers.EinsumDense):
        layer.build(shape)
        kernel = layer.kernel.numpy()
    else:
        layer.build(shape, shape)
        kernel, other = layer._query_dense.kernel.numpy(), layer._output_dense.kernel.numpy()
        drawn = of_user in _OF_USERS[:2]
        assert drawn != np.array_equal(kernel.ravel()[:8], other.ravel()[:8])
    stddev = {_OF_USERS[0]: math.sqrt(2 / 32), _OF_USERS[1]: 3.0}.get(of_user)
    if stddev is None:
        np.testing.assert_array_equal(kernel, of_user()(kernel.shape, "float32"))
    else:
        assert kernel.std() == pytest.approx(stddev, rel=0.1)
