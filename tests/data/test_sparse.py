"""SciPy's sparse matrices as x: the results of dense rows, without the rows."""

import numpy as np
import pytest

import cdl
from cdl.data import as_numeric, as_rows
from cdl.layers import Dense, Flatten, Input, Reshape
from cdl.models import Sequential

sparse = pytest.importorskip("scipy.sparse")

rng = np.random.default_rng(0)
DENSE = rng.standard_normal((103, 37)).astype(np.float32)
DENSE[rng.random(DENSE.shape) < 0.8] = 0
Y = rng.standard_normal((103, 2)).astype(np.float32)
FORMATS = {
    "csr_matrix": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc_matrix": sparse.csc_matrix,
    "csc_array": sparse.csc_array,
    "coo_array": sparse.coo_array,
    "lil_matrix": sparse.lil_matrix,
    "bsr_matrix": sparse.bsr_matrix,
    "float64": lambda dense: sparse.csr_array(dense.astype(np.float64)),
}


def model(reshaped=False):
    cdl.utils.set_random_seed(1)
    layers = [Dense(16, "relu"), Dense(2)]
    if reshaped:
        layers = [Reshape((37, 1)), Dense(2, "relu"), Flatten(), Dense(2)]
    made = Sequential([Input((37,)), *layers])
    made.compile("adam", "mse", metrics=["mae"])
    return made


def results(x, reshaped=False):
    net = model(reshaped)
    history = net.fit(x, Y, epochs=2, batch_size=16, verbose=0, validation_split=0.2).history
    scores = net.evaluate(x, Y, verbose=0)
    scores += net.train_on_batch(x, Y) + net.test_on_batch(x, Y)
    return history, scores, net.predict(x, verbose=0), net(x), net.predict(x, steps=2, verbose=0)


@pytest.mark.parametrize("reshaped", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_the_results_are_those_of_dense_rows(name, reshaped):
    history, scores, *outputs = results(DENSE, reshaped)
    found = results(FORMATS[name](DENSE), reshaped)
    assert found[0] == history
    assert found[1] == scores
    for mine, its in zip(found[2:], outputs, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_csr_is_not_copied():
    matrix = sparse.csr_array(DENSE)
    rows = as_rows(matrix, "x")
    assert np.shares_memory(rows.values, matrix.data)
    assert np.shares_memory(rows.columns, matrix.indices)


def test_batches_of_a_generator_may_be_sparse():
    def batches():
        for start in range(0, 96, 32):
            yield sparse.csr_array(DENSE[start : start + 32]), Y[start : start + 32]

    history = model().fit(batches(), verbose=0, steps_per_epoch=3)
    assert np.isfinite(history.history["loss"][0])


def test_validation_data_may_be_sparse():
    x = sparse.csr_array(DENSE)
    history = model().fit(x, Y, validation_data=(x, Y), verbose=0).history
    assert np.isfinite(history["val_loss"][0])


def unsound(change):
    matrix = sparse.csr_array(DENSE)
    change(matrix)
    return matrix


def set_to(name, at, value):
    def change(matrix):
        getattr(matrix, name)[at] = value

    return change


REFUSED = {
    "complex": (sparse.csr_array(DENSE.astype(complex)), "must hold real numbers"),
    "column too large": (unsound(set_to("indices", 3, 37)), "sound sparse matrix"),
    "column below 0": (unsound(set_to("indices", 3, -1)), "sound sparse matrix"),
    "rows that go back": (unsound(set_to("indptr", 5, 10**6)), "sound sparse matrix"),
    "rows beyond the end": (unsound(set_to("indptr", -1, 10**6)), "sound sparse matrix"),
    "other columns": (sparse.csr_array(DENSE[:, :36]), r"must have shape \(n, 37\)"),
    "other rows": (sparse.csr_array(DENSE[:50]), "as many rows as x"),
    "no rows": (sparse.csr_array((0, 37)), "(at least one row|as many rows)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_sound_matrix_is_refused(name):
    x, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        model().fit(x, Y, verbose=0)


def test_targets_and_weights_must_be_dense():
    with pytest.raises(TypeError, match="y must be dense, got a sparse csr_array"):
        model().fit(DENSE, sparse.csr_array(Y), verbose=0)
    with pytest.raises(TypeError, match=r"sample_weight must be dense.*toarray"):
        model().fit(DENSE, Y, sample_weight=sparse.csr_array(Y[:, :1]), verbose=0)
    with pytest.raises(TypeError, match="must be dense"):
        as_numeric(sparse.csr_array(DENSE), "x")


WIDE = """if True:
    import resource, sys
    import numpy as np, scipy.sparse
    import cdl
    rows = columns = 30_000  # dense: 3.6 GB
    x = scipy.sparse.random_array((rows, columns), density=1e-4, format={format!r}, rng=0)
    y = np.asarray(x.sum(axis=1)).reshape(rows, 1)
    model = cdl.Sequential([cdl.Input((columns,)), cdl.layers.Dense(4), cdl.layers.Dense(1)])
    model.compile("sgd", "mse")
    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    before = peak()
    model.fit(x, y, batch_size=64, verbose=0)
    model.predict(x, verbose=0)
    print(peak() - before)
    """


@pytest.mark.measures
@pytest.mark.parametrize("format", ["csr", "csc"])
def test_rows_are_never_dense_all_at_once(run_python, format):
    grown = float(run_python(WIDE.format(format=format)).stdout)
    # Batches of 64 rows, and blocks of 256 for predictions, are some 40 MB.
    assert grown < 150
