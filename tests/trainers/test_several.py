"""Models of several inputs and outputs: errors of data, losses and metrics by output.
that is not compared with Keras (tests/golden/cases/several.py)."""

import numpy as np
import pytest
from trainers.nets import same_weights

import cdl
from cdl.layers import BatchNormalization, Dense, Masking

RNG = np.random.default_rng(0)
A, B = (RNG.normal(size=(40, n)).astype(np.float32) for n in (5, 3))
P = RNG.normal(size=(40, 1)).astype(np.float32)
C = RNG.integers(0, 3, 40)
Q = np.eye(3, dtype=np.float32)[C]
W = RNG.uniform(0.5, 2.0, 40)
LOSSES = ["mse", "categorical_crossentropy"]


def model_of(kind=list, loss=LOSSES, cls=cdl.Model, **options):
    a, b = cdl.Input((5,), name="a"), cdl.Input((3,), name="b")
    p = Dense(1, name="p")(Dense(4, activation="tanh")(a))
    q = Dense(3, activation="softmax", name="q")(BatchNormalization()(Dense(4)(b)))
    model = cls([a, b], [p, q] if kind is list else {"p": p, "q": q})
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.1, 1, w.shape) for w in model.get_weights()])
    model.compile("adam", loss, **options)
    return model


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"x": A},
            r"fit: x must be a list of 2, .* 'b'\], got one array of shape \(40, 5\)",
        ),
        ({"x": [A]}, r"fit: x must be a list of 2, one for each input, .* got a list of 1"),
        ({"x": {"a": A}}, r"names of the inputs, \['a', 'b'\], got \['a'\], without \['b'\]"),
        ({"x": {"a": A, "z": B}}, r"got \['a', 'z'\], without \['b'\]"),
        ({"x": [B, A]}, r"x for input 'a' must have shape \(n, 5\) .* got \(40, 3\)"),
        (
            {"x": [A, B[:7]]},
            "x for input 'b' must have as many rows as x for input 'a'",
        ),
        ({"x": [A, "text"]}, "x for input 'b' must be"),
        ({"y": P}, r"fit: y must be a list of 2, one for each output, .* got one array of shape"),
        ({"y": [P]}, r"one for each output, or a dict with the keys \['p', 'q'\], got a list of 1"),
        ({"y": {"p": P, "z": Q}}, r"y must have as keys the names of the outputs.* got \['z'\]"),
        ({"y": {"p": P}}, "y for output 'q' must be given for the loss 'categorical_crossentropy'"),
        ({"y": [Q, P]}, r"y for output 'p' must have shape \(n, 1\), .* got \(40, 3\)"),
        ({"y": [P, Q[:7]]}, "y for output 'q' must have as many rows as x for input 'a'"),
        ({"y": [P, C]}, "y for output 'q' must have shape .* need sparse_categorical_crossentropy"),
        ({"sample_weight": [W]}, "fit: sample_weight must be a list of 2, one for each output"),
        ({"sample_weight": [W, W[:7]]}, "sample_weight for output 'q' must have shape"),
        ({"sample_weight": {"z": W}}, r"sample_weight must have as keys .* got \['z'\]"),
        ({"sample_weight": np.ones((40, 2))}, "as one array for 2 outputs, got .* a list or dict"),
        ({"class_weight": {0: 1.0}}, "class_weight must be None for a model of 2 outputs"),
        ({"validation_data": ([A], [P, Q])}, "fit: validation_data: x must be a list of 2"),
        ({"validation_split": 0.99}, "validation_split must leave rows"),
    ],
)
def test_data_that_do_not_fit_are_named(arguments, text):
    model = model_of()
    before = model.get_weights()
    with pytest.raises((ValueError, TypeError), match=text):
        model.fit(**{"x": [A, B], "y": [P, Q], "verbose": 0, **arguments})
    assert same_weights(model, before)
    model.fit([A, B], [P, Q], verbose=0)


