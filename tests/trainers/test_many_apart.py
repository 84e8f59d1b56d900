"""Jobs of train_many that a group leaves to `fit`, and how workers share those that are long."""

import threading
import warnings

import numpy as np
import pytest

import cdl
from cdl import _core, layers
from cdl.trainers.many import alike
from cdl.trainers.many import train_many as module
from cdl.trainers.many.ended_run import EndedRun
from cdl.trainers.many.plain_functions import is_plain

N = 4


def net(loss="mse", width=5, last=None, units=1, activation="tanh"):
    stack = [layers.Input((4,)), layers.Dense(width, activation), layers.Dense(units, last)]
    made = cdl.Sequential(stack)
    made.compile("adam", loss)
    return made


def data(n=N, count=30):
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(count, 4)), rng.normal(size=(count, 1))) for _ in range(n)]


def ways(monkeypatch, run):
    """Results of a function with groups, and without."""
    found = []
    for grouped in (True, False):
        with monkeypatch.context() as patched, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            if not grouped:
                patched.setattr(module, "_simple", lambda *jobs: {})
            cdl.utils.clear_session()
            cdl.utils.set_random_seed(3)
            result = run()
            found.append((result, sorted(str(each.message) for each in told)))
    return found


def state(nets):
    kept = [[np.asarray(v).tobytes() for v in (*n.weights, *n.optimizer.variables)] for n in nets]
    return kept, [n.stop_training for n in nets]


def train(nets, rows=None, **options):
    jobs = [(n, *each) for n, each in zip(nets, rows or data(len(nets)), strict=True)]
    return [each.history for each in cdl.train_many(jobs, **{"workers": 1, "epochs": 3, **options})]


def in_groups(nets):
    return sum(isinstance(each._last_train_function, EndedRun) for each in nets)


def test_a_warning_comes_once_a_job(monkeypatch):
    def nan_after_a_warning():
        rows = [(x, np.abs(y) / 9 * np.ones(3)) for x, y in data()]
        rows[1][1][7] = np.inf
        nets = [net("categorical_crossentropy", last="softmax", units=3) for _ in rows]
        return repr(train(nets, rows)), state(nets)

    def masks_that_are_lost():
        nets = []
        for _ in range(N):
            stack = [layers.Input((4,)), layers.Embedding(9, 3, mask_zero=True)]
            stack += [layers.Conv1D(2, 2), layers.GlobalMaxPooling1D(), layers.Dense(1)]
            nets.append(cdl.Sequential(stack))
            nets[-1].compile("adam", "mse")
        return train(nets, [(np.abs(x).astype(int), y) for x, y in data()])

    def all_frozen():
        nets = [net() for _ in range(N)]
        for each in nets:
            each.trainable = False
        return train(nets)

    for run in (nan_after_a_warning, masks_that_are_lost, all_frozen):
        grouped, alone = ways(monkeypatch, run)
        assert grouped == alone
        assert grouped[1]


def test_what_schedules_see_is_the_model_of_their_job(monkeypatch):
    def run():
        nets = [net() for _ in range(N)]

        def looks(i, epoch, rate):
            if epoch == 2 + i:
                nets[i].stop_training = True
            if epoch == 1 and i == 3:
                nets[i].layers[0].bias.assign(np.ones(5))
            return rate * (1.0 + float(np.abs(nets[i].get_weights()[0]).mean()))

        watch = cdl.callbacks.LearningRateScheduler
        made = [watch(lambda e, r, i=i: looks(i, e, r)) for i in range(N)]
        return train(nets, epochs=5, callbacks=lambda i: [made[i]]), state(nets)

    grouped, alone = ways(monkeypatch, run)
    assert grouped == alone


def test_a_function_that_counts_is_called_once_an_epoch(monkeypatch):
    def run():
        rates = [iter([0.1, 1e30, 0.1]) for _ in range(N)]
        nets = [net() for _ in range(N)]
        for each in nets:
            each.compile("sgd", "mse")
        watch = cdl.callbacks.LearningRateScheduler
        made = [watch(lambda e, r, own=own: next(own)) for own in rates]
        return repr(train(nets, callbacks=lambda i: [made[i]])), state(nets)

    grouped, alone = ways(monkeypatch, run)
    assert grouped == alone


def test_lines_of_callbacks_are_printed_once(monkeypatch, capsys):
    def run():
        rows = data()
        rows[2][1][3] = np.nan
        nets = [net() for _ in rows]
        watch = cdl.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=9.0, verbose=1)
        found = repr(train(nets, rows, callbacks=[watch]))
        return found, capsys.readouterr().out

    grouped, alone = ways(monkeypatch, run)
    assert grouped == alone
    assert "ReduceLROnPlateau" in grouped[0][1]


def test_an_argument_that_fit_refuses_leaves_the_optimizer_as_it_was(monkeypatch):
    def run():
        nets = [net("sparse_categorical_crossentropy", last="softmax", units=3) for _ in range(N)]
        rows = [(x, np.arange(len(x)) % (4 if i == 2 else 3)) for i, (x, _) in enumerate(data())]
        with pytest.raises(ValueError, match="class numbers from 0 to 2") as caught:
            train(nets, rows, validation_split=0.2)
        return str(caught.value), caught.value.__notes__, state(nets), nets[2].optimizer.built

    grouped, alone = ways(monkeypatch, run)
    assert grouped == alone
    assert not grouped[0][3]


