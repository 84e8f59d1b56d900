"""Predictions: shapes, sizes, hooks, threads, and the lean way to one row."""

import threading

import numpy as np
import pytest
from trainers.nets import data, net

from cdl import ops
from cdl.callbacks import LambdaCallback
from cdl.layers import LSTM, Input
from cdl.models import Model, Sequential
from cdl.trainers import trainer

X = data(1000)[0]


@pytest.fixture
def model():
    return net((8, "relu"), (3, "softmax"))


def test_complex_numbers_are_refused_by_name_after_a_call_too(model):
    model(X[:3])
    model.predict(X[:3], verbose=0)
    for call in (model, model.predict_on_batch, lambda x: model.predict(x, verbose=0)):
        with pytest.raises(ValueError, match="complex"):
            call(X[:3].astype(np.complex64))


@pytest.mark.parametrize("rows", [1, 2, 31, 32, 33, 255, 256, 257, 1000])
@pytest.mark.parametrize("batch", [None, 1, 7, 64, 5000])
def test_any_number_of_rows_in_any_batch_size(model, rows, batch):
    found = model.predict(X[:rows], batch, verbose=0)
    assert (type(found), found.dtype, found.shape) == (np.ndarray, np.float32, (rows, 3))
    np.testing.assert_allclose(found, model.predict(X, verbose=0)[:rows], rtol=1e-5, atol=1e-7)


def test_every_result_is_a_new_array(model):
    first = model.predict(X[:2])
    kept = first.copy()
    model.predict(X[2:4])
    assert np.array_equal(first, kept)


def test_steps_cut_the_rows(model):
    assert model.predict(X, 10, 0, steps=3).shape == (30, 3)
    with pytest.warns(UserWarning, match="ran out of data after 2 of 3 batches"):
        assert model.predict(X[:15], 10, 0, steps=3).shape == (15, 3)
    assert model.predict(X, None, 0, steps=3).shape == (1000, 3)


def test_predict_on_batch_and_call_are_the_same(model):
    expected = model.predict(X, verbose=0)
    assert np.array_equal(model.predict_on_batch(X), expected)
    assert np.array_equal(model(X), expected)


def test_hooks_see_the_outputs_of_each_batch(model):
    seen = []
    callback = LambdaCallback(on_predict_batch_end=lambda i, logs: seen.append(logs["outputs"]))
    found = model.predict(X[:50], 20, 0, callbacks=[callback])
    assert [len(part) for part in seen] == [20, 20, 10]
    assert np.array_equal(np.concatenate(seen), found)


def test_predictions_follow_the_weights(model):
    before = model.predict(X[:3])
    model.set_weights([2 * w for w in model.get_weights()])
    assert not np.array_equal(before, model.predict(X[:3]))
    model.compile("sgd", "sparse_categorical_crossentropy")
    now = model.predict(X[:3])
    model.fit(X, np.zeros(1000), verbose=0)
    assert not np.array_equal(now, model.predict(X[:3]))


