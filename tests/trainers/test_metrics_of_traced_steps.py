"""Metrics that recorded steps update: in the core, as in `fit`, or in Python where they must be."""

import numpy as np
import pytest
from trainers.stepping_nets import RNG, assert_close, runs_of

import cdl
from cdl import layers, metrics, ops
from cdl._ir.fusion import without_outputs
from cdl.trainers import fit_loop
from cdl.trainers.chains import core_metrics, step_chains
from cdl.trainers.chains.chain import Chain

X = RNG.normal(size=(96, 3)).astype(np.float32)
Y = RNG.integers(0, 4, size=96)
WEIGHTS = RNG.uniform(0.5, 2.0, size=96).astype(np.float32)
BATCHES = 6


@pytest.fixture(autouse=True)
def _together(monkeypatch):
    monkeypatch.setattr(fit_loop, "SLICE", 1e9)  # how long a machine takes must not matter


class Classifier(cdl.Model):
    """A classifier with metrics of its own; subclasses say how it learns."""

    def __init__(self):
        super().__init__()
        self.hidden, self.last = layers.Dense(8, "tanh"), layers.Dense(4, "softmax")
        self.crossentropy = cdl.losses.SparseCategoricalCrossentropy()
        self.tracker = metrics.Mean(name="loss")
        self.accuracy = metrics.SparseCategoricalAccuracy(name="accuracy")

    def call(self, inputs):
        return self.last(self.hidden(inputs))

    def learn(self, x, y):
        with cdl.GradientTape() as tape:
            predictions = self(x, training=True)
            loss = self.crossentropy(y, predictions)
        weights = [*self.hidden.trainable_variables, *self.last.trainable_variables]
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return loss, predictions

    def results(self):
        return {each.name: each.result() for each in self.metrics}

    def train_step(self, data):
        x, y = data
        loss, predictions = self.learn(x, y)
        self.tracker.update_state(loss)
        self.accuracy.update_state(y, predictions)
        return self.results()


class ByFunction(Classifier):
    def learn(self, x, y):
        def loss_of(x, y):
            predictions = self(x, training=True)
            return self.crossentropy(y, predictions), predictions

        weights = self.trainable_variables
        step = cdl.value_and_grad(loss_of, variables=weights, has_aux=True)
        (loss, predictions), gradients = step(x, y)
        self.optimizer.apply(gradients, weights)
        return loss, predictions


class Listed(Classifier):
    """The step of Keras's guide: all metrics, those of `compile` among them, in a loop."""

    def train_step(self, data):
        x, y = data
        loss, predictions = self.learn(x, y)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, predictions)
        return self.results()


class Computed(Classifier):
    def train_step(self, data):
        x, y = data
        loss, predictions = self.learn(x, y)
        self.tracker.update_state(loss, sample_weight=ops.shape(x)[0])
        return self.compute_metrics(x, y, predictions)


class Weighted(Classifier):
    def train_step(self, data):
        x, y, weights = data
        loss, predictions = self.learn(x, y)
        self.tracker.update_state(loss, sample_weight=3)
        self.accuracy.update_state(y, predictions, sample_weight=weights)
        return self.results()


class Twice(Classifier):
    """Metrics that are updated twice, also by numbers of the batch, and one of four sums."""

    def __init__(self):
        super().__init__()
        self.rates = metrics.AUC(num_thresholds=20, name="rates")
        self.error = metrics.MeanSquaredError(name="error")
        self.squares = metrics.MeanMetricWrapper(lambda y, p: ops.square(y - p), name="squares")

    def train_step(self, data):
        x, y = data
        loss, predictions = self.learn(x, y)
        wanted = ops.one_hot(y, 4)
        for _ in range(2):
            self.tracker.update_state(loss)
            self.rates.update_state(wanted, predictions)
        self.tracker.update_state(ops.square(x))
        self.error.update_state(wanted, predictions)
        self.squares.update_state(y, ops.mean(x, axis=1))
        return self.results()


class Head(layers.Layer):
    def __init__(self):
        super().__init__()
        self.dense, self.seen = layers.Dense(4, "softmax"), metrics.Mean(name="seen")

    def call(self, inputs):
        return self.dense(inputs)


class WithPart(Classifier):
    """A metric of a layer, which the step updates."""

    def __init__(self):
        super().__init__()
        self.last = Head()

    def train_step(self, data):
        x, y = data
        loss, predictions = self.learn(x, y)
        self.tracker.update_state(loss)
        self.last.seen.update_state(predictions)
        return self.results()


KINDS = [Classifier, ByFunction, Listed, Computed, Weighted, Twice, WithPart]


def compiled(cls, eagerly=False):
    cdl.utils.set_random_seed(3)
    model = cls()
    model.build((None, 3))
    top = metrics.SparseTopKCategoricalAccuracy(2, name="top")
    given = ["accuracy", top] if cls in (Listed, Computed) else []
    model.compile("adam", "sparse_categorical_crossentropy", metrics=given, run_eagerly=eagerly)
    return model


