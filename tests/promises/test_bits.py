"""Training gives equal bits at any number of threads, from one seed, however a run is cut.

Alone, a thread lets each layer learn in the middle of its backward pass and reuses the memory of
what is dead; so do several threads that share each instruction, in lockstep. Where instructions are
too short for that, threads work in phases and keep all memory. So this tests the memory's plan too.
"""

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import references as reference
from programs import ISAS, TEAMS, activation, dense, learner, random_weight, weight

import cdl
from cdl import _core
from cdl._ir.program import Program
from cdl.trainers.lowering import lower_inference

# Rows of a batch: below, at and beyond the blocks of 16 that threads share, with one row left over
BATCHES = [1, 2, 15, 16, 17, 31, 33, 48, 49, 65, 97, 130]


def deep_net(loss="softmax_sparse_categorical_crossentropy", n=10, shape=(), rows=300, seed=0):
    """Every operation in one program, and data for it."""
    rng = np.random.default_rng(seed)
    program = Program()
    x = program.input((*shape, 12))
    h = dense(program, x, random_weight(rng, 12, 70), weight(rng.normal(size=70) * 0.1))
    h = activation(program, h, "plain_relu")
    statistics = [
        weight(np.ones(70)),
        weight(np.zeros(70)),
        weight(np.zeros(70)),
        weight(np.ones(70)),
    ]
    attributes = {"momentum": 0.9, "epsilon": 1e-3, "frozen": 0}
    h = program.emit("batch_norm", [h], h.shape, statistics, **attributes)
    h = program.emit("dropout", [h], h.shape, rate=0.3, seed=1, user_draw=0)
    h = program.emit("reshape", [h], (*shape, 2, 35))
    h = activation(program, dense(program, h, random_weight(rng, 35, 17)), "gelu")
    h = program.emit("reshape", [h], (*shape, 34))
    h = program.emit("softmax", [dense(program, h, random_weight(rng, 34, 34))], (*shape, 34))
    h = activation(program, dense(program, h, random_weight(rng, 34, 1)), "tanh")
    h = activation(
        program, dense(program, h, random_weight(rng, 1, 66), weight(np.zeros(66))), "silu"
    )
    y = dense(program, h, random_weight(rng, 66, n), weight(np.zeros(n)))
    if reference.takes_probabilities(loss):
        y = activation(program, y, "sigmoid")
    program.output(y)
    sparse = reference.takes_classes(loss)
    target = program.input(shape if sparse else (*shape, n), "int32" if sparse else "float32", "y")
    w = program.input((), role="weight")
    program.loss(loss, target, y, w, **reference.loss_parameters(loss)[-1])
    metric = "sparse_categorical_accuracy" if sparse else "mean_absolute_error"
    program.metric(metric, target, y, w)
    lines = rows * int(np.prod(shape))
    t = reference.loss_arguments(loss, lines, n, rng)[0].reshape(rows, *target.shape)
    return program, [rng.normal(size=(rows, *shape, 12)), t, rng.uniform(0, 2, rows)]


def run(
    make,
    batch,
    *,
    row="adam",
    threads=1,
    seed=3,
    slices=None,
    steps=6,
    isa=None,
    rules=None,
    lockstep=None,
):
    """Everything that a training leaves behind, as one list of arrays."""
    program, arrays = make()
    learn = [v for v in program.variables if v not in statistics_of(program)]
    optimizer = learner(row, learn, **reference.OPTIMIZER_HYPERS.get(row, {}))
    executor = _core.Executor(
        program.fused(),
        batch,
        training=True,
        optimizer=optimizer,
        rules=rules(learn) if rules else None,
        threads=threads,
        lockstep=lockstep,
        isa=isa,
    )
    executor.begin(arrays, batch)
    done = 0
    for n in slices or [steps]:
        executor.train(n, 1e9, [0.01], done, seed)
        done += n
    left = [np.array(executor.totals()), executor.output()]
    left += [v.numpy() for v in program.variables]
    return left + [slot.get() for v in learn for slot in optimizer[2][v]]


def statistics_of(program):
    return {v for i in program.instructions if i.op == "batch_norm" for v in i.params[2:]}


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("batch", BATCHES)
def test_all_operations_learn_the_same_bits_at_1_2_and_3_threads(batch, isa):
    alone = run(deep_net, batch, isa=isa)
    assert all(np.isfinite(x).all() for x in alone)
    for team in TEAMS:
        assert_same(run(deep_net, batch, **team, isa=isa), alone)


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("loss", _core.LOSSES)
def test_every_loss_learns_the_same_bits_at_1_2_and_3_threads(loss, n):
    def make():
        return deep_net(loss, n)

    alone = run(make, 49)
    for team in TEAMS:
        assert_same(run(make, 49, **team), alone)


