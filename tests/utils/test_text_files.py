"""Texts in folders: classes, orders, parts, what `fit` and `adapt` make of them."""

import numpy as np
import pytest

import cdl
from cdl.utils import text_dataset_from_directory


@pytest.fixture
def folder(tmp_path):
    for name, words in {"neg": "bad awful", "pos": "good great", ".hidden": "none"}.items():
        for i in range(10):
            inner = tmp_path / name / ("more" if i > 7 else "")
            inner.mkdir(parents=True, exist_ok=True)
            (inner / f"{i}.txt").write_text(f"{words} {i}", "utf-8")
    (tmp_path / "pos" / "notes.md").write_text("no")
    return tmp_path


def test_folders_are_the_classes(folder, capsys):
    dataset = text_dataset_from_directory(folder, shuffle=False, batch_size=8)
    assert capsys.readouterr().out == "Found 20 files belonging to 2 classes.\n"
    assert dataset.class_names == ["neg", "pos"]
    assert len(dataset) == 3
    batches = list(dataset)
    texts = np.concatenate([x for x, _ in batches])
    labels = np.concatenate([y for _, y in batches])
    assert [len(x) for x, _ in batches] == [8, 8, 4]
    assert texts.tolist() == [f"{w} {i}" for w in ("bad awful", "good great") for i in range(10)]
    assert labels.tolist() == [0] * 10 + [1] * 10
    assert labels.dtype == np.int32
    assert dataset.file_paths[0] == str(folder / "neg" / "0.txt")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("binary", [[0.0], [1.0]]), ("categorical", [[1.0, 0.0], [0.0, 1.0]]), ("int", [0, 1])],
)
def test_labels_have_the_form_of_the_mode(folder, mode, expected):
    given = {"shuffle": False, "batch_size": None, "verbose": False}
    labels = [y for _, y in text_dataset_from_directory(folder, label_mode=mode, **given)]
    assert [np.asarray(labels[i]).tolist() for i in (0, -1)] == expected


def test_texts_may_come_without_labels_or_with_ones_own(folder):
    given = {"shuffle": False, "verbose": False}
    alone = text_dataset_from_directory(folder / "pos", labels=None, batch_size=3, **given)
    assert next(iter(alone)).tolist() == ["good great 0", "good great 1", "good great 2"]
    assert alone.class_names is None
    own = text_dataset_from_directory(folder / "pos", labels=[5, 2] * 5, batch_size=4, **given)
    assert own.class_names == ["2", "5"]
    assert next(iter(own))[1].tolist() == [5, 2, 5, 2]
    named = text_dataset_from_directory(folder, class_names=["pos", "neg"], **given)
    assert named.class_names == ["pos", "neg"]
    assert next(iter(named))[0][0] == "good great 0"
    short = text_dataset_from_directory(folder, max_length=3, **given)
    assert next(iter(short))[0][0] == "bad"


def test_the_parts_have_no_file_in_common(folder, capsys):
    given = {"validation_split": 0.25, "seed": 3}
    first = text_dataset_from_directory(folder, subset="training", **given)
    last = text_dataset_from_directory(folder, subset="validation", **given)
    assert "Using 15 files for training.\n" in (said := capsys.readouterr().out)
    assert "Using 5 files for validation.\n" in said
    assert not set(first.file_paths) & set(last.file_paths)
    assert len({*first.file_paths, *last.file_paths}) == 20
    both = text_dataset_from_directory(folder, subset="both", **given)
    assert [each.file_paths for each in both] == [first.file_paths, last.file_paths]
    order = np.arange(20)
    np.random.RandomState(3).shuffle(order)  # as in Keras
    whole = text_dataset_from_directory(folder, shuffle=False).file_paths
    assert [*first.file_paths, *last.file_paths] == [whole[i] for i in order]


def test_a_new_order_comes_each_time_and_follows_from_the_seed(folder):
    def orders(seed):
        dataset = text_dataset_from_directory(folder, seed=seed, batch_size=20, verbose=False)
        return [next(iter(dataset))[0].tolist() for _ in range(2)]

    assert orders(1) == orders(1)
    assert orders(1)[0] != orders(1)[1]
    assert orders(1) != orders(2)
    with_labels = text_dataset_from_directory(folder, seed=1, batch_size=20, verbose=False)
    texts, labels = next(iter(with_labels))
    assert [text.startswith("good") for text in texts] == labels.astype(bool).tolist()


def test_a_net_learns_from_folders(folder):
    train, held_out = text_dataset_from_directory(
        folder, label_mode="binary", validation_split=0.3, subset="both", seed=1, verbose=False
    )
    vectorize = cdl.layers.TextVectorization(output_sequence_length=4)
    vectorize.adapt(train.map(lambda texts, labels: texts))
    assert set(vectorize.get_vocabulary()[2:6]) == {"bad", "awful", "good", "great"}
    model = cdl.Sequential(
        [
            cdl.Input((1,), dtype="string"),
            vectorize,
            cdl.layers.Embedding(30, 4),
            cdl.layers.GlobalAveragePooling1D(),
            cdl.layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(cdl.optimizers.Adam(0.1), "binary_crossentropy", metrics=["accuracy"])
    model.fit(train, epochs=12, validation_data=held_out, verbose=0)
    assert model.evaluate(held_out, verbose=0)[1] == 1.0
    ahead = train.map(lambda texts, labels: (vectorize(texts), labels))
    assert next(iter(ahead))[0].shape == (14, 4)
    behind = cdl.Sequential(model.layers[1:])
    behind.compile("sgd", "binary_crossentropy")
    assert np.isfinite(behind.fit(ahead, verbose=0).history["loss"][0])


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"labels": "x"}, "labels must be"),
        ({"labels": [1, 2]}, "labels must be as many as the files, 30, got 2"),
        ({"label_mode": "x"}, "label_mode must be one of"),
        ({"format": "x"}, "format must be one of"),
        ({"class_names": ["up"]}, "class_names must be names of the folders"),
        ({"class_names": ["neg"], "label_mode": "binary"}, r"got 'binary' for \['neg'\]$"),
        ({"class_names": ["neg"], "labels": None}, "class_names must be None unless"),
        ({"validation_split": 2, "subset": "both", "seed": 1}, "validation_split must be"),
        ({"validation_split": 0.2}, "must be given together"),
        ({"subset": "training"}, "must be given together"),
        ({"validation_split": 0.2, "subset": "x", "seed": 1}, "subset must be one of"),
        ({"validation_split": 0.2, "subset": "both"}, "seed must be given"),
        ({"validation_split": 0.01, "subset": "both", "seed": 1}, "got no validation ones"),
        ({"batch_size": 0}, "batch_size must be a positive int"),
        ({"max_length": 0}, "max_length must be a positive int"),
    ],
)
def test_what_does_not_fit_is_told(folder, given, what):
    with pytest.raises(ValueError, match=f"text_dataset_from_directory: .*{what}"):
        text_dataset_from_directory(folder, verbose=False, **given)


def test_a_folder_without_texts_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"directory must hold \.txt files"):
        text_dataset_from_directory(tmp_path, labels=None)
    with pytest.raises(FileNotFoundError):
        text_dataset_from_directory(tmp_path / "none")
