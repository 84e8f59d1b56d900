"""Layers and losses written by hand become built-in ones."""

import numpy as np
import pytest
from oracle import Oracle, difference_gradients
from programs import activation, dense, gradients, predict, pull_back, random_weight, weight

from cdl._ir import emit as ir_emit
from cdl._ir.elementwise import apply as ir_apply
from cdl._ir.elementwise import argument
from cdl._ir.lowering import Lowering

RNG = np.random.default_rng(0)
ROWS = 20


def by_hand(program, x, kernel, bias=None, kind=None):
    """A dense layer by ops: a product, a sum with a broadcast bias, a primitive."""
    y = ir_emit.product(program, x, program.param(kernel))
    if bias is not None:
        b = program.broadcast_batch(program.param(bias))
        y = program.map("add", [y, ir_emit.broadcast(program, b, y.shape)])
    return y if kind is None else program.map(kind, [y])


def layer(k, n):
    return random_weight(RNG, k, n), weight(RNG.normal(size=n))


def same_as_built_in(emit, built_in, shape, *, row_ops):
    """Fused, both are the same instructions, and so the same bits, at 1 and 2 threads."""
    programs = []
    for f in (emit, built_in):
        program = Lowering()
        program.output(f(program, program.input(shape)))
        programs.append(program.fused())
    ours, theirs = programs
    assert [i.op for i in ours.instructions] == row_ops
    for a, b in zip(ours.instructions, theirs.instructions, strict=True):
        assert (a.op, a.attributes, a.params) == (b.op, b.attributes, b.params)
    x = RNG.normal(size=(ROWS, *shape)).astype(np.float32)
    for threads in (1, 2):
        ours, theirs = (pull_back(p, [x], 1.0, threads=threads) for p in programs)
        np.testing.assert_array_equal(ours[0], theirs[0])
        for v, gradient in ours[1].items():
            np.testing.assert_array_equal(gradient, theirs[1][v])


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (1,)], ids=str)
@pytest.mark.parametrize(
    ("kind", "name"),
    [(None, None), ("relu", "plain_relu"), ("tanh", "tanh"), ("sigmoid", "sigmoid")],
)
def test_a_dense_layer_by_hand_is_one(kind, name, shape):
    kernel, bias = layer(shape[-1], 5)

    def built_in(program, x):
        y = dense(program, x, kernel, bias)
        return y if name is None else activation(program, y, name)

    same_as_built_in(
        lambda program, x: by_hand(program, x, kernel, bias, kind),
        built_in,
        shape,
        row_ops=["dense"],
    )


