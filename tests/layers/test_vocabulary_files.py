"""Vocabularies with any text are the same after a file, a folder, a pickle and a copy."""

import copy
import pickle
import zipfile

import numpy as np
import pytest

import cdl
from cdl import layers

TEXTS = {
    "the empty text": ["", "c", "a"],
    "the empty text last": ["c", "a", ""],
    "only the empty text": [""],
    "a line break": ["a\nb", "c", "\n"],
    "a carriage return": ["a\rb", "a\r", "\r\n", "c"],
    "other line ends": ["a\u2028b", "a\x0bb", "a\x85b", "a\x0cb", "\u2029"],
    "blanks": [" ", " a", "a ", "\t", "a"],
    "no UTF-8": [b"\xe9a", b"b", b"\xff\xfe"],
    "surrogates": ["\udce9a", "b"],
    "zeros": ["a\0", "a", "\0"],
    "special tokens": ["[UNK]", "[MASK]", "a", "-1"],
    "quotes": ['"', "'", "\\n", "\\", '["a"]'],
    "astral": ["\U0001f600", "é", "日本"],
}
SETTINGS = [
    {},
    {"mask_token": "[MASK]"},
    {"mask_token": ""},
    {"num_oov_indices": 0},
    {"num_oov_indices": 3, "mask_token": "\n"},
    {"oov_token": "a\nb"},
    {"output_mode": "multi_hot"},
    {"output_mode": "tf_idf", "mask_token": ""},
    {"encoding": "latin-1"},
    {"encoding": "cp1252"},
    {"max_tokens": 3},
]


def column(texts):
    array = np.empty((len(texts), 1), object)
    array[:, 0] = texts
    return array


def by_file(layer, tmp_path):
    inputs = cdl.Input((1,), dtype="string")
    model = cdl.Model(inputs, layer(inputs))
    model.save(tmp_path / "m.keras")
    return cdl.saving.load_model(tmp_path / "m.keras").layers[-1]


def by_folder(layer, tmp_path):
    layer.save_assets(tmp_path)
    again = type(layer).from_config(layer.get_config())
    store = {}
    layer.save_own_variables(store)
    again.load_own_variables(store)
    again.load_assets(tmp_path)
    return again


def by_pickle(layer, tmp_path):
    return pickle.loads(pickle.dumps(layer))


def by_copy(layer, tmp_path):
    return copy.deepcopy(layer)


WAYS = [by_file, by_folder, by_pickle, by_copy]


def alike(one, two, data):
    assert np.array_equal(np.asarray(one(data)), np.asarray(two(data)))
    assert one.get_vocabulary() == two.get_vocabulary()
    assert one.vocabulary_size() == two.vocabulary_size()


