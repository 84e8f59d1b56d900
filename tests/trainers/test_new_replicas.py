"""New replicas: what their members begin with, and what is refused."""

import copy
import pickle
import signal

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.models import Replicas
from cdl.trainers.many.members_fit import MembersFit
from cdl.trainers.many.stand_in import StandIn
from cdl.trainers.many.watched_run import _Seen

SEEDS = [11, 12, 13]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 30, 4)).astype(np.float32)
Y = RNG.normal(size=(3, 30, 1)).astype(np.float32)


def net():
    stack = [layers.Input((4,)), layers.Dense(6, "tanh"), layers.Dense(1)]
    made = cdl.Sequential(stack)
    made.compile("adam", "mse")
    return made


def state(model):
    return [np.asarray(each).tobytes() for each in (*model.weights, *model.optimizer.variables)]


@pytest.mark.parametrize("trained", [False, True])
def test_optimizers_whose_state_begins_with_the_weights(trained):
    def compiled(model):
        model.compile(cdl.optimizers.ScheduleFreeAdamW(0.01), lambda y, found: (y - found) ** 2)
        return model

    original = compiled(net())
    if trained:
        original.fit(X[0], Y[0], verbose=0)
    many = cdl.replicate(original, 3, seeds=SEEDS)
    found = [copy.deepcopy(each) for each in many]
    many.fit(X, Y, epochs=2, shuffle=False)
    for k in range(3):
        cdl.utils.set_random_seed(SEEDS[k])
        original._compiled = None  # a clone has no code of its loss
        fresh = compiled(cdl.models.clone_model(original))
        for model in (fresh, found[k]):  # a first fit draws an order more
            model.fit(X[k], Y[k], epochs=2, shuffle=False, verbose=0)
        assert state(many[k]) == state(found[k]) == state(fresh)


class Wired(cdl.Model):
    def __init__(self, units):
        x = cdl.Input((4,))
        super().__init__(x, layers.Dense(1)(layers.Dense(units, "tanh")(x)))
        self.units = units


class Marked(cdl.Model):
    def __init__(self, inputs, outputs, mark=0, **options):
        super().__init__(inputs, outputs, **options)
        self.mark = mark


@pytest.mark.parametrize("kind", ["wired", "marked"])
def test_functional_models_with_a_constructor_of_their_own(kind):
    x = cdl.Input((4,))
    model = Wired(6) if kind == "wired" else Marked(x, layers.Dense(1)(x), mark=2)
    model.compile("adam", "mse")
    many = cdl.replicate(model, 3, seeds=SEEDS)
    for k, seed in enumerate(SEEDS):
        cdl.utils.set_random_seed(seed)
        clone = cdl.models.clone_model(model)
        assert type(clone) is cdl.models.Functional  # as in Keras
        assert [w.tobytes() for w in clone.get_weights()] == [
            w.tobytes() for w in many[k].get_weights()
        ]
    alone = [many[k] for k in range(3)]
    many.fit(X, Y, seeds=SEEDS, epochs=2)
    for k, each in enumerate(alone):
        cdl.utils.set_random_seed(SEEDS[k])
        each.fit(X[k], Y[k], epochs=2, verbose=0)
        assert state(many[k]) == state(each)
        assert type(many[k]) is type(model)


class Batches(cdl.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, at):
        return X[0], Y[0]


@pytest.mark.parametrize("y", [None, Y])
@pytest.mark.parametrize("rows", [Batches, lambda: iter(X)])
def test_lists_of_datasets_are_named(rows, y):
    many = cdl.replicate(net(), 3)
    with pytest.raises(ValueError, match=r"x must be arrays, got \w+"):
        many.fit([rows() for _ in range(3)], y, verbose=0)


def test_members_and_archives_that_are_none_are_named(tmp_path):
    many = cdl.replicate(net(), 2)
    with pytest.raises(TypeError, match=r"member must be an int, got slice\(1, 2, None\)"):
        many[1:2]
    many[0].save(tmp_path / "one.keras")
    with pytest.raises(ValueError, match=r"one.keras must be a file of Replicas.save"):
        Replicas.load(tmp_path / "one.keras")


class OwnStep(cdl.Model):
    def train_step(self, data):
        x, y = data
        with cdl.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}


