"""Ctrl-C answers at once, and leaves the model as of its last whole step."""

import inspect
import signal
import sys
import threading
import time

import numpy as np
import pytest
from trainers.nets import net, same_weights

import cdl
from cdl import _core
from cdl.callbacks import Callback
from cdl.layers import Dense, Input
from cdl.models import Sequential
from cdl.trainers import fit_loop

ROWS = 60_000
X = np.random.default_rng(0).normal(size=(ROWS, 5)).astype(np.float32)
Y = X[:, :2] * 2


@pytest.fixture
def pressed(monkeypatch):
    """Runs a call in which the core looks, the n-th time, whether Ctrl-C was pressed: it was.

    A signal that comes by the clock meets a busy machine where it has not begun to train. Returns
    how often the core has looked; without n the call is not interrupted.
    """

    def run(call, n=None):
        looks = 0

        def look():
            nonlocal looks
            looks += 1
            if looks == n:
                signal.raise_signal(signal.SIGINT)

        _core.answer_signals(look, 0.0)
        if n is None:
            call()
        else:
            with pytest.raises(KeyboardInterrupt):
                call()
        _core.answer_signals()
        return looks

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(fit_loop, "SLICE", 1e9)  # how long a machine takes must not matter
    yield run
    _core.answer_signals()
    signal.signal(signal.SIGINT, before)


def compiled():
    model = net((16, "relu"), (2, "linear"))
    model.compile("adam", "mse", metrics=["mae"])
    return model


def test_fit_stops_after_a_whole_step(pressed):
    model = compiled()
    pressed(lambda: model.fit(X, Y, batch_size=4, epochs=9, shuffle=False, verbose=0), 17_000)
    steps = int(model.optimizer.iterations)
    assert steps == 17_000  # the core looks after each step, and these are short

    twin = compiled()
    epochs, left = divmod(steps, ROWS // 4)
    twin.fit(X, Y, batch_size=4, epochs=epochs, shuffle=False, verbose=0)
    twin.fit(X[: 4 * left], Y[: 4 * left], batch_size=4, shuffle=False, verbose=0)
    assert same_weights(model, twin.get_weights())
    model.fit(X[:100], Y[:100], verbose=0)
    assert int(model.optimizer.iterations) == steps + 4


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_evaluate_and_predict_stop_and_are_right_the_next_time(call, pressed):
    model = compiled()
    runs = {
        "evaluate": lambda: model.evaluate(X[:4000], Y[:4000], batch_size=4, verbose=0),
        "predict": lambda: model.predict(X[:4000], batch_size=4, verbose=0),
    }
    expected = [run() for run in runs.values()]
    pressed(runs[call], 500)
    for run, values in zip(runs.values(), expected, strict=True):
        np.testing.assert_array_equal(run(), values)


def large():
    """A step of this net, of 400 rows, is looked into some hundred times."""
    model = Sequential([Input((400,)), Dense(400, "tanh"), Dense(400)])
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) * 0.05 for w in model.get_weights()])
    return model


