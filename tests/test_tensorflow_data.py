"""Data sets as `tf.data` has them, and what fit makes of them."""

import itertools
import math

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.scripts.tensor import Tensor
from cdl.scripts.tf_data import Dataset, TensorSpec

X = np.arange(40, dtype="float64").reshape(10, 4)
Y = np.arange(10)


def elements(dataset):
    return list(dataset.as_numpy_iterator())


def numbers(dataset):
    return [int(each) for each in dataset.as_numpy_iterator()]


@pytest.fixture
def pairs():
    return Dataset.from_tensor_slices((X, Y))


# --- elements ---


def test_slices_are_the_rows_of_nested_arrays():
    dataset = Dataset.from_tensor_slices(({"a": X, "b": [1.0] * 10}, Y))
    inputs, target = next(itertools.islice(dataset, 3, None))
    assert isinstance(inputs["a"], Tensor)
    np.testing.assert_array_equal(inputs["a"].numpy(), X[3])
    assert (inputs["a"].dtype, inputs["b"].dtype, target.numpy()) == (np.float64, np.float32, 3)


def test_lists_are_arrays_of_tensorflow_s_types():
    assert next(iter(Dataset.from_tensor_slices([[1, 2], [3, 4]]))).dtype == np.int32
    assert next(iter(Dataset.from_tensor_slices([1.5, 2]))).dtype == np.float32
    assert next(iter(Dataset.from_tensor_slices([np.float64(1), np.float64(2)]))).dtype == float
    assert [str(each) for each in Dataset.from_tensor_slices(["a", "b"])] == ["a", "b"]


@pytest.mark.parametrize("given", [(X, Y[:9]), 3.0, (X, 1), ()])
def test_slices_of_what_has_no_common_rows_are_refused(given):
    with pytest.raises(
        ValueError, match="from_tensor_slices: tensors must be arrays with the same"
    ):
        Dataset.from_tensor_slices(given)


def test_batches_are_stacked_elements(pairs):
    batches = elements(pairs.batch(4))
    assert [len(y) for _, y in batches] == [4, 4, 2]
    np.testing.assert_array_equal(batches[1][0], X[4:8])
    assert [len(y) for _, y in pairs.batch(4, drop_remainder=True)] == [4, 4]
    mapped = elements(pairs.map(lambda x, y: (x * 2, y)).batch(4))
    np.testing.assert_array_equal(mapped[1][0], 2 * X[4:8])
    assert elements(pairs.batch(2).batch(5))[0][0].shape == (5, 2, 4)
    assert elements(pairs.batch(3).unbatch())[7][1] == 7


def test_a_tuple_is_the_arguments_of_a_function_and_all_else_is_one(pairs):
    assert numbers(pairs.map(lambda x, y: y + 1)) == list(range(1, 11))
    found = Dataset.from_tensor_slices({"a": Y}).map(lambda row: [row["a"], 1])
    assert elements(found)[2] == (2, 1)
    assert numbers(pairs.filter(lambda x, y: y > 7).map(lambda x, y: y)) == [8, 9]
    assert [int(i) for i, _ in pairs.enumerate(5)] == list(range(5, 15))


def test_a_list_from_a_function_is_an_element_of_several_parts(pairs):
    made = pairs.map(lambda x, y: [x, y, np.stack([x, x])]).batch(2)
    first = next(iter(made))
    assert isinstance(first, tuple)
    assert [part.shape for part in first] == [(2, 4), (2,), (2, 2, 4)]


def test_order_and_number(pairs):
    ten = Dataset.range(10)
    assert numbers(ten.take(3)) == [0, 1, 2]
    assert numbers(ten.skip(7)) == [7, 8, 9]
    assert numbers(ten.take(-1)) == list(range(10))
    assert numbers(ten.skip(-1)) == []
    assert numbers(Dataset.range(2, 8, 3).concatenate(ten.take(2))) == [2, 5, 0, 1]
    assert numbers(ten.take(2).repeat(3)) == [0, 1] * 3
    assert numbers(ten.repeat().take(25)) == [*range(10), *range(10), *range(5)]
    assert numbers(ten.filter(lambda i: i < 0).repeat()) == []
    both = Dataset.zip((ten, {"b": pairs}))
    assert elements(both.take(2))[1][1]["b"][1] == 1
    assert len(elements(Dataset.zip(ten.take(3), pairs))) == 3


def lists(dataset, of=lambda w: w):
    return [numbers(of(window)) for window in dataset]