@pytest.mark.parametrize("shape", [(5,), (3, 5)], ids=str)
@pytest.mark.parametrize("read_twice", [False, True])
def test_an_activation_mixed_with_its_argument_is_one_pass(shape, read_twice):
    alpha, program = weight(RNG.normal(size=5)), Lowering()
    x = program.map("negative", [program.input(shape)])
    f = activation(program, x, "selu")
    a = ir_emit.broadcast(program, program.broadcast_batch(program.param(alpha)), shape)
    y = argument(0)
    program.output(program.map(y + argument(1) * (argument(2) - y), [x, a, f]))
    if read_twice:
        program.output(f)
    fused = program.fused()
    assert ("parametric" in [i.op for i in fused.instructions]) is not read_twice
    given = RNG.normal(size=(ROWS, *shape)).astype(np.float32)
    expected, found = Oracle(program).forward([given]), predict(fused, [given])
    for a, b in zip(found if read_twice else [found], expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_product_alone_is_a_layer_without_bias():
    kernel, _ = layer(4, 3)
    same_as_built_in(
        lambda program, x: by_hand(program, x, kernel),
        lambda program, x: dense(program, x, kernel),
        (4,),
        row_ops=["dense"],
    )


def test_two_layers_by_hand():
    first, second = layer(4, 5), layer(5, 2)
    same_as_built_in(
        lambda p, x: by_hand(p, by_hand(p, x, *first, "relu"), *second),
        lambda p, x: dense(p, activation(p, dense(p, x, *first), "plain_relu"), *second),
        (4,),
        row_ops=["dense", "dense"],
    )


def others(program, x):
    """Sums and products that only look like a layer."""
    kernel, bias = layer(4, 4)
    row = weight(RNG.normal(size=4))
    y = by_hand(program, x, kernel, bias)
    shared = program.map("square", [program.param(kernel)])
    z = ir_emit.product(program, x, shared)  # the factor is no weight
    z = program.map("add", [z, program.broadcast_batch(program.map("exp", [program.param(row)]))])
    w = ir_emit.product(
        program, program.map("add", [y, z]), program.param(kernel), transpose_b=True
    )
    both = program.map("subtract", [w, program.broadcast_batch(program.param(bias))])
    both = program.map("add", [both, both])
    return program.map("add", [both, y])  # y is read twice, so it keeps its value


def test_what_only_looks_like_a_layer_keeps_its_value():
    program = Lowering()
    program.output(others(program, program.input((4,))))
    x = RNG.normal(size=(ROWS, 4)).astype(np.float32)
    oracle = Oracle(program)
    expected = oracle.forward([x])[0]
    gradients = oracle.backward(np.ones((ROWS, 4)))
    np.testing.assert_allclose(predict(program, [x]), expected, rtol=1e-5, atol=1e-5)
    for v, gradient in difference_gradients(program, [x], dy=1.0).items():
        np.testing.assert_allclose(gradients[v], gradient, rtol=1e-5, atol=1e-5)
    for threads in (1, 3):
        value, found = pull_back(program.fused(), [x], 1.0, threads=threads)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
        for v, gradient in gradients.items():
            np.testing.assert_allclose(found[v], gradient, rtol=1e-4, atol=1e-4)


def test_a_value_that_others_read_is_not_fused_away():
    kernel, bias = layer(4, 3)
    program = Lowering()
    y = by_hand(program, program.input((4,)), kernel)
    program.output(program.map("add", [y, program.broadcast_batch(program.param(bias))]))
    program.output(y)
    x = RNG.normal(size=(ROWS, 4)).astype(np.float32)
    z = x @ kernel.numpy()
    found = predict(program.fused(False), [x])
    for value, expected in zip(found, (z + bias.numpy(), z), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("shape", "axes"), [((5,), [-1]), ((1,), [0]), ((3, 5), [1]), ((3, 5), [0, 1]), ((3, 5), [0])]
)
def test_the_mean_of_a_loss_is_part_of_the_objective(shape, axes, weighted, kind, reduction):
    program = Lowering()
    x = program.input((4,))
    size = int(np.prod(shape))
    y = ir_emit.reshape(program, dense(program, x, *layer(4, size)), shape)
    target = program.input(shape, role="y")
    error = program.map("square", [program.map("subtract", [target, y])])
    loss = ir_emit.reduce(program, kind, error, axes)
    weights = program.input((), role="weight") if weighted else None
    program.objective(loss, weights, scale=3.0, reduction=reduction)
    fused = program.fused()
    assert [i.op for i in fused.instructions if i.op in ("reduce", "objective")] == ["objective"]
    arrays = [RNG.normal(size=(ROWS, 4)), RNG.normal(size=(ROWS, *shape))]
    if weighted:
        arrays.append(RNG.uniform(size=ROWS))
    expected = difference_gradients(program, arrays)
    for v, gradient in gradients(fused, arrays).items():
        np.testing.assert_allclose(gradient, expected[v], rtol=1e-4, atol=1e-4)


def test_weights_of_lines_keep_the_mean_apart():
    program = Lowering()
    x = dense(program, program.input((4,)), *layer(4, 6))
    x = program.map("square", [ir_emit.reshape(program, x, (3, 2))])
    weights = program.input((3,), role="weight")
    program.objective(ir_emit.reduce(program, "mean", x, [1]), weights)
    arrays = [RNG.normal(size=(ROWS, 4)), RNG.uniform(size=(ROWS, 3))]
    expected = difference_gradients(program, arrays)
    assert "reduce" in [i.op for i in program.fused().instructions]
    for v, gradient in gradients(program.fused(), arrays).items():
        np.testing.assert_allclose(gradient, expected[v], rtol=1e-4, atol=1e-5)


def test_a_weight_that_is_assigned_stays_a_value():
    kernel, bias = layer(4, 4)
    program = Lowering()
    program.output(by_hand(program, program.input((4,)), kernel, bias))
    program.assign(kernel, program.constant(np.zeros((4, 4))))
    assert "dense" not in [i.op for i in program.fused().instructions]


def test_a_sum_of_a_value_with_itself_is_no_bias():
    kernel, _ = layer(4, 5)
    program = Lowering()
    y = by_hand(program, program.input((4,)), kernel)
    program.output(program.map("add", [y, y]))
    assert [i.op for i in program.fused().instructions] == ["dense", "map"]


def test_a_branch_that_leads_nowhere_keeps_nothing_apart():
    kernel, bias = layer(4, 5)
    program = Lowering()
    y = by_hand(program, program.input((4,)), kernel)
    program.map("tanh", [y])
    b = program.broadcast_batch(program.param(bias))
    program.output(program.map("relu", [program.map("add", [y, b])]))
    assert [i.op for i in program.fused().instructions] == ["dense"]


def test_a_bias_of_a_sum_of_products_is_that_of_one_of_them():
    (first, bias), (second, _) = layer(4, 5), layer(4, 5)
    program = Lowering()
    x = program.input((4,))
    products = [by_hand(program, x, kernel) for kernel in (first, second)]
    b = program.broadcast_batch(program.param(bias))
    z = program.map("add", [program.map("add", products), b])
    program.output(program.map("tanh", [z]))
    ops = [i.op for i in program.fused().instructions]
    assert ops == ["dense", "dense", "map"]
    arrays = [np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)]
    got = predict(program.fused(), arrays)
    wanted = np.tanh(arrays[0] @ (first.numpy() + second.numpy()) + bias.numpy())
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_equal_maps_that_one_map_reads_are_computed_in_it_once():
    program = Lowering()
    x = program.input((5,))
    program.output(program.map("multiply", [program.map("exp", [x]), program.map("exp", [x])]))
    fused = program.fused()
    assert [i.op for i in fused.instructions] == ["map"]
    values = RNG.normal(size=(3, 5)).astype(np.float32)
    np.testing.assert_allclose(predict(fused, [values]), np.exp(values) ** 2, rtol=1e-6)


