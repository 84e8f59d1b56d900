"""Alike jobs of train_many train with one program, each to the bits of training alone."""

import numpy as np
import pytest

import cdl
from cdl import _core, layers
from cdl.trainers.executor_cache import ExecutorCache
from cdl.trainers.many import alike, group, stacked_run
from cdl.trainers.many import train_many as module
from cdl.trainers.many.ended_run import EndedRun
from cdl.trainers.many.own_callbacks import OwnCallbacks

RNG = np.random.default_rng(0)
N = 5


def state(net):
    """All that training leaves in a model, as bytes."""
    kept = [np.asarray(each) for each in (*net.weights, *net.optimizer.variables)]
    return b"".join(each.tobytes() for each in kept)


def ways(monkeypatch):
    """Once with groups, once without."""
    for grouped in (True, False):
        with monkeypatch.context() as patched:
            if not grouped:
                patched.setattr(module, "_simple", lambda *jobs: {})
            cdl.utils.set_random_seed(3)
            yield grouped


def in_groups(nets):
    return sum(isinstance(net._last_train_function, EndedRun) for net in nets)


def both_ways(monkeypatch, build, data, workers=2, **options):
    """State and History of each model, in groups and alone; and how many were in groups."""
    found, many = [], []
    for _ in ways(monkeypatch):
        nets = [build(i) for i in range(len(data))]
        jobs = [(net, *each) for net, each in zip(nets, data, strict=True)]
        given = {"epochs": 3, "batch_size": 16, **options}
        histories = cdl.train_many(jobs, workers=workers, **given)
        result = [(h.history, h.epoch, h.params) for h in histories], [state(n) for n in nets]
        again = [n.get_metrics_result() for n in nets], [n.metrics[0].result() for n in nets]
        found.append((*result, again))
        many.append(in_groups(nets))
    assert found[0] == found[1]
    assert many[1] == 0
    return many[0]


def rows(*shape, classes=0, n=N, count=50):
    """Data of n jobs."""
    return [
        (
            RNG.normal(size=(count, *shape)).astype("float32"),
            RNG.integers(0, classes, count) if classes else RNG.normal(size=(count, 1)),
        )
        for _ in range(n)
    ]


def compiled(stack, optimizer="adam", loss="mse", **more):
    net = cdl.Sequential(stack)
    net.compile(optimizer, loss, **more)
    return net


def dense(activation="relu", optimizer="adam", loss="mse", last=None, units=1, **more):
    """Net that lanes do not take: one member after the other."""
    stack = [
        layers.Input((4,)),
        layers.Dense(16, activation, activity_regularizer="l2"),
        layers.Dense(units, last),
    ]
    return compiled(stack, optimizer, loss, **more)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "elu", "softsign", "swish"])
def test_activations(monkeypatch, activation):
    assert both_ways(monkeypatch, lambda i: dense(activation), rows(4)) == N


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda i: cdl.optimizers.SGD(0.01 * (i + 1), momentum=0.9, nesterov=True),
        lambda i: cdl.optimizers.AdamW(0.01 / (i + 1), weight_decay=0.01, clipnorm=0.5),
        lambda i: cdl.optimizers.RMSprop(0.003, centered=True, global_clipnorm=1.0),
        lambda i: cdl.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
        lambda i: cdl.optimizers.Adam(0.01, amsgrad=True, gradient_accumulation_steps=3),
        lambda i: cdl.optimizers.Lamb(0.01),
        lambda i: cdl.optimizers.Ftrl(0.01),
        lambda i: cdl.optimizers.Adafactor(0.01),
    ],
)
def test_optimizers_of_several_rates(monkeypatch, optimizer):
    assert both_ways(monkeypatch, lambda i: dense(optimizer=optimizer(i)), rows(4)) == N


@pytest.mark.parametrize("loss", ["mae", "huber", "log_cosh", "poisson", cdl.losses.Huber(0.3)])
def test_losses(monkeypatch, loss):
    data = [(x, np.abs(y)) for x, y in rows(4)]
    assert both_ways(monkeypatch, lambda i: dense(loss=loss, last="softplus"), data) == N


def test_classes_with_metrics(monkeypatch):
    def build(i):
        loss = "sparse_categorical_crossentropy"
        return dense("relu", "adam", loss, "softmax", 3, metrics=["accuracy"])

    assert both_ways(monkeypatch, build, rows(4, classes=3)) == N
    weights = {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}, "shuffle": False}
    assert both_ways(monkeypatch, build, rows(4, classes=3), **weights) == N


