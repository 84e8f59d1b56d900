"""The columns of tables that need not fit into memory: which are x, y and weights, and as what."""

import subprocess
import sys
import textwrap

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from data.larger_than_memory import (
    ROWS,
    arrow_table,
    datasets,
    net,
    numbers,
    parquet,
    small_windows,
)

import cdl

small = pytest.fixture(autouse=True)(small_windows)


def test_a_reader_is_read_once():
    x, y = numbers()
    reader = arrow_table(x, y).to_reader(max_chunksize=100)
    model = net()
    with pytest.raises(ValueError, match=r"fit: x ended after 1 epochs: it can be read only once"):
        model.fit(reader, "price", epochs=2, verbose=0)
    model = net()
    model.fit(arrow_table(x, y).to_reader(max_chunksize=100), "price", verbose=0)
    found = model.predict(arrow_table(x, y).drop_columns("price").to_reader(), verbose=0)
    np.testing.assert_array_equal(found, model.predict(x, verbose=0))


def test_weights_and_classes_count(tmp_path):
    x, y = numbers()
    table = arrow_table(x, (y > 0).astype(np.int64)).append_column("w", pa.array(np.abs(y)))
    pq.write_table(table, tmp_path / "t")
    given = ds.dataset(tmp_path / "t")

    def trained(*data, **options):
        model = net()
        model.compile("adam", "binary_crossentropy")
        model.fit(*data, **options, shuffle=False, verbose=0)
        return model.get_weights()

    classes = {0: 1.0, 1: 3.0}
    pairs = [
        (trained(given, "price", sample_weight="w"), trained(x, y > 0, sample_weight=np.abs(y))),
    ]
    narrow = ds.dataset(given.to_table().drop_columns("w"))
    pairs.append(
        (
            trained(narrow, "price", class_weight=classes),
            trained(x, y > 0, class_weight=classes),
        )
    )
    for found, wanted in pairs:
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_several_inputs_and_outputs_are_columns_by_their_names():
    x, y = numbers()
    table = pa.table({"a": x[:, 0], "n": x[:, 1], "up": y, "down": -y, "text": ["t"] * ROWS})
    inputs = [cdl.Input((1,), name="n"), cdl.Input((1,), name="a")]
    joined = cdl.layers.Concatenate()(inputs)
    outputs = {name: cdl.layers.Dense(1, name=name)(joined) for name in ("up", "down")}
    model = cdl.Model(inputs, outputs)
    model.compile("adam", "mse")
    start = model.get_weights()
    model.fit(ds.dataset(table), {"up": "up", "down": "down"}, shuffle=False, verbose=0)
    found = model.get_weights()
    model.set_weights(start)
    model.compile("adam", "mse")
    model.fit({"a": x[:, 0], "n": x[:, 1]}, {"up": y, "down": -y}, shuffle=False, verbose=0)
    for one, other in zip(found, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert model.predict(ds.dataset(table), verbose=0)["up"].shape == (ROWS, 1)


@pytest.mark.parametrize("kind", ["fixed", "lists", "polars", "polars lists", "Hugging Face"])
def test_lists_of_one_length_are_axes(kind):
    x = np.arange(ROWS * 6.0).reshape(ROWS, 2, 3).astype(np.float32) / ROWS
    y = x.sum((1, 2))
    if kind == "fixed":
        inner = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 3)
        given = ds.dataset(pa.table({"x": pa.FixedSizeListArray.from_arrays(inner, 2), "y": y}))
    elif kind == "lists":
        given = ds.dataset(pa.table({"x": x.tolist(), "y": y}))
    elif kind.startswith("polars"):
        x = x[:, 0]
        frame = pl.DataFrame({"x": pl.Series(x), "y": y})
        if kind == "polars lists":
            frame = frame.with_columns(pl.col("x").arr.to_list())
        given = frame.lazy()
    else:
        features = datasets.Features(
            {"x": datasets.Array2D((2, 3), "float32"), "y": datasets.Value("float32")}
        )
        given = datasets.Dataset.from_dict({"x": x, "y": y}, features=features)
    models = []
    for data in ((given, "y"), (x, y)):
        cdl.utils.set_random_seed(0)
        model = cdl.Sequential([cdl.layers.Flatten(), cdl.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(*data, shuffle=False, verbose=0)
        models.append(model.get_weights())
    for one, other in zip(*models, strict=True):
        np.testing.assert_array_equal(one, other)


def test_files_of_several_types_are_read_as_their_data_set_has_them(tmp_path):
    x, y = numbers()
    labels = (y > 0).astype(np.int64)
    for i, dtype in enumerate((np.int64, np.int32)):
        half = slice(i * ROWS // 2, (i + 1) * ROWS // 2)
        table = arrow_table(x[half], labels[half].astype(dtype))
        pq.write_table(table.append_column("list", pa.array(x[half].tolist())), tmp_path / f"{i}")
    given = ds.dataset(tmp_path)
    found, wanted = net(), net()
    schema = pa.schema([given.schema.field("list"), given.schema.field("price")])
    found.fit(given.replace_schema(schema), "price", shuffle=False, verbose=0)
    wanted.fit(x, labels, shuffle=False, verbose=0)
    for one, other in zip(found.get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_partitions_are_columns(tmp_path):
    x, y = numbers()
    table = arrow_table(x, y).append_column("year", pa.array(2020 + (x[:, 0] > 0)))
    ds.write_dataset(
        table, tmp_path, format="parquet", partitioning=["year"], partitioning_flavor="hive"
    )
    given = ds.dataset(tmp_path, partitioning="hive")
    model = net()
    model.fit(given, "price", verbose=0)
    assert model.predict(given, verbose=0).shape == (ROWS, 1)
    assert model.layers[0].kernel.shape == (4, 4)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_columns_of_frames_are_given_by_name(library):
    x, y = numbers()
    table = arrow_table(x, y)
    frame = {"pandas": table.to_pandas, "polars": lambda: pl.from_arrow(table)}.get(
        library, lambda: table
    )()
    options = {"epochs": 2, "verbose": 0, "validation_split": 0.2}
    found, wanted = net().fit(frame, "price", **options), net().fit(x, y, **options)
    assert found.history == wanted.history


def test_texts_are_columns_too():
    words = np.array(["good", "bad", "fine", "poor"])
    labels = np.arange(ROWS) % 2
    table = pa.table({"text": words[np.arange(ROWS) % 4], "label": labels})
    vectorize = cdl.layers.TextVectorization(output_mode="multi_hot")
    vectorize.adapt(words)
    model = cdl.Sequential([vectorize, cdl.layers.Dense(1, "sigmoid")])
    model.compile(cdl.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(ds.dataset(table), "label", epochs=10, verbose=0).history
    assert history["accuracy"][-1] > 0.9


@pytest.mark.parametrize(
    ("change", "y", "words"),
    [
        ({}, "prize", r"fit: y must name columns of the table, got \['prize'\] of \['a', 'b', 'c'"),
        ({}, None, "fit: y must be given for the loss"),
        ({}, np.zeros(ROWS), "fit: y must name columns of x, a FileSystemDataset, got an array"),
        ({"a": ["x"] * ROWS}, "price", "fit: x must have columns of real numbers, got 'a'"),
        ({"b": [None, *range(ROWS - 1)]}, "price", "no missing values, got 1 in 'b'"),
        ({"price": [None, *range(ROWS - 1)]}, "price", "column 'price' must have no missing"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, change, y, words):
    table = arrow_table(*numbers())
    for name, values in change.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table, tmp_path / "t")
    with pytest.raises((ValueError, TypeError), match=words):
        net().fit(ds.dataset(tmp_path / "t"), y, verbose=0)


def test_lists_of_several_lengths_are_refused():
    table = pa.table({"x": [[1.0], [1.0, 2.0]], "y": [0.0, 1.0]})
    with pytest.raises(ValueError, match="column 'x' must have lists of one length"):
        net().fit(ds.dataset(table), "y", verbose=0)


def test_columns_are_those_of_the_training(tmp_path):
    x, y = numbers()
    model = net()
    model.fit(parquet(tmp_path / "t", x, y), "price", verbose=0)
    table = arrow_table(x, y)
    other = ds.dataset(table.select(["price", "c", "a", "b"]))
    np.testing.assert_array_equal(model.predict(other, verbose=0), model.predict(x, verbose=0))
    with pytest.warns(UserWarning, match="'a' in the place of 'c'|another order"):
        model.predict(table.select(["c", "b", "a"]).to_pandas(), verbose=0)


def test_no_library_is_imported_to_look_at_data():
    code = "import sys, numpy as np, cdl\n" + textwrap.dedent("""
        model = cdl.Sequential([cdl.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit([[1.0], [2.0]], [1.0, 2.0], verbose=0)
        print([name for name in ("pyarrow", "polars", "datasets", "zarr") if name in sys.modules])
    """)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