@pytest.mark.parametrize("row", _core.OPTIMIZERS)
def test_every_optimizer_learns_the_same_bits_at_1_2_and_3_threads(row):
    alone = run(deep_net, 33, row=row)
    for team in TEAMS:
        assert_same(run(deep_net, 33, row=row, **team), alone)


@pytest.mark.parametrize("name", _core.ACTIVATIONS)
def test_every_activation_learns_the_same_bits_at_1_2_and_3_threads(name):
    parameters = reference.activation_parameters(name)[-1]

    def make():
        rng = np.random.default_rng(0)
        program = Program()
        h = dense(program, program.input((9,)), random_weight(rng, 9, 1), weight([0.1]))
        for k, n in ((1, 40), (40, 1), (1, 3)):
            h = activation(program, h, name, **parameters)
            h = dense(program, h, random_weight(rng, k, n), weight(np.zeros(n)))
        program.output(h)
        program.loss("mean_squared_error", program.input((3,), role="y"), h)
        return program, [rng.normal(size=(150, 9)), rng.normal(size=(150, 3))]

    alone = run(make, 49)
    for team in TEAMS:
        assert_same(run(make, 49, **team), alone)


@pytest.mark.parametrize("shape", [(3,), (2, 2)])
def test_samples_of_several_lines_learn_the_same_bits_at_1_2_and_3_threads(shape):
    def make():
        return deep_net(shape=shape, rows=80)

    alone = run(make, 19, steps=4)
    for team in TEAMS:
        assert_same(run(make, 19, **team, steps=4), alone)


def wide_net():
    rng = np.random.default_rng(0)
    program = Program()
    h = dense(program, program.input((1100,)), random_weight(rng, 1100, 130), weight(np.ones(130)))
    program.output(dense(program, h, random_weight(rng, 130, 4)))
    program.loss("mean_squared_error", program.input((4,), role="y"), program.outputs[0])
    return program, [rng.normal(size=(280, 1100)), rng.normal(size=(280, 4))]


def twice_net():
    """A kernel of several blocks that two layers share."""
    rng = np.random.default_rng(0)
    program = Program()
    kernel, bias = random_weight(rng, 150, 150), weight(np.zeros(150))
    h = dense(program, program.input((150,)), kernel, bias)
    program.output(dense(program, activation(program, h, "tanh"), kernel))
    program.loss("mean_squared_error", program.input((150,), role="y"), program.outputs[0])
    return program, [rng.normal(size=(60, 150)), rng.normal(size=(60, 150))]


def test_blocks_of_a_large_product_learn_the_same_bits_at_1_2_and_3_threads():
    alone = run(wide_net, 280, steps=1)
    for team in TEAMS:
        assert_same(run(wide_net, 280, **team, steps=1), alone)


def strips_net():
    """A kernel whose gradient copies strips of panels: 7 of 513 samples, and 8 of 512."""
    rng = np.random.default_rng(0)
    program = Program()
    h = dense(program, program.input((256,)), random_weight(rng, 256, 320))
    h = dense(program, h, random_weight(rng, 320, 1024))
    program.output(dense(program, h, random_weight(rng, 1024, 1)))
    program.loss("mean_squared_error", program.input((1,), role="y"), program.outputs[0])
    return program, [rng.normal(size=(1025, 256)), rng.normal(size=(1025, 1))]


def test_a_last_batch_of_one_sample_less_learns_the_same_bits_at_1_2_and_3_threads():
    alone = run(strips_net, 513, steps=2)
    for team in TEAMS:
        assert_same(run(strips_net, 513, **team, steps=2), alone)


def beside(weights):
    return {w: _core.Parameter(w.shape, w.storage.matrix) for w in weights}


KEEPING_RULES = {
    "clipnorm": lambda weights: {"clipnorm": 0.01},
    "global_clipnorm": lambda weights: {"global_clipnorm": 0.01},
    "finite_only": lambda weights: {"finite_only": True},
    "norm constraints": lambda weights: {
        "constraints": {w: ("norm", (0.1, 0.5, 0.9)) for w in weights}
    },
    "all of them, accumulated and averaged": lambda weights: {
        "global_clipnorm": 0.01,
        "clipvalue": 0.001,
        "finite_only": True,
        "weight_decay": 0.01,
        "constraints": {w: ("norm", (0.1, 0.5, 0.9)) for w in weights[1::2]},
        "penalties": {w: (0.01, 0.02) for w in weights},
        "gradient_accumulation_steps": 2,
        "accumulators": beside(weights),
        "ema_momentum": 0.9,
        "averages": beside(weights),
    },
}


