"""Progress of `train_many`: the bar, finished jobs, numbered lines; and the cores in use."""

import io
import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import cdl
from cdl import callbacks
from cdl.layers import Dense, Input

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = X[:, :1]


def net(seed):
    cdl.utils.set_random_seed(seed)
    model = cdl.Sequential([Input((4,)), Dense(3, "tanh"), Dense(1)])
    model.compile("adam", "mse")
    return model


def jobs(count):
    return [(net(seed), X, Y) for seed in range(count)]


# --- the bar ---


def test_a_file_gets_at_most_twenty_lines_with_the_best_value(capsys):
    histories = cdl.train_many(jobs(50), verbose=1, validation_split=0.2, epochs=3)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert [int(re.match(r"(\d+)/50 - \d+s - \d+(ms|us)/job", line)[1]) for line in lines][-1] == 50
    best = min(min(h.history["val_loss"]) for h in histories)
    assert lines[-1].endswith(f" - best val_loss: {best:.4f}")


@pytest.mark.parametrize("backend", [None, "threading"])
def test_without_validation_the_best_is_of_the_loss(backend, capsys):
    if backend:
        pytest.importorskip("joblib")
    histories = cdl.train_many(jobs(3), verbose="auto", epochs=2, backend=backend)
    best = min(min(h.history["loss"]) for h in histories)
    assert capsys.readouterr().out.splitlines()[-1].endswith(f" - best loss: {best:.4f}")


def test_a_terminal_has_one_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    cdl.train_many(jobs(4), verbose=1)
    assert "4/4" in out.getvalue()
    assert "best loss" in out.getvalue()
    assert sys.stdout is out
    assert "Epoch" not in out.getvalue()


def test_silence_is_the_default(capsys):
    cdl.train_many(jobs(2), epochs=2)
    assert capsys.readouterr().out == ""


def test_a_job_that_fails_counts_without_a_value(capsys):
    given = jobs(2)
    given[0] = (given[0][0], X[:, :2], Y)
    with pytest.raises(ValueError, match="fit: x"):
        cdl.train_many(given, verbose=1)
    assert re.search(r"^2/2 - .* - best loss: ", capsys.readouterr().out.splitlines()[-1])


# --- the numbers of jobs ---


def test_lines_of_epochs_have_the_number_of_their_job(capsys):
    cdl.train_many(jobs(3), verbose=2, epochs=2, workers=3)
    lines = capsys.readouterr().out.splitlines()
    epochs = [re.match(r"\[job (\d)\] Epoch (\d)/2 - 2/2 - \d+s - .* - loss: ", x) for x in lines]
    found = [match.groups() for match in epochs if match]
    assert sorted(found) == [(str(job), epoch) for job in range(3) for epoch in "12"]
    assert len([line for line in lines if "/job" in line]) == 3
    assert len(lines) == 9


