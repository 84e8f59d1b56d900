"""Rows of what learns from data ahead of a net: vocabularies, means, bins, spaces, windows."""

from functools import partial

import numpy as np
from over_time.layers import by_file
from over_time.thing import COPIES, Thing

import cdl
from cdl import layers
from cdl.models import load_model
from cdl.utils import FeatureSpace, windows

RNG = np.random.default_rng(3)
N = 24


def texts(*values):
    array = np.empty((len(values), 1), object)
    array[:, 0] = values
    return array


ONE = texts("", "a\nb", "c", "c", "a\rb", "\u2028", "[UNK]", b"\xe9a", " ")
TWO = texts("x", "", "y\n", "y\n", "x")
NUMBERS, OTHERS = RNG.normal(size=(N, 3)), RNG.normal(5, 2, size=(N, 3))
INTEGERS, LARGE = np.array([[3], [-1], [3], [2**40]]), np.array([[7], [7], [-1], [2**62]])


def adapted(make, data):
    layer = make()
    layer.adapt(data)
    return layer


def use(layer, data):
    """Outputs, and what was learned."""
    known = layer.get_vocabulary() if hasattr(layer, "get_vocabulary") else []
    return [np.asarray(layer(data)), *map(str, known)]


def by_folder(layer, folder):
    again = type(layer).from_config(layer.get_config())
    layer.save_assets(folder)
    again.load_assets(folder)
    return again


def learner(name, make, data, second, bad, folder=False):
    """A layer that learned from data, learns from others, and fails to learn from bad ones."""
    ways = {**COPIES, "file": partial(by_file, data=typed(data))}
    return Thing(
        name,
        partial(adapted, make, data),
        partial(use, data=data),
        (),
        {"adapt": lambda layer: layer.adapt(second)},
        {**ways, "folder": by_folder} if folder else ways,
        fails={f"adapt {i}": partial(fails, data=each) for i, each in enumerate(bad)},
        shared=True,
    )


def fails(layer, data):
    layer.adapt(data)


def typed(data):
    """Data of the shape and dtype that `by_file` reads: texts as NumPy's."""
    return np.zeros(data.shape, "U1" if data.dtype == object else data.dtype)


FRACTIONS, NO_TEXT = np.array([[0.5]]), texts("a", None)
INFINITE, EMPTY = np.full((4, 3), np.inf), np.full((4, 3), np.nan)

ROWS = [
    learner("vocabulary of any text", layers.StringLookup, ONE, TWO, [NO_TEXT, 3], folder=True),
    learner(
        "vocabulary of latin-1",
        partial(layers.StringLookup, encoding="latin-1", mask_token="é", num_oov_indices=2),
        texts(b"\xe9a", "b\n", "é"),
        texts("ü", b"\xfc"),
        [texts("日本")],
        folder=True,
    ),
    learner(
        "vocabulary of characters",
        partial(layers.TextVectorization, split="character", output_sequence_length=5),
        ONE,
        TWO,
        [NO_TEXT],
        folder=True,
    ),
    learner(
        "vocabulary of integers",
        partial(layers.IntegerLookup, mask_token=3),
        INTEGERS,
        LARGE,
        [FRACTIONS, np.array([[2**63]], "uint64")],
        folder=True,
    ),
    learner("learned mean", layers.Normalization, NUMBERS, OTHERS, [INFINITE, EMPTY]),
    learner(
        "learned bins", partial(layers.Discretization, num_bins=4), NUMBERS, OTHERS, [INFINITE]
    ),
    learner("learned medians", layers.RobustScaling, NUMBERS, OTHERS, [INFINITE, EMPTY]),
    learner("learned edges", layers.PiecewiseLinearEncoding, NUMBERS, OTHERS, [INFINITE, EMPTY]),
]


# --- a model whose layer learns anew ---


def model_of(make):
    layer = adapted(make, NUMBERS)
    inputs = cdl.Input((3,))
    return cdl.Model(inputs, layer(inputs))


def model_by_file(model, folder):
    model.save(folder / "m.keras")
    return load_model(folder / "m.keras")


def of_model(name, make):
    return Thing(
        name,
        partial(model_of, make),
        lambda model: model.predict(NUMBERS, verbose=0),
        (),
        {"adapt": lambda model: model.layers[-1].adapt(OTHERS)},
        {**COPIES, "file": model_by_file},
        fails={"adapt": lambda model: model.layers[-1].adapt(INFINITE)},
        shared=True,
    )


ROWS += [
    of_model("model of a learned mean", layers.Normalization),
    of_model("model of learned bins", partial(layers.Discretization, num_bins=4)),
    of_model("model of learned medians", layers.RobustScaling),
    of_model("model of learned edges", layers.PiecewiseLinearEncoding),
]


# --- FeatureSpace ---

TABLE = {
    "age": RNG.normal(40, 9, N),
    "rooms": RNG.integers(1, 6, N),
    "city": np.array(["oslo", "a\nb", "", "rome"] * (N // 4), object),
    "code": RNG.integers(2**25, 2**25 + 3, N),
}
LATER = {
    "age": RNG.normal(0, 2, N),
    "rooms": RNG.integers(4, 9, N),
    "city": np.array(["bern", "oslo\r"] * (N // 2), object),
    "code": RNG.integers(9, 12, N),
}
KINDS = {
    "age": "float_normalized",
    "rooms": "float_discretized",
    "city": "string_categorical",
    "code": "integer_categorical",
}


def space():
    made = FeatureSpace(KINDS, crosses=[("city", "code")], output_mode="dict")
    made.adapt(TABLE)
    return made


def filled():
    kinds = {
        "age": FeatureSpace.float_normalized("age", missing="indicator"),
        "city": FeatureSpace.string_categorical(name="city", missing="token"),
    }
    made = FeatureSpace(kinds, output_mode="dict")
    made.adapt(
        {
            "age": np.where(np.arange(N) % 5, TABLE["age"], np.nan),
            "city": [None, *TABLE["city"][1:]],
        }
    )
    return made


def space_by_file(made, folder):
    made.save(folder / "space.keras")
    return load_model(folder / "space.keras")


def of_space(name, make):
    return Thing(
        name,
        make,
        lambda made: made(TABLE),
        (),
        {"adapt": lambda made: made.adapt(LATER)},
        {**COPIES, "file": space_by_file},
        fails={
            "a text that is none": lambda made: made.adapt({**LATER, "city": [0.5] * N}),
            "infinity": lambda made: made.adapt([LATER, {**LATER, "age": np.full(N, np.inf)}]),
            "a missing column": lambda made: made({"city": TABLE["city"]}),
        },
        shared=True,
    )


ROWS += [of_space("space", space), of_space("space that fills", filled)]

ROWS += [
    Thing(
        "windows in new orders",
        lambda: windows(NUMBERS, 4, 2, targets=1, batch_size=5, shuffle=True, seed=3),
        lambda made: [part for batch in made for part in batch],
    )
]