def test_a_step_that_is_cut_short_is_made_again_with_the_same_bits(pressed):
    x = np.random.default_rng(1).normal(size=(800, 400)).astype(np.float32)
    once = large()
    n = pressed(lambda: once.fit(x, x, batch_size=400, shuffle=False, verbose=0))
    for at in (1, n // 4, n // 3):  # in the first of two steps
        model = large()
        before = model.get_weights()
        pressed(lambda: model.fit(x, x, batch_size=400, shuffle=False, verbose=0), at)  # noqa: B023
        assert int(model.optimizer.iterations) == 0
        assert same_weights(model, before)
        model.fit(x, x, batch_size=400, shuffle=False, verbose=0)
        assert same_weights(model, once.get_weights())


def test_history_holds_the_epochs_before_the_one_that_is_interrupted(pressed):
    x, y = X[:640], Y[:640]

    def fit(model):
        return model.fit(x, y, batch_size=32, epochs=9, verbose=0)

    whole = compiled()
    np.random.seed(0)
    looks = pressed(lambda: fit(whole))
    assert looks >= 9 * 20
    model = compiled()
    np.random.seed(0)
    pressed(lambda: fit(model), looks - 70)  # within the sixth epoch, which is not called alone
    done = int(model.optimizer.iterations) // 20
    assert 2 <= done < 9
    assert model.history.epoch == list(range(done))
    for name, values in whole.history.history.items():
        assert model.history.history[name] == values[:done]


def test_a_handler_that_raises_nothing_runs_within_a_step_and_changes_nothing():
    x = np.random.default_rng(1).normal(size=(800, 400)).astype(np.float32)
    once, model, heard = large(), large(), []
    once.fit(x, x, batch_size=400, epochs=2, shuffle=False, verbose=0)

    def note(number, frame):
        heard.append(int(model.optimizer.iterations))
        model.predict(x[:3], verbose=0)
        for weights in model.get_weights():
            weights[...] = 0  # copies

    before = signal.signal(signal.SIGUSR1, note)
    _core.answer_signals(lambda: len(heard) < 20 and signal.raise_signal(signal.SIGUSR1), 0.0)
    try:
        model.fit(x, x, batch_size=400, epochs=2, shuffle=False, verbose=0)
    finally:
        _core.answer_signals()
        signal.signal(signal.SIGUSR1, before)
    assert len(heard) == 20
    assert set(heard) == {0}  # within the first step
    assert same_weights(model, once.get_weights())


@pytest.fixture
def each_look():
    """A function that is to be called at each look of the core, as a handler of signals may be."""

    def call(function):
        _core.answer_signals(function, 0.0)

    yield call
    _core.answer_signals()


@pytest.mark.parametrize("accumulates", [None, 3])
@pytest.mark.parametrize("wide", [False, True], ids=["small steps", "steps that are looked into"])
def test_a_handler_sees_the_weights_of_so_many_steps_as_the_optimizer_says(
    wide, accumulates, each_look, tmp_path
):
    rows, batch = (1200, 400) if wide else (32, 4)
    x = np.random.default_rng(1).normal(size=(rows, 400 if wide else 5)).astype(np.float32)
    y = x if wide else x[:, :2]

    def made():
        model = large() if wide else net((16, "relu"), (2, "linear"))
        given = {"gradient_accumulation_steps": accumulates}
        model.compile(cdl.optimizers.Adam(0.01, **given), "mse")
        return model

    twin, states = made(), []
    for _ in range(2):
        for start in range(0, rows, batch):
            states.append(twin.get_weights())
            twin.train_on_batch(x[start : start + batch], y[start : start + batch])
    model, seen, file = made(), set(), tmp_path / "model.keras"

    def look():
        step = int(model.optimizer.step)
        if step < len(states) and step not in seen:
            seen.add(step)
            assert same_weights(model, states[step])
            model.save(file)
            saved = cdl.models.load_model(file)
            assert same_weights(saved, states[step])
            assert int(saved.optimizer.iterations) == step // (accumulates or 1)

    each_look(look)
    model.fit(x, y, batch_size=batch, epochs=2, shuffle=False, verbose=0)
    assert seen >= set(range(1, len(states)))


def test_a_handler_ends_fit_by_stop_training_or_an_error_of_its_own():
    model, heard = compiled(), []

    class StopError(Exception):
        """An error of the handler's own."""

    def handler(number, frame):
        heard.append(int(model.optimizer.iterations))
        if len(heard) == 2:
            raise StopError
        model.stop_training = True

    x, y = X[:640], Y[:640]
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        for _ in range(2):
            looks = iter(range(1, 10**9))
            _core.answer_signals(
                lambda: next(looks) == 50 and signal.raise_signal(signal.SIGUSR1),  # noqa: B023
                0.0,
            )
            if not heard:
                history = model.fit(x, y, batch_size=32, epochs=10**6, verbose=0)
                assert 3 <= len(history.epoch) < 100
            else:
                with pytest.raises(StopError):
                    model.fit(x, y, batch_size=32, epochs=10**6, verbose=0)
                assert int(model.optimizer.iterations) == heard[-1]
                assert model.history.epoch == [0, 1]
    finally:
        _core.answer_signals()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("call", ["predict", "evaluate"])
def test_ctrl_c_for_the_main_thread_leaves_a_call_in_another_one_alone(call):
    """The call is large: it is under way when the signal comes, or not yet; both must be right."""
    model = large()
    x = np.random.default_rng(1).normal(size=(4000, 400)).astype(np.float32)

    def run():
        return model.predict(x, 400, 0) if call == "predict" else model.evaluate(x, x, 400, 0)

    expected, results, begun, go_on = run(), [], threading.Event(), threading.Event()

    def work():
        begun.set()
        while not go_on.is_set():
            results.append(run())
        results.append(run())

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        begun.wait()
        for _ in range(5):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
                begun.wait()
    finally:
        signal.signal(signal.SIGINT, before)
        go_on.set()
        thread.join()
    assert results
    for each in results:
        np.testing.assert_array_equal(each, expected)


def test_a_look_asks_nobody_in_a_thread_that_is_not_the_main_one(each_look):
    model, asked = compiled(), []
    each_look(lambda: asked.append(threading.current_thread()))
    thread = threading.Thread(target=lambda: model.fit(X[:400], Y[:400], batch_size=4, verbose=0))
    thread.start()
    thread.join()
    assert asked == []
    model.fit(X[:400], Y[:400], batch_size=4, verbose=0)
    assert set(asked) == {threading.main_thread()}


def test_the_main_thread_hears_ctrl_c_while_another_trains_which_goes_on():
    model, heard = compiled(), threading.Event()

    class StopOnceHeard(Callback):
        def on_train_batch_end(self, batch, logs=None):
            begun.set()
            self.model.stop_training = heard.is_set()

    begun = threading.Event()
    options = {"batch_size": 4, "epochs": 10**6, "verbose": 0, "callbacks": StopOnceHeard()}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=lambda: model.fit(X, Y, **options))
    thread.start()
    try:
        begun.wait()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        steps = int(model.optimizer.iterations)
        while int(model.optimizer.iterations) <= steps:
            assert thread.is_alive()
    finally:
        signal.signal(signal.SIGINT, before)
        heard.set()
        thread.join()


