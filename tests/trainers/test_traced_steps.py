"""Steps of users that are recorded and run as chains: as those that run eagerly, to the bit."""

import numpy as np
import pytest
from trainers.stepping_nets import NOTED, RNG, Net, X, Y, assert_alike, fit, made, runs_of, state_of

import cdl
from cdl import layers, ops
from cdl.callbacks import LambdaCallback


class TwoNets(cdl.Model):
    """A maker and a judge, each with its optimizer; the judge learns twice."""

    def __init__(self):
        super().__init__()
        self.maker, self.judge = (
            cdl.Sequential([cdl.Input((n,)), layers.Dense(8, "relu"), layers.Dense(1)])
            for n in (3, 1)
        )
        self.first, self.second = cdl.optimizers.Adam(0.01), cdl.optimizers.SGD(0.05, momentum=0.9)
        self.crossentropy = cdl.losses.BinaryCrossentropy(from_logits=True)

    def judge_loss(self, x, y):
        real, made = self.judge(y, training=True), self.judge(self.maker(x), training=True)
        return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(made))

    def train_step(self, data):
        x, y = data
        weights = self.judge.trainable_variables
        judge_step = cdl.value_and_grad(self.judge_loss, variables=weights)
        for _ in range(2):
            judge_loss, gradients = judge_step(x, y)
            self.first.apply_gradients(zip(gradients, weights, strict=True))
        loss, gradients = cdl.value_and_grad(
            lambda x: ops.mean(ops.softplus(-self.judge(self.maker(x, training=True)))),
            variables=self.maker.trainable_variables,
        )(x)
        self.second.apply(gradients, self.maker.trainable_variables)
        return {"judge": judge_loss, "maker": loss}


class Normalized(Net):
    """A net with statistics of batches, and a weight that is penalized."""

    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(8, "tanh", kernel_regularizer="l2")
        self.normalization = layers.BatchNormalization()

    def call(self, inputs, training=None):
        return self.last(self.normalization(self.hidden(inputs), training=training))


class Taped(Net):
    """A net that trains by a tape, with a loss object."""

    def __init__(self):
        super().__init__()
        self.error = cdl.losses.MeanSquaredError()

    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = self.error(y, self(x, training=True))
            half = 0.5 * loss
        weights = self.trainable_variables
        gradients = tape.gradient(half, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return {"loss": loss, "double": loss + loss}


class TapedNets(TwoNets):
    """Two nets, whose gradients one tape takes ahead of their steps."""

    def train_step(self, data):
        x, y = data
        ones = np.ones((len(x), 1), np.float32)
        with cdl.GradientTape(persistent=True) as tape:
            of_made = self.judge(self.maker(x, training=True), training=True)
            of_real = self.judge(y, training=True)
            loss = self.crossentropy(ones, of_real) + self.crossentropy(0.0 * ones, of_made)
            made_loss = self.crossentropy(ones, of_made)
        weights = self.judge.trainable_variables, self.maker.trainable_variables
        gradients = tape.gradient(loss, weights[0]), tape.gradient(made_loss, weights[1])
        self.first.apply(gradients[0], weights[0])
        self.second.apply(gradients[1], weights[1])
        return {"judge": loss, "maker": made_loss}


class TapedByHand(Net):
    """A net whose step computes the loss of `compile` with a tape."""

    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        return {"loss": loss}


def test_gradients_ahead_of_their_updates_run_in_the_core():
    net = made(TapedNets, False, "adam")
    fit(net, 2)
    assert {each.is_fed for each in net._compiled.chains._states.values()} == {True}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cls", [Net, TwoNets, Normalized, Taped, TapedNets, TapedByHand])
def test_traced_steps_give_the_bits_of_eager_ones(cls, threads):
    before = cdl._core.limit_threads(threads)
    try:
        assert_alike(cls)
    finally:
        cdl._core.limit_threads(before)


@pytest.mark.parametrize(
    "optimizer",
    [
        cdl.optimizers.SGD(cdl.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)),
        cdl.optimizers.Adam(0.01, global_clipnorm=0.1),
        cdl.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
        cdl.optimizers.AdamW(0.01, gradient_accumulation_steps=3),
        cdl.optimizers.Muon(0.01),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_every_kind_of_update_is_that_of_apply(optimizer):
    config = cdl.optimizers.serialize(optimizer)
    assert_alike(Net, optimizer=config)


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": False},
        {"steps_per_epoch": 2},
        {"callbacks": [LambdaCallback(on_train_batch_end=lambda batch, logs: None)]},
        {"validation_data": (X[:10], Y[:10])},
    ],
    ids=lambda options: next(iter(options)),
)
def test_data_in_all_orders(options):
    class Tested(Net):
        def test_step(self, data):
            return {"loss": float(np.mean(self(data[0]) - data[1]))}

    results = []
    for eagerly in (True, False):
        model = made(Tested, eagerly)
        results.append((fit(model, **options), state_of(model)))
    assert results[0] == results[1]
    assert runs_of(model, lambda: fit(model, **options)) <= 2


class Measured(Net):
    """A net whose step is that of Keras's guide, with metrics."""

    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        weights = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


