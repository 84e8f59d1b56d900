"""compute_loss of a model's own, add_loss, metrics within traced code."""

import numpy as np
import pytest
from trainers.nets import data, same_weights

import cdl
from cdl import ops
from cdl.layers import Dense, Dropout, Layer
from cdl.regularizers import L1L2

X, NUMBERS, LABELS, ONE_HOT = data(50)
WEIGHTS = np.random.default_rng(3).uniform(0.5, 2.0, 50).astype(np.float32)


def model_of(cls=cdl.Model, *more, outputs=1, loss=None, metrics=None, **hidden):
    x = cdl.Input((5,), name="x")
    y = Dense(6, activation="tanh", **hidden)(x)
    for layer in more:
        y = layer(y)
    ends = [Dense(2, name="p")(y), Dense(3, activation="softmax", name="q")(y)]
    model = cls(x, ends[0] if outputs == 1 else ends)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    model.compile("sgd", loss, metrics=metrics)
    return model


def fit(model, x=X, y=NUMBERS, **options):
    options = {"epochs": 2, "batch_size": 16, "shuffle": False, "verbose": 0, **options}
    return model.fit(x, y, **options).history


class Squares(cdl.Model):
    """Mean squared error by hand."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        values = ops.mean(ops.square(y - y_pred), axis=-1)
        return ops.mean(values if sample_weight is None else values * sample_weight)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sample_weight": WEIGHTS},
        {"validation_split": 0.3},
        {"validation_data": (X[:20], NUMBERS[:20], WEIGHTS[:20])},
    ],
)
def test_it_is_the_same_as_the_loss_of_compile(options):
    plain, own = model_of(loss="mse", metrics=["mae"]), model_of(Squares, metrics=["mae"])
    expected, found = fit(plain, **options), fit(own, **options)
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)
    arguments = (X, NUMBERS, WEIGHTS)
    np.testing.assert_allclose(own.test_on_batch(*arguments), plain.test_on_batch(*arguments), 1e-5)
    gradients = own.gradients(*arguments)
    for name, gradient in zip(gradients, plain.gradients(*arguments).values(), strict=True):
        np.testing.assert_allclose(gradients[name], gradient, rtol=1e-4, atol=1e-6)


def test_an_epoch_is_one_call():
    model = model_of(Squares, metrics=["mae"])
    fit(model)
    assert not model._last_train_function.in_python


def test_it_sees_training_as_a_switch():
    class Switch(cdl.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y - y_pred)) * (2.0 if training else 1.0)

    model = model_of(Switch)
    np.testing.assert_allclose(
        2 * model.test_on_batch(X, NUMBERS), model.train_on_batch(X, NUMBERS), rtol=1e-6
    )


class Sparse(Layer):
    """A layer that adds the mean square of its input to the loss."""

    def call(self, x):
        self.add_loss(0.5 * ops.mean(ops.square(x)))
        return x


class Adding(cdl.Model):
    """A model whose loss is the mean squared error and half of the layers' losses."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(y - y_pred)) + 0.5 * sum(self.losses)


def test_what_layers_add_counts_only_if_it_is_asked_for():
    def evaluated(cls, *more, **options):
        return model_of(cls, *more, **options).evaluate(X, NUMBERS, verbose=0)

    plain = evaluated(cdl.Model, loss="mse")
    added = evaluated(cdl.Model, Sparse(), loss="mse", kernel_regularizer=L1L2(0.01, 0.02)) - plain
    assert added > 0.1
    options = {"kernel_regularizer": L1L2(0.01, 0.02)}
    np.testing.assert_allclose(evaluated(Squares, Sparse(), **options), plain, rtol=1e-5)
    np.testing.assert_allclose(
        evaluated(Adding, Sparse(), **options), plain + 0.5 * added, rtol=1e-5
    )
    own = model_of(Squares, Sparse(), **options)
    gradients = own.gradients(X, NUMBERS).values()
    expected = model_of(loss="mse").gradients(X, NUMBERS).values()
    for one, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_loss_may_come_from_layers_alone():
    model = model_of(cdl.Model, Sparse())
    first, last = fit(model, y=None)["loss"]
    assert 0 < last < first
    with pytest.raises(ValueError, match=r"must be compiled with a loss.*, got loss="):
        fit(model_of())
    silent = type("Silent", (Layer,), {"call": lambda self, x: x * 1.0})
    with pytest.raises(ValueError, match=r"must be compiled with a loss.*, got loss="):
        fit(model_of(cdl.Model, silent()))