@pytest.mark.parametrize("x", [A, [A], {"b": B}, [A, B, B]])
@pytest.mark.parametrize("method", ["predict", "predict_on_batch", "__call__"])
def test_inputs_that_do_not_fit_are_named(method, x):
    with pytest.raises(ValueError, match="'a', 'b'"):
        getattr(model_of(), method)(x)


def test_classes_of_each_output_are_checked():
    model = model_of(loss=["mse", "sparse_categorical_crossentropy"])
    with pytest.raises(ValueError, match="y for output 'q' must hold class numbers from 0 to 2"):
        model.fit([A, B], [P, C + 1], verbose=0)


def test_a_batch_of_a_stream_that_does_not_fit_is_numbered():
    def batches():
        yield [A[:8], B[:8]], [P[:8], Q[:8]]
        yield [A[:8], B[:8]], [P[:8], Q[:7]]

    with pytest.raises(ValueError, match="fit: batch 1: y for output 'q' must have as many rows"):
        model_of().fit(batches(), verbose=0)


def squares(y, p):
    """A loss in NumPy, so that it is called once a batch."""
    return np.square(np.asarray(y) - np.asarray(p)).mean(-1)


def entropies(y, p):
    return -(np.asarray(y) * np.log(np.asarray(p))).sum(-1)


@pytest.mark.filterwarnings("ignore:.*no weight is trainable")
@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize("losses", [[squares, LOSSES[1]], [squares, entropies]])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0], [0.0, 1.0]])
def test_losses_in_python_train_as_the_compiled_ones(losses, weights):
    histories = []
    for loss in (LOSSES, losses):
        model = model_of(loss=loss, loss_weights=weights)
        data = {"sample_weight": [W, W[::-1]], "validation_split": 0.25, "shuffle": False}
        histories.append(model.fit([A, B], [P, Q], epochs=2, verbose=0, **data).history)
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=2e-4, err_msg=name)


def test_an_epoch_of_several_outputs_is_one_call():
    model = model_of(metrics=[["mae"], ["accuracy"]])
    calls = []
    batches = {"on_train_batch_end": lambda batch, logs: calls.append(batch)}
    model.fit([A, B], [P, Q], epochs=2, verbose=0)
    engine = model._last_train_function
    assert not engine.in_python
    model.fit([A, B], [P, Q], verbose=0, callbacks=[cdl.callbacks.LambdaCallback(**batches)])
    assert calls == [0, 1]


@pytest.mark.parametrize("kind", [list, dict])
def test_a_step_of_one_s_own_sees_the_user_s_structure(kind):
    class Noting(cdl.Model):
        def train_step(self, data):
            self.seen = data
            return super().train_step(data)

        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            self.predicted = y_pred
            return {**super().compute_metrics(x, y, y_pred, sample_weight), "mine": 1.0}

    x, y = [A, B], [P, Q]
    if kind is dict:
        x, y = {"a": A, "b": B}, {"p": P, "q": Q}
    plain = model_of(kind, metrics={"q": ["accuracy"]})
    model = model_of(kind, cls=Noting, metrics={"q": ["accuracy"]})
    expected, found = (m.fit(x, y, verbose=0, shuffle=False).history for m in (plain, model))
    assert found.pop("mine") == [1.0]
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=name)
    assert same_weights(plain, model.get_weights())
    assert [type(part) for part in model.seen] == [kind, kind]
    assert type(model.predicted) is kind
    value = model.compute_loss(x, y, model(x))
    np.testing.assert_allclose(value, model.evaluate(x, y, verbose=0)[0], rtol=1e-5)


