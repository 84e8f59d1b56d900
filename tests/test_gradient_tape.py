"""cdl.GradientTape: gradients of what ran on arrays while it was open."""

import threading
import weakref

import numpy as np
import pytest
from oracle import slopes

import cdl
from cdl import layers, ops
from cdl.taping import plan, replay

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)).astype("float32")
Y = RNG.normal(size=(8, 1)).astype("float32")


def near(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4, atol=1e-5)


def small(**options):
    return cdl.Sequential([cdl.Input((3,)), layers.Dense(4, "tanh", **options), layers.Dense(1)])


def by_hand(model, x, y):
    """Gradients of the mean squared error by the weights and by x, in float64."""
    w, b, v, c = (each.numpy().astype(np.float64) for each in model.trainable_variables)
    h = np.tanh(x @ w + b)
    rest = 2 * (h @ v + c - y) / y.size
    inner = (rest @ v.T) * (1 - h**2)
    return [x.T @ inner, inner.sum(0), h.T @ rest, rest.sum(0)], inner @ w.T


def test_gradients_by_weights_and_by_arrays_are_the_derivatives():
    model = small()
    with cdl.GradientTape() as tape:
        x = tape.watch(X)
        loss = ops.mean(ops.square(Y - model(x, training=True)))
    weights, of_x = tape.gradient(loss, [model.trainable_variables, x])
    expected, expected_of_x = by_hand(model, X.astype(np.float64), Y)
    for found, each in zip(weights, expected, strict=True):
        assert type(found) is np.ndarray and found.dtype == np.float32
        near(found, each)
    near(of_x, expected_of_x)
    assert tape.watched_variables() == (*model.trainable_variables,)  # as in TensorFlow
    tape.reset()
    assert tape.watched_variables() == ()
    assert repr(loss) == repr(np.asarray(loss))


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (lambda v: v[0] * v[1] ** 2, [4.0, 4.0]),
        (cdl.activations.tanh, [1 - np.tanh(1.0) ** 2, 1 - np.tanh(2.0) ** 2]),
        (cdl.regularizers.L2(0.5), [1.0, 2.0]),
        (lambda v: np.sin(v).sum(), [np.cos(1.0), np.cos(2.0)]),
        (lambda v: cdl.losses.MeanSquaredError()(np.array([3.0, 3.0]), v), [-2.0, -1.0]),
        (lambda v: cdl.losses.mean_squared_error(np.array([[3.0]]), v[:1, None]), [-4.0, 0.0]),
    ],
    ids=["items", "activation", "regularizer", "numpy", "loss", "loss function"],
)
def test_calls_on_variables_and_watched_arrays_are_recorded(function, slope):
    v = cdl.Variable([1.0, 2.0])
    with cdl.GradientTape(persistent=True) as tape:
        of_variable = function(v)
        watched = tape.watch(np.array([1.0, 2.0], np.float32))
        of_array = function(watched)
    near(tape.gradient(of_variable, v), slope)
    near(tape.gradient(of_array, watched), slope)


def test_a_result_in_between_is_a_source_beside_what_it_was_computed_from():
    with cdl.GradientTape() as tape:
        x = tape.watch(X)
        middle = x * 2.0
        out = ops.sum(middle * middle)
    by_x, by_middle = tape.gradient(out, (x, middle))
    near(by_middle, 4 * X)
    near(by_x, 8 * X)


def test_a_source_is_its_own_target_and_others_are_none_or_zero():
    v, other = cdl.Variable([1.0, 2.0]), cdl.Variable(np.ones((2, 2)))
    frozen = cdl.Variable([1.0, 1.0], trainable=False)
    with cdl.GradientTape(persistent=True) as tape:
        x = tape.watch(X)
        unseen = tape.watch(Y)
        loss = ops.sum(v * v * frozen) + ops.sum(x)
    found = tape.gradient(loss, {"v": v, "other": other, "frozen": frozen, "unseen": unseen})
    near(found.pop("v"), [2, 4])
    assert set(found.values()) == {None}
    zeros = tape.gradient(loss, [other, unseen], unconnected_gradients="zero")
    assert [each.tolist() for each in zeros] == [[[0, 0], [0, 0]], np.zeros((8, 1)).tolist()]
    near(tape.gradient(x, x), np.ones_like(X))
    with cdl.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(frozen)
        loss = ops.sum(v * frozen)
    assert tape.watched_variables() == (frozen,)
    of_v, of_frozen = tape.gradient(loss, [v, frozen])
    assert of_v is None
    near(of_frozen, [1, 2])


