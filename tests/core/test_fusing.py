"""Rules of Program.fused(): their instructions, and equal results."""

import numpy as np
import pytest
import references as reference
from oracle import Oracle
from programs import (
    activation,
    dense,
    mlp,
    predict,
    pull_back,
    random_weight,
    train,
    weight,
)

from cdl import _core
from cdl._ir import mapping
from cdl._ir.fusion import Rewriter
from cdl._ir.lowering import Lowering
from cdl._ir.program import Program


def ops(program):
    return [i.op for i in program.instructions]


def kinds(program):
    return [i.attributes.get("activation", i.attributes.get("kind")) for i in program.instructions]


def net(last, loss=None, metric=None, n=5, seed=0):
    """dense -> `last` -> loss and metric, with 24 rows of data."""
    rng = np.random.default_rng(seed)
    program, y = mlp(rng, [6, n], last=last)
    arrays = [rng.normal(size=(24, 6)).astype(np.float32)]
    if loss:
        sparse = reference.takes_classes(loss)
        target = program.input(() if sparse else (n,), "int32" if sparse else "float32", "y")
        parameters = reference.loss_parameters(loss)[-1]
        program.loss(loss, target, y, program.input((), role="weight"), scale=0.5, **parameters)
        if metric:
            program.metric(metric, target, y)
        arrays += [reference.loss_arguments(loss, 24, n, rng)[0], rng.uniform(0, 2, 24)]
    return program, arrays


# ------------------------------------------------------------------ activations go into the product


@pytest.mark.parametrize("name", [a for a, from_y in _core.ACTIVATIONS_FROM_Y.items() if from_y])
def test_an_activation_whose_gradient_its_value_tells_goes_into_dense(name):
    program, arrays = net(name)
    fused = program.fused()
    assert ops(fused) == ["dense"]
    assert kinds(fused) == [name]
    np.testing.assert_array_equal(predict(fused, arrays), predict(program, arrays))


@pytest.mark.parametrize(
    "name", [a for a, from_y in _core.ACTIVATIONS_FROM_Y.items() if not from_y]
)
def test_an_activation_whose_gradient_needs_its_argument_goes_in_for_predictions_only(name):
    for width in (1, 70):  # a vector, and more than a panel
        program = Lowering()
        y = dense(program, program.input((3,)), random_weight(np.random.default_rng(5), 3, width))
        parameters = reference.activation_parameters(name)[-1]
        program.output(activation(program, y, name, **parameters))
        assert ops(program.fused()) == ["dense", "activation"]
        assert ops(program.fused(training=False)) == ["dense"]
        x = np.linspace(-9, 9, 3 * 37).reshape(37, 3)
        whole, fused = (predict(p, [x]) for p in (program, program.fused(training=False)))
        np.testing.assert_array_equal(fused, whole)


def test_the_default_relu_and_that_up_to_6_go_in_and_another_relu_does_not():
    default = {"negative_slope": 0.0, "max_value": float("inf"), "threshold": 0.0}
    outside = ["dense", "activation"]
    cases = ({}, ["dense"]), ({"max_value": 6.0}, ["dense"]), ({"max_value": 5.0}, outside)
    for changed, expected in cases:
        program = Lowering()
        y = dense(program, program.input((3,)), weight(np.eye(3)))
        program.output(activation(program, y, "relu", **{**default, **changed}))
        assert ops(program.fused()) == expected
        x = np.linspace(-9, 9, 12).reshape(4, 3)
        np.testing.assert_array_equal(predict(program.fused(), [x]), predict(program, [x]))


