"""Odd but valid arrays give the very bits of the plain float32 array."""

import numpy as np
import pytest
from trainers.nets import net

RNG = np.random.default_rng(0)
# Whole numbers up to 100: every dtype below holds them exactly.
X = RNG.integers(0, 100, (40, 5)).astype(np.float32)
LABELS = RNG.integers(0, 3, 40)
WEIGHTS = RNG.integers(1, 4, 40).astype(np.float32)


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


def every_second(array):
    wide = np.zeros([2 * n for n in array.shape], array.dtype)
    view = wide[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def big_endian(array):
    return array.astype(array.dtype.newbyteorder(">"))


FORMS = {
    "float16": lambda a: a.astype(np.float16),
    "float64": lambda a: a.astype(np.float64),
    "longdouble": lambda a: a.astype(np.longdouble),
    "int8": lambda a: a.astype(np.int8),
    "uint8": lambda a: a.astype(np.uint8),
    "uint16": lambda a: a.astype(np.uint16),
    "int32": lambda a: a.astype(np.int32),
    "int64": lambda a: a.astype(np.int64),
    "uint64": lambda a: a.astype(np.uint64),
    "object": lambda a: a.astype(object),
    "big_float64": lambda a: big_endian(a.astype(np.float64)),
    "big_float16": lambda a: big_endian(a.astype(np.float16)),
    "big_int32": lambda a: big_endian(a.astype(np.int32)),
    "fortran": np.asfortranarray,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "reversed_columns": lambda a: a[..., ::-1].copy()[..., ::-1],
    "every_second": every_second,
    "read_only": read_only,
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(map(tuple, a.tolist())) if a.ndim == 2 else tuple(a.tolist()),
    "masked": np.ma.array,
    "memoryview": memoryview,
}


def outcome(x, labels, weights):
    """All that can be seen of a fit, an evaluation and a prediction."""
    model = net((6, "relu"), (3, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    np.random.seed(0)
    logs = model.fit(
        x, labels, batch_size=7, epochs=2, sample_weight=weights, verbose=0, validation_split=0.2
    ).history
    batch = model.train_on_batch(x, labels)
    values = model.evaluate(x, labels, verbose=0)
    return [*logs.values(), batch, values, model.predict(x, verbose=0), *model.get_weights()]


EXPECTED = outcome(X, LABELS, WEIGHTS)


def check(x=X, labels=LABELS, weights=WEIGHTS):
    for ours, plain in zip(outcome(x, labels, weights), EXPECTED, strict=True):
        assert np.array_equal(ours, plain)


@pytest.mark.parametrize("form", FORMS)
def test_x_in_any_form_gives_the_same_bits(form):
    check(x=FORMS[form](X))


@pytest.mark.parametrize("form", FORMS)
def test_labels_in_any_form_give_the_same_bits(form):
    if form != "reversed_columns":
        check(labels=FORMS[form](LABELS))
    check(labels=FORMS[form](LABELS[:, None]))


@pytest.mark.parametrize("form", FORMS)
def test_weights_in_any_form_give_the_same_bits(form):
    check(weights=FORMS[form](WEIGHTS[:, None]))


def test_bool_is_0_and_1():
    model = net((3, "softmax"))
    assert np.array_equal(
        model.predict(X > 50, verbose=0), model.predict((X > 50).astype(np.float32), verbose=0)
    )


def test_memmap_gives_the_same_bits(tmp_path):
    memmap = np.memmap(tmp_path / "x", np.float64, "w+", shape=X.shape)
    memmap[:] = X
    check(x=memmap)


def test_broadcast_view_is_one_row_many_times():
    model = net((3, "softmax"))
    rows = model.predict(np.broadcast_to(X[:1], (40, 5)), verbose=0)
    assert np.array_equal(rows, model.predict(np.repeat(X[:1], 40, axis=0), verbose=0))


def test_frames_give_the_same_bits():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X.astype(np.float64), index=np.arange(40)[::-1])
    check(x=frame, labels=pd.Series(LABELS, index=np.arange(40)), weights=pd.Series(WEIGHTS))
    mixed = frame.astype({0: "int64", 1: "Int16", 2: "float32", 3: "uint8"})
    check(x=mixed, labels=pd.DataFrame({"y": LABELS}))


@pytest.mark.parametrize("shape", [(40, 5, 1), (40, 5)])
def test_axis_of_length_1_at_the_end_may_be_there_or_not(shape):
    check(x=X.reshape(shape))


def test_list_of_the_one_array_is_the_array():
    check(x=[X], labels=[LABELS[:, None]])


@pytest.mark.parametrize("shape", [(40,), (40, 1), (40, 1, 1)])
def test_targets_of_one_column_have_any_rank(shape):
    y = X[:, 0]
    losses = []
    for target in (y[:, None], y.reshape(shape)):
        model = net((4, "relu"), (1, "linear"))
        model.compile("sgd", "mse", metrics=["mae"])
        losses.append(model.evaluate(X, target, verbose=0))
    assert losses[0] == losses[1]


def test_single_column_may_be_one_axis():
    model = net((4, "relu"), (1, "linear"), inputs=1)
    assert np.array_equal(model.predict(X[:, 0], verbose=0), model.predict(X[:, :1], verbose=0))


@pytest.mark.measures
@pytest.mark.parametrize("dtype", [np.float32, ">f8", np.int64])
def test_data_are_never_copied_whole(dtype):
    import resource

    row = np.arange(100).astype(dtype)
    wide = np.broadcast_to(row, (2_000_000, 100))  # 0.8 or 1.6 GB, if it were there
    model = net((3, "softmax"), inputs=100)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    y = np.zeros(len(wide), np.int8)
    model.fit(wide[:99], y[:99], verbose=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.fit(wide, y, steps_per_epoch=9, batch_size=32, validation_split=0.5, validation_steps=2)
    model.predict(wide, 32, steps=3)
    model.evaluate(wide, y, steps=3, batch_size=32, verbose=0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
