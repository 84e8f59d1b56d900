"""Derivatives of derivatives: each rule by its op, against the core's own backward pass."""

import numpy as np
import pytest

import cdl
from cdl import _core, layers, ops
from cdl._ir import emit
from cdl._ir.activation_maps import ACTIVATIONS
from cdl._ir.elementwise import argument
from cdl._ir.lowering import Lowering
from cdl._ir.reverse import walk
from cdl._ir.reverse.composed import COMPOSED
from cdl._ir.reverse.loss_lines import ELEMENTS, LINES, line_loss
from cdl._ir.reverse.rules import RULES
from cdl._tracing import eager
from cdl.trainers.vjp import Vjp


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("float32")


def built(layer, *shape):
    """Layer with weights that are no zeros and ones."""
    cdl.utils.set_random_seed(0)
    layer.build((None, *shape))
    for weight in layer.weights:
        noise = 0.3 * normal(*weight.shape)
        weight.assign(weight.numpy() + (np.abs(noise) if "variance" in weight.path else noise))
    return layer


def through_loop(x):
    """Steps forth, and back through what they gave."""

    def step(total, element):
        total = 0.9 * total + 0.1 * ops.sin(total + element)
        return total, total * element

    rows = ops.stack([ops.cos(x * (k / 20)) for k in range(1, 41)])
    last, each = ops.scan(step, x, rows)
    back, _ = ops.scan(step, last, each, reverse=True)
    return back


def attention(x):
    q = ops.reshape(x, (-1, 4, 2, 3))
    return ops.dot_product_attention(q, q * 0.5 + 1, ops.sin(q), is_causal=True)


# A function of samples of a shape for each op that has a rule.
OPS = {
    "activation": (layers.Activation("silu"), (3,)),
    "affine": (built(layers.GroupNormalization(2), 2, 4), (2, 4)),
    "attention": (attention, (4, 6)),
    "batch_norm": (built(layers.BatchNormalization(), 3), (3,)),
    "batch_reduce": (lambda x: ops.mean(x, 0) ** 2 + ops.max(x, 0) + ops.sum(x, 0), (3,)),
    "broadcast": (lambda x: x * ops.sum(x, -1, keepdims=True) ** 2, (3,)),
    "broadcast_batch": (lambda x: x**2 * ops.mean(x, 0), (3,)),
    "cast": (lambda x: ops.cast(ops.cast(x, "float16"), "float32") ** 2, (3,)),
    "concat": (lambda x: ops.concatenate([x**2, ops.sin(x)], -1), (3,)),
    "conv": (built(layers.Conv2D(3, 3, strides=2, padding="same"), 5, 6, 2), (5, 6, 2)),
    "conv_transpose": (built(layers.Conv2DTranspose(2, 3, strides=2), 3, 2, 3), (3, 2, 3)),
    "cumulate": (lambda x: ops.cumsum(x**2, 1) + ops.cumprod(x, 2), (3, 5)),
    "dense": (built(layers.Dense(4), 3), (3,)),
    "custom_gradient": (ops.custom_gradient(lambda x: (x**3, lambda g: g * 3.0 * x**2)), (3,)),
    "depthwise_conv": (built(layers.DepthwiseConv2D(3, padding="same"), 4, 4, 2), (4, 4, 2)),
    "feature_norm": (layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]), (3,)),
    "gather": (lambda x: ops.take(ops.mean(x, 0) ** 2, ops.argsort(x)[:, :2], axis=0), (3,)),
    "glu": (ops.glu, (4,)),
    "loop": (through_loop, (3,)),
    "log_softmax": (ops.log_softmax, (3,)),
    "mask": (built(cdl.Sequential([layers.Masking(0.0), layers.LSTM(3)]), 3, 2), (3, 2)),
    "map": (lambda x: ops.sin(x) * x, (3,)),
    "normalize": (built(layers.LayerNormalization((1, 2)), 2, 3), (2, 3)),
    "permute": (lambda x: ops.transpose(x, (0, 2, 3, 1)) ** 2, (2, 3, 4)),
    "pick": (lambda x: ops.take(x**2, [0, 2, 2], axis=-1) * x[:, ::-1], (3,)),
    "pool": (
        lambda x: (
            ops.max_pool(x + np.arange(48.0).reshape(4, 4, 3), 2)
            + ops.average_pool(x, 3, 2, "same")
        ),
        (4, 4, 3),
    ),
    "prelu": (built(layers.PReLU(), 3, 2), (3, 2)),
    "product": (lambda x: ops.matmul(x, ops.sin(ops.transpose(x, (0, 2, 1)))), (2, 3)),
    "recurrent": (built(layers.LSTM(3, return_sequences=True), 4, 2), (4, 2)),
    "reduce": (lambda x: ops.prod(x, 1) + ops.max(x, 1) + ops.mean(x**2, 1), (3, 2)),
    "reshape": (lambda x: ops.reshape(x**2, (-1, 3, 2)), (2, 3)),
    "softmax": (ops.softmax, (3,)),
    "sort": (lambda x: ops.sort(x) ** 2 * np.array([1.0, 2.0, 3.0], "float32"), (3,)),
    "sparsemax": (ops.sparsemax, (3,)),
    "take_along": (lambda x: ops.take_along_axis(x**2, ops.argsort(x)[:, :2], 1), (3,)),
}


