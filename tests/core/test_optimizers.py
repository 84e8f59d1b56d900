"""Every row of the optimizers, ten steps and more against float64."""

import numpy as np
import pytest
import reference_optimizers
import references as reference
from programs import ISAS, dense, learner, random_weight, train, weight

from cdl import _core
from cdl._ir.program import Program

SHAPES = [(1, 1), (1, 10), (10, 1), (65, 1), (1, 65), (7, 16), (17, 65), (64, 64), (129, 3)]
CLOSE = {"rtol": reference.UPDATE_RTOL, "atol": reference.UPDATE_ATOL}


def hypers_of(row):
    return reference.OPTIMIZER_HYPERS.get(row, {})


class Pulled:
    """A dense layer on eye(k): the gradient by its kernel is the one handed to backward()."""

    def __init__(self, row, k, n, *, isa=None, threads=1, **hypers):
        rng = np.random.default_rng(k * 100 + n)
        self.kernel, self.bias = random_weight(rng, k, n), weight(rng.normal(size=n))
        program = Program()
        program.output(dense(program, program.input((k,)), self.kernel, self.bias))
        self.optimizer = learner(row, program.variables, **{**hypers_of(row), **hypers})
        self.executor = _core.Executor(
            program, k, training=True, optimizer=self.optimizer, isa=isa, threads=threads
        )
        self.eye, self.row = np.eye(k), row

    def step(self, gradient, rate, t):
        self.executor.begin([self.eye], len(self.eye))
        self.executor.forward(True)
        self.executor.backward(gradient, rate, t)

    def slots(self, variable):
        names = _core.OPTIMIZERS[self.row].slots
        return dict(zip(names, self.optimizer[2][variable], strict=True))


class Formula:
    """The update of one weight by the reference formula, in float64."""

    def __init__(self, row, values):
        self.row, self.w = row, values.astype(np.float64)
        self.slots = {name: np.zeros(values.shape) for name in _core.OPTIMIZERS[row].slots}
        if "row" in self.slots:
            self.slots["row"] = np.zeros(values.shape[:-1])
            self.slots["column"] = np.zeros((*values.shape[:-2], values.shape[-1]))

    def step(self, gradient, rate, t):
        update = reference.OPTIMIZERS[self.row]
        self.w = update(self.w, gradient, self.slots, t + 1, rate, **hypers_of(self.row))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("row", _core.OPTIMIZERS)
def test_ten_steps_of_every_shape_weights_and_slots(row, shape, isa):
    rng = np.random.default_rng(1)
    core = Pulled(row, *shape, isa=isa)
    kernel, bias = (Formula(row, v.numpy()) for v in (core.kernel, core.bias))
    for t in range(10):
        gradient = rng.normal(size=shape).astype(np.float32) * np.float32(10.0 ** (t % 4 - 2))
        rate = 0.01 / (1 + t)
        core.step(gradient, rate, t)
        kernel.step(gradient.astype(float), rate, t)
        bias.step(gradient.astype(float).sum(0), rate, t)
    for variable, formula in ((core.kernel, kernel), (core.bias, bias)):
        close = {"rtol": 1e-5, "atol": 1e-5 if row in reference_optimizers.ROUGH else 1e-6}
        np.testing.assert_allclose(variable.numpy(), formula.w, **close)
        for name, slot in core.slots(variable).items():
            np.testing.assert_allclose(slot.get(), formula.slots[name], **close)


@pytest.mark.parametrize("row", _core.OPTIMIZERS)
def test_late_steps_start_from_the_iteration_that_is_handed_in(row):
    rng = np.random.default_rng(2)
    # Adafactor's mean of t steps begins with 0 here and takes a part t^-0.8 of a gradient.
    for first in (1, 37, 10**5) if row.startswith("adafactor") else (1, 37, 10**5, 2**33):
        core = Pulled(row, 3, 5)
        formula = Formula(row, core.kernel.numpy())
        for t in range(first, first + 3):
            gradient = rng.normal(size=(3, 5)).astype(np.float32)
            core.step(gradient, 0.01, t)
            formula.step(gradient.astype(float), 0.01, t)
        np.testing.assert_allclose(core.kernel.numpy(), formula.w, **CLOSE)


@pytest.mark.parametrize("row", set(_core.OPTIMIZERS) - set(reference_optimizers.MOVE_FROM_ZERO))
def test_a_gradient_of_0_or_a_rate_of_0_moves_nothing_at_the_start(row):
    core = Pulled(row, 6, 7)
    before = core.kernel.numpy()
    core.step(np.zeros((6, 7)), 0.1, 0)
    np.testing.assert_array_equal(core.kernel.numpy(), before)
    core.step(np.ones((6, 7)), 0.0, 1)
    np.testing.assert_array_equal(core.kernel.numpy(), before)