CORNERS = [0.0, -0.0, 1, -1, 3, -3, 6, -6, 0.5, -0.5, 0.2, -0.2, 1e-30, 40, -40, 1e4, -1e4]
SPECIAL = [np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("name", mapping._CHEAP)
def test_an_activation_next_to_a_map_is_part_of_it(name, ahead):
    """Values and gradients at corners, infinities and NaN are those of the activation alone; behind
    a map to the bit, but for the gradient of a product.
    """
    exact = not ahead and name != "hard_silu"
    tolerance = {"rtol": 0.0} if exact else {"rtol": 1e-5, "atol": 2e-6}
    for parameters in reference.activation_parameters(name):
        rng = np.random.default_rng(3)
        corners = [*CORNERS, *SPECIAL, *parameters.values(), *(-v for v in parameters.values())]
        z = np.concatenate([corners, rng.normal(size=120) * 4]).astype(np.float32)[None]
        programs = []
        for program in (Lowering(), Lowering()):
            x = dense(program, program.input((1,)), weight(z))
            if ahead:
                y = program.map("add", [activation(program, x, name, **parameters), x])
            else:
                y = activation(program, program.map("negative", [x]), name, **parameters)
            program.output(y)
            programs.append(program)
        fused = programs[0].fused()
        assert ops(fused) == ["dense", "map"]
        rewriter = Rewriter(programs[1])
        rewriter.fork_values()
        dy = rng.normal(size=z.shape).astype(np.float32)
        found, expected = (pull_back(p, [np.ones((1, 1))], dy) for p in (fused, rewriter.result()))
        np.testing.assert_allclose(found[0], expected[0], rtol=2e-6, atol=1e-35)
        signs = (np.where(np.isnan(y), 0.0, np.copysign(1, y)) for y in (found[0], expected[0]))
        np.testing.assert_array_equal(*signs)
        for a, b in zip(found[1].values(), expected[1].values(), strict=True):
            np.testing.assert_allclose(a, b, **tolerance)
        program = Lowering()
        x = program.map("negative", [program.input((3,))])
        program.output(activation(program, x, name, **parameters))
        special = np.array([SPECIAL], np.float32)
        found = predict(program.fused(training=False), [special])
        np.testing.assert_array_equal(found, predict(program, [special]))


def test_an_activation_whose_value_tells_its_gradient_stays_beside_a_map():
    program = Lowering()
    x = dense(program, program.input((3,)), weight(np.eye(3)))
    program.output(activation(program, program.map("negative", [x]), "tanh"))
    assert ops(program.fused()) == ["dense", "map", "activation"]


def test_only_the_first_of_two_activations_goes_in():
    program = Lowering()
    y = dense(program, program.input((3,)), weight(np.eye(3)))
    program.output(activation(program, activation(program, y, "tanh"), "sigmoid"))
    fused = program.fused()
    assert kinds(fused) == ["tanh", "sigmoid"]
    x = np.linspace(-2, 2, 12).reshape(4, 3)
    np.testing.assert_array_equal(predict(fused, [x]), predict(program, [x]))


def test_an_activation_stays_outside_where_the_raw_product_is_read_too():
    def start():
        program = Lowering()
        return program, dense(program, program.input((3,)), weight(np.eye(3)))

    program, y = start()  # by the caller
    program.output(y)
    program.output(activation(program, y, "tanh"))
    assert ops(program.fused(training=False)) == ["dense", "activation"]
    program, y = start()  # by another instruction
    program.output(activation(program, y, "tanh"))
    program.output(activation(program, y, "sigmoid"))
    assert ops(program.fused(training=False)) == ["dense", "activation", "activation"]
    program, y = start()  # by a metric
    program.output(activation(program, y, "tanh"))
    program.metric("mean_squared_error", program.input((3,), role="y"), y)
    assert ops(program.fused(training=False)) == ["dense", "activation", "metric"]


# --------------------------------------------------------- softmax and sigmoid go into their losses

PAIRS = [
    ("softmax", "categorical_crossentropy", "softmax_categorical_crossentropy"),
    ("softmax", "sparse_categorical_crossentropy", "softmax_sparse_categorical_crossentropy"),
    ("sigmoid", "binary_crossentropy", "sigmoid_binary_crossentropy"),
]
METRIC_OF = {
    "categorical_crossentropy": "categorical_accuracy",
    "sparse_categorical_crossentropy": "sparse_categorical_accuracy",
    "binary_crossentropy": "mean_squared_error",
}


@pytest.mark.parametrize("n", [1, 5, 17])
@pytest.mark.parametrize(("last", "loss", "on_scores"), PAIRS)
def test_a_crossentropy_moves_to_raw_scores_with_the_same_results(last, loss, on_scores, n):
    program, arrays = net(last, loss, METRIC_OF[loss], n)
    fused = program.fused()
    assert ops(fused) == ["dense", "loss", "metric"]
    assert fused.instructions[1].attributes == {**program.reports[0].attributes, "kind": on_scores}
    assert fused.reports == fused.instructions[1:]
    assert fused.outputs == program.outputs
    results = []
    for p in (program, fused):
        executor = _core.Executor(p, 24, training=True)
        executor.begin(arrays, 24)
        executor.test(1, 100.0)
        results.append((executor.results(), executor.output()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5, atol=2e-7)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=2e-6)
    oracle = Oracle(fused)
    oracle.forward(arrays)
    np.testing.assert_allclose(results[1][0], oracle.results(), rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize(("last", "loss", "on_scores"), PAIRS)
def test_training_fused_and_unfused_comes_to_the_same_weights(last, loss, on_scores):
    results = []
    for which in (lambda p: p, Program.fused):
        program, arrays = net(last, loss)
        optimizer = ("sgd", {}, {v: [] for v in program.variables})
        logs = train(which(program), arrays, optimizer, batch=7, epochs=5, rate=0.5)
        results.append((logs, [v.numpy() for v in program.variables]))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-4)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_fused_loss_has_gradients_where_probabilities_round_to_0_or_1():
    program = Lowering()
    kernel = weight([[200.0, 0.0]])
    y = program.emit("softmax", [dense(program, program.input((1,)), kernel)], (2,))
    program.loss("sparse_categorical_crossentropy", program.input((), "int32", "y"), y)
    arrays = [np.ones((4, 1)), np.ones(4)]
    optimizer = ("sgd", {}, {kernel: []})
    logs = train(program.fused(), arrays, optimizer, batch=4, rate=1.0)
    np.testing.assert_allclose(logs[0], [200.0])
    np.testing.assert_allclose(kernel.numpy(), [[199.0, 1.0]])


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        ("sigmoid", "categorical_crossentropy"),
        ("softmax", "binary_crossentropy"),
        ("softmax", "mean_squared_error"),
        ("tanh", "binary_crossentropy"),
        ("softmax", "softmax_categorical_crossentropy"),
        ("sigmoid", "sigmoid_binary_crossentropy"),
    ],
)
def test_other_pairs_stay_apart(last, loss):
    program, arrays = net(last, loss)
    fused = program.fused()
    assert kinds(fused)[-1] == loss
    results = []
    for p in (program, fused):
        executor = _core.Executor(p, 24)
        executor.begin(arrays, 24)
        executor.test(1, 100.0)
        results.append(executor.results())
    np.testing.assert_allclose(*results, rtol=1e-6)