def test_dropout_noise_and_normalization_by_seeds_of_each(monkeypatch):
    def build(i):
        stack = [
            layers.Input((4,)),
            layers.Dense(16, "relu", kernel_constraint="max_norm"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(16),
            layers.LayerNormalization(),
            layers.PReLU(),
            layers.GaussianNoise(0.1, seed=i),
            layers.AlphaDropout(0.1),
            layers.Dense(1),
        ]
        return compiled(stack)

    assert both_ways(monkeypatch, build, rows(4)) == N


def test_embeddings_convolutions_and_recurrent_layers(monkeypatch):
    words = [(RNG.integers(0, 9, (50, 6)), y) for _, y in rows(1)]

    def texts(i):
        stack = [layers.Input((6,)), layers.Embedding(9, 5, mask_zero=True)]
        return compiled([*stack, layers.LSTM(4, dropout=0.2), layers.Dense(1)])

    def images(i):
        stack = [layers.Input((6, 6, 2)), layers.Conv2D(3, 3, activation="relu")]
        stack += [layers.MaxPooling2D(), layers.Flatten(), layers.Dense(1)]
        return compiled(stack)

    assert both_ways(monkeypatch, texts, words) == N
    assert both_ways(monkeypatch, images, rows(6, 6, 2)) == N


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_and_ragged_rows(monkeypatch, workers):
    data = [each for count in (50, 33, 7, 50) for each in rows(4, n=3, count=count)]
    many = both_ways(monkeypatch, lambda i: dense(), data, workers)
    assert many >= 4


def test_the_next_fit_goes_on_as_after_training_alone(monkeypatch):
    found = []
    for _ in ways(monkeypatch):
        nets, data = [dense() for _ in range(N)], rows_of_seed()
        for _ in range(2):
            jobs = [(net, *each) for net, each in zip(nets, data, strict=True)]
            cdl.train_many(jobs, epochs=2, workers=1)
        for net, (x, y) in zip(nets, data, strict=True):
            net.fit(x, y, epochs=2, validation_split=0.2, verbose=0)
            net.reset_metrics()
        found.append([state(net) for net in nets])
    assert found[0] == found[1]


def rows_of_seed():
    rng = np.random.default_rng(1)
    return [(rng.normal(size=(40, 4)), rng.normal(size=(40, 1))) for _ in range(N)]


def test_one_that_turns_nan_trains_alone_and_the_others_keep_their_bits(monkeypatch):
    data = rows_of_seed()
    data[2] = (data[2][0] * np.nan, data[2][1])
    found, many = [], []
    for _ in ways(monkeypatch):
        nets = [dense() for _ in data]
        with pytest.warns(UserWarning, match=r"job 2.*the loss has become nan.*x holds"):
            cdl.train_many([(n, *d) for n, d in zip(nets, data, strict=True)], epochs=2)
        many.append(in_groups(nets))
        found.append([state(net) for net in nets])
    assert found[0] == found[1]
    assert many == [N - 1, 0]


def test_a_label_that_is_no_class_is_the_error_of_its_job_alone():
    def build():
        return dense("relu", "adam", "sparse_categorical_crossentropy", "softmax", 3)

    nets, data = [build() for _ in range(N)], rows(4, classes=3)
    data[1][1][7] = 3
    before = [state(net) for net in nets]
    with pytest.raises(
        ValueError, match=r"must hold class numbers from 0 to 2.*in row 7"
    ) as caught:
        cdl.train_many([(net, *each) for net, each in zip(nets, data, strict=True)])
    assert caught.value.__notes__ == ["train_many: in job 1 of 5"]
    changed = [not state(net).startswith(was) for net, was in zip(nets, before, strict=True)]
    assert changed == [True, False, True, True, True]


def test_unlike_jobs_and_those_with_callbacks_go_on_beside_groups(monkeypatch):
    def build(i):
        return dense("relu" if i % 4 else "tanh")

    stop = cdl.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    data = [(*each, {"callbacks": [stop]} if i == 5 else {}) for i, each in enumerate(rows(4, n=9))]
    assert both_ways(monkeypatch, build, data, workers=1, epochs=4) == 8


class _AfterSome:
    """An interrupt that is heard when it is asked for the n-th time."""

    def __init__(self, n):
        self._left = n

    def is_set(self):
        self._left -= 1
        return self._left < 0


def test_an_interrupt_leaves_each_model_at_a_whole_epoch(monkeypatch):
    monkeypatch.setattr(stacked_run, "SLICE", 0.0)  # an epoch, and the interrupt is asked for
    data, options = rows_of_seed(), {"epochs": 3, "batch_size": 16}
    cdl.utils.set_random_seed(3)
    nets, others = ([dense() for _ in range(N)] for _ in range(2))
    for net, other in zip(nets, others, strict=True):
        other.set_weights(net.get_weights())
    jobs = []
    for i, (net, (x, y)) in enumerate(zip(nets, data, strict=True)):
        given = {"x": x, "y": y, **options}
        jobs.append(group.Job(i, net, given, group.plan_of(net, given, ()), (), 7 + i))
    told = []
    group.train_alike(
        jobs, group.Hosts(), 5, _AfterSome(4), lambda number, history: told.append(number)
    )
    assert told == [0]
    for i, (other, (x, y)) in enumerate(zip(others, data, strict=True)):
        epochs = (3, 1, 0, 0, 0)[i]
        assert int(nets[i].optimizer.iterations) == 3 * epochs
        if epochs:
            with cdl.random.seeded(7 + i, 5):
                other.fit(x, y, batch_size=16, epochs=epochs, verbose=0)
            assert state(nets[i]) == state(other)
        else:
            assert nets[i].get_weights()[0].tobytes() == other.get_weights()[0].tobytes()


def test_validation_early_stopping_and_rates_of_each_model(monkeypatch):
    def build(i):
        stack = [layers.Input((4,)), layers.Dense(16, "tanh"), layers.Dropout(0.2)]
        stack += [layers.BatchNormalization(), layers.Dense(1)]
        return compiled(stack, cdl.optimizers.Adam(0.003 * (i + 1)), metrics=["mae"])

    def watch(i):
        made = [
            cdl.callbacks.EarlyStopping(patience=i, restore_best_weights=True),
            cdl.callbacks.ReduceLROnPlateau(patience=1, factor=0.5),
            cdl.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        ]
        watchers.append(made[0])
        return made

    watchers = []
    data = [each for count in (60, 50, 60) for each in rows(4, n=3, count=count)]
    options = {"validation_split": 0.3, "epochs": 8, "callbacks": watch}
    assert both_ways(monkeypatch, build, data, workers=1, **options) == len(data)
    told = [(each.best, each.best_epoch, each.stopped_epoch) for each in watchers]
    assert told[: len(data)] == told[len(data) :]
    assert len({each.stopped_epoch for each in watchers}) > 1
    assert len({id(each.model) for each in watchers}) == 2 * len(data)
    held_out = rows(4, n=1, count=20)[0]
    options = {"validation_data": held_out, "validation_freq": 2}
    assert both_ways(monkeypatch, build, data, **options) >= len(data) - 3
    assert both_ways(monkeypatch, build, rows(4), validation_split=0.2, shuffle=False) == N


def test_an_interrupt_ends_what_stands_in_at_a_whole_epoch():
    given = {"epochs": 50, "validation_split": 0.5, "validation_freq": 1}  # one by one
    nets = [dense() for _ in range(3)]
    halt, jobs, told = _AfterSome(4), [], []  # asked for before, at the begin and each epoch
    stop = cdl.callbacks.LearningRateScheduler(lambda epoch, rate: rate)
    for i, (net, (x, y)) in enumerate(zip(nets, rows_of_seed(), strict=False)):
        options = {**given, "x": x, "y": y}
        own = OwnCallbacks([stop], set(), [])
        jobs.append(group.Job(i, net, options, group.plan_of(net, options, [stop]), own, i))
    group.train_alike(
        jobs, group.Hosts(), 5, halt, lambda number, history: told.append(history.epoch)
    )
    assert told == [[0, 1, 2]]
    assert [int(net.optimizer.iterations) for net in nets] == [3, 0, 0]
    assert nets[0].stop_training
    assert not module.job.halted


def test_what_layers_have_seen_of_their_own_data_makes_models_unlike(monkeypatch):
    data = rows(4)

    def build(i):
        norm, given = layers.Normalization(), layers.Normalization(mean=float(i), variance=2.0)
        norm.adapt(data[i][0] * (i + 1))
        return compiled([layers.Input((4,)), norm, given, layers.Dense(3, "elu"), layers.Dense(1)])

    both_ways(monkeypatch, build, data)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda i: cdl.optimizers.Muon(0.01, exclude_layers=["odd"]),
        lambda i: cdl.optimizers.Adam(0.01, rate_factors={"odd": 0.1}),
        lambda i: cdl.optimizers.LossScaleOptimizer(cdl.optimizers.Adam(0.01 * i + 0.01)),
        lambda i: cdl.optimizers.Adam(cdl.optimizers.schedules.ExponentialDecay(0.1, 2 + i, 0.5)),
    ],
)
def test_optimizers_that_go_by_names_wrap_others_or_follow_a_schedule(monkeypatch, optimizer):
    def build(i):
        kind = "odd" if i % 2 else "even"
        stack = [layers.Input((4,)), layers.Dense(5, "tanh", name=f"{kind}_{i}"), layers.Dense(1)]
        return compiled(stack, optimizer(i))

    both_ways(monkeypatch, build, rows(4))