def test_a_tape_is_used_once_unless_it_is_persistent():
    v = cdl.Variable([1.0, 2.0])
    with cdl.GradientTape() as tape:
        loss = ops.sum(v**3)
    near(tape.gradient(loss, v), [3, 12])
    with pytest.raises(RuntimeError, match=r"once: GradientTape\(persistent=True\)"):
        tape.gradient(loss, v)
    with tape:
        loss = ops.sum(v**2)
    near(tape.gradient(loss, v), [2, 4])
    with cdl.GradientTape(persistent=True) as tape:
        loss = ops.sum(v**3)
    near(tape.gradient(loss, v, output_gradients=0.5), [1.5, 6])
    near(tape.gradient([loss, loss], v), [6, 24])
    tape.reset()
    assert tape.gradient(loss, v) is None


def test_what_runs_while_recording_is_stopped_is_constant():
    v = cdl.Variable([1.0, 2.0])
    with cdl.GradientTape() as tape:
        first = v * v
        with tape.stop_recording():
            factor = ops.sum(first) * 2.0
        loss = ops.sum(first * factor)
    near(tape.gradient(loss, v), [20, 40])
    with pytest.raises(ValueError, match="records nothing to stop"), tape.stop_recording():
        pass


def test_jacobians_are_a_gradient_for_each_element():
    w = cdl.Variable(RNG.normal(size=(3, 2)))
    with cdl.GradientTape(persistent=True) as tape:
        x = tape.watch(X)
        out = ops.tanh(x @ w)
        total = ops.sum(out, axis=0)
    slope = 1 - np.tanh(X.astype(np.float64) @ w.numpy()) ** 2
    rows = slope[:, :, None] * w.numpy().T
    near(tape.batch_jacobian(out, x), rows)
    expected = np.zeros((8, 2, 8, 3))
    expected[range(8), :, range(8)] = rows
    near(tape.jacobian(out, x), expected)
    of_w = np.zeros((2, 3, 2))
    of_w[range(2), :, range(2)] = (X.T @ slope).T
    near(tape.jacobian(total, w), of_w)
    with pytest.raises(ValueError, match=r"as many rows, got shapes \(2,\) and \(8, 3\)"):
        tape.batch_jacobian(total, x)


def test_penalties_count_where_losses_are_added_and_by_the_factor_they_have():
    model = small(kernel_regularizer="l2")
    kernel = model.layers[0].kernel
    with cdl.GradientTape(persistent=True) as tape:
        error = ops.mean(ops.square(Y - model(X, training=True)))
        totals = [error, error + sum(model.losses), error + 3 * sum(model.losses)]
    expected = by_hand(model, X.astype(np.float64), Y)[0][0]
    for total, factor in zip(totals, (0, 1, 3), strict=True):
        near(tape.gradient(total, kernel), expected + factor * 0.02 * kernel.numpy())


def test_compute_loss_and_activities_have_the_gradients_of_the_compiled_loss():
    model = small(kernel_regularizer="l2", activity_regularizer="l1")
    model.compile("sgd", "mse")
    with cdl.GradientTape() as tape:
        loss = model.compute_loss(X, Y, model(X, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    for found, expected in zip(gradients, model.gradients(X, Y).values(), strict=True):
        near(found, expected)


def test_a_train_step_with_a_tape_trains_as_fit_does():
    class Own(cdl.Model):
        def train_step(self, data):
            x, y = data
            with cdl.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            trained = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained, strict=True))
            return {"loss": loss}

    found = []
    for cls in (Own, cdl.Model):
        cdl.utils.set_random_seed(1)
        given = cdl.Input((3,))
        model = cls(given, layers.Dense(1)(layers.Dense(4, "tanh")(given)))
        model.compile(cdl.optimizers.Adam(0.01), "mse")
        model.fit(X, Y, epochs=3, batch_size=4, shuffle=False, verbose=0)
        found.append(model.get_weights())
    for own, compiled in zip(*found, strict=True):
        near(own, compiled)


