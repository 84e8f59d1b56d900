"""Rows of a table owe steps until they are read: the bits of rows that make each step at once."""

import numpy as np
import pytest
from programs import ISAS, TEAMS, dense, learner, random_weight, weight

from cdl import _core
from cdl._ir.program import Program

RESTING = {
    "adam": {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7},
    "adam_amsgrad": {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7},
    "adamax": {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7},
    "nadam": {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7},
    "rmsprop": {"rho": 0.9, "epsilon": 1e-7},
    "rmsprop_momentum": {"rho": 0.9, "epsilon": 1e-7, "momentum": 0.9},
    "sgd_momentum": {"momentum": 0.9},
    "sgd_nesterov": {"momentum": 0.9},
}
BATCH, ROWS, STEPS = 3, 400, 600
RATES = np.linspace(0.02, 0.001, STEPS)  # behind each other, so that a step too few shows


class Training:
    """A table and a dense layer that learn, with memory for so many rows of a batch."""

    def __init__(self, memory=BATCH, row="adam", width=10, decay=0.0, clipnorm=None, **options):
        rng = np.random.default_rng(0)
        self.table = weight(rng.normal(size=(ROWS, width)), matrix=False)
        self.kernel = random_weight(rng, width, 1)
        program = Program()
        index = program.input((1,), "int32", "index")
        y = program.emit("gather", [index], (1, width), (self.table,), wraps=0)
        y = dense(program, program.emit("reshape", [y], (width,)), self.kernel)
        program.output(y)
        target = program.input((1,), role="y")
        program.loss("mean_squared_error", target, y, None)
        learned = [self.table, self.kernel]
        self.slots = learner(row, learned, **RESTING[row])
        rules = {"weight_decay": decay, "clipnorm": clipnorm}
        self.executor = _core.Executor(
            program.fused(), memory, training=True, optimizer=self.slots, rules=rules, **options
        )
        numbers = np.minimum(rng.zipf(1.3, STEPS * BATCH) - 1, ROWS - 1)  # few often, some never
        self.arrays = [numbers[:, None].astype(np.int32), rng.normal(size=(STEPS * BATCH, 1))]
        self.executor.begin(self.arrays, BATCH)

    def run(self, steps=STEPS):
        done = self.executor.done
        self.executor.train(steps, 1e9, RATES[done:], done, 0)
        return self

    def state(self):
        slots = [slot.get() for each in self.slots[2].values() for slot in each]
        return [self.table.numpy(), self.kernel.numpy(), *slots]


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def at_once(**options):
    """Training whose table is too small beside its batches for rows to owe steps."""
    return Training(memory=ROWS, **options)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("row", RESTING)
def test_rows_that_owe_steps_have_the_bits_of_those_that_make_each_at_once(row, decay, isa):
    options = {"row": row, "decay": decay, "isa": isa}
    assert_same(Training(**options).run().state(), at_once(**options).run().state())


@pytest.mark.parametrize("width", [1, 8, 100, 130])
@pytest.mark.parametrize("team", TEAMS)
def test_rows_of_each_width_owe_steps_on_several_threads(team, width):
    expected = at_once(width=width, threads=1).run().state()
    assert_same(Training(width=width, **team).run().state(), expected)


def test_no_step_is_owed_behind_a_run():
    training, other = Training(), at_once()
    for steps in (1, 15, 16, 17, 255, 256, 1):
        assert_same(training.run(steps).state(), other.run(steps).state())


def test_no_step_is_owed_when_the_caller_is_asked():
    states, other = [], at_once()
    for _ in range(40):
        states.append(other.state())
        other.run(1)
    training, seen = Training(), []

    def look():
        done = training.executor.done
        seen.append(done)
        assert_same(training.state(), states[done])

    _core.answer_signals(look, 0.0)
    try:
        training.run(39)
    finally:
        _core.answer_signals()
    assert len(seen) >= 2


def test_a_row_outside_the_table_ends_a_run_behind_whole_steps():
    training, other = Training(), at_once().run(300)
    training.arrays[0][300 * BATCH + 1] = ROWS
    training.executor.begin(training.arrays, BATCH)
    with pytest.raises(ValueError, match=f"expected numbers in .0, {ROWS}"):
        training.run()
    assert_same(training.state(), other.state())


def test_rows_that_were_never_read_stay_as_they_are():
    training = Training()
    before, numbers = training.state(), training.arrays[0]
    unread = np.setdiff1d(np.arange(ROWS), numbers)
    assert 10 < len(unread) < ROWS - 100
    after = training.run().state()
    for a, b in zip(before[:1] + before[2:4], after[:1] + after[2:4], strict=True):
        np.testing.assert_array_equal(a[unread], b[unread])


def test_tables_whose_gradients_are_kept_for_their_norm_learn_as_ever():
    options = {"clipnorm": 0.1, "decay": 0.1}
    assert_same(Training(**options).run(100).state(), at_once(**options).run(100).state())
