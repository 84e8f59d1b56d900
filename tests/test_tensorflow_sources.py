"""Data sets of files and of other data sets, as `tf.data` has them."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from cdl.scripts.tensor import Tensor
from cdl.scripts.tf_data import Dataset
from cdl.scripts.tf_elements import Options, TensorSpec
from cdl.scripts.tf_io import files_of
from cdl.scripts.tf_sources import EXPERIMENTAL, TextLineDataset, make_csv_dataset

CSV = """age,name,fee
20,Ann,1.5
30,Bo,
40,"C, D",2.5
50,,4
"""


def numbers(dataset):
    return [int(each) for each in dataset.as_numpy_iterator()]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(CSV)
    return str(path)


# --- files ---


def test_lines_of_files_are_texts_without_their_ends(tmp_path):
    (tmp_path / "a.txt").write_bytes("one\r\ntw\u00f6\n\nlast".encode())
    (tmp_path / "b.txt").write_text("more\n")
    paths = [str(tmp_path / name) for name in ("a.txt", "b.txt")]
    lines = TextLineDataset(paths)
    assert [line.numpy() for line in lines] == ["one", "tw\u00f6", "", "last", "more"]
    assert [str(line) for line in lines.filter(lambda line: line != "").skip(2)] == ["last", "more"]
    assert len(list(TextLineDataset(Dataset.from_tensor_slices(paths)))) == 5
    assert len(list(TextLineDataset(np.array(paths[1]).view(Tensor)))) == 1
    with pytest.raises(ValueError, match="compression_type must be None, got 'GZIP'"):
        TextLineDataset(paths, "GZIP")


def test_names_of_files_are_a_data_set(tmp_path):
    for name in ("b.txt", "a.txt", "c.csv"):
        (tmp_path / name).touch()
    found = [str(each) for each in Dataset.list_files(f"{tmp_path}/*.txt", shuffle=False)]
    assert found == [f"{tmp_path}/a.txt", f"{tmp_path}/b.txt"]
    assert sorted(str(each) for each in Dataset.list_files(f"{tmp_path}/*.txt", seed=1)) == found
    with pytest.raises(ValueError, match="list_files: file_pattern must be of files that are"):
        Dataset.list_files(f"{tmp_path}/*.png")


def test_columns_of_csv_come_in_batches_of_their_dtypes(table):
    batches = make_csv_dataset(table, 3, label_name="age", num_epochs=1, shuffle=False)
    (x, y), (last, _) = batches
    assert list(x) == ["name", "fee"]
    assert y.numpy().tolist() == [20, 30, 40]
    assert y.dtype == np.int32
    assert x["name"].numpy().tolist() == ["Ann", "Bo", "C, D"]
    assert x["fee"].dtype == np.float32
    assert x["fee"].numpy().tolist() == [1.5, 0.0, 2.5]
    assert last["name"].numpy().tolist() == [""]


def test_csv_goes_on_without_end_and_in_another_order_unless_told(table):
    batches = make_csv_dataset(table, 3, shuffle_seed=1, select_columns=["age", 2])
    ages = [x["age"].numpy().tolist() for x in itertools.islice(batches, 4)]
    assert sorted(itertools.chain(*ages)) == [20] * 3 + [30] * 3 + [40] * 3 + [50] * 3
    assert ages[0] != [20, 30, 40]


def test_csv_takes_names_defaults_and_other_marks(tmp_path):
    path = tmp_path / "plain.data"
    path.write_text("1;?;a\n2;7;b\n")
    marks = {"field_delim": ";", "na_value": "?", "header": False, "shuffle": False}
    given = {"column_names": ["n", "m", "s"], "column_defaults": [0.5, -1, "none"]}
    (found,) = make_csv_dataset([str(path)], 2, num_epochs=1, **marks, **given)
    assert found["n"].dtype == np.float32
    assert found["m"].numpy().tolist() == [-1, 7]
    assert found["s"].numpy().tolist() == ["a", "b"]
    given["column_defaults"] = ["float32", "int64", "string"]
    (found,) = make_csv_dataset([str(path)], 2, num_epochs=1, **marks, **given)
    assert [str(column.dtype) for column in found.values()] == ["float32", "int64", "<U1"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"label_name": "wage"}, "there are columns .*, got \\['wage'\\]"),
        ({"select_columns": ["age", "x"]}, "there are columns .*, got \\['x'\\]"),
        ({"column_names": ["a", "b"]}, "a value for each of the columns"),
        ({"column_defaults": ["int32", "int32", "float32"]}, "a column of int32 has texts"),
        ({"compression_type": "GZIP"}, "compression_type must be None"),
    ],
)
def test_csv_that_does_not_fit_is_refused_by_name(table, arguments, text):
    with pytest.raises(ValueError, match=text):
        make_csv_dataset(table, 2, **arguments)
    with pytest.raises(ValueError, match="make_csv_dataset: file_pattern"):
        make_csv_dataset(f"{table}.no", 2)


def test_names_of_files_may_be_bytes_paths_and_tensors(tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(f"{name}\n")
    plain = [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    given = {
        "bytes": [each.encode() for each in plain],
        "paths": [Path(each) for each in plain],
        "an array of bytes": np.array(plain, "S"),
        "a tensor": np.array(plain).view(Tensor),
        "a data set": Dataset.from_tensor_slices(plain),
    }
    for kind, names in given.items():
        lines = [str(each) for each in TextLineDataset(names)]
        assert lines == ["a.txt", "b.txt"], kind
        assert files_of(names) == plain, kind
        found = Dataset.list_files(names, shuffle=False)
        assert [str(each) for each in found] == plain, kind
        table = make_csv_dataset(names, 1, ["name"], header=False, num_epochs=1, shuffle=False)
        assert [str(each["name"][0]) for each in table] == ["a.txt", "b.txt"], kind
    assert [str(each) for each in TextLineDataset(plain[0].encode())] == ["a.txt"]


# --- several data sets ---


def test_interleaving_takes_turns():
    two = Dataset.range(1, 4).interleave(
        lambda n: Dataset.from_tensor_slices([n * 10 + i for i in range(3)]), cycle_length=2
    )
    assert numbers(two) == [10, 20, 11, 21, 12, 22, 30, 31, 32]
    blocks = Dataset.range(1, 3).interleave(
        lambda n: Dataset.from_tensors(n).repeat(3), cycle_length=2, block_length=2
    )
    assert numbers(blocks) == [1, 1, 2, 2, 1, 2]
    every = Dataset.range(5).interleave(Dataset.from_tensors, num_parallel_calls=-1)
    assert sorted(numbers(every)) == [0, 1, 2, 3, 4]


def test_elements_are_drawn_from_several_data_sets():
    a, b = Dataset.range(50), Dataset.range(100, 150)
    mixed = numbers(Dataset.sample_from_datasets([a, b], [0.5, 0.5], seed=3))
    assert sorted(mixed) == [*range(50), *range(100, 150)]
    assert [n for n in mixed if n < 100] == [*range(50)]
    assert 10 < sum(n < 100 for n in mixed[:50]) < 40
    assert numbers(Dataset.sample_from_datasets([a, b], [1.0, 0.0], seed=3)) == [*range(50)]
    ended = numbers(
        EXPERIMENTAL["sample_from_datasets"]([a, b], seed=1, stop_on_empty_dataset=True)
    )
    assert len(ended) < 100
    choice = Dataset.from_tensor_slices([0, 1, 1, 0])
    assert numbers(Dataset.choose_from_datasets([a, b], choice)) == [0, 100, 101, 1]
    with pytest.raises(ValueError, match="weights must be one for each of the 2 data sets, got 3"):
        Dataset.sample_from_datasets([a, b], [1, 1, 1])
    with pytest.raises(TypeError, match="sample_from_datasets: datasets must be data sets"):
        Dataset.sample_from_datasets([[1, 2]])


def test_what_reads_series_and_folders_is_a_data_set(script):
    done = script(
        """
        import pathlib
        import numpy as np, tensorflow as tf

        for label in ("no", "yes"):
            folder = pathlib.Path("texts") / label
            folder.mkdir(parents=True)
            (folder / "1.txt").write_text(label)
        series = np.arange(20.0)
        windows = tf.keras.utils.timeseries_dataset_from_array
        inputs, targets = windows(series[:-3], None, 3, batch_size=4), windows(
            series[3:18], None, 1, batch_size=4
        )
        texts = tf.keras.utils.text_dataset_from_directory("texts", shuffle=False, verbose=False)
        print(isinstance(inputs, tf.data.Dataset), isinstance(texts, tf.data.Dataset))
        pairs = tf.data.Dataset.zip((inputs, targets))
        x, y = next(iter(pairs))
        print(len(pairs), (x[:, -1] + 1 == y[:, 0]).all())
        print([t.numpy().tolist() for (t, _), _ in tf.data.Dataset.zip(texts, inputs)])
        model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
        model.compile("adam", "mse")
        print(len(model.fit(pairs, epochs=2, verbose=0).history["loss"]))
        try:
            tf.data.Dataset.zip((inputs, [1, 2]))
        except TypeError as error:
            print(error)
        """,
        "-m",
        "cdl",
    )
    assert done.stdout.splitlines() == [
        "True True",
        "4 True",
        "[['no', 'yes']]",
        "2",
        "zip: datasets must be data sets, got 1",
    ], done.stderr


def test_folders_are_mapped_by_several_threads_in_a_script(script):
    done = script(
        """
        import pathlib, threading
        import numpy as np, tensorflow as tf

        for label in ("no", "yes"):
            folder = pathlib.Path("texts") / label
            folder.mkdir(parents=True)
            (folder / "1.txt").write_text(label)
        read = tf.keras.utils.text_dataset_from_directory
        texts = read("texts", shuffle=False, verbose=False, batch_size=1)
        both_at_once = threading.Barrier(2, timeout=60)

        def prepared(text, label):
            both_at_once.wait()
            return {"text": text, "one": [1.5]}, label.numpy() + 1

        ready = texts.map(prepared, num_parallel_calls=2).map(lambda x, y: (x["text"], x["one"], y))
        for text, one, y in ready:
            print(text.numpy(), one.dtype, one.numpy(), y.numpy())
        print(isinstance(ready, tf.data.Dataset), len(ready.unbatch().batch(2).element_spec))
        print(texts.element_spec[0].shape, texts.take(1).element_spec[1].shape)
        alone = read("texts", shuffle=False, verbose=False, batch_size=None)
        print(alone.take(1).element_spec[0].shape, [text.numpy() for text, _ in alone])
        print([int(n) for n in alone.map(lambda text, label: tf.strings.length(text))])
        series = tf.keras.utils.timeseries_dataset_from_array(np.arange(9.0), None, 3, batch_size=4)
        print(series.element_spec.shape, len(series.take(1).concatenate(series)))
        counted = tf.data.experimental.assert_cardinality(2)(series)
        print(len(counted), counted.element_spec.shape)
        """,
        "-m",
        "cdl",
    )
    assert done.stdout.splitlines() == [
        "['no'] float32 [1.5] [1]",
        "['yes'] float32 [1.5] [2]",
        "True 3",
        "(None,) (None,)",
        "() ['no', 'yes']",
        "[2, 3]",
        "(None, 3) 3",
        "2 (None, 3)",
    ], done.stderr


# --- batches and the rest ---


def ragged(*sizes):
    rows = [np.arange(1, n + 1) for n in sizes]
    return Dataset.from_generator(lambda: iter(rows), "int32")


def test_batches_are_filled_up_behind():
    first, second = ragged(1, 3, 2).padded_batch(2)
    assert first.numpy().tolist() == [[1, 0, 0], [1, 2, 3]]
    assert second.numpy().tolist() == [[1, 2]]
    (whole,) = ragged(1, 2).padded_batch(2, padded_shapes=[4], padding_values=-1)
    assert whole.numpy().tolist() == [[1, -1, -1, -1], [1, 2, -1, -1]]
    assert len(list(ragged(1, 2, 3).padded_batch(2, drop_remainder=True))) == 1
    pairs = Dataset.from_generator(
        lambda: iter([([1.0], 1), ([1.0, 2.0], 0)]), ("float32", "int32")
    )
    ((x, y),) = pairs.padded_batch(2, padded_shapes=([None], []), padding_values=(9.0, 0))
    assert x.numpy().tolist() == [[1, 9], [1, 2]]
    assert y.numpy().tolist() == [1, 0]
    named = pairs.map(lambda x, y: {"y": y, "x": x})
    (found,) = named.padded_batch(2, {"x": [3], "y": []})
    assert found["x"].numpy().tolist() == [[1, 0, 0], [1, 2, 0]]
    texts = Dataset.from_generator(lambda: iter([["a"], ["b", "c"]]), "string").padded_batch(2)
    assert next(iter(texts)).numpy().tolist() == [["a", ""], ["b", "c"]]
    with pytest.raises(ValueError, match="padded_shapes must hold every element, got \\[2\\]"):
        list(ragged(1, 3).padded_batch(2, [2]))


def test_an_element_says_what_it_is():
    data = Dataset.from_tensor_slices((np.zeros((7, 3), "float32"), np.arange(7)))
    assert data.element_spec == (TensorSpec((3,), "float32"), TensorSpec((), "int64"))
    batches = data.batch(4).map(lambda x, y: {"x": x}).prefetch(1)
    assert batches.element_spec["x"].shape == (None, 3)
    assert data.batch(4, drop_remainder=True).element_spec[0].shape.as_list() == [4, 3]
    assert Dataset.from_tensors("a").element_spec == TensorSpec([], "string")
    assert hash(TensorSpec(3)) == hash(TensorSpec([3]))
    with pytest.raises(ValueError, match="element_spec: the data set has no element"):
        _ = data.take(0).element_spec


def test_parts_and_sums_of_a_data_set():
    ten = Dataset.range(10)
    assert numbers(ten.shard(3, 1)) == [1, 4, 7]
    assert len(ten.shard(3, 0)) == 4
    assert ten.reduce(np.int64(0), lambda total, n: total + n).numpy() == 45
    assert numbers(ten.take_while(lambda n: n < 3)) == [0, 1, 2]
    assert numbers(ten.apply(lambda data: data.skip(8))) == [8, 9]
    options = Options()
    options.experimental_distribute.auto_shard_policy = "OFF"
    options.deterministic = False
    assert numbers(ten.with_options(options)) == numbers(ten)
    assert Dataset.from_tensors((1, 2)).get_single_element()[1].numpy() == 2
    with pytest.raises(ValueError, match="get_single_element"):
        ten.get_single_element()
    unknown = ten.filter(lambda n: n < 3)
    assert EXPERIMENTAL["cardinality"](unknown).numpy() == -2
    assert len(unknown.apply(EXPERIMENTAL["assert_cardinality"](3))) == 3
    without_end = unknown.apply(EXPERIMENTAL["assert_cardinality"](-1))
    assert int(without_end.cardinality()) == -1
