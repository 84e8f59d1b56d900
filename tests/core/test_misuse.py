"""Wrong arguments to the core raise an exception: no crash, no deadlock, no wrong result."""

import re
from pathlib import Path

import numpy as np
import pytest
from programs import gradient_keeper, learner, mlp, weight

from cdl import _core
from cdl._ir.program import Instruction, Program, Value

ONES = np.ones((4, 3), np.float32)
CSRC = Path(__file__).parents[2] / "csrc"


def regression(rng=None):
    program, y = mlp(rng or np.random.default_rng(0), [3, 2])
    program.loss("mean_squared_error", program.input((2,), role="y"), y)
    return program


def trainer(program, rows=4, **options):
    optimizer = gradient_keeper(program.variables)
    return _core.Executor(program, rows, training=True, optimizer=optimizer, **options)


def softmax_program(shape=(3,)):
    program = Program()
    program.output(program.emit("softmax", [program.input(shape)], shape))
    return program


# ---------------------------------------------------------------------------- malformed programs


def with_instruction(op, n_in, n_out, **attributes):
    program = Program()
    x = program.input((3,))
    outputs = [program.value((3,)) for _ in range(n_out)]
    program.instructions.append(Instruction(op, [x] * n_in, outputs, (), attributes))
    return program


def reading_before_writing():
    program = softmax_program()
    program.output(program.emit("softmax", program.outputs, (3,)))
    program.instructions.reverse()
    return program


def reading_what_nothing_gives():
    program = Program()
    program.input((3,))
    program.emit("softmax", [program.value((3,))], (3,))
    return program


def writing_its_own_input():
    program = Program()
    x = program.input((3,))
    program.instructions.append(Instruction("softmax", [x], [x], (), {}))
    return program


def with_unknown_output():
    program = softmax_program()
    program.output(Value(9, (3,), "float32"))
    return program


def with_foreign_report():
    program = regression()
    program.instructions.pop()
    return program


def with_weights(*params, n=3, **attributes):
    program = Program()
    program.emit("dense", [program.input((3,))], (n,), params, **attributes)
    return program


def with_window(*window):
    program = Program()
    program.emit("conv", [program.input((8, 3))], (8, 3), (SQUARE,), numbers=window, groups=1)
    return program


def with_a_shared_output():
    program = Program()
    values = [program.value((3,), shared=True), program.value((1,))]
    program.instructions.append(
        Instruction("mask", [program.input((3,))], values, (), {"value": 0})
    )
    return program


def scored(op, shapes, out=None, **attributes):
    program = Program()
    inputs = [program.input(shape) for shape in shapes]
    outputs = [program.value(out)] if out else []
    program.instructions.append(Instruction(op, inputs, outputs, (), attributes))
    return program