# Layers of random numbers, and ops of programs that join or watch samples, have tests below.
NOISES = {
    "dropout": layers.Dropout(0.5),
    "noise": layers.GaussianDropout(0.5),
    "patterned_dropout": layers.SpatialDropout1D(0.5),
}
# Ops of tests of their own; `host` in tests/ops/test_array_calls.py.
APART = {"activity", "exact", "host", "line_loss", "probe", "join_batch", "split_batch", *NOISES}


def test_every_op_with_a_rule_is_tested():
    assert set(OPS) | APART == set(RULES | COMPOSED)
    assert not set(RULES) & set(COMPOSED)


# Ops with gradients through which no derivative within traced code goes.
REFUSED = {
    *("dense_int", "resample", "carried", "carry", "element", "captured"),
    *("collect", "loss", "objective", "ctc", "fork", "signs", "parametric"),
}


def test_every_op_with_a_gradient_has_a_rule_or_is_refused():
    with_gradient = {name for name, row in _core.OPS.items() if row.gives_gradient}
    assert with_gradient - set(RULES | COMPOSED) <= REFUSED


def weighted(function):
    """Sum of a function's results, each times a number that differs."""

    def total(x):
        y = function(x)
        size = 1
        for n in y.shape[1:]:
            size *= n
        return ops.sum(y * np.cos(np.arange(size, dtype="float32")).reshape(y.shape[1:]) * y)

    return total


@pytest.mark.parametrize("op", sorted(OPS))
def test_gradient_in_traced_code_is_that_of_the_core(op, monkeypatch):
    function, shape = OPS[op]
    rules, called = RULES if op in RULES else COMPOSED, []
    rule = rules[op]
    monkeypatch.setitem(rules, op, lambda *args: called.append(op) or rule(*args))
    x, total = 1 + 0.5 * normal(4, *shape), weighted(function)
    (_, found), _ = cdl.value_and_grad(lambda x: (total(x), cdl.grad(total)(x)), has_aux=True)(x)
    np.testing.assert_allclose(found, cdl.grad(total)(x), rtol=2e-4, atol=2e-5)
    assert called


