"""Shares of the work of a step for 1 to 64 threads; no core is needed to count them."""

import functools

import numpy as np
import pytest
from programs import learner, mlp, weight

import cdl as keras
from cdl import _core, layers
from cdl._ir.program import Program

# The fully connected nets of benchmarks/harness/cases.py.
WIDTHS = {
    "tiny": (4, 16, 3),
    "seed": (100, 64, 10),
    "digits": (64, 128, 64, 10),
    "tabular": (30, 128, 128, 1),
    "mnist": (784, 512, 512, 10),
    "deep": (*[256] * 20, 10),
    "wide": (1024, 4096, 4096, 1024),
}
MOST = 64
BATCHES = (128, 512)


@functools.cache
def net(name):
    """The fused training program of a net, and its optimizer."""
    program, y = mlp(np.random.default_rng(0), WIDTHS[name], last="softmax")
    classes = program.input((), "int32", "y")
    program.loss("sparse_categorical_crossentropy", classes, y)
    return program.fused(), learner("sgd", program.variables)


def balances(program, optimizer, rows):
    """(available, threads, lockstep, passes, step) for each number of available threads."""
    for available in range(1, MOST + 1):
        options = {"training": True, "threads": -available, "optimizer": optimizer}
        yield available, *_core.Executor(program, rows, **options).balance()


@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("name", WIDTHS)
def test_no_thread_has_over_a_quarter_more_of_the_passes_than_the_mean(name, rows):
    for available, threads, _, passes, _ in balances(*net(name), rows):
        assert 1 <= threads <= available
        assert passes <= 1.25, (available, threads, passes)


@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("name", ["mnist", "wide"])
def test_nor_of_a_step_whose_weights_have_blocks_for_all(name, rows):
    for available, threads, _, _, step in balances(*net(name), rows):
        assert step <= 1.25, (available, threads, step)


def test_64_threads_are_not_held_up_by_8_blocks_of_rows():
    *_, (_, threads, lockstep, _, _) = balances(*net("mnist"), 128)
    assert threads > 8
    assert lockstep


def test_two_threads_are_kept_as_they_were():
    for name in ("mnist", "wide", "deep"):
        found = [balance[1] for balance in balances(*net(name), 128)]
        assert found[:2] == [1, 2]


def test_normalizations_of_lines_alone_are_worth_threads():
    program = Program()
    x = program.input((16, 256))
    kinds = {"measure": 0, "subtracts_mean": 1, "epsilon": 1e-3}
    y = program.emit("normalize", [x], x.shape, (weight(np.ones(256)), None), **kinds)
    program.loss("mean_squared_error", program.input(x.shape, role="y"), y)
    found = balances(program.fused(), learner("sgd", program.variables), 256)
    assert [threads for _, threads, *_ in found][:4] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "layer",
    [
        layers.BatchNormalization(),
        layers.Activation("tanh"),
        layers.Softmax(),
        layers.MaxPooling2D(2, 1),
        layers.Embedding(9, 128),
    ],
    ids=lambda layer: layer.name,
)
def test_other_layers_of_numbers_are_worth_threads(layer):
    """The dense layer behind them alone is worth one."""
    shape = (64,) if isinstance(layer, layers.Embedding) else (4, 16, 128)
    x = keras.Input(shape)
    model = keras.Model(x, layers.Dense(1)(layer(x)))
    program, optimizer = trained(model, np.zeros((1, *shape), np.float32))
    found = list(balances(program, optimizer, 64))
    assert [found[available - 1][1] for available in (1, 2, 4)] == [1, 2, 4]
    assert all(passes <= 1.25 for *_, passes, _ in found)


def trained(model, x):
    """Program of a model's training, after a step, and the optimizer."""
    model.compile("sgd", "mse")
    model.train_on_batch(x, np.zeros((1, *model.output_shape[1:])))
    program = model._last_train_function.plan.program
    return program, model.optimizer.groups(model.trainable_variables)


def test_images_and_sequences_are_shared_as_evenly():
    image, steps = keras.Input((28, 28, 1)), keras.Input((20, 16))
    convolved = layers.Conv2D(16, 3, activation="relu")(image)
    convolved = layers.MaxPooling2D()(layers.Conv2D(32, 3, activation="relu")(convolved))
    nets = {
        image: layers.Dense(10)(layers.Flatten()(convolved)),
        steps: layers.Dense(10)(layers.LSTM(64)(steps)),
    }
    for x, y in nets.items():
        program, optimizer = trained(keras.Model(x, y), np.zeros((1, *x.shape[1:]), np.float32))
        for rows in BATCHES:
            for available, threads, _, passes, _ in balances(program, optimizer, rows):
                assert passes <= 1.25, (x.shape, rows, available, threads, passes)
