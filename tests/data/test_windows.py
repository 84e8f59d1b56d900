"""Tables and arrays that are read in windows: rows, their order, memory."""

import subprocess
import sys
import textwrap
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.larger_than_memory import ROWS, SOURCES, h5, net, numbers, parquet, small_windows

import cdl
from cdl.data import chunked, windows
from cdl.data.tables import Table
from cdl.data.windows import Window

small = pytest.fixture(autouse=True)(small_windows)


@pytest.fixture(params=SOURCES)
def source(request, tmp_path):
    return SOURCES[request.param](tmp_path, *numbers())


def test_results_are_those_of_arrays(source):
    x, y = numbers()
    plain, model = net(), net()
    options = {"batch_size": 16, "epochs": 3, "verbose": 0, "shuffle": False}
    wanted = plain.fit(x, y, **options, validation_data=(x, y)).history
    found = model.fit(*source, **options, validation_data=source).history
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=name)
    for one, other in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(model.predict(source[0], verbose=0), plain.predict(x, verbose=0))
    assert model.evaluate(*source, verbose=0) == pytest.approx(plain.evaluate(x, y, verbose=0))


def order_taken(source, epochs=1, **options):
    """The first numbers of the rows that an epoch trained on, batch by batch."""
    seen = []

    class Watch(cdl.Model):
        def __init__(self):
            super().__init__()
            self.layer = cdl.layers.Dense(1)

        def call(self, x):
            return self.layer(x)

        def train_step(self, data):
            seen.append(np.array(data[0])[:, 0])
            return {"loss": 0.0}

    cdl.utils.set_random_seed(5)
    model = Watch()
    model.compile("sgd", "mse")
    model.fit(*source, batch_size=16, epochs=epochs, verbose=0, **options)
    return seen


def counted(path, kind):
    """A source whose first column counts its rows."""
    x = np.zeros((ROWS, 3), np.float32)
    x[:, 0] = np.arange(ROWS)
    return SOURCES[kind](path, x, x[:, 1])


@pytest.mark.parametrize("kind", SOURCES)
def test_each_row_comes_once_an_epoch_in_whole_batches(tmp_path, kind):
    seen = order_taken(counted(tmp_path, kind), epochs=2)
    assert [len(each) for each in seen] == ([16] * 62 + [8]) * 2
    for epoch in (seen[:63], seen[63:]):
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(ROWS))
    assert not np.array_equal(np.concatenate(seen[:63]), np.concatenate(seen[63:]))


@pytest.mark.parametrize("kind", ["Parquet", "HDF5", "Zarr", "Hugging Face"])
def test_a_seed_gives_the_order_of_rows(tmp_path, kind):
    source = counted(tmp_path, kind)
    np.testing.assert_array_equal(
        np.concatenate(order_taken(source, 2)), np.concatenate(order_taken(source, 2))
    )


@pytest.mark.parametrize("kind", ["Parquet", "HDF5", "Zarr", "Hugging Face"])
def test_a_batch_mixes_rows_of_distant_places(tmp_path, kind):
    """16 rows out of 128 of several blocks: drawn at random they spread over 1000 rows by 290."""
    spread = [np.std(each) for each in order_taken(counted(tmp_path, kind))]
    assert np.mean(spread) > 150


def test_what_comes_in_one_stream_is_mixed_in_windows(tmp_path):
    rows = np.concatenate(order_taken(counted(tmp_path, "lazy")))
    for at in range(0, ROWS, 128):
        window = rows[at : at + 128]
        np.testing.assert_array_equal(np.sort(window), np.arange(at, min(ROWS, at + 128)))
        assert not np.array_equal(window, np.sort(window))


def test_shuffle_batch_keeps_batches_together(tmp_path):
    seen = order_taken(counted(tmp_path, "Parquet"), shuffle="batch")
    for number, batch in enumerate(seen):
        np.testing.assert_array_equal(
            np.sort(batch), np.arange(16 * number, 16 * number + len(batch))
        )
    assert any(not np.array_equal(each, np.sort(each)) for each in seen)


def test_rows_of_one_window_are_read_once(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "WINDOW", 1 << 20)
    read = []
    original = Table.read
    monkeypatch.setattr(Table, "read", lambda self, block: read.append(1) or original(self, block))
    source = counted(tmp_path, "Parquet")
    seen = order_taken(source, epochs=3)
    assert len(read) == 6  # row groups
    assert len(seen) == 3 * 63
    assert not np.array_equal(np.concatenate(seen[:63]), np.concatenate(seen[63:126]))


def test_steps_go_on_where_the_last_epoch_stopped(tmp_path):
    seen = order_taken(counted(tmp_path, "HDF5"), epochs=2, steps_per_epoch=30)
    assert len(seen) == 60
    assert len(np.unique(np.concatenate(seen))) == 60 * 16


def test_the_last_rows_of_an_array_validate(tmp_path):
    x, y = numbers()
    source = h5(tmp_path / "t.h5", x, y)
    options = {"validation_split": 0.25, "shuffle": False, "epochs": 2, "verbose": 0}
    found, wanted = net().fit(*source, **options), net().fit(x, y, **options)
    for name, values in wanted.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=1e-6)
    with pytest.raises(ValueError, match="give validation_data=\\(table, y\\)"):
        net().fit(parquet(tmp_path / "t", x, y), "price", validation_split=0.25, verbose=0)


