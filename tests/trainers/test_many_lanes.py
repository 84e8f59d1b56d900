"""Small members train sixteen at a time in lanes of vectors, to the bits of training alone."""

import copy
import gc
import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import cdl
from cdl import _core, layers
from cdl.trainers.many import group, stacked_run
from cdl.trainers.many import train_many as module
from cdl.trainers.many.stacked_run import StackedRun

RNG = np.random.default_rng(0)
N = 20


def state(net):
    kept = [np.asarray(each) for each in (*net.weights, *net.optimizer.variables)]
    return b"".join(each.tobytes() for each in kept)


def built(sizes, activation="relu", last=None, optimizer=None, loss="mse", **more):
    *hidden, units = sizes[1:]
    stack = [layers.Dense(n, activation) for n in hidden]
    net = cdl.Sequential([cdl.Input(sizes[:1]), *stack, layers.Dense(units, last)])
    net.compile(optimizer() if optimizer else cdl.optimizers.Adam(0.01), loss, **more)
    return net


def rows(sizes, count=50, classes=False, n=N):
    """Data of n jobs."""
    given = [RNG.normal(size=(count, sizes[0])).astype(np.float32) for _ in range(n)]
    if classes:
        return [(x, RNG.integers(0, sizes[-1], count)) for x in given]
    return [(x, RNG.uniform(0.1, 0.9, (count, sizes[-1]))) for x in given]


def both_ways(monkeypatch, build, data, lanes=True, **options):
    """History and state of each model, in lanes and alone, are the same; the former."""
    found, seen = [], []
    members = group._Host.__init__

    def noted(host, *given):
        members(host, *given)
        seen.append(host.members.has_lanes)

    for grouped in (True, False):
        with monkeypatch.context() as patched:
            patched.setattr(group._Host, "__init__", noted)
            if not grouped:
                patched.setattr(module, "_simple", lambda *jobs: {})
            cdl.utils.set_random_seed(3)
            jobs = [(build(i), *each) for i, each in enumerate(data)]
            given = {"epochs": 3, "batch_size": 16, "workers": 1, **options}
            histories = cdl.train_many(jobs, **given)
        found.append(([h.history for h in histories], [state(job[0]) for job in jobs]))
    assert set(seen) == {lanes}
    assert found[0][1] == found[1][1]
    np.testing.assert_equal(found[0][0], found[1][0])
    return found[0]


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", "elu", "softplus"])
def test_activations(monkeypatch, activation):
    sizes = (4, 16, 8, 3)
    loss = "sparse_categorical_crossentropy"

    def build(i):
        return built(sizes, activation, "softmax", loss=loss, metrics=["accuracy"])

    both_ways(monkeypatch, build, rows(sizes, classes=True))


# Sums of sixteen chains where the last layer, or what comes back, has a single column or few rows.
@pytest.mark.parametrize(
    "sizes",
    [(1, 1), (3, 1), (33, 1), (2, 17, 1), (5, 40, 1), (2, 1, 33, 2), (1, 40, 33, 1), (17, 5, 20)],
    ids=str,
)
@pytest.mark.parametrize("batch", [1, 2, 16, 49])
def test_widths_and_last_batches(monkeypatch, sizes, batch):
    wide = _core.info()["isa"] in ("avx512", "amx")  # others have lanes for weights of 256 numbers
    lanes = wide or all(a * b <= 256 for a, b in itertools.pairwise(sizes))
    both_ways(monkeypatch, lambda i: built(sizes, "tanh"), rows(sizes), lanes, batch_size=batch)


@pytest.mark.parametrize(
    "loss", ["mae", "huber", "binary_crossentropy", "log_cosh", "categorical_crossentropy"]
)
@pytest.mark.parametrize("units", [1, 3])
def test_losses_with_weights(monkeypatch, loss, units):
    sizes = (4, 8, units)

    def build(i):
        return built(sizes, "relu", "sigmoid", loss=loss, weighted_metrics=["mae"])

    given = RNG.uniform(0.5, 2, 50).astype(np.float32)
    both_ways(monkeypatch, build, rows(sizes), sample_weight=given)