@pytest.mark.parametrize("row", ["sgd", "adam", "lamb", "adafactor", "adafactor_factored", "muon"])
@pytest.mark.parametrize("rule", KEEPING_RULES)
@pytest.mark.parametrize("make", [deep_net, wide_net, twice_net])
def test_gradients_that_are_kept_learn_the_same_bits_at_1_to_4_threads(make, rule, row):
    options = {"row": row, "rules": KEEPING_RULES[rule], "steps": 3}
    alone = run(make, 60, **options)
    assert all(np.isfinite(x).all() for x in alone)
    for team in (
        {"threads": 3},
        {"threads": 2, "lockstep": True},
        {"threads": 4, "lockstep": True},
    ):
        assert_same(run(make, 60, **team, **options), alone)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 17, 33, 200])
def test_predictions_are_the_same_bits_at_any_threads_and_any_block_of_rows(rows, isa):
    program, arrays = deep_net(rows=rows)
    program = program.fused(training=False)
    expected = _core.Executor(program, rows, threads=1, isa=isa).predict(arrays)
    for block in (1, 7, 16, 64):
        for team in ({"threads": 1}, *TEAMS):
            found = _core.Executor(program, block, **team, isa=isa).predict(arrays)
            np.testing.assert_array_equal(found, expected)