def test_windows_are_data_sets():
    seven = Dataset.range(7)
    assert lists(seven.window(3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert lists(seven.window(3, drop_remainder=True)) == [[0, 1, 2], [3, 4, 5]]
    assert lists(seven.window(3, 2)) == [[0, 1, 2], [2, 3, 4], [4, 5, 6], [6]]
    assert lists(seven.window(3, 1, 2, drop_remainder=True)) == [[0, 2, 4], [1, 3, 5], [2, 4, 6]]
    assert lists(seven.window(2, 3, drop_remainder=True)) == [[0, 1], [3, 4]]
    both = Dataset.zip(seven, seven).window(2, drop_remainder=True)
    assert lists(both, lambda pair: pair[1]) == [[0, 1], [2, 3], [4, 5]]
    flat = seven.window(3, 1, drop_remainder=True).flat_map(lambda w: w.batch(3))
    assert [each.tolist() for each in elements(flat)][1:3] == [[1, 2, 3], [2, 3, 4]]


def test_shuffling_draws_from_a_buffer():
    ten = Dataset.range(100)
    found = numbers(ten.shuffle(100, seed=1))
    assert found != list(range(100)) == sorted(found)
    near = numbers(ten.shuffle(5, seed=1))
    assert sorted(near) == list(range(100))
    assert all(place > number - 5 for place, number in enumerate(near))
    assert numbers(ten.shuffle(1)) == list(range(100))
    firsts = [numbers(ten.shuffle(100).take(1))[0] for _ in range(200)]
    assert len(set(firsts)) > 60


def test_each_pass_has_an_order_of_its_own_unless_told_otherwise():
    shuffled = Dataset.range(50).shuffle(50)
    assert numbers(shuffled) != numbers(shuffled)
    kept = Dataset.range(50).shuffle(50, reshuffle_each_iteration=False)
    assert numbers(kept) == numbers(kept)
    assert numbers(kept.cache()) == numbers(kept)


def test_order_follows_the_seed():
    def passes(**options):
        shuffled = Dataset.range(50).shuffle(50, **options)
        return [numbers(shuffled), numbers(shuffled)]

    assert passes(seed=3) == passes(seed=3) != passes(seed=4)
    cdl.utils.set_random_seed(1)
    first = passes()
    cdl.utils.set_random_seed(1)
    assert passes() == first != passes()


def test_a_cache_keeps_whole_passes_only():
    calls = []
    cached = Dataset.range(3).map(lambda i: calls.append(1) or i).cache()
    assert numbers(cached.take(2)) == [0, 1]
    assert numbers(cached) == numbers(cached) == [0, 1, 2]
    assert len(calls) == 2 + 3


def test_generators_begin_anew_in_the_types_of_their_signature():
    signature = (TensorSpec((2,), "float32"), TensorSpec((), "int32"))
    dataset = Dataset.from_generator(
        lambda n: ((np.ones(2), i) for i in range(n)), output_signature=signature, args=(3,)
    )
    for _ in range(2):
        x, y = elements(dataset.batch(3))[0]
        assert (x.dtype, y.dtype, y.tolist()) == (np.float32, np.int32, [0, 1, 2])
    typed = Dataset.from_generator(lambda: [1, 2], output_types="float32")
    assert elements(typed)[0].dtype == np.float32


def test_lengths(pairs):
    lengths = {
        10: pairs.shuffle(4).prefetch(-1).cache().enumerate(),
        3: pairs.batch(4),
        2: pairs.batch(4, drop_remainder=True).map(lambda x, y: x),
        20: pairs.repeat(2),
        0: pairs.repeat(0),
        7: pairs.skip(3).concatenate(pairs.take(0)),
        5: Dataset.zip(pairs, Dataset.range(5)),
        6: pairs.repeat().take(6),
    }
    for n, dataset in lengths.items():
        assert n == len(dataset) == len(elements(dataset)) == dataset.cardinality().numpy()
    for text, number, dataset in (
        ("infinite", -1, pairs.repeat().batch(3, drop_remainder=True)),
        ("unknown", -2, pairs.filter(lambda x, y: True).batch(2)),
        ("unknown", -2, pairs.unbatch()),
    ):
        with pytest.raises(TypeError, match=text):
            len(dataset)
        assert dataset
        assert dataset.cardinality().numpy() == number
        assert not math.isfinite(dataset._length or math.inf)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.batch(0), "batch: batch_size must be a positive int, got 0"),
        (lambda d: d.shuffle(0), "shuffle: buffer_size must be a positive int, got 0"),
        (lambda d: d.take(1.5), "take: count must be an int >= 0, got 1.5"),
        (lambda d: d.repeat(-2), "repeat: count must be an int >= 0, got -2"),
        (lambda d: d.cache("file"), "cache: filename must be empty, got 'file'"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(Dataset.range(3))


def test_what_is_no_data_set_and_no_generator_is_refused():
    with pytest.raises(TypeError, match="zip: datasets must be data sets, got 3"):
        Dataset.zip((Dataset.range(3), 3))
    with pytest.raises(TypeError, match="from_generator: generator must be callable, got"):
        Dataset.from_generator([1, 2])


# --- in fit ---


def net():
    cdl.utils.set_random_seed(0)
    model = cdl.Sequential([cdl.Input((4,)), layers.Dense(3, "tanh"), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_training_on_it_is_training_on_its_arrays(pairs):
    x = X / 40
    data = Dataset.from_tensor_slices((x, Y / 10.0))
    expected, found = net(), net()
    a = expected.fit(x, Y / 10, batch_size=4, epochs=3, shuffle=False, verbose=0)
    b = found.fit(data.batch(4), epochs=3, validation_data=data.batch(5), verbose=0)
    assert a.history["loss"] == pytest.approx(b.history["loss"], rel=1e-6)
    assert len(b.history["val_loss"]) == 3
    for mine, its in zip(expected.get_weights(), found.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.predict(data.batch(3)), found.predict(x), rtol=1e-6)
    assert found.evaluate(data.batch(10), verbose=0) == pytest.approx(b.history["val_loss"][-1])


def test_a_repeated_one_goes_on_where_an_epoch_ended():
    seen = []
    data = Dataset.from_tensor_slices((X, Y)).map(lambda x, y: seen.append(int(y)) or (x, y))
    net().fit(data.repeat().batch(2), epochs=2, steps_per_epoch=3, verbose=0)
    assert seen[:12] == [*range(10), 0, 1]


class Seen(cdl.Model):
    """A model that records the arguments of its steps."""

    def __init__(self):
        super().__init__()
        self.given = []

    def _note(self, data):
        self.given.append(data)
        return {"loss": 0.0}

    train_step = test_step = _note

    def predict_step(self, data):
        self.given.append(data)
        return np.zeros(len(Y))


def kinds(given):
    return [type(each).__name__ if isinstance(each, (tuple, dict)) else "array" for each in given]


@pytest.mark.parametrize(
    ("elements_of", "kind"),
    [(lambda: X, "array"), (lambda: (X,), "tuple"), (lambda: {"a": X}, "dict")],
)
def test_steps_of_a_model_get_what_the_data_set_gives(elements_of, kind):
    model = Seen()
    model.compile()
    data = Dataset.from_tensor_slices(elements_of()).batch(10)
    model.fit(data, verbose=0)
    model.evaluate(data, verbose=0)
    model.predict(data, verbose=0)
    assert kinds(model.given) == [kind] * 3


def test_batches_stay_batches_to_element_spec(pairs):
    batches = pairs.batch(4)
    same = {
        "repeat": batches.repeat(2),
        "concatenate": batches.concatenate(batches),
        "concatenate to elements": pairs.map(lambda x, y: (x[None], y[None])).concatenate(batches),
        "filter": batches.filter(lambda x, y: y[0] > 1),
        "take_while": batches.take_while(lambda x, y: y[0] < 9),
        "enumerate": batches.enumerate().map(lambda i, pair: pair),
    }
    for name, each in same.items():
        assert each.element_spec[0].shape == (None, 4), name
    assert batches.enumerate().element_spec[1][1].shape == (None,)
    assert pairs.repeat().element_spec[0].shape == (4,)


def test_rows_of_arrays_are_unbatched_as_elements_are():
    rows = Dataset.from_tensor_slices((X, np.stack([Y, -Y], 1)[:, :, None]))
    found = elements(rows.map(lambda x, y: (x[:2], y)).unbatch())
    assert [each[1].tolist() for each in found[:4]] == [[0], [0], [1], [-1]]
    for of_rows in (Dataset.from_tensor_slices(X), Dataset.from_tensor_slices(X).take(20)):
        assert numbers(of_rows.unbatch()) == list(range(40))
        assert of_rows.unbatch().element_spec.shape == ()
    for without in (Dataset.range(3), Dataset.from_tensors((X, Y[:3]))):
        with pytest.raises(ValueError, match="unbatch: elements must be arrays with the same num"):
            list(without.unbatch())


def test_windows_without_targets_are_inputs():
    windows = cdl.utils.timeseries_dataset_from_array(X, None, 2, batch_size=4)
    model = cdl.Sequential([layers.Flatten(), layers.Dense(2)])
    assert model.predict(windows, verbose=0).shape == (9, 2)


def test_windows_are_a_data_set_to_a_script_that_imports_keras_alone(run_python):
    run_python(
        """if True:
        import numpy as np
        from cdl.scripts import imports
        imports.install()
        import keras
        windows_of = keras.preprocessing.timeseries_dataset_from_array
        made = windows_of(np.arange(20.0), None, 4, batch_size=8)
        [first] = made.take(1)
        assert first.numpy().shape == (8, 4)
        assert [each.shape for each in made.map(lambda x: x[:, :2]).unbatch().batch(10)] == [
            (10, 2), (7, 2)]
        """
    )


def test_a_generator_still_has_to_yield_tuples():
    model = cdl.Sequential([layers.Dense(2)])
    with pytest.raises(ValueError, match="must yield tuples"):
        model.predict((x for x in [X]), verbose=0)
