"""Texts and keys as numbers: vocabularies, hashes, every mode, configs, errors."""

import tempfile
from pathlib import Path

import numpy as np
from registry import add, case, config_of, error_of

TEXTS = [
    "The cat sat, on the MAT!",
    "a dog & the cat",
    "",
    "  Na\u00efve caf\u00e9 -- don't\tstop\n",
    "the the end_of it",
    "\u5317\u4eac dog",
]
WORDS = np.array([["cat", "dog", ""], ["bird", "cat", "fish"], ["\u00e9t\u00e9", "[UNK]", "dog"]])
NUMBERS = np.array([[7, -3, 0], [7, 7, 12345678901], [5, -1, -3]])
LONG = ["x" * n + "\u00fc" * (n // 3) for n in range(0, 200, 7)]
VECTORS = ("one_hot", "multi_hot", "count", "tf_idf")


def seen(k, layer, data):
    """The output of a layer for texts, as floats, since jax has no int64."""
    return k.ops.convert_to_numpy(layer(data)).astype("float32")


def known(layer):
    return {
        "vocabulary": [str(token) for token in layer.get_vocabulary()],
        "without": [str(token) for token in layer.get_vocabulary(include_special_tokens=False)],
        "size": layer.vocabulary_size(),
        "config": config_of(layer),
    }


def adapted(name, options, data, more):
    def run(k):
        layer = getattr(k.layers, name)(**options, name="it")
        layer.adapt(data)
        return {**known(layer), "y": seen(k, layer, data), "more": seen(k, layer, more)}

    return run


_TEXT_OPTIONS = [
    {}, {"max_tokens": 6}, {"output_sequence_length": 3}, {"output_sequence_length": 9},
    {"standardize": None}, {"standardize": "lower"}, {"standardize": "strip_punctuation"},
    {"split": "character"}, {"split": "character", "output_sequence_length": 7},
    {"ngrams": 2}, {"ngrams": (2,)}, {"ngrams": (1, 3), "output_sequence_length": 5},
    *[{"output_mode": m} for m in VECTORS[1:]], {"output_mode": "binary"},
    *[{"output_mode": m, "max_tokens": 30, "pad_to_max_tokens": True} for m in VECTORS[1:]],
    {"output_mode": "tf-idf", "max_tokens": 5}, {"output_mode": "count", "ngrams": 2},
]  # fmt: skip
for _options in _TEXT_OPTIONS:
    add("texts", f"text {_options}", adapted("TextVectorization", _options, TEXTS, ["cat ox"]))
_LOOKUP_OPTIONS = [
    {}, {"max_tokens": 4}, {"num_oov_indices": 3}, {"num_oov_indices": 3, "max_tokens": 5},
    *[{"output_mode": m} for m in VECTORS], {"output_mode": "count", "num_oov_indices": 2},
    *[{"output_mode": m, "max_tokens": 20, "pad_to_max_tokens": True} for m in VECTORS],
]  # fmt: skip
_MORE = {
    "StringLookup": np.array([["cat", "no", "\u00fc"]]),
    "IntegerLookup": np.array([[7, 8, 9]]),
}
for _name, _data, _mask in (("StringLookup", WORDS, ""), ("IntegerLookup", NUMBERS, 0)):
    for _options in _LOOKUP_OPTIONS:
        for _also in ({}, {"mask_token": _mask}):
            _all = {**_options, **_also}
            add("texts", f"{_name} {_all}", adapted(_name, _all, _data, _MORE[_name]))


def given(name, options, data):
    def run(k):
        layer = getattr(k.layers, name)(**options, name="it")
        return {**known(layer), "y": seen(k, layer, data)}

    return run


for _salt in (None, 7, (3, -4)):
    _options = {"vocabulary": ["cat"], "num_oov_indices": 5, "salt": _salt}
    add("texts", f"salted words {_salt}", given("StringLookup", _options, LONG))
    _options = {"vocabulary": [5], "num_oov_indices": 5, "salt": _salt, "oov_method": "farmhash"}
    add("texts", f"salted numbers {_salt}", given("IntegerLookup", _options, NUMBERS))
_WEIGHTS = {"idf_weights": [0.5, 0.25], "output_mode": "tf_idf"}
_GIVEN = {
    "special tokens in front": {"vocabulary": ["", "[UNK]", "cat"], "mask_token": ""},
    "tuple": {"vocabulary": ("dog", "cat")},
    "array": {"vocabulary": np.array(["dog", "cat"])},
    "oov not in front": {"vocabulary": ["dog", "[UNK]"]},
    "weights": {"vocabulary": ["dog", "cat"], **_WEIGHTS},
    "weights of all": {"vocabulary": ["[UNK]", "cat"], **_WEIGHTS},
    "weights padded": {
        **{"vocabulary": ["dog", "cat"], "max_tokens": 7, "pad_to_max_tokens": True},
        **_WEIGHTS,
    },
}
for _what, _options in _GIVEN.items():
    add("texts", f"given {_what}", given("StringLookup", _options, WORDS))


@case("texts")
def inverted(k):
    layer = k.layers.IntegerLookup(vocabulary=[5, -3, 9], invert=True, mask_token=0, oov_token=-7)
    y = seen(k, layer, np.array([[0, 1, 2], [3, 4, 9]]))
    return {**known(layer), "y": y, "config": config_of(layer)}


@case("texts")
def ranks(k):
    words = k.layers.StringLookup(vocabulary=["cat", "dog"])
    y = {
        f"{mode} {rank}": seen(
            k,
            k.layers.StringLookup(vocabulary=["cat", "dog"], output_mode=mode),
            WORDS.reshape((3,) + (1,) * rank + (3,))[0 if rank > 1 else slice(None)],
        )
        for mode in ("int", "one_hot", "multi_hot", "count")
        for rank in (0, 1, 2)
    }
    text = k.layers.TextVectorization(vocabulary=["cat", "dog"])
    plain = k.layers.TextVectorization(vocabulary=["cat", "dog"], split=None)
    return {
        **y,
        "scalar": seen(k, words, "dog"),
        "line": seen(k, words, ["dog", "no"]),
        "one text": seen(k, text, "dog cat ox"),
        "column": seen(k, text, [["dog cat"], ["ox"]]),
        "deep": seen(k, text, [[["dog cat"], ["ox"]]]),
        "no split": seen(k, plain, [["DOG!", "ox"]]),
        "empty": seen(k, text, ["", " "]),
        "bytes": seen(k, text, np.array([b"dog cat", b"ox"])),
    }


@case("texts")
def functions(k):
    lower = k.layers.TextVectorization(vocabulary=["cat"], standardize=np.char.lower)
    return {"standardize": seen(k, lower, ["CAT cat", "Cat"])}


@case("texts")
def batches(k):
    found = {}
    for mode in ("int", "tf_idf"):
        layer = k.layers.TextVectorization(output_mode=mode)
        layer.adapt((np.array(TEXTS[i : i + 2]) for i in (0, 2, 4)), steps=2)
        found[f"text {mode}"] = layer.get_vocabulary()
        found[f"y {mode}"] = seen(k, layer, TEXTS)
        layer = k.layers.StringLookup(output_mode=mode)
        layer.adapt(WORDS[i] for i in range(3))
        found[f"rows {mode}"] = [str(each) for each in layer.get_vocabulary()]
        found[f"rows y {mode}"] = seen(k, layer, WORDS)
    layer = k.layers.StringLookup(output_mode="tf_idf")
    for row in WORDS:
        layer.update_state(row)
    layer.finalize_state()
    return {**found, "by hand": seen(k, layer, WORDS)}


_HASHED = {"texts": LONG, "words": WORDS, "numbers": NUMBERS, "floats": np.array([1.9, -2.5, 3e9])}
for _salt in (None, 133, (133, -137)):
    for _what, _data in _HASHED.items():

        def _hashed(k, salt=_salt, data=_data):
            layer = k.layers.Hashing(1000, salt=salt, name="it")
            return {"y": seen(k, layer, data), "config": config_of(layer)}

        add("texts", f"hashed {_what} {_salt}", _hashed)


@case("texts")
def bins(k):
    layers = k.layers
    return {
        "mask": seen(k, layers.Hashing(5, mask_value=""), WORDS),
        "number mask": seen(k, layers.Hashing(5, mask_value=7), NUMBERS),
        "one bin": seen(k, layers.Hashing(1, mask_value=""), WORDS),
        "scalar": seen(k, layers.Hashing(9), "cat"),
        **{
            f"{mode} {shape}": seen(k, layers.Hashing(6, output_mode=mode), WORDS.reshape(shape))
            for mode in ("one_hot", "multi_hot", "count")
            for shape in ((3, 3), (9, 1), (9,))
        },
        "config": config_of(layers.Hashing(6, output_mode="count", mask_value=3, name="it")),
    }


@case("texts")
def crossings(k):
    a, b, c = WORDS[:, 0], NUMBERS[:, 0], WORDS[:, 2]
    int_mode, one_hot = k.layers.HashedCrossing(50), k.layers.HashedCrossing(7, "one_hot", name="a")
    return {
        "two": seen(k, int_mode, (a, b)),
        "three": seen(k, int_mode, [a, b, c]),
        "columns": seen(k, int_mode, [a[:, None], b[:, None]]),
        "scalars": seen(k, int_mode, ("cat", 3)),
        "one_hot": seen(k, one_hot, [a, c]),
        "one_hot columns": seen(k, one_hot, [a[:, None], c[:, None]]),
        "config": config_of(one_hot),
        "other config": config_of(k.layers.HashedCrossing(3, name="b")),
    }


@case("texts")
def shapes(k):
    layers, found = k.layers, {}
    for mode in ("int", "one_hot", "multi_hot", "count"):
        layer = layers.StringLookup(vocabulary=["a", "b"], output_mode=mode)
        for shape in ((None, 1), (None, 4), (None, 2, 3)):
            found[f"{mode} {shape}"] = str(layer.compute_output_shape(shape))
    text = layers.TextVectorization
    found["length"] = str(text(output_sequence_length=7).compute_output_shape((None, 1)))
    x = k.Input((1,), dtype="string")
    symbol = text(output_sequence_length=7)(x)
    found["symbolic"] = [str(symbol.shape), symbol.dtype, x.dtype]
    symbol = layers.StringLookup(vocabulary=["a"], output_mode="one_hot")(x)
    found["symbolic vectors"] = [str(symbol.shape), symbol.dtype]
    return found


@case("texts")
def errors(k):
    text, words, numbers = k.layers.TextVectorization, k.layers.StringLookup, k.layers.IntegerLookup
    hashing, crossing = k.layers.Hashing, k.layers.HashedCrossing
    a, b = WORDS[:, 0], NUMBERS[:, 0]
    adapted_layer = words(output_mode="count")
    adapted_layer.adapt(["a"])
    calls = {
        **{f"text {o}": lambda o=o: text(**o) for o in (
            {"ngrams": "a"}, {"ngrams": [1, 2]}, {"output_sequence_length": "a"}, {"split": "x"},
            {"output_mode": "count", "output_sequence_length": 3}, {"output_mode": "x"},
            {"ragged": True}, {"sparse": True}, {"vocabulary": ["a", "a"]}, {"standardize": "x"},
            {"vocabulary": ["a", ""]}, {"vocabulary": ["a"], "idf_weights": [1]},
            {"vocabulary": []}, {"max_tokens": 1}, {"pad_to_max_tokens": True}, {"foo": 1},
            {"vocabulary": ["a", "b"], "max_tokens": 3}, {"vocabulary": "/no/such/file"},
            {"vocabulary": ["a"], "output_mode": "tf_idf"},
            {"vocabulary": ["a"], "output_mode": "tf_idf", "idf_weights": [1, 2]},
        )},
        **{f"words {o}": lambda o=o: words(**o) for o in (
            {"num_oov_indices": -1}, {"invert": True, "output_mode": "count"}, {"salt": "a"},
            {"invert": True, "vocabulary": ["a", "[UNK]"]}, {"foo": 1}, {"salt": (1, 2, 3)},
        )},
        **{f"numbers {o}": lambda o=o: numbers(**o) for o in (
            {"vocabulary_dtype": "int32"}, {"salt": 3}, {"oov_method": "x"},
            {"num_oov_indices": -1},
        )},
        "adapt": lambda: text(vocabulary=["a"]).adapt(["a"]),
        "not adapted": lambda: words()(["a"]),
        "vectors not adapted": lambda: words(output_mode="count")(["a"]),
        "other size": lambda: adapted_layer.adapt(["a", "b"]),
        "columns": lambda: text(vocabulary=["a"])([["a", "b"]]),
        "hash": lambda: hashing(0),
        "hash dtype": lambda: hashing(3, dtype="float32"),
        "hash salt": lambda: hashing(3, salt="a"),
        "hash mode": lambda: hashing(3, output_mode="x"),
        "cross one": lambda: crossing(3)([a]),
        "cross array": lambda: crossing(3)(a),
        "cross floats": lambda: crossing(3)([a, b * 1.0]),
        "cross shapes": lambda: crossing(3)([a, b[:1]]),
        "cross rows": lambda: crossing(3)([a[None], b[None]]),
        "cross mode": lambda: crossing(3, "count"),
        "weights in int": lambda: words().set_vocabulary(["a"], idf_weights=[1.0]),
    }  # fmt: skip
    return {name: error_of(call) for name, call in calls.items()}


@case("texts")
def in_models(k):
    layers = k.layers
    text = k.Input((1,), dtype="string", name="text")
    key = k.Input((1,), dtype="int64", name="key")
    vectorize = layers.TextVectorization(output_sequence_length=4, name="v")
    vectorize.adapt(["a b", "b c"])
    outputs = [
        layers.Embedding(9, 2, name="e")(vectorize(text)),
        layers.Hashing(5, name="h")(key),
        layers.Hashing(5, output_mode="one_hot", name="h1")(text),
        layers.HashedCrossing(7, name="c")([text, key]),
        layers.HashedCrossing(7, "one_hot", name="c1")([text, key]),
        layers.StringLookup(vocabulary=["a"], output_mode="one_hot", name="s")(text),
        layers.IntegerLookup(vocabulary=[3], name="i")(key),
    ]
    model = k.Model([text, key], outputs, name="m")
    stack = [layers.TextVectorization(output_sequence_length=4, vocabulary=["a"], name="v")]
    stack = k.Sequential([*stack, layers.Embedding(4, 2, name="e")], name="s")
    stack.build((None, 1))
    numbers = k.Sequential([layers.IntegerLookup(vocabulary=[3]), layers.Embedding(4, 2)])
    numbers.build((None, 1))
    return {
        "config": config_of(model),
        "stack config": config_of(stack),
        "symbols": [f"{y.shape} {y.dtype}" for y in outputs],
        "inputs": [stack.inputs[0].dtype, numbers.inputs[0].dtype],
        "dtypes": sorted(f"{y.name} {y.dtype} {y.compute_dtype}" for y in model.layers[2:]),
    }


@case("texts")
def folders(k):
    """The order of files, their classes and labels; shuffled ones by their paths alone."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("b", "a", "c"):
            for i in range(5):
                Path(folder, name).mkdir(exist_ok=True)
                Path(folder, name, f"{i}.txt").write_text(f"{name} {i}")
        for given in (
            {},
            {"label_mode": "categorical", "batch_size": 4},
            {"class_names": ["c", "a"], "label_mode": "binary"},
            {"labels": None, "max_length": 2},
            {"labels": list(range(5)) * 3},
            {"validation_split": 0.3, "subset": "training"},
            {"validation_split": 0.3, "subset": "validation"},
        ):
            dataset = k.utils.text_dataset_from_directory(
                folder, shuffle=False, verbose=False, **given
            )
            batches = [each if isinstance(each, tuple) else (each,) for each in dataset]
            texts = [np.asarray(each[0]).astype("U") for each in batches]
            found[f"texts {given}"] = [text for each in texts for text in each.tolist()]
            labels = [np.asarray(each[1]) for each in batches if len(each) > 1]
            found[f"labels {given}"] = np.concatenate(labels) if labels else None
            found[f"names {given}"] = dataset.class_names
    return found