def test_an_interrupted_training_goes_on_as_it_would_have(tmp_path):
    source = parquet(tmp_path / "t", *numbers())

    class Break(cdl.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def run(*callbacks):
        model = net()
        backup = cdl.callbacks.BackupAndRestore(tmp_path / f"backup{len(callbacks)}")
        model.fit(source, "price", epochs=4, verbose=0, callbacks=[backup, *callbacks])
        return model.get_weights()

    wanted = run()
    with pytest.raises(KeyboardInterrupt):
        run(Break())
    (tmp_path / "backup1").rename(tmp_path / "backup0")
    cdl.utils.set_random_seed(99)
    for one, other in zip(run(), wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_small_arrays_of_files_are_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(chunked, "LARGE", 250_000_000)
    x, y = numbers()
    found = net().fit(*h5(tmp_path / "t.h5", x, y), epochs=2, verbose=0)
    assert found.history == net().fit(x, y, epochs=2, verbose=0).history


def test_windows_are_whole_batches(tmp_path):
    x, y = numbers()
    table = Table(parquet(tmp_path / "t", x, y), "price", None, "fit")
    found = list(windows.windows(table, 16, False, np.random.RandomState(0)))
    assert all(isinstance(each, Window) for each in found)
    assert [len(each.arrays[0]) for each in found] == [128] * 7 + [104]
    assert [each.last for each in found] == [False] * 7 + [True]


@pytest.mark.measures
def test_memory_stays_flat(tmp_path):
    """Two epochs of 400 MB of Parquet take 320 MB beside those of the libraries."""
    rng = np.random.default_rng(0)
    columns = {f"c{j}": rng.random(1 << 18, np.float32) for j in range(50)}
    with pq.ParquetWriter(tmp_path / "t", pa.table(columns).schema, use_dictionary=False) as file:
        for _ in range(8):
            file.write_table(pa.table(columns))
    code = textwrap.dedent("""
        import resource, sys
        import cdl, pyarrow.dataset as ds, pyarrow.parquet
        model = cdl.Sequential([cdl.Input((49,)), cdl.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.predict([[0.0] * 49], verbose=0)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        model.fit(ds.dataset(sys.argv[1]), "c0", batch_size=512, epochs=2, verbose=0)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """)
    run = [sys.executable, "-c", code, str(tmp_path / "t")]
    out = subprocess.run(run, capture_output=True, text=True, check=True)
    assert float(out.stdout) < 320


def test_the_number_of_batches_is_known_without_reading_all(tmp_path):
    class Steps(cdl.callbacks.Callback):
        def on_train_begin(self, logs=None):
            found.append(self.params["steps"])

    found = []
    for kind in ("Parquet", "IPC", "in memory", "HDF5", "Hugging Face", "CSV"):
        (tmp_path / kind).mkdir()
        source = SOURCES[kind](tmp_path / kind, *numbers())
        net().fit(*source, batch_size=16, verbose=0, callbacks=[Steps()])
    assert found == [63] * 5 + [None]


def test_a_file_that_breaks_off_is_an_error_and_leaves_no_thread(tmp_path, monkeypatch):
    x, y = numbers()
    source = h5(tmp_path / "t.h5", x, y)
    monkeypatch.setattr("cdl.data.ahead._SLOW", 0.0)  # so that a thread reads

    class Broken:
        shape, dtype, chunks = source[0].shape, source[0].dtype, source[0].chunks

        def __getitem__(self, rows):
            if rows.start > 500:
                raise OSError("the disk is gone")
            return source[0][rows]

    before = set(threading.enumerate())
    with pytest.raises(OSError, match="the disk is gone"):
        net().fit(Broken(), y, shuffle=False, verbose=0)
    with pytest.raises(ValueError, match="to fit the model's input"):
        model = cdl.Sequential([cdl.Input((7,)), cdl.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(source[0], y, verbose=0)
    assert not set(threading.enumerate()) - before


def test_several_inputs_may_be_arrays_of_files_and_of_memory(tmp_path):
    x, y = numbers()
    file = h5(tmp_path / "t.h5", x, y)

    def trained(a, b, target):
        cdl.utils.set_random_seed(0)
        inputs = {"a": cdl.Input((3,), name="a"), "b": cdl.Input((1,), name="b")}
        out = cdl.layers.Dense(1)(cdl.layers.Concatenate()(list(inputs.values())))
        model = cdl.Model(inputs, out)
        model.compile("adam", "mse")
        model.fit({"a": a, "b": b}, target, shuffle=False, verbose=0)
        return model.get_weights()[0]

    np.testing.assert_array_equal(trained(file[0], y[:, None], file[1]), trained(x, y[:, None], y))
    with pytest.raises(ValueError, match="as many rows"):
        net().fit(file[0], y[:10], verbose=0)


@pytest.mark.parametrize("kind", ["Parquet", "lazy"])
def test_predictions_of_some_steps_and_a_step_of_ones_own(tmp_path, kind):
    x, y = numbers()
    source = SOURCES[kind](tmp_path, x, y)
    model = net()
    model.fit(*source, verbose=0)
    found = model.predict(source[0], batch_size=16, steps=20, verbose=0)
    np.testing.assert_array_equal(found, model.predict(x[:320], verbose=0))

    class Twice(cdl.Sequential):
        def predict_step(self, data):
            return 2 * np.asarray(self(data[0] if isinstance(data, tuple) else data))

    twice = Twice([cdl.layers.Dense(1)])
    twice.compile("sgd", "mse")
    twice.fit(*source, verbose=0)
    found = twice.predict(source[0], batch_size=16, verbose=0)
    np.testing.assert_allclose(found, 2 * np.asarray(twice(x)), rtol=1e-5, atol=1e-6)
