"""A `compute_loss` that compares the samples of a batch."""

import numpy as np
import pytest

import cdl
from cdl import layers, losses, metrics, ops
from cdl.optimizers import SGD

RNG = np.random.default_rng(0)
A = RNG.normal(size=(22, 5)).astype("float32")
B = A + 0.1 * RNG.normal(size=A.shape).astype("float32")
CLASSES = RNG.integers(0, 3, (22, 1))


def similarity(first, second, temperature=0.5):
    first, second = ops.normalize(first, axis=1), ops.normalize(second, axis=1)
    return ops.matmul(first, ops.transpose(second)) / temperature


class Contrastive(cdl.Model):
    """Two views of each sample; each has to find its other one in the batch."""

    def __init__(self, **options):
        super().__init__(**options)
        self.encoder = cdl.Sequential([layers.Dense(8, "tanh"), layers.Dense(4)])

    def call(self, views, training=None):
        return self.encoder(views[0]), self.encoder(views[1])

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        scores = similarity(*y_pred)
        places = ops.arange(ops.shape(scores)[0])
        both = ops.concatenate([scores, ops.transpose(scores)], axis=0)
        places = ops.concatenate([places, places], axis=0)
        found = losses.sparse_categorical_crossentropy(places, both, from_logits=True)
        return ops.mean(found)


class Alike(cdl.Model):
    """Samples of one class are to be alike; x counts too."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x):
        return {"z": self.dense(x), "unused": x}

    def compute_loss(self, x, y, y_pred, sample_weight=None):
        z = y_pred["z"]
        far = ops.sum(ops.square(z[:, None] - z[None]), axis=-1)
        same = ops.cast(ops.equal(y, ops.transpose(y)), "float32")
        return ops.mean(same * far + (1 - same) * ops.exp(-far)) + ops.mean(x) * ops.mean(z)


def built(cls, *data):
    cdl.utils.set_random_seed(0)
    model = cls()
    model.compile(SGD(0.1))
    model.evaluate(*data, verbose=0)
    return model


CASES = {"views": (Contrastive, [A, B]), "classes": (Alike, A, CLASSES)}


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_the_derivative_of_the_loss(name):
    cls, *data = CASES[name]
    model = built(cls, *data)
    rows = tuple([each[:6] for each in d] if isinstance(d, list) else d[:6] for d in data)
    gradients = model.gradients(*rows)
    for weight, gradient in zip(model.trainable_weights, gradients.values(), strict=True):
        values, at, found = weight.numpy(), (0,) * gradient.ndim, []
        for step in (0.01, -0.01):
            moved = values.copy()
            moved[at] += step
            weight.assign(moved)
            found.append(model.evaluate(*rows, batch_size=6, verbose=0))
        weight.assign(values)
        assert gradient[at] == pytest.approx((found[0] - found[1]) / 0.02, rel=0.03, abs=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_fit_makes_the_steps_that_the_gradients_say(name):
    cls, *data = CASES[name]
    model = built(cls, *data)
    whole = [each.numpy() for each in model.trainable_weights]
    gradients = model.gradients(*data)
    before = model.evaluate(*data, batch_size=22, verbose=0)
    history = model.fit(*data, batch_size=22, epochs=1, shuffle=False, verbose=0).history
    assert history["loss"] == [pytest.approx(before, rel=1e-5)]
    for old, gradient, new in zip(whole, gradients.values(), model.trainable_weights, strict=True):
        np.testing.assert_allclose(new.numpy(), old - 0.1 * gradient, rtol=1e-4, atol=1e-6)


def test_batches_of_two_sizes_count_by_their_samples():
    model = built(Contrastive, [A, B])
    parts = [
        model.evaluate([A[k : k + 8], B[k : k + 8]], batch_size=8, verbose=0) for k in (0, 8, 16)
    ]
    expected = np.average(parts, weights=[8, 8, 6])
    assert model.evaluate([A, B], batch_size=8, verbose=0) == pytest.approx(expected, rel=1e-5)
    history = model.fit([A, B], batch_size=8, epochs=2, verbose=0, validation_split=0.2).history
    assert len(history["val_loss"]) == 2
    losses_of_epochs = model.fit([A, B], batch_size=22, epochs=30, verbose=0).history["loss"]
    assert losses_of_epochs[-1] < losses_of_epochs[0]


class LearnedTemperature(Contrastive):
    def build(self, input_shape):
        self.temperature = self.add_weight((), "ones", name="temperature")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return ops.mean(similarity(*y_pred, self.temperature))


class Showing(Contrastive):
    def __init__(self):
        super().__init__()
        self.shown = metrics.Mean(name="shown")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        loss = ops.mean(similarity(*y_pred))
        self.shown.update_state(loss)
        return loss


class WithPenalties(Contrastive):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return ops.mean(similarity(*y_pred)) + sum(self.losses)


def test_it_may_read_weights_that_learn_with_it():
    model = built(LearnedTemperature, [A, B])
    gradient = model.gradients([A, B])[model.temperature.path]
    found = []
    for step in (0.01, -0.01):
        model.temperature.assign(1.0 + step)
        found.append(model.evaluate([A, B], batch_size=22, verbose=0))
    assert gradient == pytest.approx((found[0] - found[1]) / 0.02, rel=1e-3)
    model.temperature.assign(1.0)
    model.fit([A, B], batch_size=22, verbose=0)
    assert model.temperature.numpy() == pytest.approx(1.0 - 0.1 * gradient, rel=1e-5)


def test_it_may_show_values_to_metrics():
    model = built(Showing, [A, B])
    logs = model.evaluate([A, B], batch_size=22, verbose=0, return_dict=True)
    assert logs["shown"] == pytest.approx(logs["loss"], rel=1e-6)
    first, second = model.predict([A, B], verbose=0)
    scores = ops.normalize(first, axis=1) @ ops.normalize(second, axis=1).T / 0.5
    assert logs["loss"] == pytest.approx(scores.mean(), abs=1e-6)


def test_it_may_ask_for_the_losses_of_layers():
    model = built(WithPenalties, [A, B])
    kernel = model.encoder.layers[0].kernel
    before = model.evaluate([A, B], batch_size=22, verbose=0)
    kernel.regularizer = cdl.regularizers.L2(0.5)
    model.compile(SGD(0.1))
    found = model.evaluate([A, B], batch_size=22, verbose=0)
    assert found - before == pytest.approx(0.5 * np.square(kernel.numpy()).sum(), rel=1e-4)


def test_numbers_beside_predictions_of_one_column_are_a_slip():
    class Slip(cdl.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return ops.mean(ops.square(y - y_pred))

    x = cdl.Input((5,))
    model = Slip(x, layers.Dense(1)(x))
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"y must have as many axes .* \(n,\) and \(n, 1\)"):
        model.fit(A, A[:, 0], verbose=0)
    model.fit(A, A[:, :1], verbose=0)
