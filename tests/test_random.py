"""Random arrays under Keras's names: shapes, dtypes, seeds, distributions."""

import numpy as np
import pytest
from numpy.random.mtrand import get_bit_generator, set_bit_generator

import cdl
from cdl import _core, random
from cdl.utils import set_random_seed

N = (20_000,)

DRAWS = {
    "normal": lambda seed: random.normal(N, 1.0, 2.0, seed=seed),
    "uniform": lambda seed: random.uniform(N, -1.0, 3.0, seed=seed),
    "truncated_normal": lambda seed: random.truncated_normal(N, 1.0, 2.0, seed=seed),
    "randint": lambda seed: random.randint(N, -2, 5, seed=seed),
    "categorical": lambda seed: random.categorical([[0.0, 1.0, -9.0]], 20_000, seed=seed)[0],
    "dropout": lambda seed: random.dropout(np.ones(N, np.float32), 0.25, seed=seed),
    "beta": lambda seed: random.beta(N, 2.0, 6.0, seed=seed),
    "binomial": lambda seed: random.binomial(N, 10, 0.3, seed=seed),
    "gamma": lambda seed: random.gamma(N, 3.0, seed=seed),
}
# Expected means, and the dtype.
MEANS = {
    "normal": (1.0, "float32"),
    "uniform": (1.0, "float32"),
    "truncated_normal": (1.0, "float32"),
    "randint": (1.0, "int32"),
    "categorical": (np.e / (1 + np.e), "int32"),
    "dropout": (1.0, "float32"),
    "beta": (0.25, "float32"),
    "binomial": (3.0, "float32"),
    "gamma": (3.0, "float32"),
}


@pytest.mark.parametrize("name", DRAWS)
def test_mean_and_dtype(name):
    drawn = DRAWS[name](3)
    mean, dtype = MEANS[name]
    assert (drawn.shape, drawn.dtype) == (N, dtype)
    assert drawn.mean() == pytest.approx(mean, abs=5 * float(drawn.std()) / 141)


@pytest.mark.parametrize("name", DRAWS)
def test_int_gives_the_same_generator_the_next_none_what_the_seed_says(name):
    draw = DRAWS[name]
    np.testing.assert_array_equal(draw(3), draw(3))
    first, second = random.SeedGenerator(3), random.SeedGenerator(3)
    a, b = draw(first), draw(first)
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(draw(second), a)
    set_random_seed(5)
    a, b = draw(None), draw(None)
    assert not np.array_equal(a, b)
    set_random_seed(5)
    np.testing.assert_array_equal(draw(None), a)


def test_limits():
    assert np.abs(DRAWS["truncated_normal"](1) - 1.0).max() <= 4.0
    assert set(DRAWS["randint"](1)) == set(range(-2, 5))
    assert set(np.unique(DRAWS["dropout"](1))) == {0.0, np.float32(1 / 0.75)}
    assert (random.dropout(np.ones(5), 1.0) == 0).all()


def test_axis_may_share_its_draws():
    kept = random.dropout(np.ones((50, 4)), 0.5, noise_shape=(None, 1))
    assert (kept == kept[:, :1]).all()
    assert 0 < (kept == 0).mean() < 1


def test_shuffle_is_a_copy_in_a_new_order():
    x = np.arange(12).reshape(3, 4)
    rows, columns = random.shuffle(x, seed=1), random.shuffle(x, axis=1, seed=1)
    np.testing.assert_array_equal(np.sort(rows, 0), x)
    np.testing.assert_array_equal(np.sort(columns, 1), x)
    assert x[0, 0] == 0


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.PCG64])
def test_the_order_of_rows_is_numpys_and_as_much_is_drawn(bits):
    legacy = np.random.RandomState(bits(5))
    kept = get_bit_generator()
    set_bit_generator(bits(5))
    try:
        for n in (0, 1, 2, 3, 8, 9, 100, 255, 256, 257, 1000, 70_000):
            np.testing.assert_array_equal(random.permutation(n), legacy.permutation(n))
            assert np.random.random() == legacy.random_sample()
    finally:
        set_bit_generator(kept)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_orders_of_a_seed_are_numpys(seed):
    for n in (0, 1, 2, 9, 160, 1000):
        for discarded in (0, n):
            legacy = np.random.RandomState(seed)
            legacy.permutation(discarded)
            expected = np.array([legacy.permutation(n) for _ in range(7)])
            # The second seed draws nothing: its rows are in turn.
            orders = _core.Orders(np.array([seed, -1]), np.array([discarded, discarded]))
            found = [np.full((2, times, n), -1) for times in (3, 4)]
            orders.fill(np.array([1, 0]), found[0], np.array([2, 0]))
            orders.fill(np.array([0, 1]), found[1], np.array([9, 0]))
            np.testing.assert_array_equal(found[0][1], expected[:3])
            np.testing.assert_array_equal(found[1][0], expected[3:] + 9)
            np.testing.assert_array_equal(found[0][0], np.tile(np.arange(n) + 2, (3, 1)))
            with pytest.raises(ValueError, match="which"):
                orders.fill(np.array([2]), np.empty((1, 1, n), np.int64), np.array([0]))


def test_a_thread_with_a_seed_of_its_own_leaves_the_global_generator_alone():
    np.random.seed(1)
    random.draw_from(7)
    try:
        orders = [random.permutation(50), random.permutation(50)]
    finally:
        random.draw_from(None)
    expected = np.random.RandomState(7)
    for order in orders:
        np.testing.assert_array_equal(order, expected.permutation(50))
    assert np.random.random() == np.random.RandomState(1).random_sample()


def test_generator_comes_back_from_its_config():
    generator = random.SeedGenerator(7)
    generator.next()
    again = random.SeedGenerator.from_config(generator.get_config())
    np.testing.assert_array_equal(again.state, [7, 0])
    np.testing.assert_array_equal(generator.state, [7, 1])
    assert random.SeedGenerator().seed >= 1


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: random.normal(3), "normal: shape must be a tuple of sizes, got 3"),
        (lambda: random.normal((-1,)), "normal: shape must be a tuple of sizes >= 0"),
        (lambda: random.uniform((2,), seed="a"), "uniform: seed must be an int >= 0"),
        (
            lambda: random.SeedGenerator(-1),
            "SeedGenerator: seed must be an int >= 0 or None",
        ),
        (lambda: random.categorical([1.0], 2), "categorical: logits must be an array of 2 axes"),
        (lambda: random.dropout(np.ones(2), 1.5), "dropout: rate must be a number"),
        (lambda: random.gamma((2,), 1.0, dtype="what"), "dtype must be .* got 'what'"),
    ],
)
def test_bad_argument_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_seed_generator_comes_back_from_its_config():
    for seed in (None, 42):
        generator = random.SeedGenerator(seed)
        config = cdl.saving.serialize_keras_object(generator)
        assert config["module"] == "keras.random" and config["config"] == {
            "seed": seed,
            "name": generator.name,
        }
        assert isinstance(cdl.saving.deserialize_keras_object(config), random.SeedGenerator)
    assert np.asarray(random.SeedGenerator(42).state).tolist() == [42, 0]
    with pytest.raises(ValueError, match="arguments not recognized"):
        random.SeedGenerator(sed=3)