def test_many_threads_predict_at_once(model):
    expected = {n: model.predict(X[:n], verbose=0) for n in (1, 3, 40, 1000)}
    wrong = []

    def work(n):
        for _ in range(50):
            if not np.array_equal(model.predict(X[:n], verbose=0), expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 3, 40, 1000, 1, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_several_models_train_in_threads_as_they_do_alone():
    y = data(1000)[2]

    def train(out):
        model = net((8, "relu"), (3, "softmax"))
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(X, y, epochs=3, shuffle=False, verbose=0)
        out.append(model.get_weights())

    found = []
    train(found)
    threads = [threading.Thread(target=train, args=(found,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 5
    for weights in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(weights, found[0], strict=True))


def test_few_rows_go_straight_to_the_core(model, monkeypatch):
    model.predict(X[:1])
    monkeypatch.setattr("cdl.trainers.predict.predict", None)
    for x in (X[:1], X[:32], X[:3].astype(np.int64), X[:6:2], np.asfortranarray(X[:3])):
        model.predict(x)
        model.predict(x, verbose=0)


def test_memory_goes_with_the_last_reference(model):
    import gc
    import weakref

    y = np.zeros(1000)
    model = net((8, "relu"), (3, "softmax"))
    gone = weakref.ref(model)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    gc.disable()
    try:
        model.fit(X, y, verbose=0, validation_split=0.2)
        model.fit(X[:9], y[:9])
        model.evaluate(X, y, verbose=0)
        model.predict(X, verbose=0)
        model.predict(X[:2])
        model.train_on_batch(X, y)
        assert model.history.model is model
        assert len(model.metrics[1].metrics) == 1
        del model
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.measures
def test_one_row_takes_under_10_us(model):
    import time
    import timeit

    x = X[:1]
    model.predict(x)
    taken = timeit.repeat(lambda: model.predict(x), timer=time.thread_time, number=500, repeat=9)
    assert min(taken) / 500 < 10e-6  # of the thread's own time: a busy machine makes it wait, too


@pytest.mark.measures
def test_memory_stays_flat_over_many_predicts_and_models(model):
    import resource

    def work():
        for _ in range(3000):
            model.predict(X[:3])
        for _ in range(300):
            other = net((8, "relu"), (3, "softmax"))
            other.compile("adam", "sparse_categorical_crossentropy")
            other.fit(X[:40], np.zeros(40), verbose=0)
            other.predict(X[:3])

    work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        work()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


def test_batch_size_beyond_all_memory_is_as_good_as_any(model):
    found = model.predict(X, 2**62, verbose=0)
    assert np.array_equal(found, model.predict(X, 1024, verbose=0))


def test_a_batch_size_that_holds_all_rows_takes_the_lean_way(model, monkeypatch):
    expected = model.predict(X[:40], verbose=0)
    monkeypatch.setattr(trainer, "predict", None)  # the way of all else
    for size in (40, 256):
        np.testing.assert_array_equal(model.predict(X[:40], size, verbose=0), expected)
    with pytest.raises(AttributeError):
        model.predict(X[:40], 39, verbose=0)


def test_the_lean_way_heeds_the_batch_of_kept_states():
    whole = Sequential([Input(batch_shape=(4, 3, 2)), LSTM(5, stateful=True)])
    x = np.random.default_rng(0).normal(size=(8, 3, 2)).astype(np.float32)
    expected = [whole.predict(x[:4], 4, verbose=0), whole.predict(x[4:], 4, verbose=0)]
    whole.layers[0].reset_state()
    np.testing.assert_array_equal(whole.predict(x, verbose=0), np.concatenate(expected))
    for batch in (None, 256):
        with pytest.raises(ValueError, match="4"):
            whole.predict(x[:3], batch, verbose=0)


@pytest.mark.parametrize(
    ("name", "dtype"), [("argmax", "int32"), ("argsort", "int32"), ("isfinite", "bool")]
)
def test_outputs_of_integers_are_predicted_as_integers(name, dtype):
    along = {} if name == "isfinite" else {"axis": -1}
    inputs = Input((4,))
    given = getattr(ops, name)(inputs, **along)
    model = Model(inputs, {"whole": given, "floats": inputs * 2})
    x = np.array([[1, 5, 2, 0]] * 3, np.float32)
    for found in (model.predict(x, verbose=0), model(x), model.predict_on_batch(x)):
        assert found["whole"].dtype == dtype == given.dtype
        assert found["floats"].dtype == np.float32
        np.testing.assert_array_equal(found["whole"], getattr(np, name)(x, **along))
    alone = Model(inputs, given)
    for found in (alone.predict(x, verbose=0), alone(x), alone.predict(x, batch_size=2, verbose=0)):
        assert found.dtype == dtype


def test_a_single_number_is_refused_by_name_before_and_after_a_prediction():
    x = Input(())
    model = Model(x, ops.square(x))
    for _ in range(2):
        with pytest.raises(ValueError, match="x must have a row for each sample, got the single"):
            model.predict(np.array(2.0, "float32"), verbose=0)
        assert model.predict(np.full(3, 2, "float32"), verbose=0).tolist() == [4, 4, 4]