# Up to sixteen classes are scored as elements, more of them member by member.
@pytest.mark.parametrize("units", [2, 16, 17])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classes(monkeypatch, units, dense, dtype):
    given = {"loss": cdl.losses.CategoricalCrossentropy(label_smoothing=0.1)}
    names = ["accuracy", "categorical_crossentropy" if dense else "sparse_categorical_crossentropy"]
    given = given if dense else {"loss": "sparse_categorical_crossentropy"}
    data = []
    for x, y in rows((5, 8, units), 51, classes=True):
        data.append((x.astype(dtype), np.eye(units, dtype=dtype)[y] if dense else y.astype(dtype)))

    def build(i):
        return built((5, 8, units), "relu", "softmax", metrics=names, **given)

    both_ways(monkeypatch, build, data)
    both_ways(monkeypatch, build, data, sample_weight=RNG.uniform(0.5, 2, 51).astype(np.float32))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: cdl.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
        lambda: cdl.optimizers.AdamW(0.01, weight_decay=0.1, clipvalue=0.01),
        lambda: cdl.optimizers.RMSprop(0.01, use_ema=True, ema_momentum=0.9),
        lambda: cdl.optimizers.Nadam(0.01, gradient_accumulation_steps=3),
        lambda: cdl.optimizers.Ftrl(0.01),
        lambda: cdl.optimizers.Lion(0.001),
    ],
)
def test_optimizers(monkeypatch, optimizer):
    sizes = (4, 8, 1)
    both_ways(monkeypatch, lambda i: built(sizes, optimizer=optimizer), rows(sizes))


# A line of a penalty is of one panel of 64 columns, or of a single column.
@pytest.mark.parametrize("sizes", [(3, 70, 1), (40, 1), (4, 16, 3)], ids=str)
@pytest.mark.parametrize("steps", [None, 2])
def test_penalties_of_weights(monkeypatch, sizes, steps):
    def build(i):
        of_kernel = cdl.regularizers.L1L2(0.01, 0.02)
        given = {"kernel_regularizer": of_kernel, "bias_regularizer": cdl.regularizers.L1(0.1)}
        stack = [layers.Dense(n, "tanh", **given) for n in sizes[1:]]
        net = cdl.Sequential([cdl.Input(sizes[:1]), *stack])
        rule = cdl.optimizers.Adam(0.01 + 0.001 * i, gradient_accumulation_steps=steps)
        net.compile(rule, "mse", metrics=["mae"])
        return net

    histories, _ = both_ways(monkeypatch, build, rows(sizes), validation_split=0.3)
    assert all(np.subtract(each["loss"], 0.1).min() > 0 for each in histories)
    both_ways(monkeypatch, build, rows(sizes))


def drops(i):
    """Dropout, by a drawn seed and by one that is given."""
    return [layers.Dense(16, "relu"), layers.Dropout(0.3), layers.Dropout(0.5, seed=i), 3]


def drops_inputs(i):
    return [layers.Dropout(0.2), layers.Dense(8, "tanh"), layers.Dense(1), layers.Dropout(0.1), 1]


def has_noise(i):
    """Noise that is drawn member by member, on inputs, within, on one column, and none of it."""
    stack = [layers.GaussianNoise(0.2), layers.Dense(17, "selu"), layers.AlphaDropout(0.2, seed=i)]
    stack += [layers.GaussianNoise(0.0), layers.Dense(5), layers.GaussianDropout(0.3)]
    return [*stack, layers.Dense(1), layers.GaussianNoise(0.1, seed=7 + i), 1]


def normalizes(i):
    of_batch = layers.BatchNormalization(momentum=0.9, gamma_regularizer="l2")
    return [layers.Dense(20), of_batch, layers.Activation("relu"), 3]


def normalizes_single_columns(i):
    stack = [layers.BatchNormalization(), layers.Dense(5, "relu"), layers.BatchNormalization()]
    return [*stack, layers.Dense(1), layers.BatchNormalization(scale=False), 1]


def has_frozen_statistics(i):
    given = {"center": False, "moving_variance_initializer": cdl.initializers.Constant(2.0)}
    return [layers.Dense(8), layers.BatchNormalization(**given, trainable=False), 2]