def test_an_option_of_one_job_has_its_epochs_shown(capsys):
    given = [(net(0), X, Y), (net(1), X, Y, {"verbose": 1})]
    cdl.train_many(given, epochs=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("[job 1] 2/2 - ")


def test_what_callbacks_say_has_the_number_of_their_job(capsys):
    early = callbacks.EarlyStopping("loss", patience=0, min_delta=100.0, verbose=1)
    schedule = callbacks.LearningRateScheduler(lambda epoch, rate: rate, verbose=1)
    cdl.train_many(jobs(2), epochs=5, callbacks=[early, schedule])
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(re.match(r"\[job [01]\] Epoch \d+: ", line) for line in lines)
    net(0).fit(X, Y, verbose=0, callbacks=[schedule])
    assert capsys.readouterr().out.startswith("\nEpoch 1: ")


def test_callbacks_and_servers_are_told_the_number():
    class Notes(callbacks.Callback):
        def on_train_end(self, logs=None):
            noted.append((self.params["job"], self.params["epochs"]))

    noted = []
    cdl.train_many(jobs(3), epochs=2, callbacks=[Notes()])
    assert sorted(noted) == [(0, 2), (1, 2), (2, 2)]
    outside = callbacks.Callback()
    net(0).fit(X, Y, verbose=0, callbacks=[outside])
    assert "job" not in outside.params


# --- finished jobs ---


@pytest.mark.parametrize("backend", [None, "threading", "loky"])
def test_on_done_is_called_for_each_job_in_the_caller_s_thread(backend):
    if backend:
        pytest.importorskip("joblib")
    given, told = jobs(5), []

    def on_done(number, model, history):
        assert model is given[number][0]
        assert model.optimizer.iterations == 4
        assert model.history is history
        told.append((number, history.history["loss"], threading.current_thread()))

    histories = cdl.train_many(given, epochs=2, on_done=on_done, workers=2, backend=backend)
    assert sorted(each[0] for each in told) == list(range(5))
    assert {each[2] for each in told} == {threading.current_thread()}
    assert all(histories[number].history["loss"] == loss for number, loss, _ in told)


def test_on_done_is_not_called_for_a_job_that_fails():
    given, told = jobs(3), []
    given[1] = (given[1][0], X[:, :2], Y)
    with pytest.raises(ValueError, match="fit: x"):
        cdl.train_many(given, on_done=lambda number, model, history: told.append(number))
    assert sorted(told) == [0, 2]


def test_an_error_of_on_done_ends_the_jobs():
    def on_done(number, model, history):
        raise RuntimeError("enough")

    given = [(*each, {"callbacks": cdl.callbacks.Callback()}) for each in jobs(8)]  # in no group
    epochs = 500  # so that the main thread wakes before all have ended
    with pytest.raises(RuntimeError, match="enough"):
        cdl.train_many(given, workers=1, epochs=epochs, on_done=on_done)
    steps = [int(model.optimizer.iterations) for model, *_ in given]
    assert steps[0] == 2 * epochs
    assert sum(steps) < 2 * epochs * 8
    given[-1][0].fit(X, Y, verbose=0)


def test_on_done_must_be_a_function():
    with pytest.raises(TypeError, match="on_done must be a function, got 3"):
        cdl.train_many(jobs(1), on_done=3)


def test_interrupt_ends_the_jobs_with_a_bar_too(capsys):
    class Interrupts(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2 and self.params["job"] == 1:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    given = jobs(3)
    try:
        with pytest.raises(KeyboardInterrupt):
            cdl.train_many(given, epochs=10**6, verbose=1, callbacks=[Interrupts()], workers=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert given[2][0].optimizer.iterations == 0
    for model, *_ in given:
        model.fit(X, Y, verbose=0)


# --- cores ---

COUNT = """
import os, threading
import numpy as np, cdl
from cdl import _core
from cdl.layers import Dense, Input
cores = _core.info()["cores"]
meeting = threading.Barrier(cores, timeout=300)
nets = [cdl.Sequential([Input((2,)), Dense(1)]) for _ in range(cores)]
for net in nets:
    net.compile("sgd", "mse")
meet = cdl.callbacks.LambdaCallback(on_train_begin=lambda logs: meeting.wait())
cdl.train_many([(net, np.ones((4, 2)), np.ones((4, 1))) for net in nets], callbacks=[meet])
print(_core.info()["threads"], cores, len(os.sched_getaffinity(0)))
"""


def test_jobs_are_as_many_at_a_time_as_cores_whatever_omp_num_threads_says():
    done = subprocess.run(
        [sys.executable, "-c", COUNT],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    threads, cores, affinity = map(int, done.stdout.split())
    assert threads == 1
    assert 1 <= cores <= affinity


def test_a_thread_that_was_told_its_share_keeps_to_it():
    before = cdl._core.limit_threads(1)
    try:
        running, most = set(), []

        def begin(logs):
            running.add(threading.get_ident())
            most.append(len(running))

        watch = callbacks.LambdaCallback(
            on_train_begin=begin, on_train_end=lambda logs: running.discard(threading.get_ident())
        )
        cdl.train_many(jobs(6), epochs=3, callbacks=[watch])
    finally:
        cdl._core.limit_threads(before)
    assert max(most) == 1
