"""Optimizers step as their formulas say, and keep what Keras has them keep."""

import numpy as np
import pytest
import references

from cdl import _core
from cdl._ir.program import Program
from cdl._tracing.variable import Variable
from cdl.optimizers import (
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lamb,
    Lion,
    Muon,
    Nadam,
    Optimizer,
    RMSprop,
    ScheduleFreeAdamW,
    get,
    schedules,
    serialize,
)

RNG = np.random.default_rng(3)
MADE = {
    "sgd": lambda: SGD(0.1),
    "sgd_momentum": lambda: SGD(0.1, momentum=0.9),
    "sgd_nesterov": lambda: SGD(0.1, momentum=0.8, nesterov=True),
    "rmsprop": lambda: RMSprop(0.1, rho=0.8),
    "rmsprop_momentum": lambda: RMSprop(0.1, momentum=0.5),
    "rmsprop_centered": lambda: RMSprop(0.1, epsilon=1e-2, centered=True),
    "rmsprop_centered_momentum": lambda: RMSprop(0.1, 0.9, 0.5, 1e-2, True),
    "adam": lambda: Adam(0.1, epsilon=1e-3),
    "adam_amsgrad": lambda: Adam(0.1, beta_2=0.5, amsgrad=True),
    "adamax": lambda: Adamax(0.1, beta_2=0.7),
    "nadam": lambda: Nadam(0.1, beta_1=0.8, beta_2=0.9),
    "adagrad": lambda: Adagrad(0.1),
    "adadelta": lambda: Adadelta(1.0, rho=0.8, epsilon=1e-3),
    "ftrl": lambda: Ftrl(0.1, l1_regularization_strength=0.1, beta=0.1),
    "ftrl_power": lambda: Ftrl(0.1, -0.3, l2_shrinkage_regularization_strength=0.1),
    "lion": lambda: Lion(0.1, 0.8, 0.7),
    "schedule_free_adamw": lambda: ScheduleFreeAdamW(0.1, 0.8, 0.9, 1e-3, warmup_steps=3),
    "lamb": lambda: Lamb(0.1, beta_2=0.9),
    "adafactor": lambda: Adafactor(0.1),
    "adafactor_factored": lambda: Adafactor(0.1, epsilon_1=1e-3, clip_threshold=0.5),
    "muon": lambda: Muon(0.1),
    "muon_adam": lambda: Muon(0.1, nesterov=False, adam_lr_ratio=0.5, rms_rate=None),
}


def weights(*shapes):
    made = []
    for i, shape in enumerate(shapes):
        values = RNG.normal(size=shape)
        weight = Variable(shape, lambda _, v=values: v, name=f"w{i}", matrix=len(shape) == 2)
        weight.path = f"net/dense/{weight.name}"
        made.append(weight)
    return made


def trained(optimizer, kernel, bias):
    """An executor of one dense layer and its optimizer, to hand gradients of the output to."""
    optimizer.build([kernel, bias])
    program = Program()
    x = program.input((kernel.shape[0],))
    program.output(program.emit("dense", (x,), (kernel.shape[1],), params=(kernel, bias)))
    return _core.Executor(
        program.fused(),
        5,
        training=True,
        optimizer=optimizer.groups([kernel, bias]),
    )