@pytest.mark.measures
@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
def test_answer_comes_within_100_ms(call):
    """The limit is on the process's CPU time: a busy machine makes it wait, too."""

    def answer(number, frame):
        raise KeyboardInterrupt

    model = compiled()

    def late():
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, 0.3)
        try:
            if call == "fit":
                model.fit(X, Y, batch_size=8, epochs=10_000, verbose=0)
            for _ in range(10_000):
                model.evaluate(X, Y, 8, 0) if call == "evaluate" else model.predict(X, 8, 0)
        except KeyboardInterrupt:
            return time.process_time() - start - 0.3
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        return 1.0

    before = signal.signal(signal.SIGPROF, answer)
    try:
        # The host of a virtual machine takes time that counts as work of the process.
        least = min(late() for _ in range(3))
    finally:
        signal.signal(signal.SIGPROF, before)
    assert least < 0.1


class Tripwire:
    """Raises KeyboardInterrupt where the nth function of a step is entered, as a signal may."""

    WHERE = (
        "trainers/train_function.py",
        "trainers/epoch_iterator.py",
        "trainers/fit_loop.py",
        "cdl/_variables/state.py",
    )

    def __init__(self, n):
        self.left = n

    def __call__(self, frame, event, argument):
        code = frame.f_code
        generates = code.co_flags & inspect.CO_GENERATOR  # whose end hides what is raised in it
        self.left -= code.co_filename.endswith((*self.WHERE, "optimizer.py")) and not generates
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize("loss", ["mse", lambda y, p: ((np.asarray(y) - p) ** 2).mean(-1)])
def test_wherever_fit_is_interrupted_the_weights_are_those_of_its_steps(loss):
    x, y = X[:12], Y[:12]
    model = net((3, "tanh"), (2, "linear"))
    model.compile("sgd", loss)
    first = model.get_weights()
    states = {0: first}
    for step in (1, 2, 3):
        model.train_on_batch(x[4 * (step - 1) : 4 * step], y[4 * (step - 1) : 4 * step])
        states[step] = model.get_weights()
    seen, n, over = set(), 0, False
    while not over:
        n += 1
        model.set_weights(first)
        model.optimizer.iterations = 0
        before = sys.gettrace()
        sys.settrace(Tripwire(n))
        try:
            model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
            over = True
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        steps = int(model.optimizer.iterations)
        seen.add(steps)
        assert same_weights(model, states[steps]), f"interrupted at call {n}, said {steps} steps"
    assert seen >= {0, 3}
