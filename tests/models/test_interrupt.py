"""test_interrupt.py - Ctrl-C answers at once, and leaves the model as of its last whole step."""

import inspect
import signal
import sys
import time

import numpy as np
import pytest
from models.nets import net, same_weights

ROWS = 400_000
X = np.random.default_rng(0).normal(size=(ROWS, 5)).astype(np.float32)
Y = X[:, :2] * 2
DELAY = 0.15


class Interrupt:
    """A real SIGINT after DELAY seconds; `late` is how long the answer took."""

    def __enter__(self):
        def answer(number, frame):
            raise KeyboardInterrupt

        self.old = signal.signal(signal.SIGALRM, answer)
        signal.setitimer(signal.ITIMER_REAL, DELAY)
        self.start = time.perf_counter()
        return self

    def __exit__(self, kind, value, traceback):
        self.late = time.perf_counter() - self.start - DELAY
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.old)
        assert kind is KeyboardInterrupt, "it was over before it could be interrupted"
        return True


def compiled():
    model = net((16, "relu"), (2, "linear"))
    model.compile("adam", "mse", metrics=["mae"])
    return model


def test_fit_stops_after_a_whole_step():
    model = compiled()
    with Interrupt():
        model.fit(X, Y, batch_size=4, epochs=99, shuffle=False, verbose=0)
    steps = int(model.optimizer.iterations)
    assert steps > 0

    twin = compiled()
    epochs, left = divmod(steps, ROWS // 4)
    if epochs:
        twin.fit(X, Y, batch_size=4, epochs=epochs, shuffle=False, verbose=0)
    if left:
        twin.fit(X[: 4 * left], Y[: 4 * left], batch_size=4, shuffle=False, verbose=0)
    assert same_weights(model, twin.get_weights())
    model.fit(X[:100], Y[:100], verbose=0)
    assert int(model.optimizer.iterations) == steps + 4


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_evaluate_and_predict_stop(call):
    model = compiled()
    model.predict(X[:1])
    with Interrupt():
        for _ in range(10_000):
            getattr(model, call)(X, Y, 4, 0) if call == "evaluate" else model.predict(X, 4, 0)
    assert model.predict(X[:3]).shape == (3, 2)
    assert model.evaluate(X[:100], Y[:100], verbose=0)


@pytest.mark.measures
@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
def test_answer_comes_within_100_ms(call):
    model = compiled()
    late = []
    for _ in range(3):
        with Interrupt() as interrupt:
            if call == "fit":
                model.fit(X, Y, batch_size=8, epochs=10_000, verbose=0)
            for _ in range(10_000):
                model.evaluate(X, Y, 8, 0) if call == "evaluate" else model.predict(X, 8, 0)
        late.append(interrupt.late)
    assert min(late) < 0.1


class Tripwire:
    """Raises KeyboardInterrupt where the nth function of a step is entered, as a signal may."""

    WHERE = ("models/engine.py", "models/loops.py", "models/training.py", "cdl/_state.py")

    def __init__(self, n):
        self.left = n

    def __call__(self, frame, event, argument):
        code = frame.f_code
        generates = code.co_flags & inspect.CO_GENERATOR  # whose end hides what is raised in it
        self.left -= code.co_filename.endswith((*self.WHERE, "optimizer.py")) and not generates
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("loss", ["mse", lambda y, p: ((y - p) ** 2).mean(-1)])
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