def image_net(image=(13, 10, 3)):
    """Layers of few columns, by Winograd's way, with strides, overlaps and groups."""
    layers = cdl.layers
    cdl.utils.set_random_seed(1)
    return cdl.Sequential(
        [
            cdl.Input(image),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(3, strides=2),
            layers.Conv2D(40, 3, padding="same", activation="gelu"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.Conv2D(24, (1, 2), strides=2, activation="tanh"),
            layers.Conv2DTranspose(20, 3, strides=2, activation="relu"),
            layers.Conv2D(12, 3, groups=4),
            layers.BatchNormalization(),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(7),
        ]
    )


def series_net():
    layers = cdl.layers
    cdl.utils.set_random_seed(1)
    return cdl.Sequential(
        [
            cdl.Input((31, 9)),
            layers.Conv1D(33, 3, padding="causal", activation="relu"),
            layers.AveragePooling1D(2),
            layers.Conv1D(1, 5, strides=2),
            layers.Flatten(),
            layers.Dense(70, activation="silu"),
            layers.Dense(1),
        ]
    )


def volume_net():
    layers = cdl.layers
    cdl.utils.set_random_seed(1)
    return cdl.Sequential(
        [
            cdl.Input((5, 6, 7, 2)),
            layers.Conv3D(8, 2, activation="relu"),
            layers.MaxPooling3D(2),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )


def token_net():
    """Noise as tokens with padding: a table, attention that is causal, and with masks."""
    layers, ops = cdl.layers, cdl.ops
    cdl.utils.set_random_seed(1)
    noise = cdl.Input((70,))
    tokens = ops.clip(ops.floor(ops.abs(noise) * 60), 0, 299)
    x = layers.Embedding(300, 24, mask_zero=True)(tokens)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(3, 8, dropout=0.2, seed=4)(x, x))
    x = layers.GroupQueryAttention(5, 4, 2)(x, x, use_causal_mask=True)
    return cdl.Model(noise, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def as_training(model, rows):
    program = lower_inference(model, training=True)
    program.external_grads = []  # the loss is within
    y = program.outputs[0]
    program.loss("mean_squared_error", program.input(y.shape, role="y"), y)
    rng = np.random.default_rng(0)
    return program, [rng.normal(size=(rows, *v.shape)) for v in program.inputs]


@pytest.mark.parametrize("batch", [1, 5, 65])
@pytest.mark.parametrize("make", [image_net, series_net, volume_net, token_net])
def test_whole_nets_of_images_and_tokens_learn_the_same_bits_at_1_to_4_threads(make, batch):
    def net():
        return as_training(make(), 2 * batch)

    alone = run(net, batch, steps=2)
    assert all(np.isfinite(x).all() for x in alone)
    for team in (*TEAMS, {"threads": 4, "lockstep": True}):
        assert_same(run(net, batch, steps=2, **team), alone)


@pytest.mark.measures
def test_threads_of_a_net_of_images_take_the_memory_of_one():
    def taken(model, **options):
        program, _ = as_training(model, 1)
        optimizer = learner("sgd", program.variables)
        return _core.Executor(
            program.fused(), 32, training=True, optimizer=optimizer, **options
        ).memory()[0]

    cdl.utils.set_random_seed(1)
    large = image_net((60, 60, 3))
    alone, together = taken(large, threads=1), taken(large, threads=2)
    assert together == taken(large, threads=2, lockstep=True)  # so it is chosen
    assert alone <= together <= 1.1 * alone
    assert taken(large, threads=2, lockstep=False) > 1.2 * alone
    small = cdl.Sequential([cdl.Input((4,)), cdl.layers.Dense(3)])
    assert taken(small, threads=2) == taken(small, threads=2, lockstep=False)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("rows", [1, 3, 70])
@pytest.mark.parametrize("make", [image_net, series_net, volume_net])
def test_predictions_of_images_are_the_same_bits_at_1_to_4_threads(make, rows, isa):
    program = make().program()
    x = np.random.default_rng(2).normal(size=(rows, *program.inputs[0].shape))
    alone = _core.Executor(program, 32, threads=1, isa=isa).predict([x])
    for threads in (2, 3, 4):
        together = _core.Executor(program, 32, threads=threads, lockstep=True, isa=isa)
        np.testing.assert_array_equal(together.predict([x]), alone)


@pytest.mark.parametrize("threads", [1, 3])
def test_evaluations_are_the_same_bits_at_any_threads(threads):
    program, arrays = deep_net()
    executor = _core.Executor(program.fused(), 49, threads=threads)
    executor.begin(arrays, 49)
    executor.test(10**6, 1e9)
    alone = _core.Executor(program.fused(), 49, threads=1)
    alone.begin(arrays, 49)
    alone.test(10**6, 1e9)
    assert executor.totals() == alone.totals()


def left_by_all_nets():
    """A hash of the weights of trained nets with every kind of product."""
    nets = [wide_net, lambda: as_training(image_net(), 12), lambda: as_training(series_net(), 12)]
    left = [run(net, 12, steps=1, threads=n) for net in nets for n in (1, 2)]
    return hashlib.sha256(b"".join(a.tobytes() for each in left for a in each)).hexdigest()


@pytest.mark.parametrize("caches", ["4K,16K,16K", "32K,1M,32M", "1M,64M,1G"])
def test_the_bits_do_not_depend_on_the_caches(run_python, monkeypatch, caches):
    code = "import test_bits; print(test_bits.left_by_all_nets())"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    monkeypatch.setenv("CDL_CACHE", caches)
    assert run_python(code).stdout.strip() == left_by_all_nets()


# ----------------------------------------------------------------------------------- seeds and cuts


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    first = run(deep_net, 32)
    assert_same(run(deep_net, 32), first)
    other = run(deep_net, 32, seed=4)
    assert any((a != b).any() for a, b in zip(other, first, strict=True))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("slices", [[1] * 6, [2, 1, 3], [5, 1]])
def test_a_pass_that_is_cut_into_slices_gives_the_same_bits(slices, threads):
    assert_same(run(deep_net, 32, slices=slices, threads=threads), run(deep_net, 32))


def test_a_pass_that_is_cut_by_time_gives_the_same_bits():
    program, arrays = deep_net()
    learn = [v for v in program.variables if v not in statistics_of(program)]
    optimizer = learner("adam", learn, **reference.OPTIMIZER_HYPERS["adam"])
    executor = _core.Executor(program.fused(), 50, training=True, optimizer=optimizer)
    executor.begin(arrays, 50)
    done = 0
    while done < 6:
        done = executor.train(10**6, 0.0, [0.01], done, 3)
    assert_same([v.numpy() for v in program.variables], run(deep_net, 50)[2 : 2 + len(learn) + 2])


def test_a_run_goes_on_from_saved_weights_and_slots_to_the_same_bits():
    """Randomness is a function of seed, step and place: there is no hidden state to save."""
    program, arrays = deep_net()
    learn = [v for v in program.variables if v not in statistics_of(program)]
    hypers = reference.OPTIMIZER_HYPERS["adam"]
    optimizer = learner("adam", learn, **hypers)

    def train_some(order, first, program, optimizer):
        executor = _core.Executor(program.fused(), 50, training=True, optimizer=optimizer)
        executor.begin(arrays, 50, order)
        executor.train(10**6, 1e9, [0.01], first, 3)

    train_some(np.arange(150), 0, program, optimizer)
    saved = [v.numpy() for v in program.variables]
    slots = [[slot.get() for slot in optimizer[2][v]] for v in learn]

    program, _ = deep_net(seed=99)  # other weights, then those that were saved
    learn = [v for v in program.variables if v not in statistics_of(program)]
    optimizer = learner("adam", learn, **hypers)
    for v, values in zip(program.variables, saved, strict=True):
        v.assign(values)
    for v, values in zip(learn, slots, strict=True):
        for slot, value in zip(optimizer[2][v], values, strict=True):
            slot.set(value)
    train_some(np.arange(150, 300), 3, program, optimizer)
    found = [v.numpy() for v in program.variables]
    assert_same(found, run(deep_net, 50)[2 : 2 + len(found)])
