"""Attributes of an optimizer, set after it has learned: each counts from the next step on."""

import numpy as np
import pytest

import cdl
from cdl import callbacks, layers, optimizers
from cdl.models import Sequential

RNG = np.random.default_rng(4)
X = RNG.normal(size=(24, 3)).astype(np.float32)
Y = RNG.normal(size=(24, 2)).astype(np.float32)


def net(optimizer, **options):
    cdl.utils.set_random_seed(3)
    model = Sequential([layers.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2)])
    model.compile(optimizer, "mse", metrics=["mae"], **options)
    return model


def batches(model, change, at):
    """The logs of single steps of an epoch, with a change of the optimizer after one of them."""
    logs = []
    for i in range(6):
        part = slice(4 * i, 4 * i + 4)
        model.reset_metrics()
        logs.append(model.train_on_batch(X[part], Y[part], return_dict=True))
        if i == at:
            change(model.optimizer)
    return logs


CHANGES = {
    "momentum off": lambda optimizer: setattr(optimizer, "momentum", 0.0),
    "nesterov": lambda optimizer: setattr(optimizer, "nesterov", True),
    "decay": lambda optimizer: setattr(optimizer, "weight_decay", 0.3),
    "clip": lambda optimizer: setattr(optimizer, "clipnorm", 0.01),
    "average": lambda optimizer: setattr(optimizer, "use_ema", True),
    "accumulate": lambda optimizer: setattr(optimizer, "gradient_accumulation_steps", 2),
}


@pytest.mark.parametrize("eagerly", [False, True], ids=["compiled", "eagerly"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_callback_may_set_one_within_an_epoch(change, eagerly):
    model = net(optimizers.SGD(0.1, momentum=0.9), run_eagerly=eagerly)
    change_after = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, _: change(model.optimizer) if batch == 2 else None
    )
    model.fit(X, Y, batch_size=4, shuffle=False, verbose=0, callbacks=[change_after])
    other = net(optimizers.SGD(0.1, momentum=0.9))
    logs = batches(other, change, 2)
    other.optimizer.finalize_variable_values(other.trainable_variables)
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-6, atol=1e-7)
    for name, values in model.history.history.items():
        assert values == pytest.approx([np.mean([each[name] for each in logs])], rel=1e-6)


def test_a_callback_may_set_one_between_shuffled_epochs():
    found = []
    for split in (False, True):
        model = net(optimizers.SGD(0.1, momentum=0.9))
        change = callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, _, m=model: setattr(m.optimizer, "momentum", 0.2)
        )
        cdl.utils.set_random_seed(5)
        if split:
            model.fit(X, Y, epochs=1, verbose=0)
            model.optimizer.momentum = 0.2
            model.fit(X, Y, epochs=2, initial_epoch=1, verbose=0)
        else:
            model.fit(X, Y, epochs=2, verbose=0, callbacks=[change])
        found.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_momentum_that_comes_back_goes_on_from_where_it_was():
    weight, optimizer = cdl.Variable(np.zeros(2)), optimizers.SGD(1.0, momentum=0.5)
    for momentum in (0.5, 0.0, 0.5):
        optimizer.momentum = momentum
        optimizer.apply([np.ones(2)], [weight])
    # Steps -1, -1, and half of the first one and another -1.
    np.testing.assert_allclose(weight, -3.5)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda: optimizers.SGD(momentum=0.5), "momentum", 2.0),
        (optimizers.Adam, "beta_1", 1.0),
        (optimizers.Adam, "clipnorm", -1.0),
        (lambda: optimizers.Adam(clipvalue=1.0), "clipnorm", 1.0),
        (optimizers.AdamW, "weight_decay", None),
        (optimizers.Adam, "gradient_accumulation_steps", 1),
        (optimizers.Adam, "use_ema", "yes"),
        (optimizers.RMSprop, "rho", float("nan")),
        (lambda: optimizers.LossScaleOptimizer(optimizers.SGD()), "clipnorm", 1.0),
        (lambda: optimizers.LossScaleOptimizer(optimizers.SGD()), "dynamic_growth_steps", 0),
        (
            lambda: optimizers.MultiOptimizer(optimizers.OptimizerMap(optimizers.SGD())),
            "clipvalue",
            1.0,
        ),
    ],
)
def test_a_value_that_the_constructor_refuses_is_refused(make, name, value):
    weights = [cdl.Variable(np.ones(2))]
    optimizer = make()
    optimizer.build(weights)
    before = getattr(optimizer, name)
    with pytest.raises(ValueError, match=name):
        setattr(optimizer, name, value)
    assert getattr(optimizer, name) == before
    early = make()
    setattr(early, name, value)
    with pytest.raises(ValueError, match=name):
        early.build([cdl.Variable(np.ones(2))])


def test_one_around_which_another_optimizer_is_built_keeps_its_accumulation():
    inner = optimizers.SGD()
    optimizers.LossScaleOptimizer(inner).build([cdl.Variable(np.ones(2))])
    with pytest.raises(ValueError, match="gradient_accumulation_steps must be set before"):
        inner.gradient_accumulation_steps = 2


def test_one_that_is_set_before_the_first_step_counts():
    weight, optimizer = cdl.Variable(np.zeros(1)), optimizers.SGD(1.0)
    optimizer.momentum = 0.5
    for _ in range(2):
        optimizer.apply([np.ones(1)], [weight])
    np.testing.assert_allclose(weight, [-2.5])


def test_a_check_of_settings_takes_no_name_that_a_later_optimizer_would_have():
    first = optimizers.Adam()
    first.build([cdl.Variable(np.ones(2))])
    first.beta_1 = 0.5
    number = int(first.name.rpartition("_")[2]) if "_" in first.name else 0
    assert optimizers.Adam().name == f"adam_{number + 1}"


def test_an_error_within_a_property_is_told_as_it_is():
    class Own(optimizers.SGD):
        @property
        def rate_now(self):
            return self._missing

    with pytest.raises(AttributeError, match="no attribute '_missing'"):
        Own().rate_now  # noqa: B018
    with pytest.raises(AttributeError, match="'SGD' object has no attribute 'minimize': values"):
        optimizers.SGD().minimize  # noqa: B018


@pytest.mark.parametrize("value", [[3], True, "3"])
def test_what_is_set_wrongly_before_the_first_step_is_refused_beside_a_right_one_that_equals_it(
    value,
):
    for given in (1.0, 1, value):
        optimizer = cdl.optimizers.Adam()
        optimizer.weight_decay = given
        weight = cdl.Variable(np.ones(2, np.float32), name="w")
        if given is value:
            with pytest.raises(ValueError, match="weight_decay must be"):
                optimizer.build([weight])
        else:
            optimizer.build([weight])