@pytest.mark.parametrize("row", _core.OPTIMIZERS)
def test_steps_are_those_of_the_formula(row):
    optimizer = MADE[row]()
    kernel, bias = weights((3, 4), (4,))
    rows = [optimizer.row_of(kernel), optimizer.row_of(bias)]
    assert row in rows
    executor = trained(optimizer, kernel, bias)
    expected = [kernel.numpy().astype(np.float64), bias.numpy().astype(np.float64)]
    slots = [
        {name: slot.get().astype(np.float64) for name, slot in zip(names, kept, strict=True)}
        for names, kept in (
            (_core.OPTIMIZERS[optimizer.row_of(w)].slots, optimizer.slots[w])
            for w in (kernel, bias)
        )
    ]

    x, steps = RNG.normal(size=(30, 3)).astype(np.float32), RNG.normal(size=(6, 5, 4))
    executor.begin([x], 5)
    for step, derivative in enumerate(steps):
        executor.forward(True, step, 0)
        rate = float(optimizer.rates(step, 1)[0])
        executor.backward(derivative.astype(np.float32), rate, step)
        gradients = [
            x[5 * step : 5 * step + 5].T.astype(np.float64) @ derivative,
            derivative.sum(0),
        ]
        for i, gradient in enumerate(gradients):
            expected[i] = references.OPTIMIZERS[rows[i]](
                expected[i], gradient, slots[i], step + 1, rate, **optimizer.hypers(rows[i])
            )
    for weight, value in zip((kernel, bias), expected, strict=True):
        np.testing.assert_allclose(weight.numpy(), value, rtol=1e-4, atol=1e-5)
    for got, value in zip(optimizer.slots[kernel], slots[0].values(), strict=True):
        np.testing.assert_allclose(got.get(), value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("row", _core.OPTIMIZERS)
def test_hyper_parameters_of_the_row_are_attributes(row):
    assert tuple(MADE[row]().hypers(row)) == _core.OPTIMIZERS[row].hypers


# Rates


def test_rate_is_kept_as_float32():
    assert float(Adam().learning_rate) == 0.0010000000474974513
    assert Adam().get_config()["learning_rate"] == 0.0010000000474974513


@pytest.mark.parametrize(
    ("optimizer", "rates"),
    [
        (SGD(0.5), [0.5]),
        (SGD(lr=0.5), [0.5]),
        (SGD(lr=1), [1.0]),
        (SGD(0.5, decay=0.1), [0.5 / 1.3, 0.5 / 1.4, 0.5 / 1.5]),
        (Adam(lr=0.5, decay=0.0), [0.5]),
        (SGD(lambda: 0.25), [0.25] * 3),
        (SGD(schedules.ExponentialDecay(0.1, 1, 0.5)), [0.1 / 8, 0.1 / 16, 0.1 / 32]),
        (SGD(schedules.InverseTimeDecay(1.0, 1, 1.0), decay=1.0), [1 / 16, 1 / 25, 1 / 36]),
    ],
)
def test_rates_of_steps(optimizer, rates):
    got = optimizer.rates(3, 3)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, rates, rtol=1e-6)


def test_schedule_of_a_user_is_asked_for_each_step():
    class Halving(schedules.LearningRateSchedule):
        def __call__(self, step):
            assert isinstance(step, int)
            return 0.5**step

    np.testing.assert_array_equal(SGD(Halving()).rates(1, 3), [0.5, 0.25, 0.125])


def test_rate_can_be_read_set_and_assigned():
    optimizer = Adam(0.5)
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25
    optimizer.learning_rate.assign(0.125)
    assert optimizer.rates(0, 1) == 0.125
    optimizer.lr = 1
    assert optimizer.lr * 2 == 2
    assert f"{optimizer.learning_rate:.2f}" == "1.00"
    assert optimizer.learning_rate.numpy().dtype == np.float32


def test_scheduled_rate_is_that_of_the_next_step_and_cannot_be_set():
    optimizer = SGD(schedules.ExponentialDecay(0.5, 1, 0.5))
    optimizer.iterations = 1
    assert optimizer.learning_rate == 0.25
    with pytest.raises(TypeError, match=r"learning_rate cannot be set to 0\.1"):
        optimizer.learning_rate = 0.1
    optimizer.learning_rate = schedules.ExponentialDecay(1.0, 1, 0.5)
    assert optimizer.learning_rate == 0.5


def test_number_may_become_a_schedule_and_a_function_a_number():
    optimizer = SGD(0.5)
    optimizer.learning_rate = schedules.ExponentialDecay(1.0, 1, 0.5)
    assert optimizer.rates(1, 1) == 0.5
    optimizer = SGD(lambda: 0.5)
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25


# Variables


@pytest.mark.parametrize(
    ("optimizer", "names"),
    [
        (SGD(name="o"), []),
        (SGD(momentum=0.9, name="o"), ["w0_momentum", "w1_momentum"]),
        (Adam(name="o"), ["w0_momentum", "w0_velocity", "w1_momentum", "w1_velocity"]),
        (
            Adam(amsgrad=True, name="o"),
            [
                *("w0_momentum", "w0_velocity", "w1_momentum", "w1_velocity"),
                *("w0_velocity_hat", "w1_velocity_hat"),
            ],
        ),
    ],
)
def test_variables_are_in_keras_order(optimizer, names):
    optimizer.build(weights((2, 3), (3,)))
    expected = ["o/iteration", "o/learning_rate", *(f"o/net_dense_{name}" for name in names)]
    assert [variable.path for variable in optimizer.variables] == expected


