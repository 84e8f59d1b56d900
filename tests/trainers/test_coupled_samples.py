"""Models whose losses or layers compare the samples of a batch."""

import numpy as np
import pytest

import cdl
from cdl import layers, losses, ops
from cdl.optimizers import SGD, Adam

RNG = np.random.default_rng(3)
X = RNG.normal(size=(22, 5)).astype(np.float32)
Y = RNG.normal(size=(22, 4)).astype(np.float32)
CLASSES = RNG.integers(0, 3, 22)
TIMES = RNG.exponential(size=(22, 1)).astype(np.float32)
KERNEL = RNG.normal(size=(5, 4)).astype(np.float32) / 2


def in_batch(y, p):
    """Each prediction has to find its target among those of the batch."""
    scores = ops.matmul(p, ops.transpose(y))
    places = ops.arange(ops.shape(scores)[0])
    return losses.sparse_categorical_crossentropy(places, scores, from_logits=True)


def both_ways(y, p):
    scores = p @ ops.transpose(y)
    here = ops.categorical_crossentropy(ops.eye(ops.shape(p)[0]), scores, from_logits=True)
    there = ops.log_softmax(scores, axis=0)
    return (here - ops.diagonal(there)) / 2


def hardest_triplets(y, p):
    far = ops.sum(ops.square(p[:, None] - p[None]), axis=-1)
    y = ops.reshape(y, (-1,))
    same = ops.cast(ops.equal(y[:, None], y[None]), "float32")
    nearest = ops.min(far + 1e3 * same, axis=1)
    return ops.relu(ops.max(far * same, axis=1) - nearest + 1.0)


def cox(y, p):
    times, risk = ops.reshape(y, (-1,)), ops.sum(p, axis=-1)
    later = ops.cast(times[None] >= times[:, None], "float32")
    return ops.log(ops.sum(later * ops.exp(risk)[None], axis=1)) - risk


def sorted_along_samples(y, p):
    return ops.mean(ops.square(ops.sort(p, axis=0) - ops.cumsum(y, axis=0)), axis=-1)


def one_number(y, p):
    z = ops.concatenate([y, p], axis=0)
    return ops.mean(ops.tanh(z @ ops.transpose(z)))


def softmax(z):
    z = np.exp(z - z.max(-1, keepdims=True))
    return z / z.sum(-1, keepdims=True)


def wanted(function, y, p):
    """Losses of the samples in NumPy, in float64."""
    if function is in_batch:
        return -np.log(np.diag(softmax(p @ y.T)))
    if function is both_ways:
        return -np.log(np.diag(softmax(p @ y.T)) * np.diag(softmax(y @ p.T))) / 2
    if function is hardest_triplets:
        far = np.square(p[:, None] - p[None]).sum(-1)
        same = y.reshape(-1, 1) == y.reshape(1, -1)
        return np.maximum(np.where(same, far, 0).max(1) - np.where(same, 1e9, far).min(1) + 1, 0)
    if function is cox:
        risk, times = p.sum(-1), y.ravel()
        return np.log(((times[None] >= times[:, None]) * np.exp(risk)).sum(1)) - risk
    if function is sorted_along_samples:
        return np.square(np.sort(p, 0) - np.cumsum(y, 0)).mean(-1)
    z = np.concatenate([y, p])
    return np.full(len(p), np.tanh(z @ z.T).mean())


CASES = [
    (in_batch, Y),
    (both_ways, Y),
    (hardest_triplets, CLASSES),
    (cox, TIMES),
    (sorted_along_samples, Y),
    (one_number, Y),
]
every_case = pytest.mark.parametrize("function, y", CASES, ids=lambda c: getattr(c, "__name__", ""))


class OfModel(cdl.Model):
    """A model whose own `compute_loss` is a function of predictions and targets."""

    def __init__(self, function):
        super().__init__()
        self.dense, self.function = dense(), function

    def call(self, x):
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        values = self.function(y, y_pred)
        return ops.mean(values if sample_weight is None else values * sample_weight)