def test_gradients_of_all_outputs_meet():
    a = cdl.Input((5,))
    hidden = Dense(4, activation="tanh")(a)
    outputs = [Dense(1, name="p")(hidden), Dense(3, activation="softmax", name="q")(hidden)]
    model = cdl.Model(a, outputs)
    model.compile("sgd", LOSSES, loss_weights=[0.5, 2.0])
    whole = model.gradients(A, [P, Q])
    parts = []
    for weights in ([0.5, 0.0], [0.0, 2.0]):
        model.compile("sgd", LOSSES, loss_weights=weights)
        parts.append(model.gradients(A, [P, Q]))
    for name, gradient in whole.items():
        np.testing.assert_allclose(gradient, parts[0][name] + parts[1][name], rtol=1e-4, atol=1e-7)


def test_each_output_has_a_mask_of_its_own():
    x = RNG.normal(size=(12, 4, 2)).astype(np.float32)
    x[:, 3], x[:6, 2] = 0.0, 0.0
    y = RNG.normal(size=(12, 4, 1)).astype(np.float32)
    a, b = cdl.Input((4, 2)), cdl.Input((4, 2))
    masked, plain = Dense(1, name="p")(Masking()(a)), Dense(1, name="q")(b)
    model = cdl.Model([a, b], [masked, plain])
    model.compile("sgd", "mse", metrics=[["mse"], ["mse"]])
    found = model.evaluate([x, x], [y, y], verbose=0, return_dict=True)
    p, q = model.predict([x, x], verbose=0)
    counted = (x != 0).any(-1)
    np.testing.assert_allclose(found["p_loss"], ((p - y) ** 2)[counted].mean(), rtol=1e-5)
    np.testing.assert_allclose(found["p_mse"], ((p - y) ** 2)[counted].mean(), rtol=1e-5)
    np.testing.assert_allclose(found["q_loss"], ((q - y) ** 2).mean(), rtol=1e-5)


def summed(*losses, weights=(1.0, 1.0)):
    """A sum of losses as one function, equal to a list of them."""

    def whole(y, p):
        return sum(w * loss(y, p) for w, loss in zip(weights, losses, strict=True))

    return whole


