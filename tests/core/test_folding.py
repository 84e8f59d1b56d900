"""A batch normalization goes into the weights of the product before it, in inference."""

import numpy as np
import pytest
from programs import ISAS, activation, dense, predict, random_weight, weight

from cdl import _core
from cdl._ir.lowering import Lowering


def ops(program):
    return [i.op for i in program.instructions]


def kinds(program):
    return [i.attributes.get("activation", i.attributes.get("kind")) for i in program.instructions]


def normalized(op, rng, kind=None, scaled=True, bias=True):
    """A product, a batch normalization of it, perhaps an activation; the weights, and an input."""
    program = Lowering()
    one = (2, 1, 1, 0) * 2
    shape, to, kernel, numbers, more = {
        "dense": ((4, 7), (4, 70), (7, 70), (), {}),
        "conv": ((5, 6, 8), (4, 5, 70), (2, 2, 4, 70), one, {"groups": 2}),
        "conv_transpose": ((4, 5, 6), (5, 6, 70), (2, 2, 70, 6), one, {}),
        "depthwise_conv": ((5, 6, 70), (4, 5, 70), (2, 2, 70), one, {}),
    }[op]
    n = to[-1]
    weights = [weight(rng.normal(size=kernel), matrix=op != "depthwise_conv")]
    rows = [rng.normal(size=n) for _ in range(4)] + [rng.uniform(0.1, 2, n)]
    given = [bias, scaled, scaled, True, True]
    weights += [weight(row) if there else None for row, there in zip(rows, given, strict=True)]
    x = program.input(shape)
    y = program.emit(op, [x], to, weights[:2], numbers=numbers, **more)
    y = program.emit("batch_norm", [y], to, weights[2:], momentum=0.9, epsilon=1e-3, frozen=0)
    program.output(y if kind is None else activation(program, y, kind))
    return program, weights, rng.normal(size=(5, *shape)).astype(np.float32)


def apart(program, x):
    """The predictions of a program whose instructions are not folded into one another."""
    return predict(program, [x])


PRODUCTS = ["dense", "conv", "conv_transpose", "depthwise_conv"]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("op", PRODUCTS)
@pytest.mark.parametrize(("scaled", "bias"), [(True, True), (False, False), (True, False)])
def test_a_batch_normalization_goes_into_the_product_before_it_in_inference(op, scaled, bias, isa):
    program, _, x = normalized(op, np.random.default_rng(1), "tanh", scaled, bias)
    fused = program.fused(training=False)
    assert (ops(fused), kinds(fused)) == ([op], ["tanh"])
    assert ops(program.fused()) == [op, "batch_norm", "activation"]
    np.testing.assert_allclose(predict(fused, [x], isa=isa), apart(program, x), atol=2e-5)


@pytest.mark.parametrize("op", PRODUCTS)
def test_each_of_the_weights_counts_in_the_next_prediction(op):
    program, weights, x = normalized(op, np.random.default_rng(2))
    executor = _core.Executor(program.fused(training=False), len(x))
    for each in [None, *weights]:
        if each is not None:
            each.assign(0.5 + np.abs(each.numpy()))
        np.testing.assert_allclose(executor.predict([x]), apart(program, x), atol=1e-4)


def test_columns_without_variance_are_those_of_epsilon():
    program, weights, x = normalized("dense", np.random.default_rng(3))
    weights[5].assign(np.zeros(70))
    found = predict(program.fused(training=False), [x])
    np.testing.assert_allclose(found, apart(program, x), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("why", ["read twice", "an output", "activated", "low", "normalized"])
def test_a_batch_normalization_stays_where_the_product_is_not_its_own(why):
    rng = np.random.default_rng(4)
    program = Lowering()
    program.param_dtype = "bfloat16" if why == "low" else None
    y = dense(program, program.input((4,)), random_weight(rng, 4, 3))
    if why == "activated":
        y = activation(program, y, "tanh")
    z = y
    for _ in range(1 + (why == "normalized")):
        row = [weight(rng.uniform(0.5, 2, 3)) for _ in range(4)]
        attributes = {"momentum": 0.9, "epsilon": 1e-3, "frozen": 0}
        z = program.emit("batch_norm", [z], (3,), row, **attributes)
    if why == "read twice":
        z = program.emit("concat", [y, z], (6,), axis=0)
    program.output(z)
    if why == "an output":
        program.output(y)
    assert ops(program.fused(training=False)).count("batch_norm") == 1


@pytest.mark.parametrize("before", ["batch_norm", "normalize", "affine"])
def test_a_normalization_behind_one_that_is_no_product_stays(before):
    rng = np.random.default_rng(6)
    program = Lowering()
    z = program.input((3,))
    attributes = {
        "batch_norm": {"momentum": 0.9, "epsilon": 1e-3, "frozen": 0},
        "normalize": {"measure": 0, "subtracts_mean": 1, "epsilon": 1e-3},
        "affine": {},
    }
    for op in (before, "batch_norm"):
        n = len(_core.OPS[op].params) if op != "batch_norm" else 4
        row = [weight(rng.uniform(0.5, 2, 3)) for _ in range(n)]
        z = program.emit(op, [z], (3,), row, **attributes[op])
    program.output(z)
    fused = program.fused(training=False)
    assert ops(fused) == [before, "batch_norm"]
    x = rng.normal(size=(4, 3)).astype(np.float32)
    np.testing.assert_array_equal(predict(fused, [x]), predict(program, [x]))


def test_a_normalization_to_fold_is_refused_where_something_learns_or_a_part_is_missing():
    rng = np.random.default_rng(5)
    for training, rows, data, reason in (
        (True, 4, (1e-3,), "expected predictions"),
        (False, 4, (), "one each, or nothing"),
        (False, 3, (1e-3,), "one each, or nothing"),
        (False, 2, (), "one each, or nothing"),
        (False, 5, (1e-3,), "a number for each column"),
    ):
        program = Lowering()
        x = program.input((4,))
        row = [weight(np.ones(3 + (rows == 5)))] * min(rows, 4)
        params = [random_weight(rng, 4, 3), None, *row]
        program.output(program.emit("dense", [x], (3,), params, data=data))
        with pytest.raises(ValueError, match=reason):
            _core.Executor(program, 2, training=training)
