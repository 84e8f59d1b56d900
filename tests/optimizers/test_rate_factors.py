"""`rate_factors`: weights that learn at a part of the rate."""

import numpy as np
import pytest

import cdl
from cdl import optimizers
from cdl.layers import Dense, Input

X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
Y = X @ np.array([[1.0], [2.0], [-1.0]], np.float32) + 0.5
CLASSES = [
    *("SGD", "Adam", "AdamW", "Nadam", "Adamax", "Adagrad", "Adadelta", "RMSprop", "Ftrl"),
    *("Lion", "Lamb", "Adafactor", "Muon"),
]


def steps(optimizer, by="fit", epochs=1):
    """Weights of a net after some steps."""
    cdl.utils.set_random_seed(0)
    model = cdl.Sequential([Input((3,)), Dense(4, "tanh", name="first"), Dense(1, name="last")])
    model.compile(optimizer, "mse")
    if by == "fit":
        model.fit(X, Y, batch_size=16, epochs=epochs, verbose=0)
    elif by == "train_on_batch":
        model.train_on_batch(X, Y)
    else:

        def loss(x, y):
            return cdl.ops.mean(cdl.ops.square(model(x) - y))

        weights = model.trainable_variables
        optimizer.apply(cdl.value_and_grad(loss, variables=weights)(X, Y)[1], weights)
    return model.get_weights()


@pytest.mark.parametrize("by", ["train_on_batch", "apply"])
@pytest.mark.parametrize("name", CLASSES)
def test_a_step_is_that_of_the_multiplied_rate(name, by):
    cls = getattr(optimizers, name)
    some = steps(cls(0.01, rate_factors={"first/bias": 0.0, "first": 0.25}), by)
    low, full = steps(cls(0.0025), by), steps(cls(0.01), by)
    before = steps(cls(0.0), by)
    if name in ("Muon", "AdamW"):  # the decay of which is not multiplied
        some, low, full, before = (
            steps(cls(rate, weight_decay=0.0, **more), by)
            for rate, more in [
                (0.01, {"rate_factors": {"first/bias": 0.0, "first": 0.25}}),
                (0.0025, {}),
                (0.01, {}),
                (0.0, {}),
            ]
        )
    for found, expected in zip(some, [low[0], before[1], full[2], full[3]], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_no_factor_is_factor_one_to_the_bit():
    plain, ones = steps(optimizers.Adam(0.01)), steps(optimizers.Adam(0.01, rate_factors={"": 1}))
    for a, b in zip(plain, ones, strict=True):
        np.testing.assert_array_equal(a, b)


def test_weight_decay_goes_on_at_the_whole_rate():
    weights = steps(optimizers.SGD(0.1, weight_decay=0.5, rate_factors={"last": 0}), "apply")
    first = steps(optimizers.SGD(0.0), "apply")
    np.testing.assert_allclose(weights[2], first[2] * 0.95, rtol=1e-6)


def test_a_config_and_a_file_keep_factors(tmp_path):
    factors = {"bias": 0.1, "first": 0.5}
    optimizer = optimizers.Adam(0.01, rate_factors=factors)
    assert optimizers.Adam.from_config(optimizer.get_config()).rate_factors == factors
    assert "rate_factors" not in optimizers.Adam().get_config()
    model = cdl.Sequential([Input((3,)), Dense(1)])
    model.compile(optimizer, "mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "a.keras")
    again = cdl.saving.load_model(tmp_path / "a.keras")
    assert again.optimizer.rate_factors == factors
    for each in (model, again):
        each.fit(X, Y, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_factors_that_are_set_hold_from_the_next_step_on():
    model = cdl.Sequential([Input((3,)), Dense(1)])
    model.compile(optimizers.SGD(0.1), "mse")
    model.fit(X, Y, verbose=0)
    before = model.get_weights()
    model.optimizer.rate_factors = {"kernel": 0.0}
    model.fit(X, Y, verbose=0)
    after = model.get_weights()
    np.testing.assert_array_equal(after[0], before[0])
    assert after[1] != before[1]
    with pytest.raises(ValueError, match="rate_factors"):
        model.optimizer.rate_factors = {"kernel": -1.0}
    assert model.optimizer.rate_factors == {"kernel": 0.0}


def test_an_optimizer_written_in_python_gets_the_multiplied_rate():
    class Plain(optimizers.Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, learning_rate * gradient)

    factors = {"first": 0.5}
    mine = steps(Plain(0.01, rate_factors=factors))
    for a, b in zip(mine, steps(optimizers.SGD(0.01, rate_factors=factors)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0.5, "rate_factors must be a dict of factors by patterns"),
        ({1: 0.5}, "rate_factors must be a dict of factors by patterns"),
        ({"(": 0.5}, "patterns that re.search takes"),
        ({"bias": -1.0}, r"rate_factors\['bias'\] must be"),
        ({"bias": "x"}, r"rate_factors\['bias'\] must be"),
    ],
)
def test_wrong_factors_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        optimizers.Adam(rate_factors=given)


def test_more_kinds_of_weights_than_the_core_has_are_refused():
    layers = [Dense(2, name=f"layer{i}") for i in range(9)]
    model = cdl.Sequential([Input((3,)), *layers, Dense(1)])
    factors = {f"layer{i}": 0.1 * (i + 1) for i in range(9)}
    model.compile(optimizers.SGD(0.1, rate_factors=factors), "mse")
    with pytest.raises(ValueError, match="at most 8 groups of weights, by rule and rate factor"):
        model.fit(X, Y, verbose=0)
