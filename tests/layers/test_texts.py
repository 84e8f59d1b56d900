"""Layers of texts and keys on arrays: what users hand in, vocabularies, errors that name it."""

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.layers.preprocessing import ngrams

WORDS = ["cat", "dog", "cat", "bird"]


def lookup(**given):
    return layers.StringLookup(vocabulary=["dog", "cat"], **given)


def columns():
    pandas, polars, pyarrow = map(pytest.importorskip, ("pandas", "polars", "pyarrow"))
    return {
        "pandas": pandas.Series(WORDS),
        "pandas string": pandas.Series(WORDS, dtype="string"),
        "pandas category": pandas.Series(WORDS).astype("category"),
        "polars": polars.Series(WORDS),
        "arrow": pyarrow.array(WORDS),
        "arrow chunks": pyarrow.chunked_array([WORDS[:1], WORDS[1:]]),
    }


@pytest.mark.parametrize(
    "given",
    [
        WORDS,
        tuple(WORDS),
        np.array(WORDS),
        np.array(WORDS, object),
        np.array(WORDS, "S"),
        np.array(WORDS, np.dtypes.StringDType()) if hasattr(np.dtypes, "StringDType") else WORDS,
        [word.encode() for word in WORDS],
        [WORDS[0].encode(), *WORDS[1:]],
    ],
    ids=["list", "tuple", "U", "O", "S", "T", "bytes", "both"],
)
def test_texts_may_come_in_any_array_or_list(given):
    y = lookup()(given)
    assert y.tolist() == [2, 1, 2, 0]
    assert y.dtype == np.int64


def test_texts_may_come_in_columns():
    for name, column in columns().items():
        assert lookup()(column).tolist() == [2, 1, 2, 0], name
        learned = layers.StringLookup()
        learned.adapt(column)
        assert learned.get_vocabulary() == ["[UNK]", "cat", "dog", "bird"], name
        texts = layers.TextVectorization()
        texts.adapt(column)
        assert texts.get_vocabulary() == ["", "[UNK]", "cat", "dog", "bird"], name
        assert lookup(num_oov_indices=0)(column[:2]).tolist() == [1, 0], name
        assert layers.Hashing(9)(column).tolist() == layers.Hashing(9)(WORDS).tolist(), name


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (["a", None], r"got None at \[1\]: fill what is missing"),
        (["a", float("nan")], r"got nan at \[1\]: fill what is missing"),
        (np.array([["a", 3]], object), r"got 3 at \[0, 1\]"),
        ([1, 2], r"got 1 at \[0\]"),
        (np.arange(3), "got dtype int64"),
        (None, "got None"),
        ({"a": 1}, "got a dict"),
    ],
)
@pytest.mark.parametrize("layer", [layers.StringLookup, layers.TextVectorization])
def test_what_is_no_text_is_told_with_its_place(layer, given, what):
    with pytest.raises((TypeError, ValueError), match=f"inputs must .*{what}"):
        layer(vocabulary=["a"])(given)


def test_rows_of_several_lengths_are_told():
    with pytest.raises(ValueError, match="rows of one length"):
        lookup()([["a"], ["a", "b"]])


@pytest.mark.parametrize("given", [[1.5], [np.nan], np.array([np.inf])])
def test_a_fraction_is_no_key(given):
    with pytest.raises(ValueError, match="inputs must hold whole numbers, got fractions, NaN"):
        layers.IntegerLookup(vocabulary=[1])(given)


@pytest.mark.parametrize("given", [["1"], np.array(["1"]), [None]])
def test_a_text_is_no_whole_number(given):
    with pytest.raises(TypeError, match="inputs must hold whole numbers"):
        layers.IntegerLookup(vocabulary=[1])(given)


def test_whole_numbers_are_exact_beyond_those_of_floats():
    big = 2**53 + np.arange(3)
    layer = layers.IntegerLookup(vocabulary=big)
    assert layer(big).tolist() == [1, 2, 3]