def test_layers_of_bfloat16(monkeypatch):
    def build(i):
        stack = [layers.Input((40,)), layers.Dense(64, "relu", dtype="mixed_bfloat16")]
        return compiled([*stack, layers.Dense(1, dtype="mixed_bfloat16")])

    assert both_ways(monkeypatch, build, rows(40)) == N


def varied(*middle, optimizer="adam", loss="mse", **first):
    stack = [layers.Input((4,)), layers.Dense(4, **first), *middle, layers.Dense(1)]
    return compiled(stack, optimizer, loss)


def shares(again):
    """An activation, and a layer that draws, which come twice or are two of each."""
    same = layers.Activation("tanh"), layers.Dropout(0.1)
    others = same if again else (layers.Activation("tanh"), layers.Dropout(0.1))
    outer = [cdl.Sequential([*pair, layers.Dense(4)]) for pair in (same, others)]
    return varied(*outer)


VARIED = {
    "loss": (lambda v: varied(loss=cdl.losses.Huber(v)), 0.3, 0.7),
    "reduction": (lambda v: varied(loss=cdl.losses.Huber(reduction=v)), "sum", "mean"),
    "smoothing": (
        lambda v: varied(loss=cdl.losses.BinaryCrossentropy(label_smoothing=v)),
        0.1,
        0.2,
    ),
    "penalty": (lambda v: varied(kernel_regularizer=cdl.regularizers.L2(v)), 0.1, 0.2),
    "activity": (lambda v: varied(activity_regularizer=cdl.regularizers.L1(v)), 0.1, 0.2),
    "constraint": (lambda v: varied(kernel_constraint=cdl.constraints.MaxNorm(v)), 1, 2),
    "optimizer": (lambda v: varied(optimizer=cdl.optimizers.Adam(epsilon=v)), 1e-7, 1e-6),
    "activation": (lambda v: varied(activation=v), "gelu", "selu"),
    "policy": (lambda v: varied(dtype=v), "float32", "mixed_bfloat16"),
    "frozen": (lambda v: varied(trainable=v), True, False),
    "slope": (lambda v: varied(layers.LeakyReLU(v)), 0.1, 0.2),
    "dropout": (lambda v: varied(layers.Dropout(v)), 0.1, 0.2),
    "given seed": (lambda v: varied(layers.Dropout(0.1, seed=v)), None, 3),
    "normalization": (lambda v: varied(layers.BatchNormalization(momentum=v)), 0.9, 0.8),
    "array": (lambda v: varied(layers.Rescaling(np.arange(4) * v)), 1.0, 2.0),
    "shape": (lambda v: varied(layers.Reshape(v), layers.Flatten()), (2, 2), (4, 1)),
    "inner model": (lambda v: varied(cdl.Sequential([layers.Dense(3, v)])), "relu", "tanh"),
    "shared": (shares, False, True),
    "path": (
        lambda v: varied(name=v, optimizer=cdl.optimizers.Adam(rate_factors={"b": 2.0})),
        "a",
        "b",
    ),
}


