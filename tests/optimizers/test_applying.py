"""Single steps from gradients, of Variables, states and arrays."""

import copy
import pickle
import signal

import numpy as np
import pytest
import reference_optimizers

import cdl
from cdl import constraints, optimizers
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.optimizers import SGD, Adam, LossScaleOptimizer, schedules
from cdl.scopes import StatelessScope

RNG = np.random.default_rng(0)


def variable(values, **options):
    array = np.asarray(values, np.float32)
    return Variable(array.shape, lambda _: array, name="w", **options)


def test_steps_are_those_of_the_formula():
    w = variable(RNG.normal(size=(3, 5)), matrix=True)
    optimizer = Adam(0.1)
    expected, slots = w.numpy().astype(float), {"momentum": 0.0, "velocity": 0.0}
    for t in range(1, 6):
        g = RNG.normal(size=(3, 5)).astype(np.float32)
        assert int(optimizer.apply_gradients([(g, w)])) == t
        hypers = optimizer.hypers("adam")
        expected = reference_optimizers.adam(expected, g.astype(float), slots, t, 0.1, **hypers)
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-5, atol=1e-6)
    names = [v.path.removeprefix(f"{optimizer.name}/") for v in optimizer.variables[2:]]
    assert names == ["w_momentum", "w_velocity"]


@pytest.mark.parametrize("name", ["adam", "ftrl", "muon", "adafactor", "lamb", "nadam"])
def test_arrays_and_states_learn_as_variables_do(name):
    first, g = RNG.normal(size=(4, 3)).astype(np.float32), RNG.normal(size=(4, 3))
    results = []
    for w in (variable(first), first.copy(), State(first, name="w")):
        optimizer = optimizers.get(name)
        for _ in range(3):
            optimizer.apply([g], [w])
        results.append(np.array(w))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert not np.array_equal(results[0], first)


def test_a_weight_without_a_gradient_stays_with_all_that_is_kept_of_it():
    a, b = variable([1.0, 2.0]), variable([3.0])
    optimizer = SGD(0.5, momentum=0.9)
    optimizer.build([a, b])
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        optimizer.apply([np.ones(2), None])
    np.testing.assert_allclose(a.numpy(), [0.5, 1.5])
    np.testing.assert_array_equal(b.numpy(), [3.0])
    optimizer.apply([np.ones(1)], [b])
    np.testing.assert_allclose(b.numpy(), [2.5])
    np.testing.assert_allclose(a.numpy(), [0.5, 1.5])


class Plain(optimizers.Optimizer):
    """Gradient descent with `update_step` in Python."""

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, learning_rate * gradient)