def has_all_of_them(i):
    stack = [layers.Dense(8, "relu", kernel_regularizer="l1"), layers.BatchNormalization()]
    return [*stack, layers.Dropout(0.25), 1]


@pytest.mark.parametrize(
    "stack",
    [
        drops,
        drops_inputs,
        has_noise,
        normalizes,
        normalizes_single_columns,
        has_frozen_statistics,
        has_all_of_them,
    ],
)
@pytest.mark.parametrize("batch", [16, 33])
def test_dropout_and_normalization(monkeypatch, stack, batch):
    def build(i):
        *hidden, units = stack(i)
        net = cdl.Sequential([cdl.Input((4,)), *hidden, layers.Dense(units)])
        net.compile(cdl.optimizers.Adam(0.001 * (i + 1)), "mse", metrics=["mae"])
        return net

    data = rows((4, stack(0)[-1]), 70)
    both_ways(monkeypatch, build, data, batch_size=batch)
    data[7][0][20] = np.nan
    with pytest.warns(UserWarning, match="job 7"):
        both_ways(monkeypatch, build, data, batch_size=batch)
    data[7][0][20] = 0.0
    both_ways(monkeypatch, build, data, batch_size=batch, validation_split=0.3)


def test_rates_by_member_beside_a_decay(monkeypatch):
    def build(i):
        rate = 0.01 if i % 4 else 0.02
        return built((4, 8, 1), optimizer=lambda: cdl.optimizers.AdamW(rate, weight_decay=0.1))

    both_ways(monkeypatch, build, rows((4, 8, 1)))


@pytest.mark.parametrize("units", [2, 16, 25])  # halves of a line, a whole one, more than one
@pytest.mark.parametrize(
    "layer",
    [
        layers.LayerNormalization,
        lambda: layers.LayerNormalization(center=False),
        layers.RMSNormalization,
        layers.UnitNormalization,
    ],
)
def test_normalization_of_lines(monkeypatch, units, layer):
    def build(i):
        stack = [layers.Dense(units, "tanh"), layer(), layers.Dense(2), layer()]
        net = cdl.Sequential([cdl.Input((5,)), *stack])
        net.compile(cdl.optimizers.Adam(0.01), "mse")
        return net

    both_ways(monkeypatch, build, rows((5, 2), 130), batch_size=49)  # blocks of 16, and one


def test_what_needs_all_of_a_weight_goes_without(monkeypatch):
    def build(i):
        return built((4, 8, 1), optimizer=lambda: cdl.optimizers.Adam(0.01, clipnorm=1.0))

    both_ways(monkeypatch, build, rows((4, 8, 1)), lanes=False)


def test_several_numbers_of_rows_and_rates(monkeypatch):
    data = [each for count in (50, 51, 64) for each in rows((4, 8, 1), count, n=8)]

    def build(i):
        return built((4, 8, 1), optimizer=lambda: cdl.optimizers.Adam(0.001 * (i + 1)))

    both_ways(monkeypatch, build, data)


def test_one_with_nan_leaves_the_others(monkeypatch):
    data = rows((4, 8, 1))
    data[7][0][20] = np.nan
    with pytest.warns(UserWarning, match="job 7"):
        histories, _ = both_ways(monkeypatch, lambda i: built((4, 8, 1)), data)
    assert np.isnan(histories[7]["loss"]).any()
    assert all(np.isfinite(each["loss"]).all() for i, each in enumerate(histories) if i != 7)


def test_a_layer_that_is_frozen_stays(monkeypatch):
    def build(i):
        net = built((4, 8, 1))
        net.layers[0].trainable = False
        net.compile("adam", "mse")
        return net

    both_ways(monkeypatch, build, rows((4, 8, 1)))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("weighs", [False, True])
