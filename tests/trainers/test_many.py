"""Many models at once give what each alone gives."""

import signal
import threading
import time

import numpy as np
import pytest

import cdl
from cdl.callbacks import LambdaCallback, ReduceLROnPlateau
from cdl.layers import Dense, Input

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 6))
Y = RNG.normal(size=(100, 1))


def model(seed):
    cdl.random.set_random_seed(seed)
    net = cdl.Sequential([Input((6,)), Dense(8, activation="tanh"), Dense(1)])
    net.compile("adam", "mse")
    return net


def bits(net):
    return b"".join(w.tobytes() for w in net.get_weights())


def trained(workers):
    nets = [model(i) for i in range(12)]
    np.random.seed(7)
    histories = cdl.train_many([(net, X, Y) for net in nets], workers=workers, epochs=3)
    return [bits(net) for net in nets], [h.history for h in histories]


def test_results_do_not_depend_on_the_number_of_workers():
    assert trained(1) == trained(3)


def test_each_model_learns_its_own_data_with_its_own_options():
    nets = [model(0), model(0)]
    jobs = [(nets[0], X, Y, {"epochs": 2}), {"model": nets[1], "x": X, "y": -Y, "batch_size": 50}]
    histories = cdl.train_many(jobs, epochs=4, shuffle=False)
    assert [len(h.history["loss"]) for h in histories] == [2, 4]
    alone = model(0)
    alone.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    assert bits(alone) == bits(nets[0])
    assert bits(nets[0]) != bits(nets[1])


def test_workers_train_at_the_same_time():
    meeting = threading.Barrier(2, timeout=500)
    meet = [LambdaCallback(on_train_begin=lambda logs: meeting.wait())]
    nets = [model(0), model(1)]
    cdl.train_many([(net, X, Y, {"callbacks": meet}) for net in nets], workers=2)
    assert not meeting.broken


def test_an_error_names_its_job_and_the_others_end_first():
    nets = [model(0), model(1), model(2)]
    before = [bits(net) for net in nets]
    with pytest.raises(ValueError, match="fit: x") as caught:
        cdl.train_many([(nets[0], X, Y), (nets[1], X[:, :3], Y), (nets[2], X, Y)])
    assert caught.value.__notes__ == ["train_many: in job 1 of 3"]
    changed = [bits(net) != was for net, was in zip(nets, before, strict=True)]
    assert changed == [True, False, True]


@pytest.mark.parametrize(
    ("jobs", "options", "text"),
    [
        ([3], {}, "job 0 must be (model, x, y)"),
        ([(1, X, Y, [3])], {}, "job 0: options must be a dict, got list"),
        ([(1, X, Y)], {}, "job 0 must have a model with a method fit, got 1"),
        ([], {"workers": 0}, "workers must be a positive int or None, got 0"),
        ([], {"verbose": 3}, "train_many: verbose must be 'auto', 0, 1 or 2, got 3"),
    ],
)
def test_bad_input_is_refused(jobs, options, text):
    with pytest.raises(ValueError) as caught:
        cdl.train_many(jobs, **options)
    assert text in str(caught.value)


@pytest.fixture
def interruptible():
    """Ctrl-C as a terminal has it, also where a shell's `&` has the process ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("verbose", [0, 1])
@pytest.mark.parametrize("hears", [threading.main_thread, threading.current_thread])
def test_interrupt_stops_a_job_that_is_still_looking_at_its_data(hears, verbose):
    class Slow:
        """Data that are there once Ctrl-C has been heard."""

        def __array__(self, dtype=None, copy=None):
            signal.pthread_kill(hears().ident, signal.SIGINT)
            for _ in range(30_000):
                if net.stop_training:
                    break
                time.sleep(0.01)
            return X

    net = model(0)
    with pytest.raises(KeyboardInterrupt):
        cdl.train_many([(net, Slow(), Y)], workers=1, verbose=verbose, epochs=50, batch_size=50)
    assert net.optimizer.iterations <= 2
    net.fit(X, Y, epochs=3, batch_size=50, verbose=0)  # what has stopped may be trained on
    assert net.optimizer.iterations >= 6


def test_threads_have_the_scopes_of_the_caller():
    def named(seed):
        net = model(seed)
        net.compile("sgd", "own_loss")
        return net

    with cdl.saving.custom_object_scope({"own_loss": lambda y, p: (y - p) ** 2}):
        nets = [named(seed) for seed in range(4)]
        cdl.train_many([(net, X, Y) for net in nets], workers=2)
        many = cdl.replicate(named(0), 4)
        assert many.fit(X, Y, workers=2).epochs.tolist() == [1] * 4


def test_a_model_may_come_once():
    net = model(0)
    with pytest.raises(ValueError, match="got one twice"):
        cdl.train_many([(net, X, Y), (net, X, Y)])


def dropping(seed):
    """A net that the data build, with dropout and a rate that a callback changes."""
    cdl.random.set_random_seed(seed)
    net = cdl.Sequential([Dense(8, activation="tanh"), cdl.layers.Dropout(0.3), Dense(1)])
    net.compile("adam", "mse")
    return net


def by_backend(backend, make):
    nets = [make(i) for i in range(7)]
    cdl.random.set_random_seed(11)
    # A worker loads functions by name and may not find those of this file; a class of cdl it finds.
    jobs = [
        (net, X, Y, {"callbacks": [ReduceLROnPlateau("loss", 0.5, patience=0, min_delta=10.0)]})
        for net in nets
    ]
    histories = cdl.train_many(jobs, workers=2, backend=backend, epochs=3)
    for net in nets:
        net.fit(X, Y, epochs=1, shuffle=False, verbose=0)  # goes on with Adam's slots and steps
    return [bits(net) for net in nets], [h.history for h in histories], [h.epoch for h in histories]


@pytest.mark.parametrize("make", [model, dropping])
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_results_do_not_depend_on_the_backend(backend, make):
    pytest.importorskip("joblib")
    assert by_backend(backend, make) == by_backend(None, make)


def test_an_error_of_a_worker_names_its_job():
    pytest.importorskip("joblib")
    jobs = [(model(0), X, Y), (model(1), X, Y[:5]), (model(2), X, Y)]
    with pytest.raises(ValueError, match="fit: y must have as many rows") as caught:
        cdl.train_many(jobs, workers=2, backend="loky")
    assert caught.value.__notes__ == ["train_many: in job 1 of 3"]
    assert [job[0].optimizer.iterations for job in jobs] == [4, 0, 4]


def test_an_unknown_backend_is_joblibs_error():
    pytest.importorskip("joblib")
    with pytest.raises(ValueError, match="nowhere"):
        cdl.train_many([(model(0), X, Y)], backend="nowhere")
