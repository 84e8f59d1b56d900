"""Loops of the core: a step that is recorded once runs many times, as its copies would."""

from functools import partial

import numpy as np
import pytest
import references as reference
from oracle import Oracle, difference_gradients
from programs import ISAS, TEAMS, gradients, learner

import cdl
from cdl import _core, layers, ops
from cdl._tracing import loop

STEPS = 7
X = np.random.default_rng(1).normal(size=(21, STEPS, 3)).astype(np.float32)
Y = np.random.default_rng(2).normal(size=(21, 2)).astype(np.float32)


class Cell(layers.Layer):
    """A cell of the user's with a keyword argument.

    Args:
        units: of its state.
        part: which of the things that cells do it does.
    """

    def __init__(self, units=4, part=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.part = part
        self.state_size = [units, [units, 1]] if part == "nested" else units
        self.output_size = units

    def get_initial_state(self, batch_size=None):
        h = ops.zeros((batch_size, self.units))
        return [h, [h, ops.ones((batch_size, 1))]] if self.part == "nested" else [h]

    def build(self, input_shape):
        n = self.units
        self.kernel = self.add_weight((input_shape[-1], n), "glorot_uniform", name="kernel")
        self.recurrent = self.add_weight((n, n), "orthogonal", name="recurrent")
        self.bias = self.add_weight((n,), "random_normal", name="bias")
        self.scale = self.add_weight((n,), "ones", name="scale")
        self.norm = layers.LayerNormalization(center=self.part != "norm without beta")
        self.slope = layers.PReLU()
        self.drop = layers.Dropout(0.4, seed=5 if self.part == "seeded dropout" else None)
        self.norm.build((None, n))
        self.slope.build((None, n))
        self.built = True

    def call(self, x, states, training=False):
        h = states[0]
        z = ops.matmul(x, self.kernel) + ops.matmul(h, self.recurrent) + self.bias
        if self.part == "twice":
            z = ops.matmul(ops.tanh(z), self.recurrent)
        if self.part in ("shared", "shared bias"):  # a matrix that is computed, read twice
            turned = ops.transpose(self.recurrent) * self.scale
            z = ops.matmul(ops.tanh(z), turned)
            z = ops.matmul(z, turned) + self.scale if self.part == "shared bias" else z @ turned
        if self.part == "scale":
            z = z * self.scale
        if self.part in ("norm", "norm without beta"):
            z = self.norm(z)
        if self.part == "slope":
            return self.slope(z), [ops.tanh(z)]
        if self.part in ("dropout", "seeded dropout"):
            z = self.drop(z, training=training)
        if self.part == "softmax":
            return ops.softmax(z), [ops.tanh(z) * 0.5]
        if self.part == "pairs":
            pairs = ops.expand_dims(h, 2) * ops.expand_dims(ops.tanh(z), 1)
            return ops.tanh(z), [ops.mean(pairs, axis=1) + ops.max(pairs, axis=2)]
        if self.part == "nested":
            c, n = states[1]
            c = 0.9 * c + ops.tanh(z) * n
            return c, [ops.tanh(c), [c, n + 0.1]]
        h = ops.tanh(z)
        return h, [h]


PARTS = (
    None,
    "twice",
    "scale",
    "norm",
    "norm without beta",
    "slope",
    "dropout",
    "seeded dropout",
    "softmax",
    "pairs",
    "shared",
    "shared bias",
    "nested",
)
OPTIONS = (
    {},
    {"return_sequences": True},
    {"go_backwards": True, "return_sequences": True},
    {"return_state": True},
)


def net_of(make, mask=False, shape=(STEPS, 3)):
    """A net around the layers that `make` returns, with masks if asked."""
    cdl.utils.set_random_seed(1)
    x = cdl.Input(shape)
    h = layers.Masking()(x) if mask else x
    outputs = make()(h)
    outputs = [ops.reshape(y, (-1, int(np.prod(y.shape[1:])))) for y in cdl.tree.flatten(outputs)]
    h = outputs[0] if len(outputs) == 1 else layers.Concatenate()(outputs)
    net = cdl.Model(x, layers.Dense(2)(h))
    net.compile(cdl.optimizers.SGD(0.1), "mse")
    return net


def both(monkeypatch, make, x=X, looped=True, **options):
    """Predictions, gradients and the weights after three steps: by a loop, and by copied steps."""
    found = []
    for least in (2, 10**6):
        monkeypatch.setattr(loop, "LEAST_ITERATIONS", least)
        net = net_of(make, **options)
        assert ("iterations=" in str(net.program())) == (looped and least == 2)
        parts = [net.predict(x, verbose=0)]
        if not any(isinstance(each, layers.Dropout) for each in net._flatten_layers()):
            parts += list(net.gradients(x, Y).values())
        cdl.utils.set_random_seed(2)
        net.fit(x, Y, batch_size=8, epochs=1, shuffle=False, verbose=0)
        parts += [np.float32(net.evaluate(x, Y, verbose=0)), *net.get_weights()]
        found.append([np.asarray(part) for part in parts])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-5, atol=3e-6)
    return found[0]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("part", [p for p in PARTS if p != "dropout"])