def test_a_later_batch_is_explained_as_after_training_alone(monkeypatch):
    def run():
        nets = [net() for _ in range(N)]
        train(nets)
        for each, (x, y) in zip(nets, data(), strict=True):
            each.train_on_batch(x[:3], y[:3] * np.nan)
            each.train_on_batch(x[:3], y[:3])

    grouped, alone = ways(monkeypatch, run)
    assert grouped == alone
    assert len(grouped[1]) >= N


def _helped(epoch):
    return _helped(epoch - 1) * 0.9 if epoch > 0 else np.exp(-1.0)


def test_plain_functions_read_numbers_and_change_nothing():
    drop, kept, rates = 0.5, [1.0], iter([1.0])

    def counts(epoch):
        nonlocal drop
        drop *= 0.5
        return drop

    def writes(epoch):
        kept[0] += 1
        return 0.1

    plain = [
        lambda epoch, rate: rate * drop,
        lambda epoch, rate: rate if epoch < 3 else max(rate * np.exp(-0.1), 1e-4),
        lambda epoch, table=(0.1, 0.2): table[min(epoch, 1)],
        _helped,
    ]
    others = [
        counts,
        writes,
        lambda epoch: next(rates),
        lambda epoch: kept.pop(),
        lambda epoch: np.random.rand(),
        lambda epoch: N if epoch else net(),
        print,
        type("Schedule", (), {"__call__": lambda self, epoch: 0.1})(),
    ]
    assert all(map(is_plain, plain))
    assert not any(map(is_plain, others))


def test_limits_of_config_are_those_of_each_job(monkeypatch):
    def run():
        nets = [net() for _ in range(N)]
        return train(nets, batch_size=8), state(nets)

    for limit in (cdl.config.set_max_epochs, cdl.config.set_max_steps_per_epoch):
        limit(2)
        try:
            grouped, alone = ways(monkeypatch, run)
        finally:
            limit(None)
        assert grouped == alone
        assert len(grouped[1]) == N


def test_large_models_are_not_copied():
    options = {"x": np.zeros((9, 4)), "y": np.zeros((9, 1))}
    for width, is_alike in ((20, True), (alike.MOST_WEIGHTS, False)):
        made = net(width=width)
        found = alike.Likenesses().described(made, options, alike.plan_of(made, options, ()))
        assert (found is not None) == is_alike


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_in_turns_of_one_end_with_the_same_bits(monkeypatch, workers):
    monkeypatch.setattr(module, "_TURN", 0.0)
    many = []

    def run():
        rows = data(11)
        rows[4][0][:] = np.nan
        nets = [net(activation="relu" if i % 3 else "tanh") for i in range(11)]
        found = repr(train(nets, rows, workers=workers)), state(nets)
        found += (repr(train(nets, rows, workers=workers, validation_split=0.2)), state(nets))
        many.append(in_groups(nets))
        return found

    grouped, alone = ways(monkeypatch, run)
    assert grouped == alone
    assert many[0] > many[1] == 0


def test_a_worker_that_is_free_takes_jobs_of_another_ones_task(monkeypatch):
    monkeypatch.setattr(module, "_TURN", 0.0)
    both, run_one = threading.Barrier(2, timeout=500.0), module._run

    def meets(number, *rest):
        if number in (1, 2):  # of the first task, as 0 is
            both.wait()
        return run_one(number, *rest)

    monkeypatch.setattr(module, "_run", meets)
    kinds = ("relu", "tanh", "gelu", "elu", "selu", "silu")
    train([net(activation=kind) for kind in kinds], workers=2, epochs=1)


def test_frozen_layers_that_models_share_are_not_written(monkeypatch):
    def run():
        base = layers.Dense(6, "relu", trainable=False)
        nets = []
        for _ in range(8):
            nets.append(cdl.Sequential([layers.Input((4,)), base, layers.Dense(1)]))
            nets[-1].compile("adam", "mse")
        storages = [each.storage for each in base.weights]
        before = _core.versions(storages)
        found = train(nets, workers=2), state(nets)
        assert _core.versions(storages) == before
        return found, in_groups(nets) > 0

    grouped, alone = ways(monkeypatch, run)
    assert grouped[0][0] == alone[0][0]
    assert grouped[0][1] > alone[0][1]


class _Locked(cdl.losses.Loss):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def call(self, y_true, y_pred):
        with self.lock:
            return cdl.ops.mean(cdl.ops.square(y_pred - y_true), axis=-1)


def test_objects_that_models_share_are_not_copied(monkeypatch):
    def run():
        loss, seen = _Locked(), np.zeros(10**5)
        nets = [net(loss) for _ in range(N)]
        for each in nets:
            each.seen = seen
        return train(nets), state(nets), in_groups(nets)

    grouped, alone = ways(monkeypatch, run)
    assert grouped[0][:2] == alone[0][:2]
    assert grouped[0][2] == N