def test_a_kept_loss_holds_no_batch_and_programs_are_kept_for_equal_calls():
    model = small()
    losses, before = [], len(replay.programs)
    for _ in range(3):
        with cdl.GradientTape() as tape:
            x = tape.watch(X.copy())
            held = weakref.ref(x)
            losses.append(ops.mean(ops.square(model(x, training=True))))
        tape.gradient(losses[-1], model.trainable_variables)
        del x
        assert held() is None
    assert len(replay.programs) in (before + 1, plan._KEPT)


def test_losses_and_penalties_made_anew_take_the_same_program():
    model, kept = small(), len(replay.programs)
    for _ in range(4):
        with cdl.GradientTape() as tape:
            loss = cdl.losses.MeanSquaredError()(Y, model(X, training=True))
            loss += cdl.regularizers.L2(0.5)(model.layers[0].kernel)
        found = tape.gradient(loss, model.layers[0].kernel)
    near(found, by_hand(model, X.astype(np.float64), Y)[0][0] + model.layers[0].kernel.numpy())
    assert len(replay.programs) in (kept + 1, plan._KEPT)
    with cdl.GradientTape() as tape:
        loss = cdl.regularizers.L2(2.0)(model.layers[0].kernel)
    near(tape.gradient(loss, model.layers[0].kernel), 4 * model.layers[0].kernel.numpy())


def test_a_change_between_steps_counts():
    class Scaled(layers.Layer):
        factor = 2.0

        def call(self, x):
            return x * self.factor

    layer, kernel = Scaled(), cdl.Variable(np.ones((3, 1)))
    for layer.factor in (2.0, 9.0):
        with cdl.GradientTape() as tape:
            out = ops.sum(layer(X) @ kernel)
        near(tape.gradient(out, kernel), layer.factor * X.sum(0)[:, None])


def test_each_thread_records_its_own_calls():
    v = cdl.Variable([1.0, 2.0])
    found = {}

    def work(power):
        for _ in range(20):
            with cdl.GradientTape() as tape:
                loss = ops.sum(v**power)
            found.setdefault(power, []).append(tape.gradient(loss, v))

    threads = [threading.Thread(target=work, args=(power,)) for power in (2, 3, 4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for power in (2, 3, 4):
        near(found[power], np.tile([power, power * 2.0 ** (power - 1)], (20, 1)))


def test_an_outer_tape_differentiates_the_gradient_of_an_inner_one():
    model, x = small(), X + 0.5

    def penalty():
        with cdl.GradientTape() as outer:
            with cdl.GradientTape() as inner:
                watched = inner.watch(x)
                out = model(watched, training=True)
            by_inputs = inner.gradient(out, watched)
            sizes = ops.sqrt(ops.sum(ops.square(by_inputs), axis=1))
            loss = ops.mean((sizes - 1.0) ** 2) + ops.mean(out)
        return outer, loss

    tape, loss = penalty()
    programs = len(replay.programs)
    gradients = tape.gradient(loss, model.trainable_variables)
    expected = slopes(lambda: penalty()[1], model.trainable_variables)
    for found, each in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, each, atol=1e-3)
    tape, loss = penalty()
    for found, each in zip(tape.gradient(loss, model.trainable_variables), gradients, strict=True):
        near(found, each)
    assert len(replay.programs) in (programs + 1, plan._KEPT)


def test_second_derivatives_are_those_of_cubes():
    with cdl.GradientTape() as outer:
        x = outer.watch(X)
        with cdl.GradientTape() as inner:
            inner.watch(x)
            cubes = x**3
        slopes = inner.gradient(cubes, x)
    near(slopes, 3 * X**2)
    near(outer.gradient(slopes, x), 6 * X)


def test_losses_of_numbers_and_rows_by_their_place_are_differentiated():
    model, huber = small(), cdl.losses.Huber()
    with cdl.GradientTape(persistent=True) as tape:
        out = model(X)
        parts = [out[2, 0] * 3.0, ops.sum(out @ out.T), huber(Y[:, 0], ops.squeeze(out, 1))]
        labels = ops.argmax(x := tape.watch(X), axis=1)
        parts.append(cdl.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, x))
    of_scores = tape.gradient(parts.pop(), x)
    scores = np.exp(X) / np.exp(X).sum(1, keepdims=True)
    near(of_scores, (scores - np.eye(3)[X.argmax(1)]) / 8)
    out, kernel = np.asarray(out, np.float64), model.layers[-1].bias
    rest = np.clip(out - Y, -1, 1).mean()
    for part, expected in zip(parts, [3.0, 2 * out.sum() * 8, rest], strict=True):
        near(tape.gradient(part, kernel), [expected])