class Adding(layers.Layer):
    """Adds to the loss what a function gives for the two halves of its inputs."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        self.add_loss(ops.mean(self.function(x[:, :4], x[:, 4:])))
        return x


def dense():
    return layers.Dense(4, kernel_initializer=lambda shape, dtype=None: KERNEL, use_bias=False)


def plain(function, optimizer=None):
    model = cdl.Sequential([cdl.Input((5,)), dense()])
    model.compile(optimizer or SGD(0.1), function)
    return model


def own(function, optimizer=None):
    model = OfModel(function)
    model.compile(optimizer or SGD(0.1))
    return model


def gradient_of(function, x, y, weight):
    """Gradient by the kernel of the mean of losses, by central differences in float64."""
    x, y, kernel = x.astype(float), y.astype(float), KERNEL.astype(float)
    found = np.zeros(kernel.shape)
    for at in np.ndindex(kernel.shape):
        for step in (1e-5, -1e-5):
            moved = kernel.copy()
            moved[at] += step
            found[at] += np.mean(wanted(function, y, x @ moved) * weight) / (2 * step)
    return found


@pytest.mark.parametrize("make", [plain, own])
@pytest.mark.parametrize("weighted", [False, True])
@every_case
def test_losses_and_gradients_are_those_of_float64(function, y, weighted, make):
    x, y = X[:7], y[:7]
    weight = np.linspace(0.5, 2.0, 7) if weighted else np.ones(7)
    given = weight.astype(np.float32) if weighted else None
    model = make(function)
    loss = model.evaluate(x, y, sample_weight=given, verbose=0)
    expected = np.mean(wanted(function, y.astype(float), x.astype(float) @ KERNEL) * weight)
    assert loss == pytest.approx(expected, rel=1e-4)
    [gradient] = model.gradients(x, y, given).values()
    np.testing.assert_allclose(gradient, gradient_of(function, x, y, weight), rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("make", [plain, own])
@every_case
def test_fit_makes_the_steps_of_train_on_batch_and_stays_in_the_core(function, y, make):
    fitted, stepped = make(function, Adam(0.01)), make(function, Adam(0.01))
    weight = np.linspace(0.5, 2.0, 22).astype(np.float32)
    history = fitted.fit(
        X, y, batch_size=8, epochs=2, sample_weight=weight, shuffle=False, verbose=0
    ).history["loss"]
    assert not fitted._last_train_function.in_python
    for _ in range(2):
        found = [
            stepped.train_on_batch(X[at : at + 8], y[at : at + 8], weight[at : at + 8])
            for at in (0, 8, 16)
        ]
    assert history[-1] == pytest.approx(np.average(found, weights=[8, 8, 6]), rel=1e-6)
    for one, other in zip(fitted.get_weights(), stepped.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    scored = [fitted.evaluate(X[at : at + 8], y[at : at + 8], verbose=0) for at in (0, 8, 16)]
    expected = np.average(scored, weights=[8, 8, 6])
    assert fitted.evaluate(X, y, batch_size=8, verbose=0) == pytest.approx(expected, rel=1e-6)


def test_shuffled_rows_and_generators_train_alike():
    np.random.seed(0)
    shuffled = plain(in_batch)
    shuffled.fit(X, Y, batch_size=8, epochs=1, verbose=0)
    assert np.isfinite(shuffled.get_weights()[0]).all()
    batches = [(X[at : at + 8], Y[at : at + 8]) for at in (0, 8, 16)]
    streamed, fitted = plain(in_batch), plain(in_batch)
    streamed.fit(iter(batches), steps_per_epoch=3, verbose=0)
    fitted.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_array_equal(streamed.get_weights()[0], fitted.get_weights()[0])


def test_a_schedule_set_between_epochs_counts_for_all_sizes_of_batches():
    class Slower(cdl.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.0

    model = plain(in_batch)
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[Slower()])
    before = model.get_weights()[0]
    model.fit(X, Y, batch_size=8, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before)


class Attending(layers.Layer):
    """Attention of the samples of a batch to each other."""

    def call(self, x):
        return ops.softmax(x @ ops.transpose(x), axis=-1) @ x


def attended(x):
    return softmax(x @ x.T) @ x


@pytest.fixture
def model():
    x = cdl.Input((5,))
    made = cdl.Model(x, Attending()(dense()(x)))
    made.compile(SGD(0.1), "mse")
    return made


def test_a_layer_may_compare_samples(model):
    assert model.output.shape == (None, 4)
    parts = [attended(X[at : at + 8].astype(float) @ KERNEL) for at in (0, 8, 16)]
    found = model.predict(X, batch_size=8, verbose=0)
    np.testing.assert_allclose(found, np.concatenate(parts), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.predict(X[:8], verbose=0), found[:8])
    whole = attended(np.tile(X, (2, 1)).astype(float) @ KERNEL)
    np.testing.assert_allclose(
        model.predict_on_batch(np.tile(X, (2, 1))), whole, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(model(X[:8], training=True), parts[0], rtol=1e-4, atol=1e-5)


def test_a_layer_that_compares_samples_learns(model):
    [gradient] = model.gradients(X[:7], Y[:7]).values()
    measured = np.zeros(KERNEL.shape)
    for at in np.ndindex(KERNEL.shape):
        for step in (1e-5, -1e-5):
            moved = KERNEL.astype(float)
            moved[at] += step
            y = attended(X[:7].astype(float) @ moved)
            measured[at] += np.mean(np.square(y - Y[:7])) / (2 * step)
    np.testing.assert_allclose(gradient, measured, rtol=1e-3, atol=1e-5)
    history = model.fit(X, Y, batch_size=8, epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert not model._last_train_function.in_python


def test_rows_of_a_product_of_two_values_of_samples_stay_apart(model):
    program = model.program()
    assert sum(each.op == "join_batch" for each in program.instructions) == 1
    assert not any(each.op == "split_batch" for each in program.instructions)


def test_a_loss_that_is_not_finite_is_told_of_as_elsewhere(model):
    model.compile(SGD(1e30), "mse")
    with pytest.warns(UserWarning, match="the loss has become"):
        model.fit(X, Y, batch_size=8, epochs=3, verbose=0)


def test_a_step_of_a_sequence_may_compare_samples():
    model = cdl.Sequential(
        [cdl.Input((3, 5)), layers.TimeDistributed(Attending()), layers.Dense(2)]
    )
    model.compile(SGD(0.1), "mse")
    x = RNG.normal(size=(7, 3, 5)).astype(np.float32)
    y = RNG.normal(size=(7, 3, 2)).astype(np.float32)
    history = model.fit(x, y, batch_size=4, epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]
    steps = [attended(x[:, k].astype(float)) for k in range(3)]
    kernel, bias = model.get_weights()
    expected = np.stack(steps, axis=1) @ kernel + bias
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("function", [in_batch, both_ways, one_number])
def test_a_layer_may_add_a_loss_over_pairs(function):
    model = cdl.Sequential(
        [cdl.Input((5,)), layers.Dense(8, kernel_initializer="ones"), Adding(function)]
    )
    model.compile(SGD(0.1))
    targets = [model.predict(X[at : at + 8], verbose=0).astype(float) for at in (0, 8, 16)]
    parts = [np.mean(wanted(function, z[:, :4], z[:, 4:])) for z in targets]
    expected = np.average(parts, weights=[8, 8, 6])
    assert model.evaluate(X, batch_size=8, verbose=0) == pytest.approx(expected, rel=1e-4)
    history = model.fit(X, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_an_untraceable_error_in_a_layer_is_told_as_it_was():
    class Wrong(layers.Layer):
        def call(self, x):
            return x @ ops.transpose(x) if bool(ops.sum(x) > 0) else x

    with pytest.raises(TypeError, match="truth value of a symbolic tensor"):
        cdl.Model(x := cdl.Input((5,)), Wrong()(x))
