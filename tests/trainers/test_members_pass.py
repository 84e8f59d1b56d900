"""Predictions and evaluations of members of `Replicas`: one call of the core for many."""

import numpy as np
import pytest

import cdl
from cdl import _core, layers

N = 5
RNG = np.random.default_rng(0)


def net(*middle, shape=(4,), metrics=("mae",)):
    made = cdl.Sequential([layers.Input(shape), *middle, layers.Dense(1)])
    made.compile("adam", "mse", metrics=list(metrics))
    return made


def rows_of(data, k, is_own):
    return data[k] if is_own else data


@pytest.fixture
def calls(monkeypatch):
    """Calls of `predict` and `evaluate` of a model."""
    found = []
    for name in ("predict", "evaluate"):
        method = getattr(cdl.Model, name)

        def counted(self, *given, method=method, **named):
            found.append(method.__name__)
            return method(self, *given, **named)

        monkeypatch.setattr(cdl.Model, name, counted)
    return found


def check(model, x, y, calls, weight=None, own=(True, True)):
    """Compare with each member alone, and count calls: one of each kind for all members."""
    many = cdl.replicate(model, N, seeds=range(N))
    singles = list(many)
    calls.clear()
    predictions, values = many.predict(x), many.evaluate(x, y, sample_weight=weight)
    made = len(calls)
    for k, single in enumerate(singles):
        mine = rows_of(x, k, own[0]), rows_of(y, k, own[1])
        alone = single.predict(mine[0], verbose=0)
        assert predictions[k].tobytes() == alone.tobytes()
        found = single.evaluate(*mine, sample_weight=weight, verbose=0, return_dict=True)
        assert {name: each[k] for name, each in values.items()} == found
    return made


@pytest.mark.parametrize("rows", [1, 7, 33])
@pytest.mark.parametrize("own", [(True, True), (False, False), (False, True)])
@pytest.mark.parametrize("metrics", [(), ("mae",)])
def test_rows_of_each_or_of_all(calls, rows, own, metrics):
    x = RNG.normal(size=(N, rows, 4))
    y = RNG.normal(size=(N, rows, 1)).astype(np.float32)
    given = x if own[0] else x[0], y if own[1] else y[0]
    weight = RNG.random(rows)
    model = net(layers.Dense(6, "tanh"), layers.BatchNormalization(), metrics=metrics)
    assert check(model, *given, calls, weight, own) == 2


@pytest.mark.parametrize(
    ("middle", "shape"),
    [
        ([layers.Embedding(9, 3), layers.Flatten()], (5,)),
        ([layers.Conv2D(3, 3), layers.Flatten()], (6, 6, 1)),
        ([layers.LSTM(4)], (5, 2)),
    ],
)
def test_kinds_of_layers(calls, middle, shape):
    x = RNG.integers(0, 9, (N, 8, *shape)).astype(np.float32)
    assert check(net(*middle, shape=shape), x, RNG.normal(size=(N, 8, 1)), calls) == 2


def test_several_numbers_of_rows(calls):
    x = [RNG.normal(size=(k + 1, 4)).astype(np.float32) for k in range(N)]
    y = [RNG.normal(size=(k + 1, 1)) for k in range(N)]
    many = cdl.replicate(net(), N, seeds=range(N))
    found = many.predict(x)
    assert calls == ["predict"]
    assert [each.shape for each in found] == [(k + 1, 1) for k in range(N)]
    check(net(), x, y, calls)


def test_an_error_of_a_later_member_is_raised():
    x = np.zeros((N, 3, 2), np.int32)
    x[3, 1, 0] = 9
    many = cdl.replicate(net(layers.Embedding(5, 2), layers.Flatten(), shape=(2,)), N)
    for run in (many.predict, lambda x: many.evaluate(x, np.zeros((N, 3, 1)))):
        with pytest.raises(ValueError, match=r"got 9 in row 1"):
            run(x)
    assert many.predict(np.minimum(x, 4)).shape == (N, 3, 1)


def test_nan_in_one_leaves_the_others():
    x = RNG.normal(size=(N, 6, 4)).astype(np.float32)
    y = np.zeros((N, 6, 1), np.float32)
    many = cdl.replicate(net(), N, seeds=range(N))
    expected, predictions = many.evaluate(x, y), many.predict(x)
    x[2, 0, 0] = np.nan
    with pytest.warns(UserWarning):
        found = many.evaluate(x, y)
    assert np.isnan(found["loss"]).tolist() == [False, False, True, False, False]
    others = [0, 1, 3, 4]
    assert (found["loss"][others] == expected["loss"][others]).all()
    assert (many.predict(x)[others] == predictions[others]).all()


def test_training_goes_on_as_without_predictions_between():
    x, y = RNG.normal(size=(N, 9, 4)).astype(np.float32), np.ones((N, 9, 1), np.float32)
    one, other = (cdl.replicate(net(), N, seeds=range(N)) for _ in range(2))
    for many in (one, other):
        for seed in range(2):
            many.fit(x, y, epochs=2, seeds=range(seed, seed + N))
            if many is one:
                many.predict(x)
                many.evaluate(x, y)
    for mine, its in zip(one.get_weights(), other.get_weights(), strict=True):
        assert mine.tobytes() == its.tobytes()