METHODS = {
    "copy": lambda x: x.copy() ** 2,
    "take": lambda x: x.take([0, 2], axis=1) ** 2,
    "trace": lambda x: x.trace() ** 2,
    "diagonal": lambda x: (x @ x.T).diagonal(),
    "cumprod": lambda x: x.cumprod(1),
    "mT": lambda x: x.mT @ x,
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_arrays_are_recorded(name):
    function = METHODS[name]
    with cdl.GradientTape() as tape:
        x = tape.watch(X)
        found = function(x)
    expected = np.zeros(X.shape)
    for at in np.ndindex(*X.shape):
        for step in (1e-5, -1e-5):
            moved = X.astype(float)
            moved[at] += step
            expected[at] += function(moved).sum() / (2 * step)
    near(tape.gradient(found, x), expected)


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.sort(),
        lambda x: x.fill(2.0),
        lambda x: np.add.at(x, [0], 1.0),
        lambda x: np.copyto(x, 0.0),
        lambda x: np.add(x, 1.0, out=np.empty_like(X)),
    ],
)
def test_recorded_arrays_are_not_written_into(write):
    with cdl.GradientTape() as tape:
        x = tape.watch(X.copy())
        with pytest.raises(TypeError, match="GradientTape: "):
            write(x)
    np.testing.assert_array_equal(x, X)


def test_lists_are_targets_of_losses():
    model, loss = small(), cdl.losses.MeanSquaredError()
    expected, _ = by_hand(model, X.astype(float), Y)
    for y in (Y, Y.tolist(), (2 * Y - Y).tolist()):
        with cdl.GradientTape() as tape:
            found = loss(y, model(X))
        for one, other in zip(
            tape.gradient(found, model.trainable_variables), expected, strict=True
        ):
            near(one, other)
    by_scores = cdl.grad(lambda p: cdl.losses.CategoricalCrossentropy()([[0.0, 1.0]], p))
    near(by_scores(np.array([[0.5, 0.5]])), [[1.0, -1.0]])


def test_models_learn_from_arrays_of_another_size_than_the_batch_too():
    model, frozen, dense = small(), small(), layers.Dense(1)
    frozen.trainable = False
    bias = model.layers[-1].bias
    with cdl.GradientTape(persistent=True) as tape:
        parts = ops.sum(model(X[:3])) + ops.sum(model(X[3:]))
        out = model(np.concatenate([X[:3], X[3:]]))
        whole = ops.sum(out[:3]) + ops.sum(out[3:])
        alone = ops.sum(dense(X[:3])) + ops.sum(dense(X[3:]))
        beside = ops.sum(model(X[:3])) * ops.sum(frozen(X[3:]))
    near(tape.gradient(parts, bias), [8.0])
    near(tape.gradient(whole, bias), [8.0])
    near(tape.gradient(alone, dense.bias), [8.0])
    near(tape.gradient(beside, bias), [3 * frozen(X[3:]).sum()])
    near(cdl.grad(lambda x: ops.sum(x) * ops.sum(model(X)))(X[:1]), np.full((1, 3), model(X).sum()))
    step = cdl.value_and_grad(lambda x: ops.sum(model(x)) + ops.sum(model(X)), variables=[bias])
    near(step(X[:3])[1][0], [11.0])


def test_what_cannot_be_compiled_is_named():
    with cdl.GradientTape(persistent=True) as tape:
        x = tape.watch(X)
        spread = x.std(0, ddof=1)
    with pytest.raises(ValueError, match="std of a symbolic tensor with ddof="):
        tape.gradient(spread, x)
    with pytest.raises(ValueError, match=r"output_gradients must have the shapes of target, \[\(3"):
        tape.gradient(spread, x, output_gradients=np.ones((5, 3)))