def fit(model, epochs=4, **options):
    cdl.utils.set_random_seed(5)  # of the orders of samples
    options = {"batch_size": 16, "epochs": epochs, "verbose": 0, **options}
    if isinstance(model, Weighted):
        options["sample_weight"] = WEIGHTS
    return model.fit(X, Y, **options).history


def metrics_of(model):
    return [np.asarray(each) for each in model.metrics_variables]


def weights_of(model):
    variables = (*model.trainable_variables, *model.optimizer.variables)
    return [np.asarray(each).tobytes() for each in variables]


def assert_same(model, python):
    assert weights_of(model) == weights_of(python)
    assert_close(metrics_of(model), metrics_of(python))


def chain_of(model):
    (chain,) = model._compiled.chains._states.values()
    return chain


@pytest.mark.parametrize("cls", [Classifier, ByFunction, Listed])
def test_steps_with_metrics_run_the_instructions_of_fit(cls):
    model = cls()
    model.compile("adam", model.crossentropy)
    model.fit(X, Y, batch_size=16, epochs=4, verbose=0)
    (chain,) = model._compiled.chains._states.values()
    program = without_outputs(chain._fed[0]._compiled._vjp.gradients.learning[0])
    names = [each.op for each in program.instructions]
    assert names == ["dense", "dense", "loss", "metric"]  # the loss is reported once


@pytest.mark.parametrize("cls", KINDS)
def test_the_core_updates_metrics_of_steps(cls):
    model, python = compiled(cls), compiled(cls, eagerly=True)
    expected = fit(python)
    found = []
    assert runs_of(model, lambda: found.append(fit(model))) == 2, model._compiled.chains.reasons
    assert_close(found[0], expected)
    assert_same(model, python)
    chain = chain_of(model)
    assert chain.metrics is not None
    assert chain.is_fed and not chain.has_calls
    assert_close(model.get_metrics_result(), python.get_metrics_result())


@pytest.mark.parametrize("cls", KINDS)
def test_hooks_of_batches_see_the_same_values(cls):
    seen, python = [], compiled(cls, eagerly=True)
    hook = cdl.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs))
    model = compiled(cls)
    by_batch = fit(model, callbacks=[hook])
    watched, seen = seen, []
    hook = cdl.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs))
    fit(python, callbacks=[hook])
    assert len(seen) == 4 * BATCHES
    assert_close(watched, seen)
    assert_close(by_batch, fit(compiled(cls)))
    assert_same(model, python)


def test_a_metric_that_a_hook_resets_begins_anew():
    def reset(batch, logs):
        if batch == 2:
            model.accuracy.reset_state()

    hook = cdl.callbacks.LambdaCallback(on_train_batch_end=reset)
    results = []
    for eagerly in (True, False):
        model = compiled(Classifier, eagerly)
        results.append((fit(model, callbacks=[hook]), metrics_of(model)))
        assert float(model.accuracy.count) == 48
        assert float(model.tracker.count) == BATCHES
    assert_close(*results)


def test_metrics_that_model_does_not_list_are_not_reset():
    class Hidden(Classifier):
        @property
        def metrics(self):
            return [self.tracker]

    model, python = compiled(Hidden), compiled(Hidden, eagerly=True)
    assert_close(fit(model), fit(python))
    assert float(model.accuracy.count) == float(python.accuracy.count) == 4 * 96
    assert float(model.accuracy.total) == float(python.accuracy.total)


@pytest.mark.parametrize("at", [3, 9, 14])
def test_an_interrupt_leaves_the_metrics_of_whole_batches(at):
    def stop(batch, logs):
        if model.optimizer.iterations == at:
            raise KeyboardInterrupt

    hook = cdl.callbacks.LambdaCallback(on_train_batch_end=stop)
    results = []
    for eagerly in (True, False):
        model = compiled(Classifier, eagerly)
        with pytest.raises(KeyboardInterrupt):
            fit(model, callbacks=[hook])
        assert float(model.tracker.count) == (at - 1) % BATCHES + 1
        results.append(metrics_of(model))
        fit(model)
        results[-1] += metrics_of(model)
    assert_close(*results)


def test_an_error_in_a_batch_leaves_metrics_that_go_on():
    model, python = compiled(Classifier), compiled(Classifier, eagerly=True)
    for each in (model, python):
        fit(each)
        with pytest.raises(ValueError, match="shape"):
            each.fit(X[:, :2], Y, batch_size=16, verbose=0)
        fit(each, epochs=2)
    assert_same(model, python)


def test_compiled_again_saved_and_loaded(tmp_path):
    model, python = compiled(Listed), compiled(Listed, eagerly=True)
    for each in (model, python):
        fit(each)
        each.compile("sgd", "mse", metrics=["accuracy"], run_eagerly=each is python)
        fit(each)
        each.save_weights(tmp_path / "kept.weights.h5")
        each.load_weights(tmp_path / "kept.weights.h5")
        fit(each, epochs=2)
    assert_same(model, python)
    assert chain_of(model).metrics is not None