@pytest.mark.parametrize("row", set(_core.OPTIMIZERS) - set(reference_optimizers.WHOLE))
def test_gradients_far_from_1_or_not_a_number_stay_with_their_own_weights(row):
    core = Pulled(row, 4, 5)
    formula = Formula(row, core.kernel.numpy())
    gradient = np.ones((4, 5), np.float32)
    gradient[0], gradient[1] = 1e-12, 1e12
    for t in range(3):
        core.step(gradient, 1e-3, t)
        formula.step(gradient.astype(float), 1e-3, t)
    close = {"rtol": 1e-4, "atol": 1e-5} if row in reference_optimizers.ROUGH else CLOSE
    np.testing.assert_allclose(core.kernel.numpy()[[0, 2, 3]], formula.w[[0, 2, 3]], **close)
    np.testing.assert_allclose(core.kernel.numpy()[1], formula.w[1], rtol=1e-4)
    gradient[2, 3] = np.nan
    core.step(gradient, 1e-3, 3)
    expected = np.tile(np.arange(5) == 3, (4, 1))  # a sum over rows, so all of the column
    np.testing.assert_array_equal(np.isnan(core.kernel.numpy()), expected)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("power", [0.0, -0.1, -0.5, -1.0, -2.0])
def test_any_power_of_ftrls_accumulator_from_0_on(power, isa):
    gradients = np.float32([[0.0, 1e-12, 1e-3, 1.0, 7.0, 1e6, 1e3]])
    core = Pulled("ftrl_power", *gradients.shape, isa=isa, learning_rate_power=power)
    w, slots = core.kernel.numpy().astype(float), {"accumulator": 0.0, "linear": 0.0}
    for t in range(3):
        core.step(gradients, 0.1, t)
        hypers = {**hypers_of("ftrl_power"), "learning_rate_power": power}
        w = reference_optimizers.ftrl(w, gradients.astype(float), slots, t + 1, 0.1, **hypers)
    np.testing.assert_allclose(core.kernel.numpy(), w, rtol=2e-5, atol=1e-7)


# ------------------------------------------------------------------------- rates and steps of a run


def regression(seed=0):
    """A program that learns by its own loss, and 40 rows for it."""
    rng = np.random.default_rng(seed)
    program = Program()
    x = program.input((10,))
    hidden = dense(program, x, random_weight(rng, 10, 65), weight(np.zeros(65)))
    y = dense(program, hidden, random_weight(rng, 65, 1), weight(np.zeros(1)))
    program.output(y)
    program.loss("mean_squared_error", program.input((1,), role="y"), y)
    arrays = [rng.normal(size=(40, 10)).astype(np.float32), rng.normal(size=(40, 1))]
    return program, arrays


def weights_after(row, slices, rates, first=0):
    """Weights after 10 steps of 4 rows, cut into calls of train() as `slices` says."""
    program, arrays = regression()
    optimizer = learner(row, program.variables, **hypers_of(row))
    executor = _core.Executor(program, 4, training=True, optimizer=optimizer)
    executor.begin(arrays, 4)
    done = 0
    for steps in slices:
        executor.train(steps, 100.0, rates[done : done + steps], first + done, 0)
        done += steps
    return [v.numpy() for v in program.variables]


@pytest.mark.parametrize("row", _core.OPTIMIZERS)
def test_a_rate_a_step_and_slices_of_steps_come_to_the_same_bits(row):
    rates = (0.01 / (1 + np.arange(10))).astype(np.float32)
    whole = weights_after(row, [10], rates, first=3)
    for slices in ([1] * 10, [3, 3, 4], [9, 1]):
        for a, b in zip(weights_after(row, slices, rates, first=3), whole, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_last_rate_repeats():
    short, long = np.float32([0.1, 0.01]), np.float32([0.1] + [0.01] * 9)
    found = weights_after("sgd", [10], short)
    for a, b in zip(found, weights_after("sgd", [10], long), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("row", _core.OPTIMIZERS)
def test_weights_that_were_set_and_read_between_steps_train_on_as_before(row):
    """The pads of panels (widths 10, 65 and 1) hold nothing that a round trip would lose."""
    results = []
    for round_trip in (False, True):
        program, arrays = regression()
        optimizer = learner(row, program.variables, **hypers_of(row))
        executor = _core.Executor(program, 4, training=True, optimizer=optimizer)
        executor.begin(arrays, 4)
        for t in range(10):
            executor.train(1, 100.0, [0.01], t, 0)
            for v in program.variables if round_trip else ():
                v.assign(v.numpy())
                for slot in optimizer[2][v]:
                    slot.set(slot.get())
        results.append([v.numpy() for v in program.variables])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("row", _core.OPTIMIZERS)
def test_training_lowers_the_loss(row):
    program, arrays = regression()
    optimizer = learner(row, program.variables, **hypers_of(row))
    logs = train(
        program,
        arrays,
        optimizer,
        batch=8,
        epochs=30,
        rate=reference_optimizers.RATES.get(row, 0.01),
    )
    assert logs[-1][0] < 0.8 * logs[0][0]