def test_an_interrupt_ends_predictions():
    many = cdl.replicate(net(), 3, seeds=range(3))
    x = RNG.normal(size=(3, 2, 4)).astype(np.float32)
    before = many.predict(x)

    def interrupt():
        raise KeyboardInterrupt

    (stand_in,) = many._idle
    made = stand_in.model._predictors_made
    given = made.few, stand_in.storages[:2], many._stacks[:2], x.reshape(6, 4)
    rows = np.array([[0, 2, 4], [2, 2, 2]])
    _core.answer_signals(interrupt, 0.0)
    try:
        with pytest.raises(KeyboardInterrupt):
            _core.predict_members(*given, rows)
    finally:
        _core.answer_signals()
    assert many.predict(x).tobytes() == before.tobytes()
    with pytest.raises(ValueError, match="rows: expected"):
        _core.predict_members(*given, rows + 1)


def two_inputs():
    ends = [layers.Input((3,)), layers.Input((2,))]
    made = cdl.Model(ends, layers.Dense(1)(layers.Concatenate()(ends)))
    made.compile("adam", "mse")
    return made


@pytest.mark.parametrize("own", [True, False])
def test_replicas_take_a_list_of_the_inputs_of_a_model(own):
    first, second = RNG.normal(size=(N, 20, 3)), RNG.normal(size=(N, 20, 2))
    y = RNG.normal(size=(N, 20, 1)) if own else RNG.normal(size=(20, 1))
    x = [first, second] if own else [first[0], second[0]]
    many = cdl.replicate(two_inputs(), N, seeds=range(N))
    singles = list(many)
    many.fit(x, y, epochs=2, batch_size=5, seeds=[*range(N)])
    predictions, losses = many.predict(x), many.evaluate(x, y)["loss"]
    for k, single in enumerate(singles):
        mine = [each[k] for each in x] if own else x
        cdl.utils.set_random_seed(k)
        single.fit(mine, rows_of(y, k, own), epochs=2, batch_size=5, verbose=0)
        assert predictions[k].tobytes() == single.predict(mine, verbose=0).tobytes()
        assert losses[k] == single.evaluate(mine, rows_of(y, k, own), verbose=0)


def test_inputs_of_which_some_have_an_axis_of_members_are_refused():
    many = cdl.replicate(two_inputs(), N)
    first, second = np.zeros((N, 20, 3)), np.zeros((N, 20, 2))
    for x in ([first, second[0]], [first[:3], second[:3]]):
        with pytest.raises(ValueError, match=r"predict: x must have arrays \(rows, ...\), or all "):
            many.predict(x)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("n", [2, 3])
def test_replicas_take_targets_for_each_output_of_a_model(n, own, named):
    ends = [layers.Input((3,), name="a"), layers.Input((2,), name="b")]
    joined = layers.Concatenate()(ends)
    outputs = [layers.Dense(1, name="o")(joined), layers.Dense(1, name="p")(joined)]
    made = cdl.Model(ends, outputs)
    made.compile("adam", ["mse", "mae"])
    many = cdl.replicate(made, n, seeds=range(n))
    rows = [RNG.normal(size=(n, 20, units))[slice(None) if own else 0] for units in (3, 2, 1, 1)]
    x, y = (dict(zip("ab", rows, strict=False)), dict(zip("op", rows[2:], strict=True)))
    singles = list(many)
    given = (x, y) if named else ([*x.values()], [*y.values()])
    histories = many.fit(*given, validation_data=given, epochs=2, seeds=[*range(n)])
    assert histories.history["val_p_loss"].shape == (n, 2)
    found, losses = many.predict(given[0]), many.evaluate(*given)
    for k, single in enumerate(singles):
        mine = [{name: rows_of(each, k, own) for name, each in part.items()} for part in (x, y)]
        cdl.utils.set_random_seed(k)
        single.fit(*mine, epochs=2, verbose=0)
        for each, its in zip(found, single.predict(mine[0], verbose=0), strict=True):
            assert each[k].tobytes() == its.tobytes()
        assert losses["loss"][k] == single.evaluate(*mine, verbose=0)[0]


def test_a_dict_of_one_input_may_have_an_axis_of_members():
    x = RNG.normal(size=(N, 20, 4))
    one = layers.Input((4,), name="a")
    many = cdl.replicate(cdl.Model(one, layers.Dense(1)(one)), N, seeds=range(N))
    assert many.predict({"a": x}).tobytes() == many.predict(x).tobytes()


@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_a_fault_within_the_call_for_all_is_not_hidden(name, monkeypatch):
    from cdl.trainers.many import members_pass

    def fails(*given):
        raise AttributeError("a fault")

    monkeypatch.setattr(members_pass, "joined", fails)
    x, y = np.zeros((N, 20, 4)), np.zeros((N, 20, 1))
    with pytest.raises(AttributeError, match="a fault"):
        getattr(cdl.replicate(net(), N), name)(x, *([y] if name == "evaluate" else []))