def test_indices_become_texts_again():
    texts = lookup(invert=True, mask_token="")([[0, 1], [2, 3], [-1, 99]])
    assert texts.tolist() == [["", "[UNK]"], ["dog", "cat"], ["[UNK]", "[UNK]"]]
    assert layers.IntegerLookup(vocabulary=[7], invert=True)([0, 1]).tolist() == [-1, 7]


def test_an_unknown_token_without_an_index_is_an_error():
    with pytest.raises(ValueError, match=r"num_oov_indices=0, got \['fish'\]"):
        lookup(num_oov_indices=0)(["cat", "fish"])


def test_a_layer_that_knows_nothing_says_how_it_learns():
    with pytest.raises(RuntimeError, match=r"call adapt\(\) with data"):
        layers.TextVectorization()(["a"])


def test_a_vocabulary_comes_from_a_file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("dog\ncat\n", "utf-8")
    for given in (path, str(path)):
        layer = layers.StringLookup(vocabulary=given)
        assert layer.get_vocabulary() == ["[UNK]", "dog", "cat"]
        assert layer.get_config()["vocabulary"] is None
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("7\n-3", "utf-8")
    assert layers.IntegerLookup(vocabulary=numbers)([-3, 7, 1]).tolist() == [2, 1, 0]
    with pytest.raises(ValueError, match="vocabulary must hold whole numbers"):
        layers.IntegerLookup(vocabulary=path)