class Tracked(Net):
    """A net with a metric of its own for its loss."""

    def __init__(self):
        super().__init__()
        self.tracker = cdl.metrics.Mean(name="tracked")

    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        loss, gradients = cdl.value_and_grad(
            lambda x, y: ops.mean(ops.square(y - self(x, training=True))), variables=weights
        )(x, y)
        self.optimizer.apply(gradients, weights)
        self.tracker.update_state(loss, sample_weight=len(x))
        return {"loss": self.tracker.result(), "last": loss}


class TrackedByUser(Tracked):
    """A net with a metric in Python, whose code does more than a chain could know."""

    def __init__(self):
        super().__init__()

        class Counting(cdl.metrics.Mean):
            calls = 0

            def update_state(self, *args, **kwargs):
                self.calls += 1
                super().update_state(*args, **kwargs)

            def result(self):
                return super().result() + self.calls

        self.tracker = Counting()


@pytest.mark.parametrize(("cls", "runs"), [(Measured, 4), (Tracked, 4), (TrackedByUser, 24)])
def test_metrics_of_steps(cls, runs):
    assert_alike(cls, runs=runs, metrics_in_core=True)


def test_batches_by_themselves_are_those_of_fit():
    def by_batches(model):
        starts = [*range(0, 80, 16)] * 3
        return [model.train_on_batch(X[i : i + 16], Y[i : i + 16]) for i in starts]

    assert_alike(Net, by_batches, runs=2)


# Effects of a step beside learning, which no chain may leave out.


class Counting(Net):
    def train_step(self, data):
        self.factor += 0.5
        return super().train_step(data)


class Setting(Net):
    def train_step(self, data):
        self.last_seen = data[0].shape
        return super().train_step(data)


def with_aside(aside):
    """A class whose step calls a function with the loss before it applies gradients."""

    class Aside(Net):
        def __init__(self):
            super().__init__(aside)

        def train_step(self, data):
            x, y = data
            weights = self.trainable_variables
            loss, gradients = cdl.value_and_grad(
                lambda x, y: self.factor * ops.mean(ops.square(y - self(x, training=True))),
                variables=weights,
            )(x, y)
            shown = self.aside(self, x, loss)
            self.optimizer.apply(gradients, weights)
            return {"loss": loss, "shown": shown}

    return Aside


def listed(model, x, loss):
    NOTED.append(1.0)
    return float(len(NOTED) % 7)


def keeping(model, x, loss):
    kept = NOTED
    kept.append(loss)
    return float(np.sum(kept[:-1])) + sum(float(each * 2.0) for each in kept[:-1])


def branching(model, x, loss):
    return 1.0 if loss > 0.3 else 0.0


EAGER = {
    "counts": Counting,
    "sets": Setting,
    "prints": with_aside(lambda model, x, loss: print(end="") or 0.0),
    "appends": with_aside(listed),
    "keeps arrays": with_aside(keeping),
    "branches": with_aside(branching),
    "float": with_aside(lambda model, x, loss: 2.0 * float(loss)),
    "numbers": with_aside(lambda model, x, loss: float(np.asarray(x).sum())),
    "iterates": with_aside(lambda model, x, loss: max(x[:, 0])),
    "text": with_aside(lambda model, x, loss: len(f"{loss:.8f}")),
    "reads a weight": with_aside(lambda model, x, loss: model.last.bias.numpy().sum()),
    "draws by NumPy": with_aside(lambda model, x, loss: np.random.uniform()),
    "of a global generator": with_aside(lambda model, x, loss: RNG.uniform() * 0.0),
    "optimizer's state": with_aside(lambda model, x, loss: int(model.optimizer.iterations)),
    "writes": with_aside(lambda model, x, loss: x.__setitem__(0, 1.0) or 0.0),
}


@pytest.mark.parametrize("kind", EAGER)
def test_what_no_chain_does_runs_in_python(kind, capsys):
    assert_alike(EAGER[kind], runs=24)


class TapedStatistics(Normalized):
    train_step = Taped.train_step

    def __init__(self):
        super().__init__()
        self.error = cdl.losses.MeanSquaredError()


class TapedPenalty(Net):
    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as outer:
            with cdl.GradientTape() as inner:
                points = inner.watch(x)
                predictions = self(points)
            slopes = inner.gradient(predictions, points)
            loss = ops.mean(ops.square(slopes)) + ops.mean(ops.square(predictions - y))
        weights = self.trainable_variables
        self.optimizer.apply(outer.gradient(loss, weights), weights)
        return {"loss": loss}


class CallsThatCount(Net):
    calls = 0

    def call(self, inputs):
        self.calls += 1
        return super().call(inputs)


@pytest.mark.parametrize(
    ("cls", "runs"), [(TapedStatistics, 6), (TapedPenalty, 4), (CallsThatCount, 24)]
)
def test_tapes_with_statistics_and_tapes_around_others(cls, runs):
    assert_alike(cls, runs=runs)


def test_dropout_is_drawn_as_by_eager_steps():
    class Dropping(Net):
        def call(self, inputs, training=None):
            return self.last(layers.Dropout(0.5, seed=1)(self.hidden(inputs), training=training))

    assert_alike(Dropping, runs=24)
