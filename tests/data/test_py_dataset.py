"""Batches by number, in order, by one thread or by several."""

import random
import threading

import numpy as np
import pytest
from trainers.nets import data, net, same_weights

from cdl.data import Stream
from cdl.utils import PyDataset, Sequence

X, VALUES, LABELS, ONE_HOT = data(24)


class Batches(PyDataset):
    def __init__(self, n=4, **kwargs):
        super().__init__(**kwargs)
        self.n = n
        self.threads = set()

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.threads.add(threading.current_thread().name)
        return np.full((2, 3), i), np.full(2, i)


class Endless(PyDataset):
    @property
    def num_batches(self):
        return None

    def __getitem__(self, i):
        return X[:4], VALUES[:4]


def numbers(stream):
    found = []
    while stream.ready():
        found.append(int(stream.take()[0][0, 0]))
    return found


def test_sequence_is_the_older_name():
    assert Sequence is PyDataset


def test_iteration_gives_the_batches_in_order():
    assert [int(y[0]) for _, y in Batches(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    "options", [{}, {"max_queue_size": 0}, {"workers": 3}, {"workers": 2, "max_queue_size": 1}]
)
def test_stream_gives_each_batch_once_in_each_pass(options):
    stream = Stream(Batches(20, **options), "x")
    for _ in range(2):
        assert numbers(stream) == list(range(20))
        stream.rewind()


def test_order_is_drawn_by_python_s_random():
    random.seed(3)
    expected = list(range(9))
    random.shuffle(expected)
    random.seed(3)
    assert numbers(Stream(Batches(9), "x", shuffle=True)) == expected


def test_workers_make_the_batches():
    dataset = Batches(8, workers=2)
    numbers(Stream(dataset, "x"))
    assert threading.current_thread().name not in dataset.threads
    before = threading.active_count()
    stream = Stream(Batches(100, workers=2), "x")
    stream.take()
    stream.rewind()
    assert threading.active_count() <= before + 2


def test_training_is_that_of_the_arrays():
    class Halves(PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return X[8 * i : 8 * i + 8], VALUES[8 * i : 8 * i + 8]

    models = [net((4, "tanh"), (2, "linear")) for _ in range(3)]
    for model in models:
        model.compile("sgd", "mse")
    models[0].fit(Halves(), epochs=3, shuffle=False, verbose=0)
    models[1].fit(Halves(workers=2), epochs=3, shuffle=False, verbose=0)
    models[2].fit(X, VALUES, batch_size=8, epochs=3, shuffle=False, verbose=0)
    assert same_weights(models[0], models[2].get_weights())
    assert same_weights(models[1], models[2].get_weights())


def test_constructor_that_is_not_called_warns():
    class Forgetful(Batches):
        def __init__(self):
            self.n, self.threads = 2, set()

    with pytest.warns(UserWarning, match=r"should call super\(\).__init__"):
        assert Forgetful().workers == 1


@pytest.mark.parametrize("options", [{"workers": -1}, {"workers": "2"}, {"max_queue_size": -1}])
def test_bad_argument_is_refused(options):
    with pytest.raises(ValueError, match=f"PyDataset: {next(iter(options))} must be an int >="):
        Batches(**options)


def test_methods_that_are_missing_are_named():
    with pytest.raises(NotImplementedError, match="must override __getitem__"):
        PyDataset()[0]
    with pytest.raises(NotImplementedError, match="__len__\\(\\) or a property num_batches"):
        _ = PyDataset().num_batches


@pytest.fixture
def model():
    model = net((4, "tanh"), (2, "linear"))
    model.compile("sgd", "mse")
    return model


def test_endless_data_set_needs_a_number_of_steps(model):
    for call in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match="must be given for a PyDataset without end"):
            call(Endless(), verbose=0)
    assert model.fit(Endless(), steps_per_epoch=3, verbose=0).params["steps"] == 3
    assert model.predict(Endless(), steps=2, verbose=0).shape == (8, 2)


@pytest.mark.parametrize("n", ["a", -1, 1.5])
def test_number_of_batches_must_be_one(model, n):
    class Wrong(Endless):
        num_batches = n

    with pytest.raises(TypeError, match="fit: x must have a number of batches"):
        model.fit(Wrong(), verbose=0)


def test_class_is_no_data_set(model):
    with pytest.raises(TypeError, match=r"fit: x must be an array, .* got the class Endless"):
        model.fit(Endless)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"y": VALUES}, "y must not be given when x is a PyDataset"),
        ({"sample_weight": [1]}, "sample_weight must not be given"),
        ({"validation_split": 0.5}, "validation_split must not be given"),
    ],
)
def test_arguments_of_arrays_are_refused(model, options, text):
    with pytest.raises(ValueError, match=text):
        model.fit(Endless(), **options)


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize("kind", ["PyDataset", "generator"])
def test_batch_size_beside_what_makes_the_batches_is_warned_of(model, call, kind):
    batches = [(X[:4], VALUES[:4]), (X[4:8], VALUES[4:8])]

    class Two(PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return batches[i]

    def source():
        return Two() if kind == "PyDataset" else iter(batches)

    expected = getattr(model, call)(source(), verbose=0)
    weights = model.get_weights()
    with pytest.warns(UserWarning, match=f"{call}: batch_size has no effect when x is a {kind}"):
        found = getattr(model, call)(source(), batch_size=64, verbose=0)
    if call == "fit":
        assert not all(map(np.array_equal, weights, model.get_weights()))
    else:
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("workers", [1, 2])
def test_error_in_a_batch_says_which(model, workers):
    class Broken(PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            if i == 2:
                raise OSError("disk")
            return X[:4], VALUES[:4]

    with pytest.raises(OSError, match="disk") as caught:
        model.fit(Broken(workers=workers), shuffle=False, verbose=0)
    assert caught.value.__notes__ == ["fit: x raised this instead of yielding batch 2"]
    assert int(model.optimizer.iterations) == 2


@pytest.mark.parametrize("batch", [None, {"x": X}, (X, VALUES, None, None)])
def test_what_is_no_batch_is_refused(model, batch):
    class Wrong(PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, i):
            return batch

    with pytest.raises(ValueError, match=r"fit: x must give tuples .* as batch 0"):
        model.fit(Wrong(), verbose=0)


def test_weights_and_class_weights_cannot_both_be_given(model):
    class Weighted(PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, i):
            return X, VALUES, np.ones(24)

    model.fit(Weighted(), verbose=0)
    with pytest.raises(ValueError, match="sample_weight and class_weight must not both"):
        model.fit(Weighted(), class_weight={0: 1.0}, verbose=0)


def test_a_bare_array_is_x(model):
    class Bare(PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return X[:4]

    assert model.predict(Bare(), verbose=0).shape == (8, 2)