def test_a_loss_on_its_input_stays():
    program = Lowering()
    x = program.input((3,))
    program.loss("categorical_crossentropy", program.input((3,)), x, label_smoothing=0.0)
    assert kinds(program.fused()) == ["categorical_crossentropy"]


def test_a_crossentropy_stays_where_another_instruction_reads_the_probabilities():
    program, _ = net("softmax", "categorical_crossentropy")
    probabilities = program.outputs[0]
    program.output(dense(program, probabilities, weight(np.ones((5, 2)))))
    assert kinds(program.fused(training=False))[:3] == [None, None, "categorical_crossentropy"]
    assert ops(program.fused()) == ["dense", "softmax", "loss", "dense"]


# ------------------------------------------------------------------------------ reshape and dropout


def test_a_reshape_of_an_input_is_left_to_the_gather():
    program = Lowering()
    x = program.emit("reshape", [program.emit("reshape", [program.input((2, 3))], (3, 2))], (6,))
    program.output(dense(program, x, weight(np.arange(12.0).reshape(6, 2))))
    fused = program.fused()
    assert ops(fused) == ["dense"]
    assert [v.shape for v in fused.inputs] == [(6,)]
    assert [v.role for v in fused.inputs] == ["x"]
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    np.testing.assert_array_equal(predict(fused, [x]), predict(program, [x]))