class Penalized(cdl.Model):
    """A model that adds a penalty to the loss of compile."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight)
        return loss + ops.mean(ops.square(y_pred[0]))


@pytest.mark.parametrize("classes", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_that_of_the_base_is_the_loss_of_compile(classes):
    y = [NUMBERS, LABELS if classes.startswith("sparse") else ONE_HOT]
    options = {"outputs": 2, "loss": ["mse", classes], "metrics": [["mae"], None]}
    plain = model_of(kernel_regularizer="l2", **options)
    own = model_of(Penalized, kernel_regularizer="l2", **options)
    expected, found = (m.evaluate(X, y, verbose=0, return_dict=True) for m in (plain, own))
    more = np.square(plain.predict(X, verbose=0)[0])
    np.testing.assert_allclose(found.pop("loss"), expected.pop("loss") + more.mean(), rtol=1e-3)
    assert list(found) == list(expected) == ["p_loss", "p_mae", "q_loss"]
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_targets_may_be_whatever_the_loss_reads():
    class Loose(cdl.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.square(y["t"] - y_pred) * y["w"][0][:, None])

    model = model_of(Loose)
    y = {"t": NUMBERS, "w": [WEIGHTS, LABELS]}
    expected = (np.square(NUMBERS - model(X)) * WEIGHTS[:, None]).mean()
    np.testing.assert_allclose(model.evaluate(X, y, verbose=0, batch_size=50), expected, rtol=1e-5)
    assert len(fit(model, y=y, validation_split=0.2)["val_loss"]) == 2
    with pytest.raises(ValueError, match=r"fit: y\['w'\]\[0\] must have as many rows as x"):
        fit(model, y={"t": NUMBERS, "w": [WEIGHTS[:7], LABELS]})


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        (lambda y, p: (y - p) ** 2, ValueError, r"must return one number .* one of shape"),
        (lambda y, p: 1.0, ValueError, "must return one number that depends on y_pred, got 1.0"),
        (lambda y, p: None, ValueError, "got None"),
        (lambda y, p: np.linalg.cond(y - p), TypeError, "cdl.ops has no such function"),
        (lambda y, p: ops.mean(y - p) if p > 0 else 0.0, TypeError, "where"),
    ],
)
def test_what_is_no_loss_is_said(body, error, text):
    class Wrong(cdl.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return body(y, y_pred)

    model = model_of(Wrong)
    before = model.get_weights()
    with pytest.raises(error, match=text):
        fit(model)
    assert same_weights(model, before)


class Watching(Layer):
    """A layer that updates a metric by its input."""

    def __init__(self, **options):
        super().__init__(**options)
        self.size = cdl.metrics.Mean(name="size")

    def call(self, x):
        self.size.update_state(ops.abs(x))
        return x * 1.0


def test_a_metric_of_a_layer_is_in_the_logs():
    model = model_of(cdl.Model, Watching(), loss="mse", metrics=["mae"])
    history = fit(model, validation_split=0.2)
    assert list(history) == ["loss", "mae", "size", "val_loss", "val_mae", "val_size"]
    hidden = cdl.Model(model.input, model.layers[1].output)
    found = model.evaluate(X, NUMBERS, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["size"], np.abs(hidden.predict(X)).mean(), rtol=1e-5)
    metric = model.layers[2].size
    np.testing.assert_allclose(metric.result(), found["size"], rtol=1e-6)
    assert any(each is metric for each in model.metrics)
    assert model.predict(X, verbose=0).shape == (50, 2)


class Tracking(cdl.Model):
    """A model that logs its own metrics only."""

    def __init__(self, *args):
        super().__init__(*args)
        self.error, self.whole = (cdl.metrics.Mean(name=name) for name in ("error", "loss"))

    @property
    def metrics(self):
        return [self.error, self.whole]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = ops.mean(ops.square(y - y_pred))
        self.error.update_state(ops.sqrt(loss))
        self.whole.update_state(2.0 * loss)
        return loss


def test_the_logs_have_the_metrics_that_the_model_names():
    model = model_of(Tracking)
    names = ["error", "loss", "val_error", "val_loss"]
    assert list(fit(model, validation_split=0.2)) == names
    error = np.square(NUMBERS - model(X)).mean()
    found = model.evaluate(X, NUMBERS, 50, verbose=0)
    np.testing.assert_allclose(found, [np.sqrt(error), 2 * error], rtol=1e-5)
    assert model.metrics_names == ["error", "loss"]


def test_symbolic_values_are_shown_within_traced_code_only():
    with pytest.raises(TypeError, match="error: a metric can be shown symbolic values only in"):
        cdl.metrics.Mean(name="error").update_state(cdl.Input((3,)))


def test_dropout_and_a_custom_loss_go_together():
    model = model_of(Squares, Dropout(0.5, seed=1))
    plain = model_of(cdl.Model, Dropout(0.5, seed=1), loss="mse")
    np.testing.assert_allclose(fit(model)["loss"], fit(plain)["loss"], rtol=1e-5)


def test_a_class_may_add_weights_to_its_graph():
    class Scaled(cdl.Model):
        def __init__(self, inputs, outputs):
            super().__init__(inputs, outputs)
            self.scale = self.add_weight((), "ones", name="scale")

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return ops.mean(ops.square(y - y_pred * self.scale))

    x = cdl.Input((3,))
    model = Scaled(x, Dense(1)(x))
    model.compile("sgd")
    assert [weight.name for weight in model.weights] == ["scale", "kernel", "bias"]
    data = np.random.default_rng(0).normal(size=(8, 3))
    model.fit(data, data[:, :1], verbose=0)
    assert float(model.scale) != 1.0


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("columns", [1, 3])
def test_a_loss_called_in_a_layer_takes_weights_of_one_column(reduction, columns):
    loss = cdl.losses.BinaryCrossentropy(from_logits=True, reduction=reduction)

    class Endpoint(cdl.layers.Layer):
        def call(self, scores, targets, weight):
            self.add_loss(loss(targets, scores, weight))
            return scores

    inputs = [cdl.Input((columns,)), cdl.Input((columns,)), cdl.Input((1,))]
    model = cdl.Model(inputs, Endpoint()(*inputs))
    model.compile("sgd")
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(2, 8, columns))
    weight = rng.uniform(0.5, 2, (8, 1))
    found = model.evaluate([scores, targets > 0, weight], batch_size=8, verbose=0)
    np.testing.assert_allclose(found, loss(targets > 0, scores, weight), rtol=1e-5)
