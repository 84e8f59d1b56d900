"""`cdl.Steps`: functions that train, called from loops outside, beside the same ones in Python."""

import threading

import numpy as np
import pytest
from trainers.stepping_nets import X, Y

import cdl
from cdl import _core, layers, ops

ROWS = np.random.default_rng(1).integers(len(X), size=(9, 16))


def net(outputs=1):
    return cdl.Sequential([cdl.Input((3,)), layers.Dense(8, "tanh"), layers.Dense(outputs)])


class Parts:
    """Nets, optimizers, a metric and a number that a step reads."""

    def __init__(self):
        self.net, self.other, self.factor = net(), net(), 1.0
        self.adam, self.sgd = cdl.optimizers.Adam(0.01), cdl.optimizers.SGD(0.1)
        self.mean = cdl.metrics.Mean()


def parts():
    cdl.utils.set_random_seed(5)
    return Parts()


def values(of):
    owners = of.net, of.other, of.adam, of.sgd, of.mean
    variables = [v for each in owners for v in each.variables]
    return b"".join(np.asarray(each).tobytes() for each in variables)


def plain(of):
    weights = of.net.trainable_variables
    step = cdl.value_and_grad(
        lambda x, y: of.factor * ops.mean(ops.square(y - of.net(x))), variables=weights
    )

    def learn(x, y):
        loss, gradients = step(x, y)
        of.adam.apply(gradients, weights)
        return {"loss": loss}

    return learn


def by_tape(of):
    def learn(x, y):
        weights = of.net.trainable_variables
        with cdl.GradientTape() as tape:
            loss = ops.mean(ops.abs(y - of.net(x, training=True)))
        of.sgd.apply(tape.gradient(loss, weights), weights)
        return loss

    return learn


def two_nets(of):
    own, others = of.net.trainable_variables, of.other.trainable_variables
    first = cdl.value_and_grad(lambda x, y: ops.mean(ops.square(y - of.net(x))), variables=own)
    second = cdl.value_and_grad(
        lambda x: ops.mean(ops.square(of.net(x) - of.other(x))), variables=others
    )

    def learn(x, y):
        loss, gradients = first(x, y)
        of.adam.apply(gradients, own)
        distance, gradients = second(x)
        of.sgd.apply(gradients, others)
        return loss, distance

    return learn


def one_optimizer(of):
    """A step twice by the same loss, and one of another net, by one optimizer with a schedule."""
    own, others = of.net.trainable_variables, of.other.trainable_variables
    of.sgd = cdl.optimizers.SGD(cdl.optimizers.schedules.ExponentialDecay(0.2, 3, 0.5), 0.9)
    of.sgd.build([*own, *others])
    first = cdl.value_and_grad(lambda x, y: ops.mean(ops.square(y - of.net(x))), variables=own)
    second = cdl.value_and_grad(
        lambda x: ops.mean(ops.square(of.net(x) - of.other(x))), variables=others
    )

    def learn(x, y):
        for _ in range(2):
            loss, gradients = first(x, y)
            of.sgd.apply(gradients, own)
        distance, gradients = second(x)
        of.sgd.apply(gradients, others)
        return loss, distance

    return learn


def of_targets(of):
    """A step by values that another net computes, as of Q-learning."""
    weights = of.net.trainable_variables
    step = cdl.value_and_grad(lambda x, y: ops.mean(ops.square(y - of.net(x))), variables=weights)

    def learn(x, y):
        wanted = y + 0.9 * of.other(x)
        loss, gradients = step(x, wanted)
        of.adam.apply(gradients, weights)
        return loss * 2

    return learn


def with_metric(of):
    weights = of.net.trainable_variables
    step = cdl.value_and_grad(lambda x, y: ops.mean(ops.square(y - of.net(x))), variables=weights)

    def learn(x, y):
        loss, gradients = step(x, y)
        of.adam.apply(gradients, weights)
        of.mean.update_state(loss)
        return of.mean.result()

    return learn