def test_scheduled_rate_is_no_variable():
    optimizer = SGD(schedules.ExponentialDecay(0.5, 1, 0.5))
    assert [variable.name for variable in optimizer.variables] == ["iteration"]


def test_slots_have_the_layout_of_their_weight_and_start_at_0():
    kernel, bias = weights((2, 3), (3,))
    optimizer = Adam()
    optimizer.build([kernel, bias])
    assert [slot.matrix for slot in optimizer.slots[kernel]] == [True, True]
    assert [slot.matrix for slot in optimizer.slots[bias]] == [False, False]
    np.testing.assert_array_equal(optimizer.slots[kernel][0].get(), np.zeros((2, 3)))


def test_slots_are_made_once_and_only_for_the_first_weights():
    kernel, bias, other = weights((2, 3), (3,), (3,))
    optimizer = Adam()
    optimizer.build([kernel, bias])
    before = optimizer.slots[kernel]
    optimizer.build([bias])
    assert optimizer.slots[kernel] == before
    with pytest.raises(ValueError, match="variables must be those that it was built with"):
        optimizer.build([other])


def test_iterations_are_a_whole_number():
    optimizer = SGD()
    assert int(optimizer.iterations) == 0
    optimizer.iterations = 5
    optimizer.iterations.assign_add(2)
    assert optimizer.iterations == 7


# Configuration

