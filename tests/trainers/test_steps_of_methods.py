"""`cdl.Steps` as a decorator of methods, and arguments by name."""

import copy
import pickle

import numpy as np
import pytest
from trainers.stepping_nets import X, Y

import cdl
from cdl import _core, layers, ops

ROWS = np.random.default_rng(4).integers(len(X), size=(6, 16))


class Plain:
    """A net that learns by a method."""

    def __init__(self):
        cdl.utils.set_random_seed(2)
        self.net = cdl.Sequential([cdl.Input((3,)), layers.Dense(5, "tanh"), layers.Dense(1)])
        self.adam, self.scale = cdl.optimizers.Adam(0.02), 1.0

    def loss(self, x, y):
        return ops.mean(ops.square(y - self.net(x)))

    def learn(self, x, y):
        weights = self.net.trainable_variables
        with cdl.GradientTape() as tape:
            loss = ops.mean(ops.square(y - self.net(self.scale * x)))
        self.adam.apply(tape.gradient(loss, weights), weights)
        return loss

    def values(self):
        return b"".join(each.tobytes() for each in self.net.get_weights())


class Agent(Plain):
    """Net that learns by recorded steps."""

    learn = cdl.Steps(Plain.learn)


class Careful(Agent):
    """A method that calls the one that it overrides."""

    def learn(self, x, y):
        return super().learn(x, y) + 1


def batches(agent):
    return [agent.learn(X[each], Y[each]) for each in ROWS]


def test_a_method_has_steps_of_its_own_in_each_instance():
    plain, one, two = Plain(), Agent(), Agent()
    expected = batches(plain)
    assert batches(one) == batches(two) == expected
    assert one.learn is one.learn is not two.learn
    assert one.values() == two.values() == plain.values()
    plain.scale = one.scale = 2.0
    assert batches(one) == batches(plain)
    assert one.learn.run((X, Y), ROWS) == batches(plain)[-1]
    assert one.learn.reason == ""


def test_an_overriding_method_calls_that_of_its_base():
    plain, careful = Plain(), Careful()
    for _ in range(2):
        assert batches(careful) == [each + 1 for each in batches(plain)]


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_copy_learns_by_itself(copied):
    agent, plain = Agent(), Plain()
    batches(agent), batches(plain)
    other = copied(agent)
    assert other.learn is not agent.learn
    assert batches(other) == batches(plain)
    if copied is not copy.copy:  # which has the same net
        assert agent.values() != other.values()


def test_arguments_by_name():
    plain, agent = Plain(), Agent()
    expected = batches(plain)
    assert [agent.learn(y=Y[each], x=X[each]) for each in ROWS[:3]] == expected[:3]
    assert agent.learn(X[ROWS[3]], y=Y[ROWS[3]]) == expected[3]
    assert agent.learn.run({"y": Y, "x": X}, ROWS[4:]) == expected[-1]
    assert agent.learn.reason == ""
    assert agent.values() == plain.values()


def test_names_that_do_not_fit_are_refused_and_nothing_is_learned():
    agent = Agent()
    before = agent.values()
    with pytest.raises(TypeError, match=r"Steps: Plain\.learn: missing a required argument: 'y'"):
        agent.learn(x=X)
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'z'"):
        agent.learn.run({"x": X, "y": Y, "z": Y}, ROWS)
    with pytest.raises(TypeError, match="must take arguments by position, and has y by name alone"):
        cdl.Steps(lambda x, *, y: x)(X, y=Y)
    assert agent.values() == before


def test_a_signal_within_long_batches_leaves_all_nets_at_the_same_batch():
    wide = [cdl.Sequential([cdl.Input((600,)), layers.Dense(600), layers.Dense(1)]) for _ in "ab"]
    optimizers = [cdl.optimizers.SGD(1e-4), cdl.optimizers.SGD(1e-4)]
    x, asked = np.ones((512, 600), np.float32), []
    losses = [
        cdl.value_and_grad(
            lambda x, net=net: ops.mean(ops.square(net(x))), variables=net.trainable_variables
        )
        for net in wide
    ]

    @cdl.Steps
    def learn(x):
        for net, sgd, loss in zip(wide, optimizers, losses, strict=True):
            sgd.apply(loss(x)[1], net.trainable_variables)

    def look():
        asked.append([int(each.iterations) for each in optimizers])
        if asked[-1] == [7, 7]:
            raise KeyboardInterrupt

    rows = np.zeros((8, 512), int) + np.arange(512)
    learn.run((x,), rows[:2])
    _core.answer_signals(look, 0.0)
    try:
        with pytest.raises(KeyboardInterrupt):
            learn.run((x,), rows)
    finally:
        _core.answer_signals()
    assert len(asked) > 10  # also within batches
    assert all(one == other for one, other in asked)
    assert [int(each.iterations) for each in optimizers] == [7, 7]
    assert learn.reason == ""