SQUARE = weight(np.ones((3, 3)))
MSE = {"kind": "mean_squared_error"}
LOSS = {**MSE, "scale": 1.0, "reduction": 0}
MALFORMED = {
    "no input": lambda: with_instruction("softmax", 0, 1),
    "nine inputs": lambda: with_instruction("softmax", 9, 1),
    "thousands of inputs": lambda: with_instruction("softmax", 5000, 1),
    "no input of an op that finds faults": lambda: with_instruction("gather", 0, 1, wraps=0),
    "an input of a source": lambda: with_instruction(
        "draw", 1, 1, kind="uniform", seed=0, user_draw=0, fixed=0
    ),
    "no output": lambda: with_instruction("softmax", 1, 0),
    "two outputs of an op of one": lambda: with_instruction("softmax", 1, 2),
    "three outputs": lambda: with_instruction("softmax", 1, 3),
    "an op that is none": lambda: with_instruction("conv9", 1, 1),
    "an activation that is none": lambda: with_instruction("activation", 1, 1, kind="x"),
    "an attribute too few": lambda: with_instruction("dropout", 1, 1, rate=0.5),
    "an attribute too many": lambda: with_instruction("softmax", 1, 1, axis=1),
    "a row's parameter too few": lambda: with_instruction("activation", 1, 1, kind="elu"),
    "a value that is read too early": reading_before_writing,
    "a value that nothing gives": reading_what_nothing_gives,
    "a value that is given twice": writing_its_own_input,
    "an output that nothing gives": with_unknown_output,
    "a report of another program": with_foreign_report,
    "no weights": with_weights,
    "a kernel that is no matrix": lambda: with_weights(weight(np.ones(9))),
    "a kernel of another width": lambda: with_weights(SQUARE, n=4),
    "a bias of another width": lambda: with_weights(SQUARE, weight(np.ones(2))),
    "a bias that is a matrix": lambda: with_weights(SQUARE, SQUARE),
    "another shape behind softmax": lambda: scored("softmax", [(3,)], (4,)),
    "another size behind reshape": lambda: scored("reshape", [(3, 2)], (5,)),
    "a loss without a target": lambda: scored("loss", [(3,)], **LOSS),
    "a loss with a target of another width": lambda: scored("loss", [(3,), (2,)], **LOSS),
    "a loss with wide sample weights": lambda: scored("loss", [(3,), (3,), (3,)], **LOSS),
    "a loss with an output of another shape": lambda: scored("loss", [(3,), (3,)], (1,), **LOSS),
    "a metric with wide sample weights": lambda: scored("metric", [(3,), (3,), (3,)], **MSE),
    "a window without a stride": lambda: with_window(3, 0, 1, 0),
    "a window beyond all memory": lambda: with_window(2**60, 1, 1, 0),
    "a window of two and a half": lambda: with_window(2.5, 1, 1, 0),
    "a shared value beside others": with_a_shared_output,
    "an axis of length 0": lambda: softmax_program((0,)),
    "an outer axis of length 0": lambda: softmax_program((0, 3)),
    "nine axes": lambda: softmax_program((1,) * 9),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_program_is_refused(what):
    with pytest.raises((ValueError, KeyError)):
        _core.Executor(MALFORMED[what](), 4)


def test_a_fused_activation_whose_derivative_needs_x_is_refused_in_training():
    program = with_weights(SQUARE, activation="silu")
    _core.Executor(program, 4)
    with pytest.raises(ValueError, match="the derivative of silu needs more than its value"):
        _core.Executor(program, 4, training=True)


REASONS = {
    "no input": "softmax): inputs: expected as many as the op reads; signature: x -> y",
    "no input of an op that finds faults": "gather): inputs: expected as many as the op reads",
    "an input of a source": "draw): inputs: expected as many as the op reads",
    "two outputs of an op of one": "softmax): outputs: expected as many as the op gives",
    "no weights": "dense): kernel: expected a matrix",
    "a kernel of another width": "dense): kernel: expected a column for each of the output",
    "a bias of another width": "dense): bias: expected a number for each column of the output",
    "another shape behind softmax": "softmax): output: expected the shape of x",
    "another size behind reshape": "reshape): output: expected as many elements as x",
    "a loss with a target of another width": "loss): targets: expected the shape of the",
    "a loss with wide sample weights": "loss): weights: expected a float for each sample or line",
    "a window beyond all memory": "conv): sizes of the window: expected 0 to 2^30",
    "a window without a stride": "conv): strides: expected 1 to 2^30",
    "a window of two and a half": "conv): expected integers of 64 bits, got 2.5",
    "a shared value beside others": "mask): expected all values to be shared, or none",
}


@pytest.mark.parametrize("what", REASONS)
def test_the_error_names_the_instruction_its_op_and_what_was_expected(what):
    program = MALFORMED[what]()
    before = Instruction("softmax", [x := program.input((2,))], [program.value(x.shape)], (), {})
    program.instructions.insert(0, before)
    with pytest.raises(ValueError, match=re.escape(f"instruction 1 ({REASONS[what]}")):
        _core.Executor(program, 4)


def test_every_reason_says_what_was_expected():
    sources = [path.read_text() for path in sorted((CSRC / "ops").glob("*.[ch]"))]
    calls = [c for s in sources for c in re.findall(r"CDL_EXPECT\((.*?)\);", s, re.DOTALL)]
    reasons = [r for c in calls for r in re.findall(r'"([^"]*)"', c)]
    assert len(reasons) > 120
    assert [r for r in reasons if "expected " not in r or r.endswith(".")] == []


@pytest.mark.parametrize("rate", [-0.1, 1.1, np.nan])
def test_a_dropout_rate_outside_0_1_is_refused(rate):
    with pytest.raises(ValueError):
        _core.Executor(with_instruction("dropout", 1, 1, rate=rate, seed=0, user_draw=0), 4)


def test_two_readers_that_give_a_gradient_are_refused_without_a_fork():
    program = regression()
    program.loss("mean_absolute_error", program.inputs[1], program.outputs[0])
    with pytest.raises(ValueError, match="two readers"):
        trainer(program)
    trainer(program.fused())


# -------------------------------------------------------------------------------- impossible sizes


@pytest.mark.parametrize("rows", [2**46, 2**60, 2**63, 2**64 - 1])
def test_more_rows_than_memory_holds_are_a_memory_error(rows):
    with pytest.raises(MemoryError):
        _core.Executor(softmax_program(), rows)


@pytest.mark.parametrize(
    "shape", [(2**44,), (2**40, 2**40), (2**62 + 1, 4), (2**64 - 1,), (2**70,), (2**63, 2)]
)
def test_shapes_larger_than_memory_are_a_memory_error_also_where_sizes_would_wrap(shape):
    with pytest.raises(MemoryError):
        _core.Parameter(shape, len(shape) == 2)
    with pytest.raises(MemoryError):
        _core.Parameter(shape)
    with pytest.raises(MemoryError):
        _core.Executor(softmax_program(shape), 1)


@pytest.mark.parametrize("rows", [0, -1])
def test_no_rows_are_refused(rows):
    with pytest.raises((ValueError, OverflowError)):
        _core.Executor(softmax_program(), rows)


@pytest.mark.parametrize(
    ("shape", "matrix"),
    [((-3,), False), ((-3, -3), True), ((2.5,), False), ((2,), True), ((), True)],
)
def test_a_weight_of_an_odd_shape_is_refused(shape, matrix):
    with pytest.raises((ValueError, TypeError)):
        _core.Parameter(shape, matrix)


def test_a_weight_takes_only_as_many_values_as_it_has():
    parameter = _core.Parameter((2, 3), True)
    with pytest.raises(ValueError):
        parameter.set(np.zeros(7))
    np.testing.assert_array_equal(parameter.get(), np.zeros((2, 3)))


# -------------------------------------------------------------------------------------- optimizers


def wrong_slots(program, row, slots, **hypers):
    optimizer = (row, hypers, dict.fromkeys(program.variables, slots))
    return _core.Executor(program, 4, training=True, optimizer=optimizer)


@pytest.mark.parametrize("slots", [[], [_core.Parameter((1,))], [_core.Parameter((3, 2))], [3]])
def test_slots_that_do_not_fit_the_weight_are_refused(slots):
    with pytest.raises((ValueError, TypeError)):
        wrong_slots(regression(), "sgd_momentum", slots, momentum=0.9)


def test_too_many_slots_are_refused():
    with pytest.raises(ValueError):
        wrong_slots(regression(), "sgd", [_core.Parameter((3, 2), True)] * 300)


def test_an_unknown_optimizer_and_a_missing_hyper_parameter_are_refused():
    with pytest.raises(KeyError):
        wrong_slots(regression(), "nope", [])
    program = regression()
    optimizer = learner("adam", program.variables, beta_1=0.9, beta_2=0.9)
    with pytest.raises(KeyError):
        _core.Executor(program, 4, training=True, optimizer=optimizer)


# -------------------------------------------------------------------------------- runs out of order


def test_a_run_before_begin_does_nothing():
    executor = trainer(regression())
    assert executor.train(5, 1.0, [0.1], 0, 0) == 0
    assert executor.test(5, 1.0) == 0
    assert executor.forward(True) == 0
    assert executor.output().shape == (0, 2)
    assert executor.batch(0).shape == (0, 3)
    executor.backward([], 0.1, 0)


def test_training_on_an_executor_made_to_predict_is_refused():
    program = regression()
    for optimizer in (None, learner("sgd", program.variables)):
        executor = _core.Executor(program, 4, optimizer=optimizer)
        executor.begin([ONES, ONES[:, :2]], 4)
        with pytest.raises(ValueError, match="training"):
            executor.train(1, 1.0, [0.1], 0, 0)
        executor.forward(False)
        with pytest.raises(ValueError, match="training"):
            executor.backward([], 0.1, 0)


def test_training_without_an_optimizer_changes_nothing():
    program = regression()
    before = [v.numpy() for v in program.variables]
    executor = _core.Executor(program, 4, training=True)
    executor.begin([ONES, ONES[:, :2]], 4)
    assert executor.train(1, 1.0, [0.1], 0, 0) == 1
    for variable, values in zip(program.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), values)