COMMON = {
    "name": "x",
    "learning_rate": 0.5,
    "weight_decay": None,
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


@pytest.mark.parametrize(
    ("optimizer", "own"),
    [
        (SGD(0.5, name="x"), {"momentum": 0.0, "nesterov": False}),
        (SGD(0.5, decay=0.1, name="x"), {"decay": 0.1, "momentum": 0.0, "nesterov": False}),
        (
            Adam(0.5, name="x"),
            {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07, "amsgrad": False},
        ),
    ],
)
def test_config_has_keras_keys_in_keras_order(optimizer, own):
    assert list(optimizer.get_config().items()) == [*COMMON.items(), *own.items()]


def test_config_with_a_schedule_makes_it_again():
    optimizer = Adam(schedules.CosineDecay(0.1, 10))
    again = get(serialize(optimizer))
    assert isinstance(again, Adam)
    np.testing.assert_array_equal(again.rates(0, 20), optimizer.rates(0, 20))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: Adam("a"),
            "Adam: learning_rate must be a number, a LearningRateSchedule or a function without",
        ),
        (lambda: Adam(True), "learning_rate must be a number"),
        (lambda: Adam(None), "learning_rate must be a number"),
        (lambda: Adam(float("nan")), "learning_rate must be a number, got nan"),
        (lambda: Adam(lr="a"), "learning_rate must be a number"),
        (lambda: Adam(-1), "Adam: learning_rate must not be negative, got -1"),
        (lambda: Adam(np.float32(-0.5)), "learning_rate must not be negative, got -0.5"),
        (lambda: Adam(lr=-0.1), "learning_rate must not be negative, got -0.1"),
        (lambda: AdamW(weight_decay=-0.1), "weight_decay must be a number >= 0, got -0.1"),
        (lambda: Muon(adam_weight_decay=-1), "adam_weight_decay must be a number >= 0"),
        (lambda: Adam(0.1, lr=0.2), "learning_rate and lr are the same argument, got both"),
        (lambda: Adam(foo=0.1), "Adam: arguments not recognized: {'foo': 0.1}"),
        (lambda: Adam(beta1=0.1), "{'beta1': 0.1}; did you mean 'beta_1'?"),
        (lambda: Adam(clip_norm=0.1), "did you mean 'clipnorm'?"),
        (lambda: Adam(decay=-1), "Adam: decay must be a number >= 0, got -1"),
        (
            lambda: Adam(beta_1=1.0),
            "beta_1 must be a number >= 0 and < 1, got 1.0",
        ),
        (
            lambda: Adam(beta_2="a"),
            "beta_2 must be a number >= 0 and < 1, got 'a'",
        ),
        (lambda: Adam(epsilon=-1), "epsilon must be a number >= 0"),
        (lambda: Adam(amsgrad=3), "amsgrad must be True or False, got 3"),
        (lambda: SGD(momentum=0), "SGD: momentum must be a float from 0.0 to 1.0, got 0"),
        (lambda: SGD(momentum=1.5), "momentum must be a float from 0.0 to 1.0, got 1.5"),
        (lambda: SGD(momentum=None), "momentum must be a float"),
        (lambda: SGD(nesterov="a"), "nesterov must be True or False"),
        (
            lambda: SGD(weight_decay="a"),
            "SGD: weight_decay must be a number >= 0, got 'a'",
        ),
        (lambda: SGD(clipnorm=-1.0), "SGD: clipnorm must be a number >= 0, got -1.0"),
        (lambda: SGD(clipvalue="a"), "SGD: clipvalue must be a number >= 0, got 'a'"),
        (lambda: SGD(clipnorm=1.0, clipvalue=1.0), "only one of clipnorm, clipvalue and global_"),
        (lambda: SGD(use_ema="a"), "use_ema must be True or False"),
        (
            lambda: SGD(ema_momentum=2.0),
            "ema_momentum must be a number between 0 and",
        ),
        (lambda: SGD(ema_overwrite_frequency=0), "ema_overwrite_frequency must be a positive int"),
        (lambda: SGD(loss_scale_factor=0.0), "loss_scale_factor must be a number > 0, got 0.0"),
        *(
            (
                lambda steps=steps: SGD(gradient_accumulation_steps=steps),
                f"gradient_accumulation_steps must be an int >= 2, got {steps}",
            )
            for steps in (1, 0, -2)
        ),
    ],
)
def test_bad_argument_is_refused(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.parametrize("rate", [1, 0, np.int64(1), np.float32(0.25), np.float64(0.25)])
def test_whole_numbers_and_numbers_of_numpy_are_rates(rate):
    for optimizer in (Adam(rate), Adam(lr=rate), Adam.from_config({"learning_rate": rate})):
        assert float(optimizer.learning_rate) == rate
        assert optimizer.get_config()["learning_rate"] == rate


@pytest.mark.parametrize("rate", [-1, -0.5, np.float32(-0.5)])
def test_rate_that_is_set_is_not_negative(rate):
    optimizer = Adam(0.5, name="mine")
    text = "mine: learning_rate must not be negative, got -"
    with pytest.raises(ValueError, match=text):
        optimizer.learning_rate = rate
    with pytest.raises(ValueError, match=text):
        optimizer.learning_rate.assign(rate)
    with pytest.raises(ValueError, match=text):
        optimizer.learning_rate.assign_add(2 * rate)
    with pytest.raises(ValueError, match="mine: learning_rate must be a number, got nan"):
        optimizer.learning_rate = float("nan")
    assert float(optimizer.learning_rate) == 0.5


class Falling(schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.5 - 0.25 * step


@pytest.mark.parametrize(
    ("rate", "source"),
    [
        (schedules.PiecewiseConstantDecay([2], [0.5, -0.25]), "PiecewiseConstantDecay"),
        (Falling(), "Falling"),
        (lambda: -0.25, "<lambda>"),
    ],
)
def test_schedule_that_gives_a_negative_rate_is_named(rate, source):
    optimizer = SGD(rate, name="mine")
    step = 0 if source == "<lambda>" else 3
    with pytest.raises(ValueError) as caught:
        optimizer.rates(0, 8)
    assert str(caught.value) == (
        f"mine, step {step}: learning_rate must not be negative, got -0.25 from {source}"
    )


def test_identifier_that_is_an_optimizer_is_itself():
    optimizer = SGD()
    assert get(optimizer) is optimizer
    assert isinstance(get("ADAM"), Optimizer)


def test_optimizer_without_a_row_cannot_be_built():
    class Mine(Optimizer):
        pass

    with pytest.raises(NotImplementedError, match="Mine must have an update_step"):
        Mine(0.1).build(weights((2, 3)))