def test_two_models_that_share_a_metric():
    results = []
    for eagerly in (True, False):
        ones, others = compiled(Classifier, eagerly), compiled(ByFunction, eagerly)
        others.accuracy = ones.accuracy
        histories = [fit(each, epochs=2) for _ in range(2) for each in (ones, others)]
        results.append((histories, metrics_of(ones), metrics_of(others)))
    assert_close(*results)


def test_a_metric_read_between_its_updates_stays_in_python():
    class Between(Classifier):
        def train_step(self, data):
            x, y = data
            loss, _ = self.learn(x, y)
            self.tracker.update_state(loss)
            first = self.tracker.result()
            self.tracker.update_state(ops.square(x))
            return {"first": first, "loss": self.tracker.result()}

    model, python = compiled(Between), compiled(Between, eagerly=True)
    assert fit(model) == fit(python)
    assert chain_of(model).metrics is None


def test_a_metric_of_new_weights_stays_in_python():
    class Later(Classifier):
        def train_step(self, data):
            x, y = data
            self.learn(x, y)
            self.accuracy.update_state(y, self(x, training=False))
            return {"accuracy": self.accuracy.result()}

    model, python = compiled(Later), compiled(Later, eagerly=True)
    assert fit(model) == fit(python)
    assert chain_of(model).metrics is None


def test_two_links_with_metrics_of_their_own():
    class Pair(Classifier):
        def __init__(self):
            super().__init__()
            self.other = cdl.Sequential([layers.Input((3,)), layers.Dense(1)])
            self.adam, self.error = cdl.optimizers.Adam(0.01), metrics.Mean(name="error")

        def train_step(self, data):
            x, y = data
            loss, predictions = self.learn(x, y)
            with cdl.GradientTape() as tape:
                error = ops.mean(ops.square(self.other(x)))
            weights = self.other.trainable_variables
            self.adam.apply(tape.gradient(error, weights), weights)
            self.tracker.update_state(loss)
            self.error.update_state(error)
            self.accuracy.update_state(y, predictions)
            return self.results()

    model, python = compiled(Pair), compiled(Pair, eagerly=True)
    assert_close(fit(model), fit(python))
    assert_same(model, python)
    assert chain_of(model).metrics is not None


def test_metrics_by_which_the_program_would_learn_otherwise_stay_in_python():
    """A function of probabilities keeps softmax and crossentropy apart, in other last digits."""

    class Squared(Classifier):
        def __init__(self):
            super().__init__()
            self.squares = metrics.MeanMetricWrapper(lambda y, p: ops.square(y - p), name="squares")

        def train_step(self, data):
            x, y = data
            _, predictions = self.learn(x, y)
            self.squares.update_state(ops.one_hot(y, 4), predictions)
            return {"squares": self.squares.result()}

    model, python = compiled(Squared), compiled(Squared, eagerly=True)
    assert fit(model) == fit(python)
    assert weights_of(model) == weights_of(python)
    assert chain_of(model).metrics is None


class ReadAhead(Classifier):
    """A metric that is read ahead of the gradient, by numbers that are always the same."""

    def train_step(self, data):
        x, y = data
        self.tracker.update_state(0.0 * x)
        found = self.tracker.result() + 0.0
        self.learn(x, y)
        return {"found": found}


class Reset(Classifier):
    """A metric that is of the last batch alone."""

    def train_step(self, data):
        x, y = data
        loss, _ = self.learn(x, y)
        self.tracker.reset_state()
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


@pytest.mark.parametrize("cls", [ReadAhead, Reset])
def test_metrics_read_ahead_or_reset_stay_in_python(cls):
    model, python = compiled(cls), compiled(cls, eagerly=True)
    assert fit(model) == fit(python)
    assert chain_of(model).metrics is None
    for one, other in zip(metrics_of(model), metrics_of(python), strict=True):
        np.testing.assert_array_equal(one, other)


def test_metrics_called_one_after_the_other():
    class Called(Classifier):
        def train_step(self, data):
            x, y = data
            loss, predictions = self.learn(x, y)
            return {"loss": self.tracker(loss), "accuracy": self.accuracy(y, predictions)}

    model, python = compiled(Called), compiled(Called, eagerly=True)
    assert_close(fit(model), fit(python))
    assert_same(model, python)
    assert chain_of(model).metrics is not None


def test_a_fault_in_metrics_of_the_core_is_told(monkeypatch):
    def fails(metric):
        raise AttributeError("a fault")

    monkeypatch.setattr(core_metrics, "_is_known", fails)
    model = Classifier()
    model.compile("adam", model.crossentropy)
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert model._compiled.chains.reasons["train_step"].endswith("AttributeError: a fault")


def test_faults_of_a_pass_are_told(monkeypatch):
    def fails(chain, arrays, noted):
        raise IndexError("of a link")

    monkeypatch.setattr(Chain, "again_in_pass", fails)
    monkeypatch.setattr(step_chains, "_TOLD", BATCHES)
    model = Classifier()
    model.compile("sgd")
    with pytest.warns(UserWarning, match="raise IndexError: of a link"):
        model.fit(X, Y, batch_size=16, epochs=3, verbose=0)
