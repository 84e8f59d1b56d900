"""Steps of users that are recorded and run as chains: as those that run eagerly, to the bit."""

import copy
import hashlib
import sys
import threading

import numpy as np
import pytest

import cdl
from cdl import layers, ops
from cdl.callbacks import LambdaCallback

RNG = np.random.default_rng(0)
X = RNG.normal(size=(84, 3)).astype(np.float32)
Y = X[:, :1] * X[:, 1:2]
NOTED = []


class Net(cdl.Model):
    """A model that trains by one loss; `aside` is what its step does beside that."""

    def __init__(self, aside=None):
        super().__init__()
        self.hidden, self.last = layers.Dense(8, "tanh"), layers.Dense(1)
        self.factor, self.aside = 1.0, aside

    def call(self, inputs):
        return self.last(self.hidden(inputs))

    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        loss, gradients = cdl.value_and_grad(
            lambda x, y: self.factor * ops.mean(ops.square(y - self(x, training=True))),
            variables=weights,
        )(x, y)
        self.optimizer.apply(gradients, weights)
        return {"loss": loss}


def made(cls=Net, eagerly=False, optimizer="adam", seed=3):
    cdl.utils.set_random_seed(seed)
    NOTED.clear()
    model = cls()
    model.build((None, 3)) if type(model).call is not cdl.Model.call else None
    model.compile(cdl.optimizers.get(optimizer), run_eagerly=eagerly)
    return model


def state_of(model):
    parts = [*model.get_weights(), *map(np.asarray, model.optimizer.variables)]
    return hashlib.sha256(b"".join(each.tobytes() for each in parts)).hexdigest()


def fit(model, epochs=4, **options):
    given = {"batch_size": 16, "epochs": epochs, "verbose": 0, **options}
    return model.fit(X, Y, **given).history


def runs_of(model, run):
    """Number of runs of the code of the model's step."""
    code, runs = type(model).train_step.__code__, []

    def note(frame, event, arg):
        if event == "call" and frame.f_code is code:
            runs.append(frame)

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return len(runs)


def assert_alike(cls, run=fit, runs=4, optimizer="adam"):
    """Check a class against steps in Python: equal bits, with its code run so often."""
    results = []
    for eagerly in (True, False):
        model = made(cls, eagerly, optimizer)
        logs = []
        count = runs_of(model, lambda model=model, logs=logs: logs.append(run(model)))
        results.append((logs, state_of(model)))
    assert results[0] == results[1]
    assert count == runs


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


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cls", [Net, TwoNets, Normalized])
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


def branching(model, x, loss):
    return 1.0 if loss > 0.3 else 0.0


EAGER = {
    "counts": Counting,
    "sets": Setting,
    "prints": with_aside(lambda model, x, loss: print(end="") or 0.0),
    "appends": with_aside(listed),
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


def test_dropout_is_drawn_as_by_eager_steps():
    class Dropping(Net):
        def call(self, inputs, training=None):
            return self.last(layers.Dropout(0.5, seed=1)(self.hidden(inputs), training=training))

    assert_alike(Dropping, runs=24)


def test_gradients_changed_by_hand_are_applied_as_they_are():
    class Clipped(Net):
        def train_step(self, data):
            x, y = data
            weights = self.trainable_variables
            loss, gradients = cdl.value_and_grad(
                lambda x, y: ops.mean(ops.square(y - self(x, training=True))), variables=weights
            )(x, y)
            norm = np.sqrt(sum(np.sum(each**2) for each in gradients))
            self.optimizer.apply(
                [each * np.minimum(1.0, 0.1 / norm) for each in gradients], weights
            )
            return {"loss": loss, "norm": norm}

    assert_alike(Clipped, runs=24)


# Changes between batches and epochs.


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