@pytest.mark.parametrize(
    ("settings", "way"), [({}, way) for way in WAYS] + [(each, by_file) for each in SETTINGS[1:]]
)
@pytest.mark.parametrize("kind", TEXTS)
def test_lookup_knows_any_text_afterwards(kind, settings, way, tmp_path):
    layer, data = layers.StringLookup(**settings), column(TEXTS[kind])
    try:
        layer.adapt(data)
    except ValueError as error:  # a str that the encoding has not got
        assert "LATIN-1 has" in str(error) or "CP1252 has" in str(error)
        return
    known = [np.asarray(layer(data))]
    again = way(layer, tmp_path)
    alike(layer, again, data)
    again = way(again, tmp_path)  # once more
    alike(layer, again, data)
    assert np.array_equal(known[0], np.asarray(again(data)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", ["at once", "afterwards"])
@pytest.mark.parametrize("kind", TEXTS)
def test_a_given_vocabulary_is_there_afterwards(kind, given, way, tmp_path):
    texts = [t for t in TEXTS[kind] if t != "[UNK]"]
    layer = layers.StringLookup(vocabulary=texts if given == "at once" else None)
    if given == "afterwards":
        layer.set_vocabulary(texts)
    alike(layer, way(layer, tmp_path), column(TEXTS[kind]))
    layer.set_vocabulary(layer.get_vocabulary())  # what it shows is what it takes
    alike(layer, way(layer, tmp_path), column(TEXTS[kind]))


def test_another_vocabulary_takes_the_place_of_the_first(tmp_path):
    layer = layers.StringLookup()
    for texts in (["a\nb"], ["c", "d"], [""], ["x\ny", "z"]):
        layer.set_vocabulary(texts)
        for way in WAYS:
            alike(layer, way(layer, tmp_path), column(texts))


@pytest.mark.parametrize("way", [by_file, by_folder])
@pytest.mark.parametrize("mode", ["int", "tf_idf"])
@pytest.mark.parametrize(
    "settings",
    [
        {"split": "character"},
        {"split": None},
        {"split": None, "ngrams": 2},
        {"split": "whitespace", "standardize": None},
        {"split": "character", "encoding": "latin-1", "ngrams": (1, 2)},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", TEXTS)
def test_vectors_of_texts_are_the_same_afterwards(kind, settings, mode, way, tmp_path):
    layer = layers.TextVectorization(
        output_mode=mode, **settings, **({"output_sequence_length": 4} if mode == "int" else {})
    )
    data = column(TEXTS[kind])
    try:
        layer.adapt(data)
    except ValueError as error:
        assert "LATIN-1 has" in str(error)
        return
    if layer.vocabulary_size() < 3:
        return  # nothing was learned
    before = np.asarray(layer(data))
    again = way(layer, tmp_path)
    assert np.array_equal(before, np.asarray(again(data)))
    assert layer.get_vocabulary() == again.get_vocabulary()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "settings",
    [{}, {"mask_token": 7}, {"num_oov_indices": 2}, {"num_oov_indices": 0}, {"oov_token": 5}],
    ids=str,
)
def test_integers_are_known_afterwards(settings, way, tmp_path):
    data = np.array([[-1], [0], [7], [5], [2**63 - 1], [-(2**63)], [16777217]])
    layer = layers.IntegerLookup(**settings)
    layer.adapt(data)
    inputs = cdl.Input((1,), dtype="int64")
    if way is by_file:
        cdl.Model(inputs, layer(inputs)).save(tmp_path / "m.keras")
        again = cdl.saving.load_model(tmp_path / "m.keras").layers[-1]
    else:
        again = way(layer, tmp_path)
    alike(layer, again, data)


@pytest.mark.parametrize(
    "value", [np.array([2**63 + 5], "uint64"), np.array([1e300]), [2**70], np.float32(2**63)]
)
def test_integers_beyond_int64_are_refused(value):
    for call in (layers.IntegerLookup().adapt, layers.IntegerLookup(vocabulary=[1]).__call__):
        with pytest.raises(ValueError, match="int64"):
            call(np.atleast_1d(value))


def test_bytes_and_text_are_one_token_in_the_encoding():
    layer = layers.StringLookup(encoding="latin-1")
    layer.adapt([[b"\xe9a"], [b"\xe9a"], ["b"]])
    assert layer.get_vocabulary() == ["[UNK]", "éa", "b"]
    assert layer([["éa"], [b"\xe9a"], ["b"]]).ravel().tolist() == [1, 1, 2]
    layer.set_vocabulary(["b", "éa"])
    assert layer([["éa"], [b"\xe9a"]]).ravel().tolist() == [2, 2]
    words = layers.TextVectorization(encoding="latin-1", split="character")
    words.adapt([b"\xe9a", "é"])
    assert words.get_vocabulary() == ["", "[UNK]", "é", "a"]
    assert words([b"a\xe9", "aé"]).tolist() == [[3, 2], [3, 2]]
    with pytest.raises(ValueError, match="LATIN-1"):
        layer(["日本"])


@pytest.mark.parametrize("make", [layers.StringLookup, layers.TextVectorization])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "nope", "cp037", None, 3, "rot13", "hex"])
def test_an_encoding_without_ascii_is_refused(make, encoding):
    with pytest.raises(ValueError, match="encoding must be a known encoding"):
        make(encoding=encoding)


def test_lines_are_what_keras_reads_where_they_can_be(tmp_path):
    inputs = cdl.Input((1,), dtype="string")
    for texts, name in (
        (["a", "", "b c"], "vocabulary.txt"),
        (["a\rb"], "vocabulary.json"),
        (["a", ""], "vocabulary.json"),  # Keras would lose the last one
        (["a\u2028b"], "vocabulary.json"),
    ):
        layer = layers.StringLookup()
        layer.set_vocabulary(texts)
        cdl.Model(inputs, layer(inputs)).save(tmp_path / "m.keras")
        with zipfile.ZipFile(tmp_path / "m.keras") as archive:
            (member,) = [n for n in archive.namelist() if n.startswith("assets")]
            assert member.endswith(f"/{name}")
            if name.endswith("txt"):
                lines = archive.read(member).decode().split("\n")
                assert lines == layer.get_vocabulary()


@pytest.mark.parametrize(
    "text", ["{}", "[1]", '["a", 1]', "[", "[" * 100_000, '["a", "a"]', "null", '[["a"]]']
)
def test_a_damaged_vocabulary_is_refused(text, tmp_path):
    layer = layers.StringLookup()
    layer.adapt(["x\ny"])
    (tmp_path / "vocabulary.json").write_text(text)
    again = layers.StringLookup()
    with pytest.raises(ValueError, match="vocabulary"):
        again.load_assets(tmp_path)
    assert again.get_vocabulary() == ["[UNK]"]
    (tmp_path / "vocabulary.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"vocabulary\.txt"):
        again.load_assets(tmp_path)


def test_a_users_file_may_have_the_line_ends_of_windows(tmp_path):
    (tmp_path / "v.txt").write_bytes("a\r\nb\r\né\r\n".encode())
    layer = layers.StringLookup(vocabulary=tmp_path / "v.txt")
    assert layer.get_vocabulary() == ["[UNK]", "a", "b", "é"]
    (tmp_path / "v.txt").write_bytes("a\rb\né\u2028".encode())
    assert layers.StringLookup(vocabulary=str(tmp_path / "v.txt")).get_vocabulary()[1:] == [
        "a\rb",
        "é\u2028",
    ]