def test_replicas(monkeypatch, workers, weighs):
    n, sizes = 40, (4, 8, 3)
    loss = "sparse_categorical_crossentropy"
    net = built(sizes, "relu", "softmax", loss=loss, metrics=["accuracy"] if weighs else None)
    many, rates = cdl.replicate(net, n, seeds=range(n)), list(np.linspace(0.001, 0.02, n))
    x, y = (np.stack(each) for each in zip(*rows(sizes, classes=True, n=n), strict=True))
    x[3, 7] = np.nan
    given = {"sample_weight": RNG.uniform(0.5, 2, 50).astype(np.float32)} if weighs else {}
    alone = [many[k] for k in range(n)]
    called, run = [], StackedRun.train

    def noted(stacked, *args):
        for some in run(stacked, *args):
            called.append(some)
            yield some

    monkeypatch.setattr(StackedRun, "train", noted)
    for turn in range(2):  # a first fit draws an order that it does not use
        options = {"epochs": 3, "batch_size": 16, **given}
        with pytest.warns(UserWarning, match="loss"):
            histories = many.fit(
                x, y, seeds=range(n), learning_rate=rates, workers=workers, **options
            )
        for k, each in enumerate(alone):
            if k == 3:
                continue
            cdl.utils.set_random_seed(k)
            each.optimizer.learning_rate = rates[k]
            history = each.fit(x[k], y[k], verbose=0, **options)
            assert state(many[k]) == state(each), (turn, k)
            for name, values in history.history.items():
                assert histories.history[name][k].tolist() == values
    assert {k for each in called for k in each} == {*range(n)} - {3}


def test_a_fit_in_which_the_last_one_has_nan_is_a_first_fit_too():
    """The next draws no order that it does not use."""
    many = cdl.replicate(built((4, 8, 1)), N)
    x, y = (np.stack(each) for each in zip(*rows((4, 8, 1)), strict=True))
    x[N - 1, 7] = np.nan
    each = many[0]
    for _ in range(2):
        with pytest.warns(UserWarning, match="loss"):
            many.fit(x, y, seeds=range(N), workers=1)
        cdl.utils.set_random_seed(0)
        each.fit(x[0], y[0], verbose=0)
        assert state(many[0]) == state(each)


def test_ctrl_c_while_threads_start_leaves_none_at_work(monkeypatch):
    many = cdl.replicate(built((4, 8, 1)), 16)  # of more, the core's threads train
    x, y = (np.stack(each) for each in zip(*rows((4, 8, 1), n=16), strict=True))
    start = threading.Thread.start

    def cut_off(thread):  # a pool does not join such a thread
        start(thread)
        time.sleep(0.1)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", cut_off)
    with pytest.raises(KeyboardInterrupt):
        many.fit(x, y, workers=2)
    assert [int(each.optimizer.iterations) for each in many] == [0] * 16


def test_members_that_are_freed_are_in_lanes_no_longer():
    data, jobs = rows((4, 8, 1)), []
    for i, (x, y) in enumerate(data):
        net, options = built((4, 8, 1)), {"x": x, "y": y, "epochs": 3, "batch_size": 16}
        jobs.append(group.Job(i, net, options, group.plan_of(net, options, ()), (), i))
    known = group.Likenesses()
    found = [known.described(one.model, one.options, one.plan) for one in jobs]
    host = group._Host(jobs[0], found[0].kept)
    states = []
    for seconds in (0.0, 60.0):  # an epoch, then all
        members = [host.member(*each, 5) for each in zip(jobs, found, strict=True)]
        host.members.train(members, seconds)
        states.append({each.state for each in members})
        del members
    assert states == [{"is in", "waits"}, {"ended"}]
    assert host.members.has_lanes


