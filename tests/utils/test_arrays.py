"""Padding, splitting, norms and windows of arrays."""

import random

import numpy as np
import pytest
from trainers.nets import net

import cdl
from cdl import config
from cdl.utils import (
    normalize,
    pack_x_y_sample_weight,
    pad_sequences,
    split_dataset,
    timeseries_dataset_from_array,
    to_categorical,
    unpack_x_y_sample_weight,
)

LISTS = [[1], [2, 3], [4, 5, 6], []]


# --- pad_sequences ---


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0, 0, 1], [0, 2, 3], [4, 5, 6], [0, 0, 0]]),
        ({"padding": "post"}, [[1, 0, 0], [2, 3, 0], [4, 5, 6], [0, 0, 0]]),
        ({"maxlen": 2}, [[0, 1], [2, 3], [5, 6], [0, 0]]),
        ({"maxlen": 2, "truncating": "post"}, [[0, 1], [2, 3], [4, 5], [0, 0]]),
        ({"maxlen": 4, "value": -1}, [[-1, -1, -1, 1], [-1, -1, 2, 3], [-1, 4, 5, 6], [-1] * 4]),
    ],
)
def test_lists_become_rows_of_one_length(options, expected):
    rows = pad_sequences(LISTS, **options)
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(rows, expected)


def test_elements_may_be_rows_and_texts():
    rows = pad_sequences([[[1, 2]], [[3, 4], [5, 6]]], dtype="float32")
    np.testing.assert_array_equal(rows, [[[0, 0], [1, 2]], [[3, 4], [5, 6]]])
    texts = pad_sequences([["a"], ["b", "c"]], dtype=object, value="")
    assert texts.tolist() == [["", "a"], ["b", "c"]]


def test_preprocessing_has_it_too():
    from cdl.preprocessing.sequence import pad_sequences as older

    assert older is pad_sequences


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: pad_sequences(3), "sequences must be a list of lists, got int"),
        (lambda: pad_sequences([1, 2]), "sequence 0 must be a list, got 1"),
        (lambda: pad_sequences([[1], [[2]]]), r"must have shape \(\), as in the first"),
        (lambda: pad_sequences(LISTS, padding="left"), "padding must be one of 'pre', 'post'"),
        (lambda: pad_sequences(LISTS, truncating="left"), "truncating must be one of"),
        (lambda: pad_sequences(LISTS, maxlen=0), "maxlen must be a positive int, got 0"),
        (
            lambda: pad_sequences(LISTS, value="a"),
            r"`dtype` int32 is not compatible with `value`'s type",
        ),
        (lambda: pad_sequences([]), "maxlen must be given"),
    ],
)
def test_bad_lists_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# --- normalize ---


@pytest.mark.parametrize("axis", [-1, 0, 1, 2])
@pytest.mark.parametrize("order", [1, 2, np.inf])
def test_normalized_lines_have_norm_1(axis, order):
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    norms = np.linalg.norm(normalize(x, axis, order), order, axis)
    np.testing.assert_allclose(norms, 1)


def test_zeros_stay_zeros_and_axes_are_checked():
    np.testing.assert_array_equal(normalize(np.array([[0, 0], [3, 4]])), [[0, 0], [0.6, 0.8]])
    with pytest.raises(ValueError, match="axis must be one of 2 axes of x, got 2"):
        normalize(np.ones((2, 2)), 2)
    with pytest.raises(ValueError, match="axis must be an int, got 'a'"):
        normalize(np.ones((2, 2)), "a")


def test_norms_and_classes_in_a_model_are_those_of_arrays():
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    classes = np.array([[0], [2], [1], [2], [0]])
    numbers, labels = cdl.Input((4,)), cdl.Input((1,), dtype="int32")
    model = cdl.Model([numbers, labels], [normalize(numbers, 1), to_categorical(labels, 3)])
    norms, rows = model.predict([x, classes], verbose=0)
    np.testing.assert_allclose(norms, normalize(x, 1), rtol=1e-5)
    np.testing.assert_array_equal(rows, to_categorical(classes, 3))


# --- split_dataset ---

ROWS = np.arange(10)


@pytest.mark.parametrize(
    ("sizes", "left", "right"),
    [
        ({"left_size": 0.8}, 8, 2),
        ({"left_size": 3}, 3, 7),
        ({"right_size": 0.25}, 8, 2),
        ({"left_size": 0.3, "right_size": 0.3}, 3, 3),
        ({"left_size": 2, "right_size": 0.5}, 2, 5),
    ],
)
def test_first_rows_go_left_and_last_rows_right(sizes, left, right):
    a, b = split_dataset(ROWS, **sizes)
    np.testing.assert_array_equal(a, ROWS[:left])
    np.testing.assert_array_equal(b, ROWS[10 - right :])