def test_a_reshape_stays_where_the_input_is_read_in_its_own_shape_too():
    program = Lowering()
    x = program.input((2, 3))
    program.output(program.emit("softmax", [x], (2, 3)))
    program.output(program.emit("reshape", [x], (6,)))
    assert ops(program.fused()) == ["softmax", "reshape"]
    program = Lowering()
    program.output(program.input((2, 3)))
    program.output(program.emit("reshape", program.inputs, (6,)))
    assert ops(program.fused()) == ["reshape"]
    x = np.arange(12.0, dtype=np.float32).reshape(2, 2, 3)
    for found, shape in zip(predict(program.fused(), [x]), [(2, 2, 3), (2, 6)], strict=True):
        np.testing.assert_array_equal(found, x.reshape(shape))


def test_a_reshape_inside_stays():
    program = Lowering()
    y = dense(program, program.input((3,)), weight(np.eye(3)))
    program.output(program.emit("reshape", [y], (3, 1)))
    assert ops(program.fused()) == ["dense", "reshape"]


def test_dropout_is_kept_for_training_and_gone_outside():
    program = Lowering()
    x = program.emit("dropout", [program.input((3,))], (3,), rate=0.5, seed=0, user_draw=0)
    x = program.emit(
        "dropout", [dense(program, x, weight(np.eye(3)))], (3,), rate=0.5, seed=1, user_draw=0
    )
    program.output(activation(program, x, "tanh"))
    program.metric("mean_squared_error", program.input((3,), role="y"), x)
    assert ops(program.fused()) == ["dropout", "dense", "dropout", "activation", "metric"]
    outside = program.fused(training=False)
    assert ops(outside) == ["dense", "activation", "metric"]
    assert outside.reports == [outside.instructions[2]]
    arrays = [np.linspace(-1, 1, 12).reshape(4, 3), np.zeros((4, 3))]
    np.testing.assert_allclose(predict(outside, arrays), np.tanh(arrays[0]), rtol=1e-6)


def test_a_dropout_of_the_input_that_is_the_output_leaves_the_input():
    program = Lowering()
    program.output(
        program.emit("dropout", [program.input((3,))], (3,), rate=0.5, seed=0, user_draw=0)
    )
    outside = program.fused(training=False)
    assert ops(outside) == [] and outside.outputs == program.inputs
    x = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(predict(outside, [x]), x)


# ------------------------------------------------------------------------------------ dead branches


def test_what_leads_to_nothing_is_left_out():
    program = Lowering()
    x = program.input((3,))
    y = dense(program, x, weight(np.eye(3)))
    beside = activation(program, dense(program, y, weight(np.ones((3, 2)))), "tanh")
    program.emit("softmax", [beside], (2,))
    program.output(y)
    assert ops(program) == ["dense", "dense", "activation", "softmax"]
    for training in (True, False):
        assert ops(program.fused(training)) == ["dense"]
    program.metric("mean_squared_error", program.input((2,)), beside)
    assert ops(program.fused()) == ["dense", "dense", "metric"]