@pytest.mark.parametrize("weights", [None, [0.5, 2.0]])
def test_several_losses_of_one_output_are_added_up(weights):
    mse, mae = cdl.losses.mean_squared_error, cdl.losses.mean_absolute_error
    nets = []
    for loss in (["mse", "mae"], summed(mse, mae, weights=weights or (1.0, 1.0))):
        net = cdl.Sequential([cdl.Input((5,)), Dense(1, kernel_initializer="ones", name="out")])
        several = isinstance(loss, list)
        net.compile("adam", loss, loss_weights=weights if several else None, metrics=["mae"])
        nets.append((net, net.fit(A, P, epochs=2, shuffle=False, verbose=0).history))
    (net, logs), (other, expected) = nets
    for one, another in zip(net.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, another, rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(logs["out_loss"], expected["mae"], rtol=1e-5)
    assert net.metrics_names == ["loss", "compile_metrics", "out_loss", "out_loss"]
    loss, mae, *each = net.evaluate(A, P, verbose=0)
    np.testing.assert_allclose(each, [mae, mae], rtol=1e-5)
    np.testing.assert_allclose(net.compute_loss(y=P, y_pred=net.predict(A, verbose=0)), loss, 1e-5)


def test_a_loss_in_python_beside_a_compiled_one_of_an_output():
    def untraceable(y, p):
        return np.abs(np.asarray(y) - np.asarray(p)).mean(-1)

    logs = []
    for loss in (["mse", untraceable], ["mse", "mae"]):
        net = cdl.Sequential([cdl.Input((5,)), Dense(1, kernel_initializer="ones", name="out")])
        net.compile("sgd", loss)
        if loss[1] is untraceable:
            with pytest.warns(cdl.UntracedWarning):
                logs.append(net.fit(A, P, epochs=3, shuffle=False, verbose=0).history)
        else:
            logs.append(net.fit(A, P, epochs=3, shuffle=False, verbose=0).history)
    for name, values in logs[0].items():
        np.testing.assert_allclose(values, logs[1][name], rtol=2e-3)


def test_two_losses_may_want_their_targets_in_two_forms():
    def confident(y, p):
        return -cdl.ops.mean(cdl.ops.max(p, -1)) + 0.0 * cdl.ops.sum(y)

    net = cdl.Sequential([cdl.Input((5,)), Dense(3, activation="softmax")])
    net.compile("sgd", ["sparse_categorical_crossentropy", confident], metrics=["accuracy"])
    assert net.fit(A, C, epochs=2, verbose=0).history["loss"][1] < 2


def off(y_true, y_pred):
    """A loss of several outputs at once: the squared sum of each sample's mean errors."""
    pairs = zip(cdl.tree.flatten(y_true), cdl.tree.flatten(y_pred), strict=True)
    return sum(cdl.ops.mean(y - p, -1) for y, p in pairs) ** 2


class Nested(cdl.Model):
    def __init__(self):
        super().__init__()
        self.p = Dense(1, kernel_initializer="ones", name="p")
        self.q = Dense(2, kernel_initializer="ones", name="q")

    def call(self, x):
        return {"a": {"p": self.p(x)}, "q": self.q(x)}


def functional():
    x = cdl.Input((5,))
    p, q = (Dense(n, kernel_initializer="ones", name=name)(x) for n, name in ((1, "p"), (2, "q")))
    return cdl.Model(x, {"a": {"p": p}, "q": q})


@pytest.mark.parametrize("made", [Nested, functional])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_function_may_be_the_loss_of_several_outputs_at_once(made, weighted):
    y = {"a": {"p": P}, "q": Q[:, :2]}
    net = made()
    net.compile("sgd", [off, {"q": "mse"}], loss_weights=[0.5, {"q": 2.0}])
    given = {"sample_weight": W} if weighted else {}
    expected = net.evaluate(A, y, verbose=0, return_dict=True, **given) if net.built else None
    logs = net.fit(A, y, epochs=2, batch_size=40, shuffle=False, verbose=0, **given).history
    assert sorted(logs) == ["a_q_loss", "loss", "q_loss"]
    np.testing.assert_allclose(
        logs["loss"], 0.5 * np.array(logs["a_q_loss"]) + 2 * np.array(logs["q_loss"]), rtol=1e-5
    )
    assert logs["loss"][1] < logs["loss"][0]
    if expected is not None:
        for name, values in logs.items():
            np.testing.assert_allclose(values[0], expected[name], rtol=1e-5)
    if not weighted:
        predicted = net.predict(A, verbose=0)
        value = net.compute_loss(y=y, y_pred=predicted)
        np.testing.assert_allclose(value, net.evaluate(A, y, verbose=0)[0], rtol=1e-5)


def test_the_only_output_has_metrics_by_any_key_and_one_loss_no_dict():
    """Keras compares the structures of y and of the outputs for losses alone, and so does cdl."""
    model = cdl.Sequential([cdl.Input((5,)), Dense(1, name="p")])
    model.compile("sgd", lambda y, found: cdl.ops.square(y - found), metrics={"nope": "mae"})
    assert sorted(model.fit(A, P, verbose=0).history) == ["loss", "mae"]
    before = model.get_weights()
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with pytest.raises((TypeError, ValueError), match=r"y must be .* got a dict"):
            call(A, {"p": P, "other": P})
    assert all(map(np.array_equal, before, model.get_weights()))


def test_compute_loss_gets_a_dict_of_targets_as_it_is():
    class Own(cdl.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return cdl.ops.mean(cdl.ops.square(y["target"] - y_pred) * cdl.ops.mean(y["more"]))

    x = cdl.Input((5,))
    model = Own(x, Dense(1)(x))
    model.compile("sgd")
    expected = np.mean((P - model.predict(A, verbose=0)) ** 2 * np.mean(Q + 1))
    more = {"target": P, "more": Q + 1}
    losses = model.fit(A, more, batch_size=40, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(expected, rel=1e-5)
