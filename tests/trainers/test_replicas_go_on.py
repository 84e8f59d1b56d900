"""A fit of replicas with an `initial_epoch` goes on as one fit of all epochs, also from a file."""

import copy
import pickle

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.models import Replicas
from cdl.trainers.many import stacked_run
from cdl.trainers.many.members_fit import MembersFit

N, SEEDS = 5, [7, 3, 2**32 - 1, 0, 11]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 40, 4)).astype(np.float32)
Y = X.sum(-1, keepdims=True)


def net(middle):
    made = cdl.Sequential([cdl.Input((4,)), layers.Dense(6, "tanh"), middle, layers.Dense(1)])
    made.compile("adam", "mse")
    return made


def state(many):
    kept = [(*each.weights, *each.optimizer.variables) for each in many]
    return [[np.asarray(value).tobytes() for value in values] for values in kept]


def saved(many, path):
    many.save(path / "many.npz")
    return Replicas.load(path / "many.npz")


WAYS = {
    "at once": lambda many, path: many,
    "saved": saved,
    "saved twice": lambda many, path: saved(saved(many, path), path),
    "copied": lambda many, path: copy.deepcopy(many),
    "pickled": lambda many, path: pickle.loads(pickle.dumps(many)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"validation_split": 0.25, "batch_size": 16},
        {"shuffle": "batch", "batch_size": 8},
        {"shuffle": False},
        {"batch_size": [4, 8, 16, 32, 64], "workers": 2},
    ],
)
@pytest.mark.parametrize("middle", [layers.LayerNormalization, lambda: layers.Dropout(0.3)])
def test_a_fit_that_goes_on(tmp_path, middle, options, way):
    original = net(middle())
    whole, part = (cdl.replicate(original, N, seeds=SEEDS) for _ in range(2))
    whole.fit(X, Y, seeds=SEEDS, epochs=7, **options)
    part.fit(X, Y, seeds=SEEDS, epochs=2, **options)
    for first, last in ((2, 4), (4, 7)):
        part = WAYS[way](part, tmp_path)
        part.fit(X, Y, initial_epoch=first, epochs=last, **options)
    assert state(part) == state(whole)


def test_members_go_on_together(monkeypatch, tmp_path):
    many = cdl.replicate(net(layers.Dropout(0.3)), N)
    many.fit(X, Y, epochs=2)
    many = saved(many, tmp_path)
    monkeypatch.delattr(MembersFit, "_one")  # with a `fit` of each member
    monkeypatch.setattr(stacked_run, "MOST_TOGETHER", 100)  # numbers in orders drawn at a time
    before = copy.deepcopy(many)
    for number in (3, 4):
        many.fit(X, Y, initial_epoch=number - 1, epochs=number)
    before.fit(X, Y, initial_epoch=2, epochs=4)
    assert state(many) == state(before)


def test_one_whose_model_had_learned_before():
    original = net(layers.Dropout(0.3))
    original.fit(X[0], Y[0], verbose=0)
    whole, part = (cdl.replicate(original, N, weights="same") for _ in range(2))
    whole.fit(X, Y, seeds=SEEDS, epochs=4)
    part.fit(X, Y, seeds=SEEDS, epochs=2)
    part.fit(X, Y, initial_epoch=[2] * N, epochs=4)
    assert state(part) == state(whole)


def test_seeds_that_are_given_are_those_of_the_fit():
    many = cdl.replicate(net(layers.Dropout(0.3)), N, seeds=SEEDS)
    many.fit(X, Y, seeds=SEEDS, epochs=2)
    alone = [*many]
    many.fit(X, Y, seeds=SEEDS, initial_epoch=2, epochs=4)
    for k, each in enumerate(alone):
        cdl.utils.set_random_seed(SEEDS[k])
        each.fit(X[k], Y[k], initial_epoch=2, epochs=4, verbose=0)
    assert state(many) == state(alone)


def test_a_fit_that_is_refused_is_not_gone_on_with():
    whole, part = (cdl.replicate(net(layers.ReLU()), N, weights="same") for _ in range(2))
    part.set_weights(whole.get_weights())
    refused = []

    def again(epoch, logs):
        with pytest.raises(RuntimeError, match="must be in one fit at a time"):
            part.fit(X, Y, seeds=[1] * N)
        refused.append(epoch)

    whole.fit(X, Y, seeds=SEEDS, epochs=4)
    part.fit(
        X, Y, seeds=SEEDS, epochs=2, callbacks=cdl.callbacks.LambdaCallback(on_epoch_end=again)
    )
    part.fit(X, Y, initial_epoch=2, epochs=4)
    assert len(refused) == 2 * N
    assert state(part) == state(whole)


@pytest.mark.parametrize("kept", [np.zeros(N), np.zeros(N + 1), np.full(N + 1, -3), np.int64(1)])
def test_seeds_of_a_damaged_file_are_named(tmp_path, kept):
    many = cdl.replicate(net(layers.ReLU()), N)
    many.fit(X, Y)
    many.save(tmp_path / "many.npz")
    with np.load(tmp_path / "many.npz") as file:
        arrays = {**file, "seeds": kept}
    np.savez(tmp_path / "many.npz", **arrays)
    with pytest.raises(ValueError, match=r"many\.npz"):
        Replicas.load(tmp_path / "many.npz")