FOREIGN = {
    "NumPy arrays": np.array,
    "states": lambda values: State(np.array(values, np.float32), name="w"),
    "Variables": variable,
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("make", [lambda: SGD(0.5), lambda: Plain(0.5)], ids=["core", "Python"])
@pytest.mark.parametrize("leave_out", [True, False], ids=["no gradient", "not named"])
def test_a_weight_that_does_not_step_keeps_what_the_user_has_written_meanwhile(
    kind, make, leave_out
):
    a, b = FOREIGN[kind]([1.0, 2.0]), FOREIGN[kind]([3.0])
    optimizer = make()
    optimizer.apply([np.ones(2), np.ones(1)], [a, b])
    new = 7 + 2.0**-40  # more digits than a float32 has
    if kind == "NumPy arrays":
        b[...] = new
    else:
        b.assign([new])
    if leave_out:
        with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
            optimizer.apply([np.ones(2), None], [a, b])
    else:
        optimizer.apply([np.ones(2)], [a])
    np.testing.assert_array_equal(np.array(a), [0.0, 1.0])
    expected = new if kind == "NumPy arrays" else np.float32(new)
    assert np.array(b) == expected
    optimizer.apply([np.ones(1)], [b])
    np.testing.assert_allclose(np.array(b), [6.5])


def test_what_stands_around_a_step_holds_too():
    w = variable([3.0, -4.0])
    SGD(0.5, weight_decay=0.2, clipnorm=1.0).apply([np.array([6.0, 8.0])], [w])
    np.testing.assert_allclose(w.numpy(), [3.0 * 0.9 - 0.3, -4.0 * 0.9 - 0.4], rtol=1e-6)
    w = variable([1.0, -1.0], constraint=constraints.NonNeg())
    SGD(1.0).apply([np.ones(2)], [w])
    np.testing.assert_array_equal(w.numpy(), [0.0, 0.0])
    w = variable([1.0])
    SGD(1.0, loss_scale_factor=4.0).apply([np.ones(1)], [w])
    np.testing.assert_array_equal(w.numpy(), [0.75])
    optimizer = SGD(schedules.PiecewiseConstantDecay([0], [1.0, 0.5]))
    w = variable([1.0])
    for _ in range(2):
        optimizer.apply([np.ones(1)], [w])
    np.testing.assert_array_equal(w.numpy(), [-0.5])


CHANGED = {
    "clipnorm": lambda o, w: setattr(o, "clipnorm", 0.5),
    "loss_scale_factor": lambda o, w: setattr(o, "loss_scale_factor", 4.0),
    "learning_rate": lambda o, w: setattr(o, "learning_rate", 0.25),
    "weight_decay": lambda o, w: setattr(o, "weight_decay", 0.1),
    "constraint": lambda o, w: setattr(w, "constraint", constraints.NonNeg()),
    "iterations": lambda o, w: setattr(o, "iterations", 100),
    "value": lambda o, w: w.assign([9.0, -9.0]),
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_a_change_between_steps_of_the_same_weights_counts(change):
    g = np.array([3.0, 4.0], np.float32)
    results = []
    for kind in (np.ndarray, list):  # of which lists are looked at one by one in each step
        w, b = variable([1.0, -1.0]), variable([1.0])
        rate = schedules.InverseTimeDecay(0.5, 10, 0.5)
        optimizer = SGD(0.5 if change is CHANGED["learning_rate"] else rate, momentum=0.5)
        for step in range(6):
            if step == 3:
                change(optimizer, w)
            given = [g if kind is np.ndarray else g.tolist(), np.ones(1, np.float32)]
            optimizer.apply(given, [w, b])
        assert int(optimizer.iterations) == (103 if change is CHANGED["iterations"] else 6)
        results.append(np.concatenate([w.numpy(), b.numpy()]))
    np.testing.assert_array_equal(*results)


def test_steps_of_the_same_weights_refuse_what_does_not_fit_and_go_on():
    w, b = variable([1.0, 2.0]), variable([[3.0]])
    optimizer = Adam(0.1)
    for _ in range(3):
        optimizer.apply([np.ones(2), np.ones((1, 1))], [w, b])
    before = np.concatenate([w.numpy(), b.numpy()[0]])
    for bad, text in (
        ([np.ones(2), np.ones(1)], r"must have shape \(1, 1\), got \(1,\)"),
        ([np.ones(2)], "grads must be one for each of 2 weights, got 1"),
        ([np.array(["a", "b"]), np.ones((1, 1))], "could not convert"),
    ):
        with pytest.raises(ValueError, match=text):
            optimizer.apply(bad, [w, b])
    np.testing.assert_array_equal(np.concatenate([w.numpy(), b.numpy()[0]]), before)
    assert int(optimizer.iterations) == 3
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([None, np.ones((1, 1))], [w, b])
    optimizer.apply((each for each in (np.ones((1, 1)), np.ones(2))), iter([b, w]))
    assert int(optimizer.iterations) == 5


def test_steps_in_a_stateless_scope_are_not_counted_after_it():
    w, optimizer = variable([1.0]), SGD(0.5)
    for _ in range(2):
        optimizer.apply([np.ones(1)], [w])
    with StatelessScope() as scope:
        optimizer.apply([np.ones(1)], [w])
        assert int(optimizer.iterations) == 3
    assert int(optimizer.iterations) == 2
    assert scope.get_current_value(optimizer.iterations) == 3


def test_gradients_are_added_up_until_there_are_enough():
    w = variable([1.0])
    optimizer = SGD(1.0, gradient_accumulation_steps=3)
    seen = []
    for g in (1.0, 2.0, 3.0, 4.0):
        optimizer.apply([np.array([g])], [w])
        seen.append((float(w.numpy()[0]), int(optimizer.iterations)))
    assert seen == [(1.0, 0), (1.0, 0), (-1.0, 1), (-1.0, 1)]
    assert optimizer.step == 4
    accumulator = next(v for v in optimizer.variables if "accumulator" in v.name)
    np.testing.assert_array_equal(accumulator.numpy(), [4.0])


def test_the_average_starts_with_the_first_step_and_overwrites_when_it_is_due():
    w = variable([0.0])
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3)
    for _ in range(2):
        optimizer.apply([-np.ones(1)], [w])
    average = next(v for v in optimizer.variables if v.name.endswith("average"))
    np.testing.assert_array_equal(w.numpy(), [2.0])
    np.testing.assert_array_equal(average.numpy(), [1.5])
    optimizer.apply([-np.ones(1)], [w])
    np.testing.assert_array_equal(w.numpy(), [2.25])
    optimizer.apply([-np.ones(1)], [w])
    optimizer.finalize_variable_values([w])
    np.testing.assert_array_equal(w.numpy(), [2.75])


def test_nothing_to_do_is_nothing():
    SGD().apply([])
    assert SGD().apply_gradients([]) == 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda o, w: o.apply([np.ones(2)]), "trainable_variables must be given before build()"),
        (lambda o, w: o.apply([np.ones(2)] * 2, [w]), "grads must be one for each of 1 weights"),
        (lambda o, w: o.apply([np.ones(3)], [w]), "must have shape (2,), got (3,)"),
        (lambda o, w: o.apply([None], [w]), "apply: No gradients provided for any variable"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(call, text):
    with pytest.raises(ValueError) as caught:
        call(SGD(), variable([1.0, 2.0]))
    assert text in str(caught.value)


def test_weights_that_were_not_there_are_refused():
    optimizer = SGD()
    optimizer.apply([np.ones(2)], [variable([1.0, 2.0])])
    with pytest.raises(ValueError, match="variables must be those that it was built with"):
        optimizer.apply([np.ones(2)], [variable([1.0, 2.0])])


def test_weights_of_any_kind_can_be_built_and_left_out_of_the_decay():
    a, b = State([1.0], name="a"), np.ones(1, np.float32)
    optimizer = SGD(1.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[b])
    optimizer.build([a, b])
    optimizer.apply([np.zeros(1), np.zeros(1)], [a, b])
    assert (float(a[0]), float(b[0])) == (0.5, 1.0)
    with pytest.raises(TypeError, match="a weight must be a Variable or an array, got 3"):
        SGD().build([3])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_learns_on_as_the_original(copied):
    w = variable([1.0, 2.0])
    optimizer = Adam(0.1, use_ema=True)
    optimizer.apply([np.ones(2)], [w])
    other, v = copied((optimizer, w))
    optimizer.apply([np.ones(2)], [w])
    assert other.step == 1
    other.apply([np.ones(2)], [v])
    np.testing.assert_array_equal(v.numpy(), w.numpy())
    assert other.get_config() == optimizer.get_config()


def test_all_that_is_kept_can_be_assigned():
    w = variable([1.0, 2.0])
    first, second = Adam(0.1), Adam(0.2)
    first.apply([np.ones(2)], [w])
    with pytest.raises(ValueError, match=r"set_weights: call build\(variables\) first"):
        second.set_weights(first.variables)
    second.build([w])
    second.set_weights(first.variables)
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="weights must be 4 arrays, got 1"):
        second.set_weights([1])