def test_a_config_does_not_say_which_file_is_read(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("secret", "utf-8")
    for cls in (layers.StringLookup, layers.TextVectorization):
        config = {**cls().get_config(), "vocabulary": str(path)}
        with pytest.raises(ValueError, match="vocabulary must be a list in a config"):
            cls.from_config(config)


def test_a_config_makes_the_same_layer():
    layer = layers.TextVectorization(5, ngrams=(1, 2), output_sequence_length=4, name="t")
    again = layers.TextVectorization.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    for each in (lookup(salt=3, num_oov_indices=2), layers.Hashing(3, salt=(1, 2), dtype="int32")):
        assert type(each).from_config(each.get_config()).get_config() == each.get_config()
    crossing = layers.HashedCrossing(4, "one_hot")
    assert layers.HashedCrossing.from_config(crossing.get_config()).num_bins == 4


def test_assets_are_files_of_lines(tmp_path):
    layer = layers.TextVectorization()
    layer.adapt(["b b a", "\u00fc"])
    layer.save_assets(tmp_path)
    assert (tmp_path / "vocabulary.txt").read_text("utf-8") == "\n[UNK]\nb\n\u00fc\na"
    other = layers.TextVectorization()
    other.load_assets(tmp_path)
    assert other.get_vocabulary() == layer.get_vocabulary()


def test_texts_are_cut_the_same_in_any_number(monkeypatch):
    texts = [f"word{i % 7} x{'y' * (i % 5)}. {'' if i % 3 else 'a b c'}" for i in range(50)]
    whole = layers.TextVectorization(output_mode="tf_idf")
    whole.adapt(texts)
    expected, vocabulary = whole(texts), whole.get_vocabulary()
    monkeypatch.setattr("cdl.layers.preprocessing.text_vectorization._BLOCK", 7)
    parts = layers.TextVectorization(output_mode="tf_idf")
    parts.adapt(texts)
    assert parts.get_vocabulary() == vocabulary
    assert (parts(texts) == expected).all()
    lengths = layers.TextVectorization(vocabulary=["a", "x"])
    assert (np.concatenate([lengths([each]) for each in ["a x a"]]) == [[2, 3, 2]]).all()
    assert lengths(texts).shape == (50, 5)


def test_a_zero_byte_is_a_letter_like_others():
    layer = layers.TextVectorization(standardize=None)
    layer.adapt(["a\0b \0 \0", "a\0b"])
    assert layer.get_vocabulary() == ["", "[UNK]", "a\0b", "\0"]
    assert layer(["\0 a\0b", "a"]).tolist() == [[3, 2], [1, 0]]
    words = layers.StringLookup(vocabulary=["\0", "a"])
    assert words(["\0", "a", "", "\0\0"]).tolist() == [1, 2, 0, 0]


def test_bytes_that_are_no_utf8_stay_apart():
    layer = layers.StringLookup()
    data = np.array([b"\xff", b"\xfe", b"\xff"])
    layer.adapt(data)
    assert layer(data).tolist() == [1, 2, 1]
    assert layers.StringLookup(vocabulary=layer.get_vocabulary()[1:])(data).tolist() == [1, 2, 1]
    latin = layers.StringLookup(vocabulary=[b"\xfc"], encoding="latin-1")
    assert latin.get_vocabulary() == ["[UNK]", "\u00fc"]


def test_functions_cut_and_change_texts():
    layer = layers.TextVectorization(
        standardize=np.char.lower, split=lambda texts: [text.split("-") for text in texts]
    )
    layer.adapt(["A-b-A", "a"])
    assert layer.get_vocabulary() == ["", "[UNK]", "a", "b"]
    assert layer(["B-c", "A"]).tolist() == [[3, 1], [2, 0]]
    wrong = layers.TextVectorization(vocabulary=["a"], split=len)
    with pytest.raises(ValueError, match="what split returned must be a list of 1 lists"):
        wrong(["a"])


def test_ngrams_stand_width_by_width():
    layer = layers.TextVectorization(vocabulary=["a", "b", "a b", "b a"], ngrams=2)
    assert layer(["a b a", "b"]).tolist() == [[2, 3, 2, 4, 5], [3, 0, 0, 0, 0]]


@pytest.mark.parametrize("widths", [1, 2, 5, (3,), (4, 1), (2, 2)])
def test_ngrams_are_the_runs_of_each_row(widths):
    texts = ["", "a", "a b", "a b c", "", "c b a b c d", "b"]
    layer = layers.TextVectorization(ngrams=widths)
    layer.adapt(texts)
    vocabulary = layer.get_vocabulary()
    each = range(1, widths + 1) if isinstance(widths, int) else widths
    for given in (texts, *([text] for text in texts)):
        for text, row in zip(given, layer(given), strict=True):
            words = text.split()
            runs = [" ".join(words[i : i + n]) for n in each for i in range(len(words) - n + 1)]
            assert [vocabulary[i] for i in row if i] == runs
    assert sorted(vocabulary[2:]) == sorted(
        {
            " ".join(t.split()[i : i + n])
            for t in texts
            for n in each
            for i in range(7)
            if len(t.split()[i : i + n]) == n
        }
    )


@pytest.mark.parametrize("mode", ["int", "tf_idf", "count"])
@pytest.mark.parametrize("most", [None, 12, 40])
@pytest.mark.parametrize("widths", [2, (1, 3), (21,), (64, 1), (2, 2)])
def test_runs_counted_as_numbers_are_those_counted_as_texts(mode, most, widths, monkeypatch):
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(9)] + ["[UNK]", "\N{LATIN SMALL LETTER A WITH DIAERESIS}"]
    texts = [" ".join(rng.choice(words, rng.integers(0, 30))) for _ in range(300)] + ["a\0b c"]
    found = []
    for split in ("whitespace", lambda texts: [text.split() for text in texts]):
        for waiting in (50, 1 << 22):
            monkeypatch.setattr(ngrams, "_MANY", waiting)
            layer = layers.TextVectorization(
                most, standardize="lower", split=split, ngrams=widths, output_mode=mode
            )
            layer.reset_state()
            for part in (texts[:40], texts[40:]):
                layer.update_state(part)
            layer.finalize_state()
            found.append((layer.get_vocabulary(), layer(texts)))
    for vocabulary, y in found[1:]:
        assert vocabulary == found[0][0]
        np.testing.assert_array_equal(y, found[0][1])