@pytest.mark.parametrize(("most", "row"), [(np.inf, "plain_relu"), (6.0, "relu6")])
def test_a_relu_behind_what_is_no_product_is_the_plain_one(most, row):
    program = Lowering()
    scale = weight(np.linspace(-1, 2, 40))
    x = program.emit("affine", [program.input((40,))], (40,), (None, scale))
    parameters = {"negative_slope": 0.0, "max_value": most, "threshold": 0.0}
    program.output(activation(program, x, "relu", **parameters))
    given = np.random.default_rng(1).normal(size=(5, 40)).astype(np.float32) * 5
    for training in (False, True):
        fused = program.fused(training)
        assert (ops(fused), kinds(fused)[1]) == (["affine", "activation"], row)
        np.testing.assert_array_equal(predict(fused, [given]), predict(program, [given]))
    dy = np.random.default_rng(2).normal(size=(5, 40)).astype(np.float32)
    found = [pull_back(each, [given], dy)[1][scale] for each in (program, program.fused())]
    np.testing.assert_array_equal(*found)


def test_a_branch_that_is_cut_leaves_a_product_to_its_activation():
    program = Lowering()
    y = dense(program, program.input((3,)), weight(np.eye(3)))
    program.emit("softmax", [y], (3,))
    program.output(activation(program, y, "tanh"))
    assert ops(program.fused()) == ["dense"]


def test_what_follows_the_batches_stays_in_training_unless_it_is_frozen():
    for frozen, training, expected in ((0, True, 1), (1, True, 0), (0, False, 0)):
        program = Lowering()
        x = program.input((3,))
        moving = [weight(np.zeros(3)), weight(np.ones(3))]
        attributes = {"momentum": 0.9, "epsilon": 1e-3, "frozen": frozen}
        program.emit("batch_norm", [x], (3,), [None, None, *moving], **attributes)
        program.output(x)
        assert len(program.fused(training).instructions) == expected


def test_what_is_emitted_as_fixed_is_as_in_inference():
    program = Lowering(training=True)
    x = program.input((3,))
    moving = [weight(np.zeros(3)), weight(np.ones(3))]
    attributes = {"momentum": 0.9, "epsilon": 1e-3, "frozen": 0}
    with program.fixed(training=False):
        assert not program.training
        assert program.emit("dropout", [x], (3,), rate=0.5, seed=0, user_draw=0) is x
        program.emit("batch_norm", [x], (3,), [None, None, *moving], **attributes)
    assert program.training
    program.emit("batch_norm", [x], (3,), [None, None, *moving], **attributes)
    assert [i.attributes["frozen"] for i in program.instructions] == [1, 0]
    assert program.emit("dropout", [x], (3,), rate=0.5, seed=0, user_draw=0) is not x


# --------------------------------------------------------------------------------------- in general


def test_fusing_leaves_the_program_itself_as_it_was():
    program, _ = net("softmax", "categorical_crossentropy", "categorical_accuracy")
    before = str(program)
    program.fused()
    program.fused(training=False)
    assert str(program) == before


def test_fusing_twice_changes_nothing_more():
    program, _ = net("softmax", "categorical_crossentropy", "categorical_accuracy")
    assert str(program.fused().fused()) == str(program.fused())


def test_the_disassembly_names_values_weights_attributes_and_shapes():
    program, y = mlp(np.random.default_rng(0), [3, 2], last="tanh")
    program.loss("mean_squared_error", program.input((2,), role="y"), y)
    assert str(program.fused()).splitlines() == [
        "%0 = input x  [3] float32",
        "%3 = input y  [2] float32",
        "%2 = dense %0, variable, variable, activation=tanh  [2]",
        "loss %2, %3, kind=mean_squared_error, scale=1, reduction=0",
        "output %2",
    ]


def test_variables_are_listed_once_in_order_of_use():
    program = Lowering()
    first, second = random_weight(np.random.default_rng(0), 3, 3), weight(np.ones((3, 3)))
    x = program.input((3,))
    for kernel in (first, second, first):
        x = dense(program, x, kernel)
    assert program.variables == [first, second]