@pytest.mark.parametrize("isa", _core.available_isas())
def test_each_instruction_set(isa):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    chosen = "activations or classes or optimizers or losses or (normalization and 16)"
    done = subprocess.run(
        [*command, "-k", chosen],
        env={**os.environ, "CDL_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_slots_are_made_once_they_are_asked_for(monkeypatch):
    """A model that is copied or goes on before that is as one trained alone."""
    data = rows((4, 8, 1))
    options = {"epochs": 2, "batch_size": 16}
    found = []
    for grouped in (True, False):
        cdl.utils.set_random_seed(1)
        nets = [built((4, 8, 1)) for _ in data]
        jobs = [(net, *each) for net, each in zip(nets, data, strict=True)]
        if not grouped:
            monkeypatch.setattr(module, "_simple", lambda *jobs: {})
        cdl.train_many(jobs, **options)
        assert all((net.optimizer._own_slots._begun is not None) == grouped for net in nets)
        copies = [copy.deepcopy(nets[0]), pickle.loads(pickle.dumps(nets[1]))]
        nets[2].optimizer.amsgrad = True
        cdl.utils.set_random_seed(2)
        for net, (x, y) in zip([*copies, *nets], [*data[:2], *data], strict=True):
            net.fit(x, y, epochs=1, verbose=0)
        found.append([state(net) for net in (*copies, *nets)])
    assert found[0] == found[1]


def test_orders_that_are_drawn_some_at_a_time(monkeypatch):
    monkeypatch.setattr(stacked_run, "MOST_TOGETHER", 120)  # two epochs of 50 rows
    n, sizes = 6, (4, 8, 1)
    many = cdl.replicate(built(sizes, metrics=["mae"]), n, seeds=range(n))
    x, y = (np.stack(each) for each in zip(*rows(sizes, n=n), strict=True))
    alone = [many[k] for k in range(n)]
    histories = many.fit(x, y, seeds=range(n), epochs=5, batch_size=16)
    for k, each in enumerate(alone):
        cdl.utils.set_random_seed(k)
        history = each.fit(x[k], y[k], epochs=5, batch_size=16, verbose=0)
        assert state(many[k]) == state(each)
        for name, values in history.history.items():
            assert histories.history[name][k].tolist() == values


def replicas(workers, n=40, epochs=7):
    """Replicas with dropout, a noise and orders of their own, trained."""
    cdl.utils.set_random_seed(3)
    stack = [layers.Dense(8, "relu"), layers.Dropout(0.3), layers.GaussianNoise(0.1)]
    net = cdl.Sequential([cdl.Input((4,)), *stack, layers.Dense(1)])
    net.compile("adam", "mse", metrics=["mae"])
    many = cdl.replicate(net, n, seeds=range(n))
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(n, 45, 4)), rng.normal(size=(n, 45, 1))
    found = many.fit(x, y, seeds=range(n), batch_size=10, epochs=epochs, workers=workers)
    return many, found


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_threads_of_the_core_train_replicas_by_one_program(monkeypatch, workers):
    expected, told = replicas(1)
    made = []
    host = stacked_run.StandIn.host

    def counted(stand_in, function, threads):
        made.append((threads, function))
        return host(stand_in, function, threads)

    monkeypatch.setattr(stacked_run.StandIn, "host", counted)
    many, found = replicas(workers)
    assert [threads for threads, _ in made] == [workers]
    np.testing.assert_array_equal(found.history["loss"], told.history["loss"])
    np.testing.assert_array_equal(found.history["mae"], told.history["mae"])
    assert list(map(state, many)) == list(map(state, expected))


def test_ctrl_c_ends_all_threads_of_the_core_at_whole_batches(monkeypatch):
    members, ended, begun = StackedRun._members, threading.Event(), threading.Event()

    def told(*given):
        found = members(*given)
        begun.set()
        return found

    def interrupt():
        begun.wait()
        while not ended.wait(1.0):
            os.kill(os.getpid(), signal.SIGINT)

    many, _ = replicas(2, n=48)
    first = list(map(state, many))
    monkeypatch.setattr(StackedRun, "_members", told)
    gc.collect()  # Python drops an interrupt in a callback of a weak reference to garbage
    thread = threading.Thread(target=interrupt)
    thread.start()
    x, y = np.ones((45, 4)), np.ones((45, 1))
    try:
        with pytest.raises(KeyboardInterrupt):
            many.fit(x, y, batch_size=10, epochs=10**7, workers=2)
    finally:
        ended.set()
        thread.join()
    steps = [int(each.optimizer.iterations) for each in many]
    changed = [a != b for a, b in zip(first, map(state, many), strict=True)]
    assert changed == [step > 35 for step in steps]
    assert sum(changed) in (16, 32)  # those in the lanes of two threads, or one if alone
    many.fit(x, y)  # it goes on
