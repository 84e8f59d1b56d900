"""A fault of cdl's own that sends members the slow way is told of; one of a user's code is not."""

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.trainers.many import group, stacked_run, watched_run

N = 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 40, 4)).astype(np.float32)
Y = X.sum(-1, keepdims=True)
PLAIN = {"epochs": 3, "batch_size": 16}
WATCHED = {**PLAIN, "validation_split": 0.25}


def net(loss="mse"):
    made = cdl.Sequential([cdl.Input((4,)), layers.Dense(6, "tanh"), layers.Dense(1)])
    made.compile("adam", loss)
    return made


def state(model):
    kept = [np.asarray(each) for each in (*model.weights, *model.optimizer.variables)]
    return b"".join(each.tobytes() for each in kept)


def stopping():
    return cdl.callbacks.EarlyStopping(patience=1, restore_best_weights=True)


def by_replicate(options):
    cdl.utils.set_random_seed(3)
    many = cdl.replicate(net(), N, seeds=range(N))
    many.fit(X, Y, seeds=range(N), workers=1, **options)
    return [state(each) for each in many]


def by_train_many(options):
    cdl.utils.set_random_seed(3)
    nets = [net() for _ in range(N)]
    cdl.train_many([*zip(nets, X, Y, strict=True)], workers=1, **options)
    return [state(each) for each in nets]


@pytest.mark.parametrize(
    "train, options, owner, name",
    [
        (by_replicate, PLAIN, stacked_run.MemberOrders, "due"),
        (by_replicate, PLAIN, stacked_run, "for_step"),
        (by_replicate, WATCHED, watched_run.WatchedRun, "_together"),
        (by_train_many, PLAIN, group.Likenesses, "described"),
        (by_train_many, PLAIN, group._Host, "data"),
        (by_train_many, PLAIN, stacked_run.MemberOrders, "due"),
        (by_train_many, WATCHED, watched_run, "checked_rows"),
        (by_train_many, WATCHED, watched_run._Passes, "logs"),
    ],
)
def test_a_fault_of_cdl_is_told_of_and_changes_no_bits(monkeypatch, train, options, owner, name):
    expected = train(options)
    monkeypatch.delattr(owner, name)
    with pytest.warns(RuntimeWarning, match=rf"after a fault of cdl's own: .*{name}"):
        assert train(options) == expected


def test_a_callback_of_a_member_reads_what_fit_has(monkeypatch):
    """The fault that was once swallowed: a member's model without what EarlyStopping reads."""
    expected = by_replicate({**WATCHED, "callbacks": stopping()})
    monkeypatch.delattr(watched_run._Seen, "get_weights")
    with pytest.warns(RuntimeWarning, match=r"'_Seen' object has no attribute 'get_weights'"):
        assert by_replicate({**WATCHED, "callbacks": stopping()}) == expected


def test_an_error_of_a_users_code_is_raised_by_fit_alone():
    def loss(y, found):
        raise KeyError("of the user's")

    many = cdl.replicate(net(loss), N)
    with pytest.raises(KeyError, match="of the user's") as raised:
        many.fit(X, Y, workers=1, **WATCHED)
    assert raised.value.__notes__[-1] == f"fit: of member 0 of {N}"