def test_arrays_are_split_alike_and_shuffled_alike():
    (x, y), (u, v) = split_dataset((ROWS, 2 * ROWS), 0.7, shuffle=True, seed=3)
    np.testing.assert_array_equal(2 * x, y)
    np.testing.assert_array_equal(2 * u, v)
    order = list(range(10))
    random.Random(3).shuffle(order)
    np.testing.assert_array_equal([*x, *u], order)
    assert type(split_dataset([ROWS, ROWS], 3)[0]) is list


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: split_dataset(ROWS), ValueError, "left_size or right_size must be given"),
        (lambda: split_dataset(3, 1), TypeError, "must be an array or a list of arrays, got int"),
        (lambda: split_dataset([], 1), ValueError, "must have at least one array"),
        (lambda: split_dataset([ROWS, ROWS[1:]], 1), ValueError, "must have the same length"),
        (lambda: split_dataset(ROWS, "a"), TypeError, "left_size must be an int, a float or None"),
        (lambda: split_dataset(ROWS, 10), ValueError, "left_size must be a number of rows below"),
        (lambda: split_dataset(ROWS, 1.5), ValueError, "a share between 0 and 1, got 1.5"),
        (lambda: split_dataset(ROWS, -1), ValueError, "left_size must be a number of rows"),
        (lambda: split_dataset(ROWS, 7, 7), ValueError, "together be at most 10 rows"),
        (lambda: split_dataset(ROWS, 0.01), ValueError, "the left part must not be empty"),
        (lambda: split_dataset(ROWS, 3, preferred_backend="torch"), ValueError, "must be None"),
    ],
)
def test_bad_splits_are_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


# --- timeseries_dataset_from_array ---


def test_windows_start_where_they_should():
    data = np.arange(99)
    batches = list(
        timeseries_dataset_from_array(
            data, None, 10, sampling_rate=2, sequence_stride=3, batch_size=5
        )
    )
    windows = np.concatenate(batches)
    assert [len(batch) for batch in batches] == [5] * 5 + [2]
    np.testing.assert_array_equal(windows[0], range(0, 20, 2))
    np.testing.assert_array_equal(windows[1], range(3, 23, 2))
    np.testing.assert_array_equal(windows[-1], range(78, 98, 2))
    assert windows.dtype == data.dtype


def test_targets_belong_to_the_starts_of_windows():
    data = np.arange(20.0).reshape(10, 2)
    ((x, y),) = timeseries_dataset_from_array(data[:-3], data[3:, 0], 3)
    assert x.shape == (5, 3, 2)
    np.testing.assert_array_equal(y, x[:, 2, 0] + 2)


def test_part_of_the_data():
    (x,) = timeseries_dataset_from_array(np.arange(20), None, 3, start_index=5, end_index=10)
    np.testing.assert_array_equal(x, [[5, 6, 7], [6, 7, 8], [7, 8, 9]])


def test_windows_one_by_one():
    dataset = timeseries_dataset_from_array(np.arange(5), np.arange(5), 2, batch_size=None)
    assert len(dataset) == 4
    assert [(list(x), int(y)) for x, y in dataset][1] == ([1, 2], 1)


def test_shuffled_windows_are_the_same_ones_in_a_new_order_each_time():
    def order(seed):
        dataset = timeseries_dataset_from_array(np.arange(30), None, 1, shuffle=True, seed=seed)
        return [np.concatenate(list(dataset))[:, 0].tolist() for _ in range(2)]

    first, second = order(3)
    assert sorted(first) == list(range(30))
    assert first != second
    assert order(3) == [first, second]