KINDS = [plain, by_tape, two_nets, one_optimizer, of_targets, with_metric]


def batches(run, rows=ROWS):
    return [run(X[each], Y[each]) for each in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_bits_in_python_call_by_call_and_in_a_run(kind):
    python, called, ran = parts(), parts(), parts()
    expected = batches(kind(python))
    assert batches(steps := cdl.Steps(kind(called))) == expected
    assert steps.reason == ""
    last = cdl.Steps(kind(ran)).run((X, Y), ROWS)
    assert last == (pytest.approx(expected[-1], rel=1e-6) if kind is with_metric else expected[-1])
    if kind is with_metric:  # whose sum is one of double precision in a run
        assert float(ran.mean.total) == pytest.approx(float(python.mean.total), rel=1e-6)
        ran.mean.total.assign(python.mean.total)
    assert values(called) == values(python) == values(ran)


def test_a_signal_leaves_all_links_at_the_same_batch():
    of, asked = parts(), []
    steps = cdl.Steps(two_nets(of))
    steps.run((X, Y), ROWS[:2])

    def look():
        asked.append((int(of.adam.iterations), int(of.sgd.iterations)))
        if len(asked) == 3:
            raise KeyboardInterrupt

    _core.answer_signals(look, 0.0)
    try:
        with pytest.raises(KeyboardInterrupt):
            steps.run((X, Y), ROWS)
    finally:
        _core.answer_signals()
    assert asked == [(3, 3), (4, 4), (5, 5)]
    expected = parts()
    batches(two_nets(expected), [*ROWS[:2], *ROWS[:3], *ROWS])
    steps.run((X, Y), ROWS)
    assert values(of) == values(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_code_runs_twice_a_form_and_then_no_more(kind):
    of, runs = parts(), []
    steps = cdl.Steps(kind(of))
    run = steps._chains.run
    steps._chains.run = lambda *args: (runs.append(args), run(*args))[1]
    batches(steps)
    batches(steps, ROWS[:, :7])
    steps.run((X, Y), ROWS)
    assert len(runs) == 4


def test_results_of_earlier_calls_stay():
    of = parts()
    weights = of.net.trainable_variables
    step = cdl.value_and_grad(
        lambda x, y: (ops.mean(ops.square(y - of.net(x))), of.net(x)),
        variables=weights,
        has_aux=True,
    )

    @cdl.Steps
    def learn(x, y):
        (loss, seen), gradients = step(x, y)
        of.adam.apply(gradients, weights)
        return loss, seen, seen + 1

    found = batches(learn)
    assert learn.reason == ""
    kept = [[np.array(each) for each in result] for result in found]
    batches(learn)
    for result, before in zip(found, kept, strict=True):
        for each, other in zip(result, before, strict=True):
            np.testing.assert_array_equal(each, other)
    np.testing.assert_array_equal(found[-1][1] + 1, found[-1][2])
    assert found[3][0] != found[4][0]


def set_rate(of):
    of.adam.learning_rate = 0.5


def set_weights(of):
    of.net.set_weights([each + 1 for each in of.net.get_weights()])


def set_factor(of):
    of.factor = 3.0


def freeze(of):
    of.net.layers[0].trainable = False


def add_penalty(of):
    of.net.layers[0].kernel.regularizer = cdl.regularizers.L2(0.5)


def set_clip(of):
    of.adam.global_clipnorm = 0.01


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize(
    "change", [set_rate, set_weights, set_factor, freeze, add_penalty, set_clip]
)
def test_changes_count_from_the_next_call_on(change, runs):
    found = []
    for of in (parts(), parts()):
        step = plain(of)
        steps = cdl.Steps(step) if found else step
        first = batches(steps)
        change(of)
        second = steps.run((X, Y), ROWS) if runs and found else batches(steps)[-1]
        found.append((first, second, values(of)))
    assert found[0] == found[1]
    unchanged = parts()
    assert batches(plain(unchanged), [*ROWS, *ROWS])[-1] != found[0][1] or change is freeze


def test_saved_and_loaded_weights_go_on_alike(tmp_path):
    of = parts()
    steps = cdl.Steps(plain(of))
    batches(steps)
    of.net.save_weights(tmp_path / "net.weights.h5")
    before = [np.array(each) for each in of.adam.variables]
    expected = batches(steps)
    of.net.load_weights(tmp_path / "net.weights.h5")
    for variable, value in zip(of.adam.variables, before, strict=True):
        variable.assign(value)
    assert batches(steps) == expected


def test_arrays_that_grow_and_rows_of_what_is_filled():
    buffer, labels = np.zeros((200, 3), np.float32), np.zeros((200, 1), np.float64)
    python, ran = parts(), parts()
    learn, steps = plain(python), cdl.Steps(plain(ran))
    for count in (20, 50, 84):
        buffer[:count], labels[:count] = X[:count], Y[:count]
        rows = np.random.default_rng(count).integers(count, size=(5, 16), dtype=np.int32)
        for each in rows:
            expected = learn(buffer[each], labels[each])
        assert steps.run([buffer, labels], rows) == expected
        assert (
            steps.run([buffer[:count], labels[:count]], rows)
            == [learn(buffer[each], labels[each]) for each in rows][-1]
        )
    assert values(python) == values(ran)


def test_dicts_of_arrays():
    python, called = parts(), parts()
    found = []
    for of, wrap in ((python, lambda f: f), (called, cdl.Steps)):
        learn = plain(of)
        steps = wrap(lambda data, learn=learn: learn(data["x"], data["y"]))
        found.append([steps({"x": X[each], "y": Y[each]}) for each in ROWS])
    assert found[0] == found[1]
    assert values(python) == values(called)
    assert steps.reason == ""
    result = steps.run([{"x": X, "y": Y}], ROWS)
    assert result == batches(plain(python))[-1]


def test_threads_take_turns():
    of, alone = parts(), parts()
    steps = cdl.Steps(plain(of))
    for _ in range(3):
        steps(X[:16], Y[:16])

    def work():
        for _ in range(40):
            steps(X[:16], Y[:16])
        steps.run((X, Y), np.tile(np.arange(16), (20, 1)))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    learn = plain(alone)
    for _ in range(3 + 2 * 60):
        learn(X[:16], Y[:16])
    assert values(of) == values(alone)


def test_after_an_error_all_is_as_before():
    of, python = parts(), parts()
    steps, learn = cdl.Steps(plain(of)), plain(python)
    batches(steps)
    batches(learn)
    with pytest.raises((TypeError, ValueError)):
        steps(X[:16, :2], Y[:16])
    with pytest.raises(TypeError):
        steps(X[:16])
    with pytest.raises(IndexError):
        steps.run((X, Y), ROWS + len(X))
    assert values(of) == values(python)
    assert batches(steps) == batches(learn)
    assert steps.reason == ""


@pytest.mark.parametrize(
    "arrays, rows, error, words",
    [
        ((X, Y), ROWS.astype(float), TypeError, "rows must be integers"),
        ((X, Y), ROWS[0], ValueError, r"rows must have shape \(steps, batch\), got \(16,\)"),
        ((X, Y), ROWS[:0], ValueError, r"got \(0, 16\)"),
        ((X, Y), ROWS - len(X), IndexError, "from 0 to 83"),
        ((X, Y[:5]), ROWS, ValueError, r"equal lengths, got \[5, 84\]"),
        ((X, 3.0), ROWS, TypeError, "arrays must be arrays of samples, got"),
        ((), ROWS, ValueError, "equal lengths, got no array"),
        ((X[:0], Y[:0]), ROWS, ValueError, r"must have samples .* got \[0\]"),
        ((X, Y), [], ValueError, r"\(steps, batch\), got \(0,\)"),
        ((X, Y), ROWS * 0 + 84, IndexError, "rows must be from 0 to 83, got 84"),
    ],
)
def test_arguments_of_run_that_do_not_fit(arrays, rows, error, words):
    with pytest.raises(error, match=f"Steps.run: .*{words}"):
        cdl.Steps(plain(parts())).run(arrays, rows)


def test_what_cannot_be_called():
    with pytest.raises(TypeError, match="Steps: function must be callable, got 3"):
        cdl.Steps(3)


NOTED = []


class Aside:
    """An object whose call is harmless and whose method is not."""

    def __call__(self, x):
        return x

    def apply(self, x):
        NOTED.append(x)


def printing(learn, of):
    def step(x, y):
        NOTED.append(1)
        return learn(x, y)

    return step


def deciding(learn, of):
    def step(x, y):
        found = learn(x, y)
        return found if found["loss"] > 0.1 else {}

    return step


def drawing(learn, of):
    rng = np.random.default_rng(0)

    def step(x, y):
        return learn(x + rng.normal(size=x.shape).astype(np.float32), y)

    return step


def counting(learn, of):
    def step(x, y):
        of.factor += 0.5
        return learn(x, y)

    return step


def of_object(learn, of):
    things = [Aside()]

    def step(x, y):
        things[0].apply(1)
        return learn(x, y)

    return step


@pytest.mark.parametrize("aside", [printing, deciding, drawing, counting, of_object])
def test_what_a_record_cannot_show_runs_in_python_and_is_said_once(aside):
    python, called = parts(), parts()
    NOTED.clear()
    expected = batches(aside(plain(python), python)), list(NOTED)
    NOTED.clear()
    steps = cdl.Steps(aside(plain(called), called))
    with pytest.warns(cdl.UntracedWarning, match="step runs in Python: .*:\\d+: ") as said:
        found = batches(steps), list(NOTED)
    assert found == expected
    assert values(called) == values(python)
    assert len(said) == 1
    assert steps.reason in str(said[0].message)


def test_numbers_as_arguments_run_in_python_and_other_calls_do_not():
    of = parts()
    steps = cdl.Steps(plain(of))
    batches(steps)
    with pytest.warns(cdl.UntracedWarning, match="an argument is no array"):
        steps(X[:1], np.float32(1.0))
    assert steps.reason == "an argument is no array"


def test_two_steps_share_nets_and_optimizers():
    found = []
    for wrap in (lambda function: function, cdl.Steps):
        of = parts()
        one, two = wrap(plain(of)), wrap(two_nets(of))
        found.append([(one(X[r], Y[r]), two(X[r], Y[r])) for r in ROWS])
        found[-1].append(values(of))
    assert found[0] == found[1]


def test_a_method_of_an_object():
    class Agent:
        def __init__(self, of):
            self.net, self.adam, self.scale = of.net, of.adam, 1.0
            self.weights = of.net.trainable_variables
            self.gradients = cdl.value_and_grad(
                lambda x, y: ops.mean(ops.square(y - of.net(x))), variables=self.weights
            )

        def learn(self, x, y):
            loss, found = self.gradients(self.scale * x, y)
            self.adam.apply(found, self.weights)
            return loss

    found = []
    for wrap in (lambda function: function, cdl.Steps):
        of = parts()
        agent = Agent(of)
        steps = wrap(agent.learn)
        results = batches(steps)
        agent.scale = 2.0
        found.append((results, batches(steps), values(of)))
    assert found[0] == found[1]
    assert steps.reason == ""


def test_lists_in_results_are_new_in_each_call():
    of = parts()
    learn = plain(of)
    steps = cdl.Steps(lambda x, y: {"loss": learn(x, y), "more": [1, {"of": 2}]})
    for rows in ROWS:
        result = steps(X[rows], Y[rows])
        assert result["more"] == [1, {"of": 2}]
        result["more"][1]["of"] = 3
        result["more"].append(4)
    assert steps.reason == ""
