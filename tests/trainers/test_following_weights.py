"""Moving averages behind an optimizer's step, as a program within the core, beside NumPy's."""

import numpy as np
import pytest
from trainers.stepping_nets import X, Y

import cdl
from cdl import layers, ops

ROWS = np.random.default_rng(2).integers(len(X), size=(8, 16))


def mixed(weights, slow, others):
    for s, w in zip(slow, weights, strict=True):
        s.assign(s + 0.01 * (w - s))


def by_numpy(weights, slow, others):
    for s, w in zip(slow, weights, strict=True):
        s.assign(0.99 * s.numpy() + w.value * 0.01)


def added(weights, slow, others):
    for s, w in zip(slow, weights, strict=True):
        s.assign_add(0.01 * (w - s))


def subtracted(weights, slow, others):
    for s, w in zip(slow, weights, strict=True):
        s.assign_sub(0.3 * s - 0.2 * w)


def copied(weights, slow, others):
    for s, w in zip(slow, weights, strict=True):
        s.assign(w)


def of_its_own(weights, slow, others):
    for w in weights:
        w.assign(0.99 * w)


def of_two(weights, slow, others):
    mixed(weights, slow, others)
    for s in others:
        s.assign(0.5 * s)


TAKEN = [mixed, by_numpy, added, subtracted, copied, of_its_own, of_two]


def squared(weights, slow, others):
    """A sum with a product of weights, which the core would round once."""
    for s, w in zip(slow, weights, strict=True):
        s.assign(s + s * w)


def swapped(weights, slow, others):
    for s, w in zip(slow, others, strict=True):
        before = s.numpy()
        s.assign(w.numpy())
        w.assign(before)


def read_again(weights, slow, others):
    mixed(weights, slow, others)
    for s, w in zip(others, slow, strict=True):
        s.assign(0.5 * w)


def divided(weights, slow, others):
    for s, w in zip(slow, weights, strict=True):
        s.assign((s + w) / 3)


def of_results(weights, slow, others):
    for s, w, other in zip(slow, weights, others, strict=True):
        now = s.assign(0.5 * w)
        other.assign(0.5 * now)


def of_other_shapes(weights, slow, others):
    slow[0].assign(slow[0] + 0.1 * weights[1])
    slow[-1].assign(0.5 * weights[-1] + 1)


LEFT = [squared, swapped, read_again, divided, of_results]


class Parts:
    """A net, two others, and a step that learns and has them follow; the loss reads one of them."""

    def __init__(self, follow, is_shown=False):
        cdl.utils.set_random_seed(7)
        nets = [
            cdl.Sequential([cdl.Input((3,)), layers.Dense(17, "tanh"), layers.Dense(1)])
            for _ in range(3)
        ]
        adam = cdl.optimizers.Adam(0.01)
        weights, slow, others = [each.trainable_variables for each in nets]
        step = cdl.value_and_grad(
            lambda x, y: ops.mean(ops.square(y + 0.1 * nets[1](x) - nets[0](x))), variables=weights
        )

        def learn(x, y):
            loss, gradients = step(x, y)
            adam.apply(gradients, weights)
            follow(weights, slow, others)
            if is_shown:
                slow[0].assign(shown := 0.5 * slow[0])
                return loss, shown
            return loss

        self.learn, self._nets = learn, nets

    def values(self):
        return b"".join(w.tobytes() for each in self._nets for w in each.get_weights())


def test_equal_bits_in_python_call_by_call_and_in_a_run():
    for follow in (*TAKEN, *LEFT, of_other_shapes):
        python, called, ran = Parts(follow), Parts(follow), Parts(follow)
        expected = [python.learn(X[each], Y[each]) for each in ROWS]
        steps, run = cdl.Steps(called.learn), cdl.Steps(ran.learn)
        assert [steps(X[each], Y[each]) for each in ROWS] == expected, follow
        assert run.run((X, Y), ROWS) == expected[-1], follow
        assert called.values() == python.values() == ran.values(), follow
        assert steps.reason == run.reason == "", follow
        (chain,) = run._chains._states.values()
        assert chain.is_fed == (follow not in LEFT), follow


@pytest.mark.parametrize("follow", [copied, squared])
def test_a_result_that_is_shown_is_computed_as_before(follow):
    python, ran = Parts(follow, is_shown=True), Parts(follow, is_shown=True)
    for each in ROWS:
        expected = python.learn(X[each], Y[each])
    loss, shown = cdl.Steps(ran.learn).run((X, Y), ROWS)
    assert loss == expected[0]
    np.testing.assert_array_equal(shown, expected[1])
    assert ran.values() == python.values()


def test_weights_of_whole_numbers_are_counted_by_numpy():
    of, python = Parts(copied), Parts(copied)
    count = cdl.Variable(np.zeros(1), dtype="int32", trainable=False)

    @cdl.Steps
    def learn(x, y):
        loss = of.learn(x, y)
        count.assign(2 * count)
        count.assign_add([1])
        return loss

    learn.run((X, Y), ROWS)
    for each in ROWS:
        python.learn(X[each], Y[each])
    assert count.numpy() == 2 ** len(ROWS) - 1
    assert of.values() == python.values()
