"""Losses of recorded steps: the instructions of `fit`, also for several epochs at once."""

import gc
import weakref

import numpy as np
import pytest
from trainers.stepping_nets import RNG

import cdl
from cdl import layers
from cdl._ir.fusion import without_outputs
from cdl.trainers import fit_loop

X = np.float32(RNG.normal(size=(96, 6)))
NUMBERS, CLASSES = X[:, :1] * X[:, 1:2], RNG.integers(5, size=96)
ENCODED = np.eye(5, dtype=np.float32)[CLASSES]
CASES = {
    "numbers": (NUMBERS, cdl.losses.MeanSquaredError(), 1, None),
    "columns": (X[:, :3] ** 2, cdl.losses.Huber(), 3, None),
    "sum": (NUMBERS, cdl.losses.LogCosh(reduction="sum"), 1, None),
    "softmax": (ENCODED, cdl.losses.CategoricalCrossentropy(), 5, "softmax"),
    "classes": (CLASSES, cdl.losses.SparseCategoricalCrossentropy(), 5, "softmax"),
    "scores": (ENCODED, cdl.losses.CategoricalCrossentropy(from_logits=True), 5, None),
    "sigmoid": (X[:, :1] > 0, cdl.losses.BinaryCrossentropy(), 1, "sigmoid"),
}


class Taped(cdl.Model):
    """A net whose step takes gradients by a tape."""

    error = None

    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = self.error(y, self(x, training=True))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


class ByFunction(Taped):
    """A net whose step takes gradients of a function."""

    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        pair = cdl.value_and_grad(lambda x, y: self.error(y, self(x)), variables=weights)
        loss, gradients = pair(x, y)
        self.optimizer.apply(gradients, weights)
        return {"loss": loss}


class ByLossOfCompile(Taped):
    """A net whose step takes gradients of the loss of `compile`."""

    def train_step(self, data):
        weights = self.trainable_variables
        pair = cdl.value_and_grad(
            lambda x, y: self.compute_loss(x, y, self(x, training=True)), variables=weights
        )
        loss, gradients = pair(*data)
        self.optimizer.apply(gradients, weights)
        return {"loss": loss}


class Behind(ByFunction):
    """A net whose logs are computed ahead of its optimizer's step and behind it."""

    def train_step(self, data):
        x, y = data
        before = self.error(y, self(x))
        logs = super().train_step(data)
        return {**logs, "before": before, "after": self.error(y, self(x))}


class Between(Taped):
    """A net whose logs are computed between two steps of optimizers."""

    def train_step(self, data):
        x, y = data
        weights, logs = self.trainable_variables, {}
        for name in ("first", "second"):
            with cdl.GradientTape() as tape:
                loss = self.error(y, self(x, training=True))
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            logs[name] = loss
        return logs


@pytest.fixture(autouse=True)
def _all_at_once(monkeypatch):
    monkeypatch.setattr(fit_loop, "SLICE", 1e9)  # a busy machine must not matter


class ByTwo(Taped):
    """A net with an optimizer for each of its layers, whose samples may have weights."""

    def train_step(self, data):
        x, y = data[0], data[1]
        weight = data[2] if len(data) > 2 else None
        one, other = self.layers[1].trainable_variables, self.layers[2].trainable_variables
        for optimizer, weights in ((self.optimizer, one), (self.second, other)):
            with cdl.GradientTape() as tape:
                loss = self.error(y, self(x, training=True), weight)
            optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": self.error(y, self(x))}


AT_ONCE = pytest.mark.parametrize("cls", [ByFunction, Taped, Behind, ByTwo])
ROWS = pytest.mark.parametrize("rows", [96, 90, 10], ids=["whole", "short", "less"])


def net_of(cls, case, **options):
    cdl.utils.set_random_seed(3)
    _, error, units, activation = CASES[case]
    x = cdl.Input((6,))
    net = cls(x, layers.Dense(units, activation)(layers.Dense(8, "relu")(x)))
    net.compile("adam", loss=error, **options)
    net.error, net.second = error, cdl.optimizers.SGD(0.01)
    return net


def trained(net, case, x=X, rows=96):
    cdl.utils.set_random_seed(1)
    y = CASES[case][0]
    history = net.fit(x[:rows], y[:rows], batch_size=16, epochs=9, verbose=0)
    return history.history, net.get_weights()


@pytest.mark.parametrize("cls", [Taped, ByFunction, ByLossOfCompile])
@pytest.mark.parametrize("case", CASES)
def test_steps_learn_as_fit(cls, case):
    history, weights = trained(net_of(cls, case), case)
    eager, by_python = trained(net_of(cls, case, run_eagerly=True), case)
    assert history == eager
    assert all(map(np.array_equal, weights, by_python))
    _, plain = trained(net_of(cdl.Model, case), case)
    for one, other in zip(weights, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("case", CASES)
def test_records_of_tapes_have_the_instructions_of_fit(case):
    net = net_of(Taped, case)
    trained(net, case)
    (chain,) = net._compiled.chains._states.values()
    program = without_outputs(chain._links[0]._compiled._vjp.gradients.learning[0])
    assert [each.op for each in program.instructions] == ["dense", "dense", "loss"]


@pytest.mark.parametrize("label", [-1, 5, 2**32 + 1, -(2**33)])
def test_labels_that_are_no_class_give_no_gradient(label):
    net = net_of(Taped, "classes")
    y = np.full(32, label)
    step = cdl.value_and_grad(lambda x, y: net.error(y, net(x)), variables=net.trainable_variables)
    loss, gradients = step(X[:32], y)
    assert loss == 0 and not any(map(np.any, gradients))


def test_crossentropies_that_clip_are_recorded():
    wide = X * 80
    runs = [
        trained(net_of(Taped, "classes", run_eagerly=e), "classes", wide) for e in (False, True)
    ]
    assert runs[0][0] == runs[1][0]
    assert all(map(np.array_equal, runs[0][1], runs[1][1]))
    _, plain = trained(net_of(cdl.Model, "classes"), "classes", wide)
    for one, other in zip(runs[0][1], plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}], ids=["recorded", "eager"])
