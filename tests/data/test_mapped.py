"""Arrays in files larger than memory: what was read does not stay."""

import sys

import numpy as np
import pytest

import cdl
from cdl.data import mapped
from cdl.data.mapped import Mapped
from cdl.trainers import epoch_iterator


@pytest.fixture
def sparse_file(tmp_path):
    """A file of 256 MB that takes no place on the disk."""
    path = tmp_path / "rows"
    with open(path, "wb") as file:
        file.truncate(1 << 28)
    return path


def rows_of(path, mode="r", columns=1024):
    return np.memmap(path, np.uint8, mode, shape=((1 << 28) // columns, columns))


def test_views_of_large_files_are_found(sparse_file):
    rows = rows_of(sparse_file)
    for array in (rows, rows[10:], rows[:, None, ::2], np.asarray(rows), rows.view(np.int8).T):
        assert Mapped([array])
        assert len(Mapped([array, rows])._files) == 1


def test_what_cannot_or_need_not_be_read_again_is_left_alone(sparse_file, tmp_path):
    small = np.memmap(tmp_path / "small", np.uint8, "w+", shape=(1000, 10))
    private = rows_of(sparse_file, "c")
    for array in (np.zeros((10, 10)), small, private, [1, 2], None):
        assert not Mapped([array])


@pytest.mark.skipif(sys.platform != "linux", reason="resident pages are counted by /proc")
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_what_was_read_is_given_back_and_there_again(sparse_file, mode):
    rows = rows_of(sparse_file, mode)
    if mode == "r+":
        rows[7] = 7
    files = Mapped([rows])
    assert rows[:, 0].sum() == (7 if mode == "r+" else 0)
    full = mapped._resident()
    files.trim()
    assert mapped._resident() < full - 200_000_000
    assert rows[7].sum() == (7 * 1024 if mode == "r+" else 0)
    files.close()


def test_results_are_those_of_memory(sparse_file):
    rows = rows_of(sparse_file, "r+", 1 << 16)
    rows[:, :4] = np.random.default_rng(0).integers(0, 256, (len(rows), 4), np.uint8)
    y = np.arange(len(rows)) % 2
    found = []
    for x in (rows[:512, :4], np.array(rows[:512, :4])):
        cdl.utils.set_random_seed(0)
        model = cdl.Sequential([cdl.Input((4,)), cdl.layers.Dense(1, "sigmoid")])
        model.compile("adam", "binary_crossentropy")
        logs = model.fit(x, y[:512], epochs=2, verbose=0, validation_split=0.25).history
        found.append((logs, model.evaluate(x, y[:512], verbose=0), model.predict(x, verbose=0)))
    assert found[0][:2] == found[1][:2]
    np.testing.assert_array_equal(found[0][2], found[1][2])


class Watch(cdl.callbacks.Callback):
    """A callback on batches, so that training returns to Python after each."""

    def __init__(self):
        super().__init__()
        self.logs = []

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append(logs)


@pytest.mark.parametrize("options", [{}, {"steps_per_epoch": 3}, {"shuffle": "batch"}], ids=str)
def test_rows_that_are_fetched_together_train_as_those_of_memory(options, tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "_LARGE", 1000)
    monkeypatch.setattr(mapped, "_SEGMENT", 500)
    monkeypatch.setattr(epoch_iterator, "FETCHED", 32 * 3 * 8)
    rng = np.random.default_rng(0)
    file = np.memmap(tmp_path / "x", np.float32, "w+", shape=(210, 5))
    file[:] = rng.normal(size=file.shape)
    y, weight = rng.integers(0, 3, 210), rng.random(210)
    found = []
    for x in (file[:, 1:], np.array(file[:, 1:])):
        cdl.utils.set_random_seed(0)
        model = cdl.Sequential(
            [cdl.Input((4,)), cdl.layers.Dropout(0.2), cdl.layers.Dense(3, "softmax")]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        watch = Watch()
        for watchers in ([], [watch]):
            fitted = model.fit(
                x,
                y,
                batch_size=32,
                epochs=3,
                sample_weight=weight,
                validation_split=0.1,
                callbacks=watchers,
                verbose=0,
                **options,
            )
        found.append((fitted.history, watch.logs, model.predict(np.array(x), verbose=0).tolist()))
    assert found[0] == found[1]


EPOCH = """if True:
    import resource, sys
    import numpy as np
    import cdl
    rows = 600_000
    with open("rows", "wb") as file:  # 470 MB that are in the system's cache, in large pieces
        for _ in range(20):
            file.write(bytes(rows * 784 // 20))
    x, y = np.memmap("rows", np.uint8, "r", shape=(rows, 784)), np.zeros(rows, np.uint8)
    model = cdl.Sequential([cdl.Input((784,)), cdl.layers.Dense(4), cdl.layers.Dense(2, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    model.fit(x[:1000], y[:1000], batch_size=512, verbose=0)
    before = peak()
    {call}
    print(peak() - before)
    """
CALLS = {
    "in order": "model.fit(x, y, batch_size=512, shuffle=False, verbose=0)",
    "shuffled": "model.fit(x, y, batch_size=512, verbose=0)",
    "shuffled in large batches": "model.fit(x, y, batch_size=8192, verbose=0)",
    "evaluate": "model.evaluate(x, y, batch_size=512, verbose=0)",
    "predict": "model.predict(x, verbose=0)",
}


@pytest.mark.measures
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as on Linux")
@pytest.mark.parametrize("name", CALLS)
def test_a_file_passes_through_a_part_of_its_size(run_python, name):
    grown = float(run_python(EPOCH.format(call=CALLS[name])).stdout)
    assert grown < 300