def test_runs_of_more_words_than_numbers_hold_are_counted_as_texts():
    texts = [" ".join(f"w{i}" for i in range(j, j + 20)) for j in range(600)]
    layer = layers.TextVectorization(50, ngrams=(7,))  # 63 // 7 bits: 512 words
    plain = layers.TextVectorization(50, ngrams=(7,), split=lambda x: [t.split() for t in x])
    for batch in (texts[:300], texts[300:]):
        layer.update_state(batch)
        plain.update_state(batch)
    layer.finalize_state()
    plain.finalize_state()
    assert layer.get_vocabulary() == plain.get_vocabulary()


def test_a_text_that_is_too_long_is_cut_before_there_is_room_for_it():
    layer = layers.TextVectorization(vocabulary=["a"], output_sequence_length=2)
    y = layer(["a " * 1_000_000, *["b a c"] * 8000])  # 64 GB, if all were as long as the first
    assert y[:2].tolist() == [[2, 2], [1, 2]]
    assert y.shape == (8001, 2)


@pytest.mark.parametrize(
    "given", ["a \ud800", ["\ud800"], np.array(["a", "\ud800"], object)[:, None]]
)
def test_half_a_character_is_told(given):
    with pytest.raises(ValueError, match="inputs must hold texts that UTF-8 has"):
        layers.TextVectorization(vocabulary=["a"])(given)


def test_a_very_long_text_is_one_row():
    layer = layers.TextVectorization(vocabulary=["a"], output_mode="count")
    assert layer(["a " * 300_000 + "b"]).tolist() == [[1, 300_000]]
    assert layers.Hashing(1000)(["x" * 100_000]).shape == (1,)


def test_no_texts_give_no_rows():
    layer = layers.TextVectorization(vocabulary=["a"], output_sequence_length=3)
    assert layer(np.array([], str)).shape == (0, 3)
    assert layers.TextVectorization(vocabulary=["a"])([]).shape == (0, 0)
    assert layers.Hashing(3)(np.array([], str)).shape == (0,)
    assert lookup()(np.array([], str)).shape == (0,)


def test_a_mask_value_is_of_the_kind_of_the_inputs():
    with pytest.raises(TypeError, match="mask_value must be a string"):
        layers.Hashing(5, mask_value=3)(["a"])
    with pytest.raises(TypeError, match="mask_value must be a number"):
        layers.Hashing(5, mask_value="a")([3])


def test_a_misspelt_argument_is_told_with_the_right_one():
    with pytest.raises(ValueError, match="max_tokens"):
        layers.TextVectorization(max_token=3)
    with pytest.raises(ValueError, match="num_oov_indices"):
        layers.StringLookup(num_oov_indeces=3)
    with pytest.raises(ValueError, match="mask_value"):
        layers.Hashing(3, mask_valu=3)


def test_adapt_looks_at_x_of_a_py_dataset():
    class Batches(cdl.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return np.array([f"a w{index}", "a"]), np.zeros(2)

    texts = layers.TextVectorization()
    texts.adapt(Batches())
    assert texts.get_vocabulary() == ["", "[UNK]", "a", "w2", "w1", "w0"]
    texts.adapt(Batches(), steps=1)
    assert texts.get_vocabulary() == ["", "[UNK]", "a", "w0"]
    words = layers.StringLookup()
    words.adapt(Batches(), steps=2)
    assert words.get_vocabulary() == ["[UNK]", "a", "a w1", "a w0"]


def test_adapt_takes_batches_of_any_iterable():
    layer = layers.IntegerLookup()
    layer.adapt((np.array([i, i + 1]) for i in range(5)), steps=3)
    assert layer.get_vocabulary() == [-1, 2, 1, 3, 0]
    layer.adapt([5])
    assert layer.get_vocabulary() == [-1, 5]
    assert cdl.layers.IntegerLookup().vocabulary_size() == 1
