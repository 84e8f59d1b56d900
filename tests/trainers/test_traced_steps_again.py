"""Recorded steps over time: changes, files, copies, errors, interrupts, threads."""

import copy
import random
import threading

import numpy as np
import pytest
from trainers.stepping_nets import Net, X, Y, fit, learn, made, state_of

import cdl
from cdl import layers, ops
from cdl.callbacks import LambdaCallback
from cdl.taping import replay
from cdl.trainers.chains import step_chains


def set_factor(model, epoch):
    model.factor = 1.0 + epoch


def set_rate(model, epoch):
    model.optimizer.learning_rate = 0.01 * (1 + epoch)


def set_clip(model, epoch):
    model.optimizer.clipvalue = 0.001 if epoch == 2 else None


def freeze(model, epoch):
    model.hidden.trainable = epoch < 2


def compile_anew(model, epoch):
    if epoch == 2:
        model.compile("sgd", run_eagerly=model.run_eagerly)


def replace_optimizer(model, epoch):
    if epoch == 2:
        model.optimizer = cdl.optimizers.SGD(0.1)


def load_weights(model, epoch):
    model.set_weights([0.5 * each for each in model.get_weights()])


def replace_layer(model, epoch):
    if epoch == 2:
        model.last.bias.regularizer = cdl.regularizers.L2(0.5)


CHANGES = [
    set_factor, set_rate, set_clip, freeze, compile_anew, replace_optimizer, load_weights,
    replace_layer,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_begin"])
def test_changes_count_from_the_next_batch_on(change, hook):
    results = []
    for eagerly in (True, False):
        model = made(Net, eagerly)

        def between(number, logs, model=model):
            change(model, number)

        history = fit(model, callbacks=[LambdaCallback(**{hook: between})])
        results.append((history, state_of(model)))
    assert results[0] == results[1]


def test_saved_copied_and_fitted_again(tmp_path):
    results = []
    for eagerly in (True, False):
        model = made(Net, eagerly)
        fit(model)
        twin = copy.deepcopy(model)
        model.save_weights(tmp_path / f"{eagerly}.weights.h5")
        parts = [fit(each, 2, shuffle=False) for each in (model, twin)]
        assert parts[0] == parts[1]
        model.load_weights(tmp_path / f"{eagerly}.weights.h5")
        parts.append(fit(model, 2))
        results.append((parts, state_of(model), state_of(twin)))
    assert results[0] == results[1]


def test_an_error_in_a_batch_leaves_the_model_as_it_was():
    class Numbered(Net):
        def __init__(self):
            super().__init__()
            self.hidden = layers.Embedding(5, 8)

        def call(self, inputs):
            return self.last(ops.mean(self.hidden(inputs), axis=1))

    good = np.arange(64).reshape(32, 2) % 5
    bad = np.where(np.arange(32)[:, None] == 20, 9, good)
    results = []
    for eagerly in (True, False):
        model = made(Numbered, eagerly)
        options = {"batch_size": 8, "verbose": 0, "shuffle": False}
        model.fit(good, Y[:32], epochs=2, **options)
        with pytest.raises(ValueError, match="9"):
            model.fit(bad, Y[:32], **options)
        middle = state_of(model)
        model.fit(good, Y[:32], epochs=2, **options)
        results.append((middle, state_of(model)))
    assert results[0] == results[1]


def test_an_interrupt_ends_after_a_whole_batch():
    class Stops(cdl.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                raise KeyboardInterrupt

    results = []
    for eagerly in (True, False):
        model = made(Net, eagerly)
        fit(model)
        with pytest.raises(KeyboardInterrupt):
            fit(model, callbacks=[Stops()])
        middle = state_of(model)
        results.append((middle, fit(model), state_of(model)))
    assert results[0] == results[1]


def test_a_fit_within_a_fit():
    results = []
    for eagerly in (True, False):
        model = made(Net, eagerly)
        within = LambdaCallback(
            on_train_batch_end=lambda batch, logs, model=model: model.train_on_batch(X[:16], Y[:16])
        )
        fit(model, callbacks=[within])
        results.append((fit(model), state_of(model)))
    assert results[0] == results[1]


def test_two_threads_train_models_of_one_class():
    expected = made(Net, eagerly=True)
    history = fit(expected, shuffle=False)
    results = {}

    def train(model):
        results[id(model)] = fit(model, shuffle=False), state_of(model)

    models = [made(Net) for _ in range(2)]
    threads = [threading.Thread(target=train, args=(each,)) for each in models]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(each == (history, state_of(expected)) for each in results.values())
    assert len(results) == 2


class Stopping(Net):
    def train_step(self, data):
        x, y = data
        return learn(self, x, -y if self.stop_training or self.steps_per_execution > 1 else y)


@pytest.mark.parametrize("name", ["stop_training", "steps_per_execution"])
def test_attributes_that_programs_do_not_read(name):
    def change(model, batch):
        if batch == 2:
            setattr(model, name, 2)

    def run(model):
        changes = LambdaCallback(on_train_batch_end=lambda batch, logs: change(model, batch))
        fit(model)
        return fit(model, callbacks=[changes]), fit(model)

    results = []
    for eagerly in (True, False):
        model = made(Stopping, eagerly)
        fit(model, 1)
        change(model, 2)
        results.append((model.train_on_batch(X[:16], Y[:16]), run(model), state_of(model)))
    assert results[0] == results[1]


def test_a_gradient_by_arrays_keeps_its_program_whatever_is_drawn(monkeypatch):
    made = []

    class Counted(replay._Program):
        def __init__(self, *args):
            made.append(args)
            super().__init__(*args)

    monkeypatch.setattr(replay, "_Program", Counted)
    model = cdl.Sequential([cdl.Input((4,)), layers.Dropout(0.5), layers.Dense(1)])
    for size in (0.0, 1.0, 2.0):  # of 0 the value is the recorded one, whatever is dropped
        with cdl.GradientTape() as tape:
            x = tape.watch(np.full((8, 4), size, np.float32))
            seen = model(x, training=True)
        assert tape.gradient(seen, x).shape == (8, 4)
    assert len(made) == 1


class Dropping(Net):
    def __init__(self):
        super().__init__()
        self.dropped = layers.Dropout(0.5)

    def call(self, inputs, training=None):
        return self.last(self.dropped(self.hidden(inputs), training=training))

    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = ops.mean(ops.square(y - self(x, training=True)))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


def test_draws_go_on_behind_another_compile():
    results = []
    for eagerly in (True, False):
        model = made(Dropping, eagerly)
        logs = [fit(model, 3)]
        model.compile("adam", run_eagerly=eagerly)
        results.append(([*logs, fit(model, 3)], state_of(model)))
    assert results[0] == results[1]


@pytest.mark.parametrize("change", [set_factor, compile_anew])
def test_new_programs_of_a_model_do_not_draw_the_same_again(change):
    model = made(Dropping, eagerly=True)
    first = model(X, training=True)
    change(model, 2)
    assert not np.array_equal(first, model(X, training=True))


class Noisy(Net):
    def train_step(self, data):
        x, y = data
        return learn(self, x + cdl.random.normal(ops.shape(x)), y)


@pytest.mark.parametrize("cls", [Net, Noisy])
def test_another_thread_may_draw_while_a_step_is_recorded(cls, monkeypatch):
    class Beside(step_chains.Trial):
        def differs(self, *given):
            other = threading.Thread(target=random.random)
            other.start()
            other.join()
            return super().differs(*given)

    monkeypatch.setattr(step_chains, "Trial", Beside)
    model = made(cls)
    fit(model)
    assert not model._compiled.chains.reasons