def test_names_that_are_private_in_keras_are_there():
    w = variable([3.0, 4.0])
    optimizer = SGD(use_ema=True, gradient_accumulation_steps=2)
    optimizer.build([w])
    assert optimizer._trainable_variables == [w]
    assert [v.name for v in optimizer._model_variables_moving_average] == ["w_average"]
    assert [v.name for v in optimizer._accumulated_gradients] == ["w_gradient_accumulator"]
    g = [np.array([3.0, 4.0]), None, np.array([0.0])]
    for options, expected in (
        ({"clipnorm": 1.0}, [0.6, 0.8]),
        ({"global_clipnorm": 10.0}, [3.0, 4.0]),
        ({"global_clipnorm": 2.5}, [1.5, 2.0]),
        ({"clipvalue": 3.5}, [3.0, 3.5]),
        ({}, [3.0, 4.0]),
    ):
        clipped = SGD(**options)._clip_gradients(g)
        np.testing.assert_allclose(clipped[0], expected, rtol=1e-6)
        assert clipped[1] is None and clipped[2] == 0


@pytest.mark.parametrize("make", [lambda: Adam(0.1), lambda: LossScaleOptimizer(Adam(0.1))])
def test_stateless_step_gives_what_a_step_would_and_changes_nothing(make):
    start, gradient = np.array([1.0, 2.0], np.float32), np.array([0.5, -2.0], np.float32)
    optimizer, twin = make(), make()
    weight, other = variable(start), variable(start)
    optimizer.build([weight])
    twin.build([other])
    state = [np.asarray(each) for each in optimizer.variables]
    values, given = [start], list(state)
    for _ in range(3):
        values, given = optimizer.stateless_apply(given, [gradient], values)
        twin.apply([gradient], [other])
    np.testing.assert_array_equal(values[0], other.numpy())
    for a, b in zip(given, twin.variables, strict=True):
        np.testing.assert_array_equal(a, np.asarray(b))
    np.testing.assert_array_equal(weight.numpy(), start)
    for a, b in zip(state, optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, np.asarray(b))


def test_stateless_step_wants_a_built_optimizer_and_all_values():
    optimizer = Adam(0.1)
    with pytest.raises(ValueError, match="call build"):
        optimizer.stateless_apply([], [], [])
    optimizer.build([variable([1.0])])
    with pytest.raises(ValueError, match="optimizer_variables must be 4 arrays, got 0"):
        optimizer.stateless_apply([], [], [])


def test_interrupt_of_a_long_step_is_raised_and_the_step_undone():
    """Ctrl-C while Muon makes a matrix orthogonal."""

    class StopError(Exception):
        pass

    def stop(*_):
        raise StopError

    weight = cdl.Variable(RNG.normal(size=(1536, 1536)).astype("float32"))
    gradient = RNG.normal(size=weight.shape).astype("float32")
    optimizer = optimizers.Muon()
    optimizer.apply([gradient], [weight])
    before, slots = weight.numpy(), [np.array(each) for each in optimizer.variables]
    earlier = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, 0.05)
    try:
        with pytest.raises(StopError):
            optimizer.apply([gradient], [weight])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, earlier)
    np.testing.assert_array_equal(weight.numpy(), before)
    for now, was in zip(optimizer.variables, slots, strict=True):
        np.testing.assert_array_equal(np.array(now), was)
    optimizer.apply([gradient], [weight])  # and what was told is told once
    assert int(optimizer.iterations) == 2