@pytest.mark.parametrize("kind", [cdl.Model, OwnStep])
def test_draws_of_a_member_are_those_of_a_model_alone(kind):
    one = layers.Input((4,))
    inner = layers.Dropout(0.5)(layers.Dense(6, "tanh")(one), training=True)
    model = kind(one, layers.Dense(1)(inner))
    model.compile("adam", "mse")
    many = cdl.replicate(model, 3, seeds=SEEDS)
    for _ in range(2):
        cdl.utils.set_random_seed(1)
        found = many.predict(X)
        assert [each.tobytes() for each in found] == [
            each.predict(rows, verbose=0).tobytes() for each, rows in zip(many, X, strict=True)
        ]
        alone = list(many)
        many.fit(X, Y, epochs=2, seeds=SEEDS, workers=1)
        for k, each in enumerate(alone):
            cdl.utils.set_random_seed(SEEDS[k])
            each.fit(X[k], Y[k], epochs=2, verbose=0)
            assert state(many[k]) == state(each)


class Counting(OwnStep):
    _seen = 0

    def train_step(self, data):
        self._seen += 1
        self.added[0] += 1
        scale = self._seen + self.added[0] + self.numbers.normal()
        return super().train_step((data[0], data[1] * scale))


class FewerAndFewer(cdl.optimizers.SGD):
    steps = 0

    def apply_gradients(self, pairs, **options):
        self.steps += 1
        return super().apply_gradients([(g / self.steps, v) for g, v in pairs], **options)


class Rates(cdl.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.layers[1].rate /= 2


@pytest.mark.parametrize("kind", ["step", "optimizer", "callback"])
def test_what_a_users_code_keeps_in_a_model_is_the_members(kind):
    one = layers.Input((4,))
    inner = layers.Dropout(0.4)(one) if kind == "callback" else one
    model = (Counting if kind == "step" else cdl.Model)(one, layers.Dense(1)(inner))
    if kind == "step":
        model.added, model.numbers = [0] * 300, np.random.default_rng(3)
    model.compile(FewerAndFewer(0.05) if kind == "optimizer" else "sgd", "mse")
    many = cdl.replicate(model, 3, seeds=SEEDS)
    alone = list(many)
    callbacks = Rates() if kind == "callback" else None
    for _ in range(2):
        given = {"batch_size": 8, "epochs": 2, "callbacks": callbacks}
        many.fit(X, Y, seeds=SEEDS, workers=1, **given)
        many.evaluate(X, Y)
        for k, each in enumerate(alone):
            cdl.utils.set_random_seed(SEEDS[k])
            each.fit(X[k], Y[k], verbose=0, **given)
            assert state(many[k]) == state(each)
        many = copy.deepcopy(many)


class TwoOptimizers(cdl.Model):
    def compile(self, first, second):
        super().compile(loss="mse")
        self.first, self.second = first, second

    def train_step(self, data):
        with cdl.GradientTape() as tape:
            loss = self.compute_loss(data[0], data[1], self(data[0], training=True))
        found = tape.gradient(loss, self.trainable_weights)
        pairs = [*zip(found, self.trainable_weights, strict=True)]
        self.first.apply_gradients(pairs[:2])
        self.second.apply_gradients(pairs[2:])
        return {"loss": loss}


def test_optimizers_of_a_models_own_are_the_members(tmp_path):
    one = layers.Input((4,))
    model = TwoOptimizers(one, layers.Dense(1)(layers.Dense(3, "tanh")(one)))
    model.compile(cdl.optimizers.Adam(0.01), cdl.optimizers.SGD(0.1, momentum=0.9))
    many = cdl.replicate(model, 3, seeds=SEEDS)
    alone = list(many)
    for _ in range(2):
        many.fit(X, Y, seeds=SEEDS, workers=1, batch_size=8)
        for k, each in enumerate(alone):
            cdl.utils.set_random_seed(SEEDS[k])
            each.fit(X[k], Y[k], batch_size=8, verbose=0)
            slots = [(*m.first.variables, *m.second.variables) for m in (each, many[k])]
            assert [v.numpy().tobytes() for v in slots[0]] == [
                v.numpy().tobytes() for v in slots[1]
            ]
            assert each.get_weights()[0].tobytes() == many[k].get_weights()[0].tobytes()
    kept = pickle.loads(pickle.dumps(many))[0].first.variables
    assert [v.numpy().tobytes() for v in kept[-2:]] == [
        v.numpy().tobytes() for v in alone[0].first.variables[-2:]
    ]
    with pytest.warns(UserWarning, match="3 of the members keep"):
        many.save(tmp_path / "many.npz")


def test_a_fit_within_another_one_is_refused_and_changes_nothing():
    def fits_again(epoch, logs):
        many.fit(X, Y)

    many = cdl.replicate(net(), 3)
    before = [state(each) for each in many]
    within = cdl.callbacks.LambdaCallback(on_epoch_end=fits_again)
    with pytest.raises(RuntimeError, match="must be in one fit at a time"):
        many.fit(X, Y, callbacks=lambda number: [within] if not number else [])
    after = [state(each) for each in many]
    assert after[0] == before[0]
    assert after[1] != before[1]
    for other in (many, copy.deepcopy(many), pickle.loads(pickle.dumps(many))):
        other.fit(X, Y)
        assert int(other[0].optimizer.iterations) == 1


def test_ctrl_c_as_a_fit_begins_leaves_the_members_free():
    class Interrupted:
        held = False

        def acquire(self, blocking):
            self.held, was = True, self.held
            signal.raise_signal(signal.SIGINT)
            return not was

        def release(self):
            self.held = False

    many = cdl.replicate(net(), 3)
    many._idle.fitting = lock = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        many.fit(X, Y)
    assert not lock.held


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda number=0: cdl.callbacks.CSVLogger(f"{number // 2}.csv"),
            "jobs 0 and 1 would both write",
        ),
        (lambda number: [7] if number == 2 else [], "must be Callback objects"),
    ],
)
def test_callbacks_that_a_function_makes_are_checked_before_training(make, message):
    many = cdl.replicate(net(), 3)
    before = many.get_weights()[0]
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        many.fit(X, Y, callbacks=make)
    assert getattr(caught.value, "__notes__", ["fit: of member 2 of 3"]) == [
        "fit: of member 2 of 3"
    ]
    np.testing.assert_array_equal(many.get_weights()[0], before)