@pytest.mark.parametrize("name", VARIED)
def test_models_are_alike_if_all_arguments_are(name):
    build, one, other = VARIED[name]
    options = {"x": np.zeros((20, 4)), "y": np.zeros((20, 1))}
    known, keys = alike.Likenesses(), []
    for value in (one, one, other):
        net = build(value)
        keys.append(known.described(net, options, alike.plan_of(net, options, ())).key)
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


def test_models_are_alike_whatever_drew_their_first_weights():
    options = {"x": np.zeros((20, 4)), "y": np.zeros((20, 1))}
    known, keys = alike.Likenesses(), set()
    for given in ("zeros", cdl.initializers.HeNormal(seed=3)):
        net = varied(kernel_initializer=given)
        keys.add(known.described(net, options, alike.plan_of(net, options, ())).key)
    assert len(keys) == 1


@pytest.mark.parametrize("other", [(1, 3), (1, 2, 0), (1, 2.0), (True, 2), (1, None)])
def test_tuples_are_alike_if_their_numbers_and_classes_are(other):
    form, floats = (alike._Form(each, alike._First()) for each in ([(1, 2)], [(1, 0.5), 0.0]))
    assert form.fits([tuple([1, 2])], _core.Found(0))  # another object
    assert not form.fits([other], _core.Found(0))
    assert not floats.fits([(1, 0.5), -0.0], _core.Found(0))


def test_a_group_of_plain_jobs_makes_its_program_once(monkeypatch):
    made, make = [], ExecutorCache._make
    monkeypatch.setattr(ExecutorCache, "_make", lambda *given: made.append(0) or make(*given))
    nets = [varied() for _ in range(N)]
    given = zip(nets, rows(4), strict=True)
    cdl.train_many([(net, *each) for net, each in given], epochs=2, workers=1)
    assert in_groups(nets) == N
    assert len(made) == 1