def test_training_without_a_rate_is_refused():
    executor = trainer(regression())
    executor.begin([ONES, ONES[:, :2]], 4)
    with pytest.raises(ValueError, match="rates"):
        executor.train(1, 1.0, [], 0, 0)


def test_fewer_shares_than_batches_are_refused():
    executor = trainer(regression())
    executor.begin([ONES, ONES[:, :2]], 3)
    with pytest.raises(ValueError, match="shares"):
        executor.train(2, 1.0, [0.1], 0, 0, [1.0])


@pytest.mark.parametrize("rows", [3, 5])
def test_a_gradient_for_another_number_of_rows_is_refused(rows):
    executor = trainer(mlp(np.random.default_rng(0), [3, 2])[0])
    executor.begin([ONES], 4)
    executor.forward(True)
    with pytest.raises(ValueError, match=r"shape \(4, 2\)"):
        executor.backward(np.ones((rows, 2)), 0.1, 0)


def test_gradients_for_what_a_loss_in_the_program_scores_are_refused():
    executor = trainer(regression())
    executor.begin([ONES, ONES[:, :2]], 4)
    executor.forward(True)
    with pytest.raises(ValueError, match="0 gradients"):
        executor.backward(np.ones((4, 2)), 0.1, 0)
    executor.backward([], 0.1, 0)