def test_a_loop_does_what_copies_of_its_step_do(part, options, monkeypatch):
    both(monkeypatch, lambda: layers.RNN(Cell(part=part), **options))


@pytest.mark.parametrize("mask", ["states", "zeros"])
@pytest.mark.parametrize("part", [None, "nested", "norm"])
def test_hidden_steps_hold_the_states_in_a_loop(part, mask, monkeypatch):
    x = X.copy()
    x[:5, 2:4] = x[7:12, 5:] = x[15:, :1] = 0
    more = {"zero_output_for_mask": mask == "zeros", "return_sequences": True}
    both(monkeypatch, lambda: layers.RNN(Cell(part=part), **more), x, mask=True)


def test_stacked_cells_run_in_one_loop(monkeypatch):
    def make():
        cells = [layers.LSTMCell(3), Cell(), layers.GRUCell(2), Cell(part="norm")]
        return layers.RNN(cells, return_state=True)

    both(monkeypatch, make)


class Scanned(layers.Layer):
    """A scan that captures values around it, with numbers as states and as elements."""

    def build(self, input_shape):
        self.w = self.add_weight((3, 3), "orthogonal")

    def call(self, x):
        mean = ops.mean(x, axis=1)

        def step(carry, element):
            h, n = carry
            h = ops.tanh(ops.matmul(h, self.w) + element["x"] * mean) * element["size"][:, None]
            return (h, n + ops.sum(h, axis=-1)), {"h": h, "n": n * 2.0}

        start = (ops.zeros_like(mean), ops.zeros_like(mean[:, 0]))
        xs = {"x": ops.transpose(x, (1, 0, 2)), "size": ops.transpose(ops.sum(x, axis=-1))}
        (h, n), ys = ops.scan(step, start, xs, reverse=True)
        return [h, n[:, None], ops.transpose(ys["h"], (1, 0, 2)), ops.transpose(ys["n"])]


def test_a_scan_is_a_loop(monkeypatch):
    both(monkeypatch, Scanned)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("kind", ["dropout", "draw"])
def test_noise_in_a_step_differs_each_time(kind, seed):
    class Noisy(layers.Layer):
        def __init__(self):
            super().__init__()
            self.drop = layers.Dropout(0.5, seed=seed)
            self.seeds = cdl.random.SeedGenerator(seed)
            self.state_size = 6

        def call(self, x, states, training=False):
            y = x + 0 * states[0]
            if kind == "dropout":
                return self.drop(y, training=training), states
            return y + cdl.random.uniform(ops.shape(x), seed=self.seeds), states

    net = cdl.Sequential([cdl.Input((STEPS, 6)), layers.RNN(Noisy(), return_sequences=True)])
    assert "iterations=7" in str(net.program())
    y = np.asarray(net(np.ones((300, STEPS, 6), np.float32), training=True))
    kept = y > np.mean(y)
    for lag in (1, 2, 3):
        assert 0.45 < np.mean(kept[:, lag:] == kept[:, :-lag]) < 0.55


def recurrent(part):
    return layers.RNN(Cell(part=part))


def programs_of(make, rows=21):
    """The program of a training step on a net around layers that `make` gives, and its arrays."""
    program = net_of(make).program()
    program.external_grads = []
    y = program.outputs[0]
    program.loss("mean_squared_error", program.input(y.shape, role="y"), y)
    return program, [X[:rows], Y[:rows]]


@pytest.mark.parametrize(
    "make", [Scanned, *(partial(recurrent, part) for part in ("nested", "shared bias"))]
)
def test_gradients_of_loops_are_those_of_float64_and_their_differences(make):
    program, arrays = programs_of(make)
    oracle = Oracle(program)
    oracle.forward(arrays)
    wanted, central = oracle.backward(), difference_gradients(program, arrays)
    for v in program.variables:
        np.testing.assert_allclose(wanted[v], central[v], rtol=1e-5, atol=1e-7)
    for isa in ISAS:
        found = gradients(program.fused(), arrays, isa=isa)
        for v in program.variables:
            np.testing.assert_allclose(found[v], wanted[v], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [5, 16, 37])