def mean_of_lines(program, x):
    mean = ir_emit.reduce(program, "mean", x, [-1], keepdims=True)
    return ir_emit.broadcast(program, mean, x.shape)


def normalized_by_hand(program, x, weights, *, order, centered=True, to_root=lambda v: v + 0.125):
    """A normalization by ops: a product in some order of the line, its factor and weights."""
    d = program.map("subtract", [x, mean_of_lines(program, x)]) if centered else x
    variance = mean_of_lines(program, program.map("square", [d]))
    factor = program.map(ir_apply("rsqrt", to_root(argument(0))), [variance])
    row = [
        ir_emit.broadcast(program, program.broadcast_batch(program.param(w)), x.shape)
        for w in weights
    ]
    y, *rest = [{"d": d, "f": factor, "g": row[0] if row else None}[name] for name in order]
    for other in rest:
        y = program.map("multiply", [y, other])
    return program.map("add", [y, row[1]]) if len(row) > 1 else y


@pytest.mark.parametrize("shape", [(16,), (3, 24), (2, 3, 64)], ids=str)
@pytest.mark.parametrize(
    ("order", "n", "centered"),
    [("dfg", 2, True), ("gdf", 2, True), ("fdg", 1, True), ("df", 0, True), ("dfg", 1, False)],
)
def test_a_normalization_of_lines_by_hand_is_that_of_the_layers(order, n, centered, shape):
    weights = [weight(RNG.normal(size=shape[-1])) for _ in range(n)]
    how = {"measure": int(not centered), "subtracts_mean": int(centered), "epsilon": 0.125}
    params = (*weights, None, None)[:2]
    same_as_built_in(
        lambda program, x: normalized_by_hand(program, x, weights, order=order, centered=centered),
        lambda program, x: program.emit("normalize", (x,), x.shape, params, **how),
        shape,
        row_ops=["normalize"],
    )


def test_a_sum_that_is_normalized_by_hand_is_a_map_before():
    weights = [weight(RNG.normal(size=8)) for _ in range(2)]
    program = Lowering()
    x = program.map("add", [program.input((3, 8)), program.input((3, 8))])
    program.output(normalized_by_hand(program, x, weights, order="dfg"))
    oracle = Oracle(program)
    inputs = [RNG.normal(size=(5, 24)) for _ in range(2)]
    y = oracle.forward(inputs)[0]
    fused = program.fused()
    assert [i.op for i in fused.instructions] == ["map", "normalize"]
    value, found = pull_back(fused, inputs, 1.0)
    np.testing.assert_allclose(value, y, rtol=2e-5, atol=2e-6)
    for v, gradient in oracle.backward(np.ones((5, 3, 8))).items():
        np.testing.assert_allclose(found[v], gradient, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda program, x, w: normalized_by_hand(program, x, [w, w], order="dfg"),
        lambda program, x, w: normalized_by_hand(
            program, x, [w], order="dfg", to_root=lambda v: v * 2 + 0.125
        ),
        lambda program, x, w: normalized_by_hand(program, x, [w], order="dfg", to_root=lambda v: v),
        lambda program, x, w: normalized_by_hand(program, x, [w], order="dffg"),
        lambda program, x, w: normalized_by_hand(program, x, [w], order="dfgg"),
        lambda program, x, w: normalized_by_hand(program, x, [weight([1.5])], order="dfg"),
        lambda program, x, w: normalized_by_hand(program, x, [w, weight([1.5])], order="dfg"),
    ],
    ids=[
        "one weight twice",
        "twice the variance",
        "no epsilon",
        "divided twice",
        "scaled twice",
        "scaled by one number",
        "shifted by one number",
    ],
)
@pytest.mark.parametrize("n", [8, 12])
def test_what_only_looks_like_a_normalization_is_computed_as_written(change, n):
    program = Lowering()
    program.output(change(program, program.input((3, n)), weight(RNG.normal(size=n))))
    oracle = Oracle(program)
    x = RNG.normal(size=(5, 3 * n))
    y = oracle.forward([x])[0]
    fused = program.fused()
    assert "normalize" not in [i.op for i in fused.instructions]
    value, found = pull_back(fused, [x], 1.0)
    np.testing.assert_allclose(value, y, rtol=2e-5, atol=2e-5)
    for v, gradient in oracle.backward(np.ones((5, 3, n))).items():
        np.testing.assert_allclose(found[v], gradient, rtol=2e-4, atol=2e-4)