@pytest.mark.parametrize("batch", [0, 5, -1])
def test_a_batch_beyond_the_capacity_is_refused(batch):
    with pytest.raises((ValueError, OverflowError)):
        trainer(regression()).begin([ONES, ONES[:, :2]], batch)


@pytest.mark.parametrize("order", [[4], [-1], [0, 10**15]])
def test_row_numbers_outside_the_arrays_are_refused_and_the_pass_before_goes_on(order):
    executor = trainer(regression())
    executor.begin([ONES, ONES[:, :2]], 4)
    with pytest.raises(ValueError, match="order"):
        executor.begin([np.ones((10**6, 3)), np.ones((10**6, 2))], 4, [*order, 10**6])
    assert executor.train(10**9, 100.0, [0.0], 0, 0) == 1


def test_an_order_that_its_owner_changes_later_still_holds():
    order = np.arange(4)
    executor = trainer(regression())
    executor.begin([ONES * np.arange(4)[:, None], ONES[:, :2]], 4, order)
    order[:] = 10**12
    executor.train(1, 1.0, [0.0], 0, 0)
    np.testing.assert_array_equal(executor.batch(0)[:, 0], np.arange(4))


@pytest.mark.parametrize("i", [1, -1, 10**6])
def test_an_output_or_input_that_is_not_there_is_an_index_error(i):
    executor = _core.Executor(softmax_program(), 4)
    with pytest.raises(IndexError):
        executor.output(i)
    with pytest.raises(IndexError):
        executor.batch(i)


def test_more_rows_of_a_batch_than_the_capacity_cannot_be_read():
    executor = _core.Executor(softmax_program(), 4)
    for read in (executor.output, executor.batch):
        with pytest.raises(ValueError):
            read(0, 10**7)