@pytest.mark.parametrize("part", [None, "norm", "dropout", "nested", "shared bias"])
def test_loops_learn_the_same_bits_at_1_to_4_threads(part, batch):
    program, _ = programs_of(lambda: layers.RNN(Cell(part=part), return_sequences=True))
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=(2 * batch - 1, *v.shape)) for v in program.inputs]

    def left(**team):
        before = [v.numpy() for v in program.variables]
        hypers = reference.OPTIMIZER_HYPERS["adam"]
        optimizer = learner("adam", program.variables, **hypers)
        executor = _core.Executor(
            program.fused(), batch, training=True, optimizer=optimizer, **team
        )
        executor.begin(arrays, batch)
        executor.train(4, 1e9, [0.01], 0, 3)
        found = [np.array(executor.totals()), *(v.numpy() for v in program.variables)]
        for v, array in zip(program.variables, before, strict=True):
            v.assign(array)
        return found

    alone = left(threads=1)
    assert all(np.isfinite(x).all() for x in alone)
    for team in (*TEAMS, {"threads": 4, "lockstep": True}):
        for a, b in zip(alone, left(**team), strict=True):
            np.testing.assert_array_equal(a, b)


def test_kept_states_are_those_of_a_loop(monkeypatch):
    found = []
    for least in (2, 10**6):
        monkeypatch.setattr(loop, "LEAST_ITERATIONS", least)
        cdl.utils.set_random_seed(1)
        x = cdl.Input(batch_shape=(7, STEPS, 3))
        net = cdl.Model(x, layers.Dense(2)(layers.RNN(Cell(), stateful=True)(x)))
        net.compile("sgd", "mse")
        net.fit(X, Y, batch_size=7, epochs=2, shuffle=False, verbose=0)
        found.append([net.predict(X, batch_size=7, verbose=0), *net.get_weights()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


class Seeded(layers.Layer):
    """A cell that draws by a seed of the user's."""

    state_size = 3

    def __init__(self):
        super().__init__()
        self.seeds = cdl.random.SeedGenerator(4)

    def call(self, x, states):
        y = x + cdl.random.uniform(ops.shape(x), seed=self.seeds)
        return y, [y + states[0]]


class Twice(layers.Layer):
    """A cell with a loop of its own."""

    state_size = 3

    def __init__(self):
        super().__init__()
        self.inner = layers.RNN(Seeded(), return_sequences=True)

    def call(self, x, states):
        steps = ops.repeat(ops.expand_dims(x, 1), 5, axis=1)
        return ops.reshape(self.inner(steps), (-1, 15)), [states[0] + x]


def test_a_loop_within_a_step_is_repeated_and_draws_go_on(monkeypatch):
    found = []
    for least in (2, 10**6):
        monkeypatch.setattr(loop, "LEAST_ITERATIONS", least)
        net = cdl.Sequential([cdl.Input((4, 3)), layers.RNN(Twice(), return_sequences=True)])
        assert str(net.program()).count("iterations=5") == (4 if least == 2 else 0)
        found.append(net.predict(np.zeros((2, 4, 3)), verbose=0))
    np.testing.assert_array_equal(*found)
    assert np.unique(found[0]).size == found[0].size


def test_a_loop_that_no_memory_holds_is_refused_at_once():
    with pytest.raises(MemoryError):
        net = cdl.Sequential([cdl.Input((10**9, 3)), layers.RNN(Cell(90))])
        net.compile("sgd", "mse")
        net.train_on_batch(np.broadcast_to(np.float32(0), (4, 10**9, 3)), np.zeros((4, 90)))


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("options", [{}, {"return_sequences": True, "padding": "same"}], ids=str)
def test_convolutions_run_in_loops(options, trainable, monkeypatch):
    x = np.random.default_rng(4).normal(size=(21, 16, 6, 6, 2)).astype(np.float32)

    def make():
        return layers.ConvLSTM2D(3, 3, trainable=trainable, **options)

    both(monkeypatch, make, x, shape=x.shape[1:])


def test_gradient_goes_through_a_loop_whose_end_another_one_begins_with(monkeypatch):
    """Decay by two loops is that by one number, in the core and step by step."""

    def step(total, element):
        return total * (0.9 + 0.0 * element), None

    def twice(x):
        rows = ops.stack([x] * 5)
        return ops.scan(step, ops.scan(step, x, rows)[0], rows)[0]

    for least in (2, 10**6):
        monkeypatch.setattr(loop, "LEAST_ITERATIONS", least)
        np.testing.assert_allclose(cdl.grad(twice)(X[:, 0]), 0.9**10, rtol=1e-5)
