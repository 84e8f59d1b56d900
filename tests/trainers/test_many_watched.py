"""Members with validation and callbacks train an epoch of all at a time, each to its own bits."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import cdl
from cdl import _core, layers
from cdl.trainers.many import group, watched_run
from cdl.trainers.many.own_callbacks import OwnCallbacks

N, ROWS = 17, 60


def state(net):
    kept = [np.asarray(each) for each in (*net.weights, *net.optimizer.variables)]
    return b"".join(each.tobytes() for each in kept)


def net_of(kind):
    last = layers.Dense(3, "softmax") if kind == "classes" else layers.Dense(1)
    stacks = {
        "classes": [layers.Dense(16, "relu")],
        "dropout": [layers.Dense(8, "tanh"), layers.Dropout(0.3)],
        "normalized": [layers.Dense(8), layers.BatchNormalization(), layers.ReLU()],
        "penalized": [
            layers.Dense(8, "tanh", kernel_regularizer=cdl.regularizers.L1L2(0.01, 0.02))
        ],
    }
    net = cdl.Sequential([cdl.Input((4,)), *stacks[kind], last])
    loss = "sparse_categorical_crossentropy" if kind == "classes" else "mse"
    net.compile(cdl.optimizers.Adam(0.02), loss, metrics=["accuracy"] if kind == "classes" else [])
    return net


def rows_of(kind, n=N, rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, rows, 4)).astype(np.float32)
    if kind == "classes":
        return x, rng.integers(0, 3, (n, rows))
    return x, x.sum(-1, keepdims=True) + rng.normal(size=(n, rows, 1)).astype(np.float32)


def callbacks():
    return [
        cdl.callbacks.EarlyStopping(patience=1, restore_best_weights=True),
        cdl.callbacks.ReduceLROnPlateau(patience=1, factor=0.5),
    ]


@pytest.fixture
def ended(monkeypatch):
    """Numbers of members that runs of all together have brought to their end."""
    found, train = [], watched_run.WatchedRun.train

    def noted(run, halt):
        train(run, halt)
        found.append(sum(each is not None for each in run.ended))

    monkeypatch.setattr(watched_run.WatchedRun, "train", noted)
    return found


def check_alone(many, histories, alone, fit):
    """Each member has the History and the state of one that trained alone."""
    for k, each in enumerate(alone):
        cdl.utils.set_random_seed(100 + k)
        history = fit(k, each)
        assert state(many[k]) == state(each), k
        assert histories.epochs[k] == len(history.epoch)
        assert {*histories.history} == {*history.history}
        for name, values in history.history.items():
            assert histories.history[name][k][: len(values)].tolist() == values


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", ["split", "held out", "weights"])
@pytest.mark.parametrize("kind", ["classes", "dropout", "normalized", "penalized"])
def test_early_stopping_and_rates_of_each_member(monkeypatch, ended, kind, how, workers):
    x, y = rows_of(kind)
    if how == "weights":
        monkeypatch.setattr(watched_run, "_ORDERED", 64)  # orders come in parts
    weight = np.random.default_rng(1).random((N, ROWS)).astype(np.float32)
    given = {
        "split": lambda k: {"validation_split": 0.25},
        "held out": lambda k: {"validation_data": (x[k, :20] * 0.9, y[k, :20])},
        "weights": lambda k: {"validation_split": 0.3, "sample_weight": weight[k]},
    }[how]
    options = {"epochs": 12, "batch_size": 16}
    many = cdl.replicate(net_of(kind), N, seeds=range(N))
    for turn in range(2):  # a first fit draws an order that it does not use
        alone = [many[k] for k in range(N)]
        histories = many.fit(
            x, y, seeds=range(100, 100 + N), workers=workers, callbacks=callbacks(), **options,
            **given(slice(None)),
        )  # fmt: skip
        check_alone(
            many, histories, alone, lambda k, each: each.fit(
                x[k], y[k], verbose=0, callbacks=callbacks(), **options, **given(k)
            ),
        )  # fmt: skip
        assert turn or len({*histories.epochs}) > 1
    assert sum(ended) == 2 * N


def test_settings_and_rows_of_each_member(ended):
    x, y = rows_of("classes")
    lists = [[of[k][: ROWS - k % 3] for k in range(N)] for of in (x, y)]
    epochs, batches = [2 + k % 2 for k in range(N)], [8 * (1 + k % 2) for k in range(N)]
    many = cdl.replicate(net_of("classes"), N, seeds=range(N))
    alone = [many[k] for k in range(N)]
    schedule = cdl.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9)
    histories = many.fit(
        *lists, seeds=range(100, 100 + N), epochs=epochs, batch_size=batches, callbacks=schedule
    )
    check_alone(
        many, histories, alone, lambda k, each: each.fit(
            lists[0][k], lists[1][k], verbose=0, epochs=epochs[k], batch_size=batches[k],
            callbacks=[cdl.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9)],
        ),
    )  # fmt: skip
    assert sum(ended) == N


def test_one_with_nan_is_named_and_the_others_go_on(ended):
    x, y = rows_of("classes")
    x[3, 7] = np.nan
    many = cdl.replicate(net_of("classes"), N, seeds=range(N))
    alone = [many[k] for k in range(N)]
    options = {"epochs": 4, "validation_split": 0.25}
    with pytest.warns(UserWarning, match="loss"):
        histories = many.fit(x, y, seeds=range(100, 100 + N), workers=1, **options)
    assert np.isnan(histories.history["loss"][3]).any()
    others = [k for k in range(N) if k != 3]
    for k in others:
        cdl.utils.set_random_seed(100 + k)
        alone[k].fit(x[k], y[k], verbose=0, **options)
        assert state(many[k]) == state(alone[k])
    assert sum(ended) == N - 1


def test_a_callback_that_fails_is_the_error_of_its_member(ended):
    def made(k):
        return [cdl.callbacks.LearningRateScheduler(schedules[k == 2])]

    schedules = [lambda epoch, rate: 0.01, lambda epoch, rate: 0.01 if epoch < 2 else "none"]
    x, y = rows_of("classes")
    many = cdl.replicate(net_of("classes"), N)
    before = state(many[2])
    with pytest.raises(ValueError, match="should be a number") as raised:
        many.fit(x, y, epochs=4, callbacks=made, workers=1)
    assert raised.value.__notes__ == [f"fit: of member 2 of {N}"]
    assert [int(each.optimizer.iterations) for each in many] == [8 * (k != 2) for k in range(N)]
    assert state(many[2]) == before
    assert sum(ended) == N - 1


def test_an_interrupt_leaves_members_at_a_whole_epoch(monkeypatch):
    x, y = rows_of("classes")
    many = cdl.replicate(net_of("classes"), N, seeds=range(N))
    alone = [many[k] for k in range(N)]
    epoch = watched_run._Group._epoch

    def cut_off(group, number, *more):
        if number == 2:
            raise KeyboardInterrupt
        epoch(group, number, *more)

    monkeypatch.setattr(watched_run._Group, "_epoch", cut_off)
    with pytest.raises(KeyboardInterrupt):
        many.fit(
            x, y, seeds=range(100, 100 + N), epochs=5, batch_size=16, validation_split=0.2,
            workers=1,
        )  # fmt: skip
    for k, each in enumerate(alone):
        cdl.utils.set_random_seed(100 + k)
        each.fit(x[k], y[k], epochs=2, batch_size=16, validation_split=0.2, verbose=0)
        assert state(many[k]) == state(each)


def test_jobs_of_train_many(ended, monkeypatch):
    """Each with its own rows, seeds of dropout and callbacks, which have its model afterwards."""
    x, y = rows_of("dropout")
    found = []
    for together in (True, False):
        if not together:
            monkeypatch.setattr(watched_run.WatchedRun, "train", lambda run, halt: None)
        cdl.utils.set_random_seed(5)
        nets = [net_of("dropout") for _ in range(N)]
        own = [callbacks() for _ in range(N)]
        jobs = [
            {
                "model": net,
                "x": x[k][: ROWS - k % 2],
                "y": y[k][: ROWS - k % 2],
                "callbacks": own[k],
            }
            for k, net in enumerate(nets)
        ]
        histories = cdl.train_many(jobs, epochs=10, batch_size=16, validation_split=0.25, workers=1)
        assert all(each[0].model is net for each, net in zip(own, nets, strict=True))
        assert all(h.model is net for h, net in zip(histories, nets, strict=True))
        stops = [(each[0].stopped_epoch, each[0].best_epoch, each[1].best) for each in own]
        kept = [(state(net), net.stop_training, net.history.params) for net in nets]
        found.append((kept, stops, [each.history for each in histories]))
    assert found[0] == found[1]
    assert sum(ended) == N


def test_an_interrupt_of_another_thread_ends_jobs_at_a_whole_epoch(monkeypatch):
    x, y = rows_of("classes")
    nets, halt, told = [net_of("classes") for _ in range(N)], threading.Event(), []
    epoch = watched_run._Group._epoch

    def last(members, number, *more):
        if number == 2:
            halt.set()
        epoch(members, number, *more)

    monkeypatch.setattr(watched_run._Group, "_epoch", last)
    jobs = []
    for k, net in enumerate(nets):
        options = {"x": x[k], "y": y[k], "epochs": 50, "validation_split": 0.5}
        plan = group.plan_of(net, options, [])
        jobs.append(group.Job(k, net, options, plan, OwnCallbacks([], set(), []), k))
    hosts = group.Hosts()
    group.train_alike(jobs, hosts, 5, halt, lambda number, history: told.append(history.epoch))
    assert told == [[0, 1, 2]] * N
    assert [int(net.optimizer.iterations) for net in nets] == [3] * N
    assert all(net.stop_training for net in nets)


@pytest.mark.parametrize("isa", _core.available_isas())
def test_each_instruction_set(isa):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        [*command, "-k", "test_early_stopping and split and not 2"],
        env={**os.environ, "CDL_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