def test_windows_train_a_net():
    series = np.random.default_rng(0).normal(size=(60,)).astype(np.float32)
    model = net((1, "linear"))
    model.compile("sgd", "mse")
    windows = timeseries_dataset_from_array(series[:-5], series[5:], 5, batch_size=16)
    history = model.fit(windows, epochs=3, validation_data=windows, verbose=0)
    assert history.params["steps"] == 4
    assert len(history.history["val_loss"]) == 3


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sequence_length": 0}, "sequence_length must be a positive int, got 0"),
        ({"sampling_rate": 0}, "`sampling_rate` must be a positive int"),
        ({"sampling_rate": 99}, "`sampling_rate` must be lower than the length of the data, 20"),
        ({"sequence_stride": 20}, "`sequence_stride` must be lower than the length"),
        ({"start_index": -1}, "`start_index` must be from 0 to below the length"),
        ({"start_index": 20}, "`start_index` must be from 0"),
        ({"end_index": 20}, "`end_index` must be higher than 0 and lower than the length"),
        ({"start_index": 9, "end_index": 5}, "`end_index` must be higher than start_index=9"),
        ({"batch_size": 0}, "batch_size must be a positive int"),
        ({"format": "np"}, "`format` should be 'tf' or 'grain'"),
    ],
)
def test_bad_windows_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        timeseries_dataset_from_array(np.arange(20), None, **({"sequence_length": 3} | options))


# --- batches as tuples ---


def test_parts_of_a_batch():
    assert pack_x_y_sample_weight(1) == 1
    assert pack_x_y_sample_weight([1]) == ([1],)
    assert pack_x_y_sample_weight(1, 2) == (1, 2)
    assert pack_x_y_sample_weight(1, 2, 3) == (1, 2, 3)
    assert unpack_x_y_sample_weight(1) == (1, None, None)
    assert unpack_x_y_sample_weight((1,)) == (1, None, None)
    assert unpack_x_y_sample_weight([1, 2]) == (1, 2, None)
    assert unpack_x_y_sample_weight((1, 2, 3)) == (1, 2, 3)
    with pytest.raises(ValueError, match="got a tuple of 4"):
        unpack_x_y_sample_weight((1, 2, 3, 4))


# --- settings that steer runs ---


@pytest.fixture
def limits():
    yield
    config.set_max_epochs(None)
    config.set_max_steps_per_epoch(None)
    config.enable_interactive_logging()
    config.enable_traceback_filtering()


def test_limits_cut_runs_short(limits):
    x = np.ones((16, 5))
    model = net((1, "linear"))
    model.compile("sgd", "mse")
    config.set_max_epochs(2)
    config.set_max_steps_per_epoch(2)
    assert (config.max_epochs(), config.max_steps_per_epoch()) == (2, 2)
    with pytest.warns(UserWarning, match="Limiting") as caught:
        history = model.fit(x, x[:, 0], batch_size=4, epochs=5, verbose=0)
    assert [str(each.message) for each in caught] == [
        "Limiting epochs to 2",
        "Limiting steps_per_epoch to 2",
    ]
    assert history.epoch == [0, 1]
    assert history.params["steps"] == 2
    with pytest.warns(UserWarning, match="Limiting steps_per_epoch to 2"):
        assert model.predict(x, batch_size=4, verbose=0, callbacks=[]).shape == (8, 1)
    for setting in (config.set_max_epochs, config.set_max_steps_per_epoch):
        with pytest.raises(ValueError, match="must be a positive int or None, got -1"):
            setting(-1)


def test_output_for_a_log(limits, capsys):
    config.disable_interactive_logging()
    assert not config.is_interactive_logging_enabled()
    model = net((1, "linear"))
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 5)), np.ones(4), epochs=2)
    assert capsys.readouterr().out.startswith("Epoch 1/2 - 1/1 - ")


def test_other_settings(limits):
    config.disable_traceback_filtering()
    assert not config.is_traceback_filtering_enabled()
    assert config.dtype_policy().name == "float32"
    config.set_backend("cdl")
    for call in (
        lambda: config.set_backend("jax"),
        config.enable_unsafe_deserialization,
    ):
        with pytest.raises(ValueError, match="cdl"):
            call()


@pytest.mark.parametrize("name", ["cpu", "cpu:0", "CPU:1", "/CPU:0", "/device:CPU:0"])
def test_device_is_the_cpu(name):
    with cdl.device(name):
        assert cdl.layers.Dense(2)(np.ones((1, 3))).shape == (1, 2)


@pytest.mark.parametrize("name", ["gpu", "/GPU:0", "cpus", "", None])
def test_other_devices_are_refused(name):
    with pytest.raises(ValueError, match="device_name must be 'cpu', cdl's only one, got"):
        cdl.device(name).__enter__()


def test_policies_by_their_older_names():
    assert cdl.mixed_precision.global_policy() == cdl.mixed_precision.Policy("float32")
    cdl.mixed_precision.set_global_policy("mixed_float16")
    try:
        assert config.dtype_policy().name == "mixed_float16"
    finally:
        cdl.mixed_precision.set_global_policy("float32")