def test_a_second_fit_goes_on_with_the_orders_of_the_first(options):
    one, other = (net_of(ByFunction, "numbers", **options) for _ in range(2))
    whole, _ = trained(one, "numbers")
    cdl.utils.set_random_seed(1)
    losses = []
    for epochs in (4, 5):
        found = other.fit(X, NUMBERS, batch_size=16, epochs=epochs, verbose=0)
        losses += found.history["loss"]
    assert losses == whole["loss"]


@pytest.mark.parametrize("cls", [ByFunction, Taped, Behind, Between, ByTwo])
@ROWS
def test_epochs_at_once_are_those_with_a_callback(cls, rows):
    halve = cdl.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batch in (0, 3) and halved(one)
    )
    weight = np.float32(NUMBERS[:rows, 0] > 0) + 0.5 if cls is ByTwo else None
    found = []
    for callbacks in ([], [cdl.callbacks.LambdaCallback()], [halve]):
        for eagerly in (False, True):
            one = net_of(cls, "numbers", run_eagerly=eagerly)
            cdl.utils.set_random_seed(1)
            given = {"batch_size": 16, "epochs": 5, "callbacks": callbacks, "verbose": 0}
            history = one.fit(X[:rows], NUMBERS[:rows], sample_weight=weight, **given).history
            found.append((history, [each.tolist() for each in one.get_weights()]))
            assert one.optimizer.iterations == -(-rows // 16) * (10 if cls is Between else 5)
    assert found[0] == found[1] == found[2] == found[3]
    assert found[4] == found[5] != found[0]


def halved(net):
    net.optimizer.learning_rate = 0.5 * float(net.optimizer.learning_rate)


@AT_ONCE
@ROWS
@pytest.mark.parametrize("batch", [16, 50])
def test_epochs_are_run_at_once(monkeypatch, cls, rows, batch):
    net, runs = net_of(cls, "numbers"), []
    own = cdl.trainers.custom.steps.CustomSteps.run_epochs

    def run_epochs(self, arrays, batch, orders, logs):
        runs.append(len(orders))
        own(self, arrays, batch, orders, logs)

    monkeypatch.setattr(cdl.trainers.custom.steps.CustomSteps, "run_epochs", run_epochs)
    given = {"batch_size": batch, "epochs": 9, "verbose": 0}
    history = net.fit(X[:rows], NUMBERS[:rows], **given).history
    assert sum(runs) >= 5
    assert len(history["loss"]) == 9


@AT_ONCE
@ROWS
def test_epochs_at_once_leave_the_data(cls, rows):
    x = X[:rows].copy()
    kept = weakref.ref(x)
    net = net_of(cls, "numbers")
    net.fit(x, NUMBERS[:rows], batch_size=16, epochs=9, verbose=0)
    del x
    gc.collect()
    assert kept() is None


@AT_ONCE
@pytest.mark.parametrize("rows", [96, 90])
@pytest.mark.parametrize("after", [40, 41, 42])
def test_interrupts_leave_whole_batches_and_epochs(monkeypatch, cls, rows, after):
    net, other = (net_of(cls, "numbers") for _ in range(2))
    expected = trained(other, "numbers", rows=rows)[0]["loss"]
    chains = cdl.trainers.chains.chain.Chain
    own, own_last = chains.train, chains.finish

    def train(self, steps, seconds):
        left = after - int(net.optimizer.iterations)
        own(self, min(steps, left) if left > 0 else steps, seconds)
        if net.optimizer.iterations == after:
            raise KeyboardInterrupt

    def finish(self, arrays):  # the last batch of an epoch
        own_last(self, arrays)
        if net.optimizer.iterations == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(chains, "train", train)
    monkeypatch.setattr(chains, "finish", finish)
    with pytest.raises(KeyboardInterrupt):
        trained(net, "numbers", rows=rows)
    assert net.optimizer.iterations == after
    assert net.history.history["loss"] == expected[: after // 6]
    assert net.history.epoch == list(range(after // 6))


FACTOR = 1.0


def scaled(y_true, y_pred):
    return FACTOR * cdl.ops.mean(cdl.ops.square(y_true - y_pred), axis=-1)


def test_the_loss_of_compile_is_recorded_until_it_changes(monkeypatch):
    found = []
    for is_eager in (False, True):
        net = net_of(ByLossOfCompile, "numbers")
        net.compile("sgd", loss=scaled, run_eagerly=is_eager)
        losses = trained(net, "numbers")[0]["loss"]
        assert is_eager or [each.is_fed for each in net._compiled.chains._states.values()] == [True]
        with monkeypatch.context() as patch:
            patch.setitem(globals(), "FACTOR", 0.0)
            assert not any(trained(net, "numbers")[0]["loss"])
        net.compile("sgd", loss="mae", run_eagerly=is_eager)
        found.append((losses + trained(net, "numbers")[0]["loss"], *net.get_weights()))
    assert all(map(np.array_equal, *found))