def test_skipping_beyond_the_end_leaves_nothing_to_do():
    executor = _core.Executor(softmax_program(), 4)
    executor.begin([np.ones((5, 3))], 4)
    for _ in range(10):
        executor.skip()
    assert executor.forward(True) == 0
    assert executor.output().shape[0] <= 4


# ------------------------------------------------------------------------------------------ arrays

WRONG_ARRAYS = {
    "none": [],
    "two": [ONES, ONES],
    "too wide": [np.ones((4, 4))],
    "too narrow": [np.ones((4, 2))],
    "no axis of features": [np.ones(4)],
    "an axis too many": [np.ones((4, 3, 2))],
    "a scalar": [np.float32(1)],
    "a number": [3],
    "a list": [[[1.0, 2.0, 3.0]]],
    "text": [np.array([["a", "b", "c"]])],
    "bytes": [np.array([[b"a", b"b", b"c"]])],
    "complex": [np.ones((4, 3), complex)],
    "objects": [np.ones((4, 3), object)],
    "dates": [np.zeros((4, 3), "M8[s]")],
    "records": [np.zeros((4, 3), [("a", "f4"), ("b", "f4")])],
}


@pytest.mark.parametrize("what", WRONG_ARRAYS)
def test_arrays_that_do_not_fit_are_refused_and_the_executor_stays_usable(what):
    executor = _core.Executor(softmax_program(), 4)
    for run in (executor.predict, lambda arrays: executor.begin(arrays, 4)):
        with pytest.raises((TypeError, ValueError)):
            run(WRONG_ARRAYS[what])
    np.testing.assert_allclose(executor.predict([ONES]), ONES / 3, rtol=1e-6)


def test_a_target_with_fewer_rows_is_refused():
    with pytest.raises(ValueError, match="4 rows"):
        trainer(regression()).begin([ONES, ONES[:3, :2]], 4)


def test_no_rows_give_no_rows_and_train_nothing():
    executor = trainer(regression())
    empty = [ONES[:0], ONES[:0, :2]]
    assert executor.predict(empty).shape == (0, 2)
    executor.begin(empty, 4)
    assert executor.train(5, 1.0, [0.1], 0, 0) == 0
    assert executor.results() == [0.0]
    executor.begin([ONES, ONES[:, :2]], 4, order=[])
    assert executor.test(5, 1.0) == 0


def test_a_batch_larger_than_the_data_is_one_small_batch():
    executor = trainer(regression(), rows=64)
    executor.begin([ONES, ONES[:, :2]], 64)
    assert executor.train(10, 100.0, [0.0], 0, 0) == 1
    assert executor.output().shape == (4, 2)


def test_predicting_on_a_training_executor_with_more_threads_than_rows_ends():
    program, _ = mlp(np.random.default_rng(0), [3, 2])
    executor = trainer(program, rows=2, threads=3)
    x = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    expected = _core.Executor(program, 40, threads=1).predict([x])
    np.testing.assert_array_equal(executor.predict([x]), expected)


def test_an_unknown_isa_is_refused_by_name():
    with pytest.raises(ValueError, match="sse9"):
        _core.Executor(softmax_program(), 4, isa="sse9")


@pytest.mark.parametrize("threads", [-5, 0, 1000])
def test_any_number_of_threads_is_brought_into_range(threads):
    executor = _core.Executor(softmax_program(), 4, threads=threads)
    assert 1 <= executor.threads <= 64
    np.testing.assert_allclose(executor.predict([ONES]), ONES / 3, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("shape", "matrix"), [((3, 130), True), ((2, 3, 10), True), ((37,), False)]
)
def test_a_parameter_tells_whether_one_of_its_elements_is_not_finite(shape, matrix, value):
    parameter, array = _core.Parameter(shape, matrix), np.full(shape, 3e38, np.float32)
    parameter.set(array)
    assert parameter.finite
    for at in (0, array.size // 2, array.size - 1):
        array[:] = 1.0
        array.flat[at] = value
        parameter.set(array)
        assert not parameter.finite