def test_errors_say_what_to_write():
    v = cdl.Variable([1.0])
    with cdl.GradientTape(persistent=True) as tape:
        x = tape.watch(X)
        loss = ops.sum(v * x[:, 0])
        lost = np.asarray(loss) * 2
    with pytest.raises(TypeError, match=r"as in x = tape.watch\(x\), got an array"):
        tape.gradient(loss, X)
    with pytest.raises(ValueError, match="target must be computed while the tape is open"):
        tape.gradient(lost, v)
    with pytest.raises(TypeError, match="tensor must be an array of floats"):
        tape.watch(np.ones(2, int))
    with pytest.raises(TypeError, match="must stay as it is"):
        x[0] = 1
    with pytest.raises(ValueError, match="unconnected_gradients"):
        tape.gradient(loss, v, unconnected_gradients="ones")
    with tape, pytest.raises(ValueError, match="cannot be opened again"):
        tape.__enter__()

    def nested(x):
        with cdl.GradientTape() as tape:
            y = ops.sum(x * v)
        return ops.sum(tape.gradient(y, v))

    with pytest.raises(NotImplementedError, match="in code that is traced"):
        cdl.grad(nested)(X)
    near(tape.gradient(loss, v), [X[:, 0].sum()])


@pytest.mark.parametrize("name", ["MeanSquaredError", "Huber", "LogCosh", "CosineSimilarity"])
def test_symmetric_losses_are_differentiated_by_their_targets_too(name):
    loss, (a, b) = getattr(cdl.losses, name)(), RNG.normal(size=(2, 8, 3)).astype("float32")
    of_target, of_prediction = cdl.grad(loss, argnums=(0, 1))(a, b)
    assert np.abs(of_target).max() > 0.01
    near(of_target, cdl.grad(lambda p, y: loss(y, p))(a, b))
    near(of_prediction, cdl.grad(lambda p, y: loss(y, p))(b, a))


MASK = cdl.random.dropout(np.ones((8, 4), "float32"), 0.5, seed=1)
ORDER = cdl.random.shuffle(np.arange(8), seed=1)


@pytest.mark.parametrize(
    ("function", "same"),
    [
        (lambda y: cdl.utils.normalize(y, axis=1), lambda y: ops.normalize(y, axis=1)),
        (lambda y: cdl.random.dropout(y, 0.5, seed=1), lambda y: y * MASK),
        (lambda y: cdl.random.shuffle(y, seed=1), lambda y: ops.take(y, ORDER, axis=0)),
        (cdl.constraints.UnitNorm(), lambda y: y / (ops.norm(y, axis=0, keepdims=True) + 1e-7)),
    ],
    ids=["normalize", "dropout", "shuffle", "constraint"],
)
def test_functions_outside_of_ops_are_recorded_too(function, same):
    layer = layers.Dense(4)
    layer.build((None, 3))
    x = X * (np.arange(8)[:, None] > 0)  # a line of zeros has a norm without a slope

    def gradient(function):
        with cdl.GradientTape() as tape:
            y = layer(x.astype("float32"))
            loss = ops.sum(y) + ops.sum(function(y) * X[:, :1] * np.arange(4.0, dtype="float32"))
        return np.asarray(tape.gradient(loss, layer.kernel))

    near(gradient(function), gradient(same))


@pytest.mark.parametrize("own", [False, True])
def test_an_image_in_a_variable_has_its_gradient_through_models(own):
    image = RNG.normal(size=(1, 6, 6, 2)).astype("float32")
    t = cdl.Input((6, 6, 2))
    model = cdl.Model(t, layers.Flatten()(layers.Conv2D(3, 3, activation="tanh")(t)))
    if own:
        inner, model = model, type("Own", (cdl.Model,), {"call": lambda self, x: self.net(x)})()
        model.net = inner
        model(image)
    variable = cdl.Variable(image)
    with cdl.GradientTape() as tape:
        by_variable = ops.sum(model(variable) ** 2)
    with cdl.GradientTape() as other:
        x = other.watch(image)
        by_array = ops.sum(model(x) ** 2)
    near(tape.gradient(by_variable, variable), other.gradient(by_array, x))


def test_the_value_of_a_variable_has_its_gradient():
    scale, dense = cdl.Variable(2.0), layers.Dense(1)
    dense(np.ones((1, 3), np.float32))
    with cdl.GradientTape() as tape:
        loss = ops.sum(scale.value * dense.bias.value + scale.value**2)
    found = tape.gradient(loss, [scale, dense.bias])
    np.testing.assert_allclose(found[0], 4.0 + dense.bias.numpy()[0])
    np.testing.assert_allclose(found[1], [2.0])
    assert isinstance(scale.value, np.ndarray)