@pytest.mark.parametrize("call", ["predict", "evaluate"])
def test_errors_without_training_name_the_member(call):
    rows = [X[0], X[1][:0], X[2]], [Y[0], Y[1][:0], Y[2]]
    with pytest.raises(ValueError, match="x must have at least one row") as caught:
        getattr(cdl.replicate(net(), 3), call)(*rows[: 1 if call == "predict" else 2])
    assert caught.value.__notes__ == [f"{call}: of member 1 of 3"]


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (X, {"lr": 0.1}, r"unexpected keyword argument 'lr'; did you mean 'learning_rate'\?"),
        (X, {"seed": 1}, r"unexpected keyword argument 'seed'; did you mean 'seeds'\?"),
        (X, {"seeds": [1, 2, -5]}, "fit: member 2: seed must be an int"),
        (X, {"learning_rate": [1, -2.0, 3]}, "of them, got -2.0 for member 1"),
        (tuple(X), {}, "fit: x must be a list to have the rows of each member, got a tuple"),
    ],
)
def test_what_fit_does_not_take_has_a_hint(x, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        cdl.replicate(net(), 3).fit(x, Y, **options)


@pytest.mark.parametrize("of_each", [True, False])
def test_weights_of_each_output_come_as_targets_do(of_each):
    one = layers.Input((4,))
    model = cdl.Model(one, [layers.Dense(1)(one), layers.Dense(1)(one)])
    model.compile("sgd", "mse")
    weights = [RNG.uniform(size=(3, 30)).astype(np.float32)[... if of_each else 0] for _ in "ab"]
    many = cdl.replicate(model, 3, seeds=SEEDS)
    alone = list(many)
    many.fit(X, [Y, -Y], sample_weight=weights, seeds=SEEDS)
    for k, each in enumerate(alone):
        own = [weight[k] if of_each else weight for weight in weights]
        cdl.utils.set_random_seed(SEEDS[k])
        each.fit(X[k], [Y[k], -Y[k]], sample_weight=own, verbose=0)
        assert state(many[k]) == state(each)


class Own(cdl.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.seen = epoch


@pytest.mark.parametrize(
    ("owner", "name", "nth"),
    [
        (StandIn, "put", 3),
        (StandIn, "take", 2),
        (MembersFit, "_write", 1),
        (_Seen, "set_weights", 2),
    ],
)
def test_ctrl_c_between_two_arrays_leaves_members_whole(monkeypatch, owner, name, nth):
    """Ctrl-C once the first of the arrays of the nth call was read or written."""
    early = cdl.callbacks.EarlyStopping("loss", mode="max", restore_best_weights=True)
    fit = {"seeds": SEEDS, "epochs": 2, "callbacks": Own() if owner is StandIn else early}
    many = cdl.replicate(net(), 3, seeds=SEEDS)
    first, whole, calls, usual = list(many), copy.deepcopy(many), [], getattr(owner, name)
    whole.fit(X, Y, workers=1, **fit)

    def interrupted(arrays):
        yield arrays[0]
        calls.append(name)
        if len(calls) == nth:
            signal.raise_signal(signal.SIGINT)
        yield from arrays[1:]

    monkeypatch.setattr(
        owner, name, lambda self, arrays, *more: usual(self, interrupted(arrays), *more)
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            many.fit(X, Y, workers=1, **fit)
    finally:
        signal.signal(signal.SIGINT, before)
    for k, own in enumerate(many):
        assert state(own) in (state(first[k]), state(whole[k]))