@pytest.mark.parametrize("op", sorted(set(OPS) - {"cast"}))
def test_second_derivative_is_the_difference_of_first_ones(op):
    function, shape = OPS[op]
    x, v, total = 1 + 0.5 * normal(4, *shape), normal(4, *shape, seed=1), weighted(function)
    found = cdl.grad(lambda x, v: ops.sum(cdl.grad(total)(x) * v))(x, v)
    step = 4e-3
    above, below = (cdl.grad(total)(x + s * v) for s in (step, -step))
    np.testing.assert_allclose(found, (above - below) / (2 * step), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("op", NOISES)
def test_gradient_goes_through_what_was_kept(op):
    layer, weight = NOISES[op], cdl.Variable(np.ones(3, "float32"))

    def loss(x):
        y, slope = cdl.value_and_grad(lambda x: layer(x, training=True))(x)
        return ops.sum(y * slope * weight), (y, slope)

    x = 1 + normal(8, 4, 3) ** 2
    ((_, (y, slope)), (by_weight,)) = cdl.value_and_grad(loss, variables=[weight], has_aux=True)(x)
    assert len(np.unique(np.round(slope, 5))) > 1
    np.testing.assert_allclose(y, x * slope, rtol=1e-6)
    np.testing.assert_allclose(by_weight, np.sum(y * slope, (0, 1)), rtol=1e-5)


def test_gradient_goes_through_statistics_of_the_batch():
    layer, scale = (
        built(layers.BatchNormalization(), 2, 3),
        cdl.Variable(np.ones((2, 3), "float32")),
    )
    total = weighted(lambda x: layer(x, training=True))
    x = normal(4, 2, 3)

    def loss(x):
        return total(x * scale), cdl.grad(total)(x)

    ((_, slope), (by_core,)) = cdl.value_and_grad(loss, variables=[scale], has_aux=True)(x)
    np.testing.assert_allclose(np.sum(x * slope, 0), by_core, rtol=1e-4, atol=1e-4)


RECURRENT = {
    "simple": layers.SimpleRNN(3),
    "lstm": layers.LSTM(3, go_backwards=True, return_sequences=True),
    "gru": layers.GRU(3, return_sequences=True),
    "reset first": layers.GRU(3, reset_after=False),
    "without bias": layers.GRU(
        3, use_bias=False, activation="silu", recurrent_activation="softplus"
    ),
    "masked": cdl.Sequential([layers.Masking(0.0), layers.LSTM(3)]),
    "states": None,
}


@pytest.mark.parametrize("name", RECURRENT)
def test_gradient_goes_through_recurrent_layers(name):
    layer, x = RECURRENT[name], normal(4, 5, 2)
    x[1, 2] = 0

    if name == "states":
        lstm = built(layers.LSTM(3, return_state=True), 5, 2)

        def layer(x):
            y, h, c = lstm(x, initial_state=[ops.sin(x[:, 0, :1]) * np.ones(3, "float32")] * 2)
            return y * h + c

    else:
        layer(x)
        for weight in layer.weights:
            weight.assign(0.5 * normal(*weight.shape, seed=5))
    total, v = weighted(layer), normal(4, 5, 2, seed=1)
    (_, found), second = cdl.value_and_grad(
        lambda x, v: (ops.sum((slope := cdl.grad(total)(x)) * v), slope), has_aux=True
    )(x, v)
    np.testing.assert_allclose(found, cdl.grad(total)(x), rtol=2e-4, atol=2e-5)
    if name == "masked":
        v[1, 2] = 0
        second[1, 2] = 0
    above, below = (cdl.grad(total)(x + s * v) for s in (4e-3, -4e-3))
    expected = (above - below) / 8e-3
    if name == "masked":
        expected[1, 2] = 0
    np.testing.assert_allclose(second, expected, rtol=0.02, atol=0.02)


# --- expressions: activations and primitives ---

PARAMETERS = {"alpha": 1.5, "b": 3.0, "limit": 2.0, "threshold": 0.4, "default_value": 0.1}
PARAMETERS |= {"negative_slope": 0.2, "max_value": 3.0}


@pytest.mark.parametrize("kind", _core.ACTIVATIONS)
def test_activation_as_a_map_is_that_of_the_core(kind):
    x = np.concatenate([np.linspace(-7, 7, 200), [0.0, 30.0, -30.0]]).astype("float32")[:, None]
    numbers = {name: PARAMETERS[name] for name in _core.ACTIVATIONS[kind]}
    program = Lowering()
    given = program.input((1,))
    probe = program.emit("probe", [given], (1,))
    y = program.emit("activation", [probe], (1,), kind=kind, **numbers)
    z = program.map(ACTIVATIONS[kind](argument(0), *numbers.values()), [probe])
    slope = walk.gradients(program, [y], [probe], [walk.full(program, 1.0, y)])[0]
    for value in (y, z, slope):
        program.output(value)
    found, as_map, slope = eager.run(program, [x])
    np.testing.assert_allclose(as_map, found, rtol=1e-4, atol=1e-6)

    def append(program, values):
        return program.emit("activation", values, (1,), kind=kind, **numbers)

    _, (by_core,) = Vjp(append, [(1,)]).of([x])
    np.testing.assert_allclose(slope, by_core, rtol=1e-3, atol=1e-5)


LOSS_NUMBERS = {"label_smoothing": 0.1, "delta": 0.7, "alpha": 0.3, "gamma": 1.5, "balancing": 1.0}


@pytest.mark.parametrize("kind", [*ELEMENTS, *LINES])
def test_loss_of_lines_made_of_others_is_that_of_the_core(kind):
    rng, shape = np.random.default_rng(7), (2, 4)
    y, t = (rng.uniform(0.05, 0.95, (5, *shape)).astype("float32") for _ in range(2))
    t = t / t.sum(-1, keepdims=True)
    y[0, 0], y[1, 0] = [-100, 100, 0, 1], [-17, 17, 1e-9, 1 - 1e-6]  # beyond limits too
    numbers = {name: LOSS_NUMBERS[name] for name in _core.LOSSES[kind].params}

    def append(program, values):
        return program.emit("line_loss", values, (2, 1), kind=kind, **numbers)

    program = Lowering()
    values = [program.emit("probe", [program.input(shape)], shape), program.input(shape)]
    value = append(program, values)
    (slope,) = walk.gradients(program, [value], values[:1], [walk.full(program, 1.0, value)])
    made = line_loss(program, program.instructions[1])
    for each in (made, slope):
        program.output(each)
    found, by_rule = eager.run(program, [y, t])
    expected, (by_core,) = Vjp(append, [shape, shape], by=[0]).of([y, t])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(by_rule, by_core, rtol=1e-3, atol=1e-5)


def test_every_loss_of_lines_is_known_or_refused():
    sparse = {"sparse_categorical_crossentropy", "softmax_sparse_categorical_crossentropy"}
    refused = {"categorical_generalized_crossentropy"}
    assert set(_core.LOSSES) == {*ELEMENTS, *LINES} | sparse | refused


def test_attack_by_the_gradient_of_a_loss_is_learned_from():
    """Loss at inputs moved along the sign of its gradient (Goodfellow et al., 2015)."""
    net, x = critic(layers.Dense(8, "tanh")), normal(16, 3)
    y = (normal(16, 1, seed=4) > 0).astype("float32")
    net(x)
    loss = cdl.losses.BinaryCrossentropy(from_logits=True)

    def attacked(x, y):
        moved = x + 0.1 * ops.sign(cdl.grad(lambda x: loss(y, net(x)))(x))
        return loss(y, net(ops.stop_gradient(moved)))

    value, found = cdl.value_and_grad(attacked, variables=net.trainable_variables)(x, y)
    moved = x + 0.1 * np.sign(cdl.grad(lambda x: loss(y, net(x)))(x))
    expected = cdl.value_and_grad(lambda x: loss(y, net(x)), variables=net.trainable_variables)
    value_there, there = expected(moved)
    assert np.isclose(value, value_there, rtol=1e-5)
    for a, b in zip(found, there, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_relu_has_no_second_derivative():
    x = np.array([-2.0, 0.0, 3.0], "float32")
    for f in (ops.relu, ops.leaky_relu, layers.ReLU(max_value=5.0)):
        assert not np.any(cdl.grad(cdl.grad(lambda x, f=f: f(x)))(x))
    assert np.array_equal(cdl.grad(cdl.grad(lambda x: x * ops.relu(x)))(x), [0.0, 0.0, 2.0])


# --- programs in which samples are joined, or watched ---


def test_joined_samples_give_the_gradient_of_each():
    program = Lowering()
    x = program.emit("probe", [program.input((3,))], (3,))
    whole = emit.join_batch(program, x, 4)
    y = emit.split_batch(program, emit.product(program, whole, whole, transpose_b=True))
    (slope,) = walk.gradients(program, [y], [x], [y])
    program.output(slope)
    a = normal(4, 3)
    np.testing.assert_allclose(eager.run(program, [a]), 2 * a @ a.T @ a, rtol=1e-5)


# --- arguments ---


def test_numbers_have_derivatives_of_any_order():
    f = lambda x: x**5 / 60  # noqa: E731
    for value in (32 / 60, 80 / 60, 160 / 60, 4.0, 4.0, 2.0, 0.0):
        assert np.isclose(f(2.0), value, rtol=1e-5)
        f = cdl.grad(f)


def test_gradient_by_several_arguments_and_aux():
    a, b = normal(4, 3), normal(4, 3, seed=1)

    def outer(a, b):
        inner = cdl.value_and_grad(lambda a, b: (ops.sum(a**2 * b), a - b), (0, 1), has_aux=True)
        (value, aux), (by_a, by_b) = inner(a, b)
        return ops.sum(by_a * by_b), (value, aux)

    (value, (inner, aux)), (by_a, by_b) = cdl.value_and_grad(outer, (0, 1), has_aux=True)(a, b)
    assert np.isclose(value, np.sum(2 * a**3 * b), rtol=1e-4)
    assert np.isclose(inner, np.sum(a**2 * b), rtol=1e-4)
    np.testing.assert_array_equal(aux, a - b)
    np.testing.assert_allclose(by_a, 6 * a**2 * b, rtol=1e-4)
    np.testing.assert_allclose(by_b, 2 * a**3, rtol=1e-4)


def test_gradient_by_an_array_or_weight_and_of_what_depends_on_neither():
    x, w = normal(4, 3), cdl.Variable(np.array([1.0, 2.0, 3.0], "float32"))
    scale = np.array([2.0, 3.0, 4.0], "float32")

    def outer(x):
        by_array = cdl.grad(lambda x, s: ops.sum(x * s**2), 1)(x, scale)
        by_weight = cdl.grad(lambda w, x: ops.sum(w**2 * x))(w, x)
        nothing = cdl.grad(lambda x: ops.sum(w))(x)
        return ops.sum(by_array) + ops.sum(by_weight), nothing

    (_, nothing), found = cdl.value_and_grad(outer, has_aux=True)(x)
    np.testing.assert_allclose(found, np.tile(2 * scale + 2 * w.numpy(), (4, 1)), rtol=1e-5)
    assert not nothing.any()


def test_what_has_no_derivative_of_a_derivative_is_refused_by_name():
    x, way = normal(4, 5, 5, 3), np.array([1, 0.1, 0.5, 0, 1, 0.5, 0, 0], "float32")

    def moved(x):
        return ops.sum(ops.image.affine_transform(x, way, data_format="channels_last"))

    with pytest.raises(ValueError, match="no derivative goes through 'resample'"):
        cdl.grad(lambda x: ops.sum(cdl.grad(moved)(x)))(x)
    with pytest.raises(ValueError, match="no derivative goes through 'resample'"):  # joined
        cdl.grad(lambda x: ops.sum(cdl.grad(moved)(x) * np.ones((4, 1, 1, 1), "float32")))(x)
    with pytest.raises(TypeError, match="a derivative is by floats, got int32"):
        cdl.grad(lambda x: ops.sum(cdl.grad(ops.sum)(ops.argmax(x, -1))))(x)
    model = cdl.Sequential([layers.Input((3,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="gradients are by arguments, not by variables"):
        cdl.grad(lambda x: ops.sum(cdl.value_and_grad(model, variables=model.weights)(x)[1][0]))(
            normal(2, 3)
        )


def test_derivative_of_an_input_is_refused():
    with pytest.raises(TypeError, match=r"ask for it in the call\(\) of a layer or a model"):
        cdl.grad(ops.sum)(cdl.Input((3,)))


# --- in losses ---


def critic(*hidden):
    cdl.utils.set_random_seed(0)
    return cdl.Sequential([*hidden, layers.Flatten(), layers.Dense(1)])


NETS = {
    "tanh": ((3,), lambda: critic(layers.Dense(8, "tanh"), layers.Dense(8, "tanh"))),
    "gelu": ((3,), lambda: critic(layers.Dense(8, "gelu"), layers.Dense(8, "silu"))),
    "leaky_relu": ((3,), lambda: critic(layers.Dense(8, "leaky_relu"), layers.Dense(8, "relu"))),
    "normalized": (
        (3,),
        lambda: critic(layers.Dense(8), layers.LayerNormalization(), layers.ELU()),
    ),
    "conv": (
        (6, 6, 2),
        lambda: critic(
            layers.Conv2D(4, 3, strides=2, padding="same"), layers.Activation("softplus")
        ),
    ),
    "groups": (
        (6, 6, 2),
        lambda: critic(
            layers.Conv2D(4, 3, groups=2, activation="tanh"), layers.AveragePooling2D(2)
        ),
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_penalty_of_a_gradient_learns(name):
    shape, make = NETS[name]
    net, x = make(), normal(16, *shape)
    net(x)

    def size(x):
        slopes = ops.reshape(cdl.grad(net)(x), (-1, int(np.prod(shape))))
        return ops.sqrt(ops.sum(ops.square(slopes), -1))

    def penalty(x):
        return ops.mean(ops.square(size(x) - 1))

    weights = net.trainable_variables
    value, found = cdl.value_and_grad(penalty, variables=weights)(x)

    def value_of(weight, array):
        before = weight.numpy()
        weight.assign(array)
        slopes = cdl.grad(net)(x).reshape(16, -1).astype("float64")
        weight.assign(before)
        return np.mean((np.sqrt(np.sum(slopes**2, 1)) - 1) ** 2)

    assert np.isclose(value, value_of(weights[0], weights[0].numpy()), rtol=1e-5)
    for weight, gradient in zip(weights, found, strict=True):
        way, start, step = (
            normal(*weight.shape, seed=3),
            weight.numpy(),
            2e-4 if name == "leaky_relu" else 2e-3,
        )
        above, below = (value_of(weight, start + s * way) for s in (step, -step))
        expected = (above - below) / (2 * step)
        assert np.isclose(np.sum(gradient * way), expected, rtol=0.02, atol=1e-3), weight.path


def test_equation_of_second_order_is_learned_in_fit():
    """Loss of u'' = -u with u(0) = 0, u'(0) = 1, whose solution is the sine."""
    cdl.utils.set_random_seed(0)

    class Oscillator(cdl.Model):
        def __init__(self):
            super().__init__()
            self.net = cdl.Sequential(
                [
                    layers.Input((1,)),
                    layers.Dense(16, "tanh"),
                    layers.Dense(16, "tanh"),
                    layers.Dense(1),
                ]
            )

        def call(self, t):
            return t + t * t * self.net(t)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            curve = cdl.grad(cdl.grad(self))(x)
            return ops.mean(ops.square(curve + self(x)))

    t = np.linspace(0, 2, 64, dtype="float32")[:, None]
    model = Oscillator()
    model.compile(cdl.optimizers.Adam(0.01))
    model.fit(t, t, batch_size=64, epochs=400, verbose=0)
    np.testing.assert_allclose(model.predict(t, verbose=0), np.sin(t), atol=0.01)
