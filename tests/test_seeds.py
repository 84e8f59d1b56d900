"""A seed of its own is all that counts; without one `set_random_seed` decides."""

import inspect
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_random import DRAWS

import cdl
from cdl import initializers, layers, ops
from cdl.data import PyDataset
from cdl.initializers import Constant, GlorotUniform
from cdl.layers import Dense, Flatten, Input
from cdl.models import Model, Sequential
from cdl.random import SeedGenerator
from cdl.scripts import tf_data
from cdl.utils import set_random_seed

RNG = np.random.default_rng(0)

# Layers that draw, each with the shape of a sample.
LAYERS = {
    "Dropout": ((6,), lambda **k: layers.Dropout(0.5, **k)),
    "Dropout of a noise shape": ((3, 4), lambda **k: layers.Dropout(0.5, (None, 1, None), **k)),
    "AlphaDropout": ((6,), lambda **k: layers.AlphaDropout(0.3, **k)),
    "AlphaDropout of a shape": ((3, 4), lambda **k: layers.AlphaDropout(0.3, (None, 3, 1), **k)),
    "GaussianDropout": ((6,), lambda **k: layers.GaussianDropout(0.3, **k)),
    "GaussianNoise": ((6,), lambda **k: layers.GaussianNoise(0.3, **k)),
    "SpatialDropout1D": ((3, 8), lambda **k: layers.SpatialDropout1D(0.5, **k)),
    "SpatialDropout2D": ((2, 2, 8), lambda **k: layers.SpatialDropout2D(0.5, **k)),
    "SpatialDropout3D": ((2, 2, 2, 8), lambda **k: layers.SpatialDropout3D(0.5, **k)),
}
IMAGES = {
    "RandomBrightness": (0.5,),
    "RandomColorDegeneration": (0.5,),
    "RandomColorJitter": ((0, 255), 0.5, 0.5, 0.5, 0.5),
    "RandomContrast": (0.5,),
    "RandomCrop": (4, 4),
    "RandomElasticTransform": (0.5,),
    "RandomErasing": (),
    "RandomFlip": (),
    "RandomGaussianBlur": (),
    "RandomGrayscale": (),
    "RandomHue": (0.5,),
    "RandomInvert": (0.5,),
    "RandomPerspective": (),
    "RandomRotation": (0.3,),
    "RandomSaturation": (0.5,),
    "RandomSharpness": (0.5,),
    "RandomShear": (0.3, 0.3),
    "RandomTranslation": (0.3, 0.3),
    "RandomZoom": (0.3,),
    "Solarization": (0.5, 0.5),
}
for _name, _given in IMAGES.items():
    LAYERS[_name] = (
        (8, 8, 3),
        lambda _name=_name, _given=_given, **k: getattr(layers, _name)(*_given, **k),
    )

SMALL = {"kernel_initializer": Constant(0.01)}  # no seed in it, and gates do not saturate
STEPS = {**SMALL, "recurrent_initializer": Constant(0.1), "dropout": 0.5, "recurrent_dropout": 0.2}
for _name in ("SimpleRNN", "LSTM", "GRU"):
    LAYERS[_name] = (
        (4, 3),
        lambda _name=_name, **k: getattr(layers, _name)(5, **STEPS, **k),
    )
    LAYERS[f"{_name}Cell"] = (
        (4, 3),
        lambda _name=_name, **k: layers.RNN(getattr(layers, f"{_name}Cell")(5, **STEPS, **k)),
    )
for _axes in (1, 2, 3):
    LAYERS[f"ConvLSTM{_axes}D"] = (
        (2, *[3] * _axes, 2),
        lambda _axes=_axes, **k: getattr(layers, f"ConvLSTM{_axes}D")(2, 2, **STEPS, **k),
    )


def samples(shape):
    """Numbers from 0 to 255, as images have them."""
    return np.random.RandomState(2).uniform(0, 255, (20, *shape)).astype(np.float32)


class SelfAttention(layers.Layer):
    """A layer of attention whose queries are the values."""

    def __init__(self, attention, in_a_list=False):
        super().__init__()
        self.attention, self.in_a_list = attention, in_a_list

    def call(self, x, training=None):
        given = ([x, x],) if self.in_a_list else (x, x)
        return self.attention(*given, training=training)


ATTENTION = {
    "Attention": lambda **k: SelfAttention(layers.Attention(dropout=0.5, **k), True),
    "MultiHeadAttention": lambda **k: SelfAttention(
        layers.MultiHeadAttention(2, 3, dropout=0.5, **SMALL, **k)
    ),
    "GroupQueryAttention": lambda **k: SelfAttention(
        layers.GroupQueryAttention(3, 2, 1, dropout=0.5, **SMALL, **k)
    ),
}
for _name, _make in ATTENTION.items():
    LAYERS[f"a layer of {_name}"] = ((4, 3), _make)


class Drawing(layers.Layer):
    """A layer that adds what a function draws for its input, with a seed or a generator."""

    def __init__(self, draw, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.draw = draw
        self.generator = SeedGenerator(seed)

    def call(self, x):
        return x + ops.cast(self.draw(x, self.generator), "float32")


TRACED = {
    "normal": lambda x, s: cdl.random.normal(ops.shape(x), seed=s),
    "uniform": lambda x, s: cdl.random.uniform(ops.shape(x), seed=s),
    "truncated_normal": lambda x, s: cdl.random.truncated_normal(ops.shape(x), seed=s),
    "randint": lambda x, s: cdl.random.randint(ops.shape(x), 0, 9, seed=s),
    "dropout": lambda x, s: cdl.random.dropout(x, 0.5, seed=s),
    "categorical": lambda x, s: cdl.random.categorical(x, 6, seed=s),
}
for _name, _draw in TRACED.items():
    LAYERS[f"a layer of random.{_name}"] = ((6,), lambda _draw=_draw, **k: Drawing(_draw, **k))


def dense(units, seed):
    return Dense(units, kernel_initializer=GlorotUniform(seed))


def bits(model):
    return b"".join(weight.tobytes() for weight in model.get_weights())


def model_of(shape, made):
    """A net that learns through a layer; all else in it has seeds of its own."""
    model = Sequential([Input(shape), made, Flatten(), dense(2, 5)])
    model.add(dense(1, 6))
    model.compile("adam", "mse")
    return model


def trained(shape, make, run, **given):
    """The weights of a net around a layer, made and trained under a global seed."""
    set_random_seed(run)
    model = model_of(shape, make(**given))
    x = np.random.RandomState(1).normal(size=(40, *shape))
    model.fit(x, x.reshape(40, -1)[:, :1], epochs=2, shuffle=False, verbose=0)
    return bits(model)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_with_a_seed_trains_to_the_same_bits_under_any_global_seed(name):
    first = trained(*LAYERS[name], 1, seed=7)
    assert trained(*LAYERS[name], 2, seed=7) == first
    assert trained(*LAYERS[name], 2, seed=8) != first


@pytest.mark.parametrize("name", LAYERS)
def test_layer_without_a_seed_follows_the_global_one(name):
    first = trained(*LAYERS[name], 1)
    assert trained(*LAYERS[name], 1) == first
    assert trained(*LAYERS[name], 2) != first


@pytest.mark.parametrize("name", [name for name in LAYERS if not name.startswith("a layer")])
def test_layer_that_is_called_on_arrays_draws_by_its_seed(name):
    shape, make = LAYERS[name]
    x = samples(shape)

    def called(run, **given):
        set_random_seed(run)
        return make(**given)(x, training=True)

    np.testing.assert_array_equal(called(1, seed=7), called(2, seed=7))
    assert (called(1) != called(2)).any()
    np.testing.assert_array_equal(called(1), called(1))


@pytest.mark.parametrize("name", LAYERS)
def test_noise_that_stays_in_predictions_draws_by_its_seed(name):
    shape, make = LAYERS[name]
    x = samples(shape)

    def predicted(run, **given):
        set_random_seed(run)
        inputs = Input(shape)
        return Model(inputs, make(**given)(inputs, training=True)).predict(x, verbose=0)

    np.testing.assert_array_equal(predicted(1, seed=7), predicted(2, seed=7))
    assert (predicted(1) != predicted(2)).any()


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_equal_seeds_draw_the_same_wherever_they_stand(name):
    shape, make = LAYERS[name]
    x = samples(shape)
    inputs = Input(shape)
    behind = layers.Rescaling(1.0)(layers.Dropout(0.9)(inputs, training=False))
    there = [make(seed=7)(inputs), make(seed=7)(inputs), make(seed=7)(behind), make(seed=8)(inputs)]
    first, second, third, other = Model(inputs, there)(x, training=True)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)
    assert (first != other).any()
    if not name.startswith("a layer"):  # on arrays such a layer's `call` draws by NumPy
        np.testing.assert_array_equal(first, make(seed=7)(x, training=True))


@pytest.mark.parametrize("name", LAYERS)
def test_layer_that_stands_in_a_model_twice_draws_twice(name):
    shape, make = LAYERS[name]
    x = samples(shape)
    inputs, one, two = Input(shape), make(seed=7), make(seed=7)
    a, b, c, d = Model(inputs, [one(inputs), one(inputs), two(inputs), two(inputs)])(
        x, training=True
    )
    assert (a != b).any()
    np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(b, d)


def takes_seed(thing):
    return "seed" in inspect.signature(thing).parameters


def test_every_layer_that_takes_a_seed_is_tried():
    there = {name for name, each in vars(layers).items() if isinstance(each, type)}
    apart = {"MixUp", "CutMix", "RandomPosterization"}  # below; and Keras's draws nothing
    apart |= {"AugMix", "RandAugment"}  # in layers/test_image_chains.py
    apart |= {"GroupedQueryAttention"}  # another name of GroupQueryAttention
    tried = {name.removeprefix("a layer of ") for name in LAYERS}
    assert {name for name in there - apart if takes_seed(getattr(layers, name))} <= tried


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_images_and_labels_are_mixed_by_their_seed(name):
    batch = {"images": samples((8, 8, 3)), "labels": np.eye(20, dtype=np.float32)}

    def mixed(run, **given):
        set_random_seed(run)
        found = getattr(layers, name)(**given)(batch, training=True)
        return np.concatenate([found[key].reshape(20, -1) for key in ("images", "labels")], 1)

    np.testing.assert_array_equal(mixed(1, seed=7), mixed(2, seed=7))
    assert (mixed(1) != mixed(2)).any()
    np.testing.assert_array_equal(mixed(1), mixed(1))


INITIALIZERS = sorted(
    name
    for name, each in vars(initializers).items()
    if isinstance(each, type) and name[0].isupper() and takes_seed(each)
)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializer_gives_the_values_of_its_seed(name):
    def values(run, *seed):
        set_random_seed(run)
        return getattr(initializers, name)(**dict(zip(["seed"], seed, strict=False)))((6, 5))

    np.testing.assert_array_equal(values(1, 7), values(2, 7))
    np.testing.assert_array_equal(values(1, SeedGenerator(7)), values(2, SeedGenerator(7)))
    assert (values(1) != values(2)).any()
    np.testing.assert_array_equal(values(1), values(1))


@pytest.mark.parametrize("name", DRAWS)
def test_sampler_gives_the_numbers_of_its_seed(name):
    def drawn(run, seed):
        set_random_seed(run)
        return DRAWS[name](seed() if callable(seed) else seed)

    for seed in (7, lambda: SeedGenerator(7)):
        np.testing.assert_array_equal(drawn(1, seed), drawn(2, seed))
    for seed in (None, SeedGenerator):
        assert (drawn(1, seed) != drawn(2, seed)).any()
        np.testing.assert_array_equal(drawn(1, seed), drawn(1, seed))


def test_splits_and_windows_follow_their_seed():
    x = np.arange(50)

    def made(run, seed):
        set_random_seed(run)
        left, right = cdl.utils.split_dataset(x, 0.5, shuffle=True, seed=seed)
        windows = cdl.utils.timeseries_dataset_from_array(x, x, 3, shuffle=True, seed=seed)
        batches = [part for batch in windows for part in batch]
        return np.concatenate([np.ravel(part) for part in (left, right, *batches)])

    np.testing.assert_array_equal(made(1, 7), made(2, 7))
    assert (made(1, None) != made(2, None)).any()


# --- threads ---


def own_model(seed):
    """A net of which nothing follows the global seed."""
    drawing = Drawing(TRACED["normal"], seed=seed)
    noises = [layers.Dropout(0.3, seed=seed), layers.GaussianNoise(0.1, seed=seed + 1), drawing]
    model = Sequential([Input((6,)), dense(8, seed), *noises, dense(1, seed)])
    model.compile("adam", "mse")
    return model


X = RNG.normal(size=(60, 6)).astype(np.float32)
Y = X[:, :1]


def fit_own(seed):
    model = own_model(seed)
    model.fit(X, Y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return bits(model)


def test_eight_models_in_eight_threads_get_the_bits_of_one_after_the_other():
    set_random_seed(1)
    alone = [fit_own(seed) for seed in range(8)]
    set_random_seed(2)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fit_own, range(8))) == alone
    models = [own_model(seed) for seed in range(8)]
    jobs = [(model, X, Y) for model in models]
    cdl.train_many(jobs, workers=8, batch_size=8, epochs=3, shuffle=False)
    assert [bits(model) for model in models] == alone


class Batches(PyDataset):
    """A PyDataset of ten batches."""

    def __len__(self):
        return 10

    def __getitem__(self, i):
        return X[6 * i : 6 * i + 6], Y[6 * i : 6 * i + 6]


@pytest.mark.parametrize("data", ["arrays", "PyDataset"])
def test_orders_of_many_trainings_do_not_depend_on_which_ran_when(data):
    def many(workers):
        models = [own_model(seed) for seed in range(8)]
        given = [(Batches(), None) if data == "PyDataset" else (X, Y) for _ in models]
        np.random.seed(3)
        jobs = [(model, *each) for model, each in zip(models, given, strict=True)]
        cdl.train_many(jobs, workers=workers, epochs=3)
        return [bits(model) for model in models]

    alone = many(1)
    cdl.random.uniform((3,))  # Python's `random` has moved on
    assert many(8) == alone
    assert len(set(alone)) == 8


@pytest.mark.parametrize("seed", [None, 5])
def test_jobs_that_share_windows_get_the_same_orders_whichever_ran_first(seed):
    def many(workers):
        np.random.seed(3)
        shared = cdl.utils.timeseries_dataset_from_array(X, Y, 2, shuffle=True, seed=seed)
        models = [Sequential([Input((2, 6)), Flatten(), dense(1, 9)]) for _ in range(8)]
        for model in models:
            model.compile("adam", "mse")
        jobs = [(model, shared, None) for model in models]
        cdl.train_many(jobs, workers=workers, epochs=6)
        return [bits(model) for model in models]

    alone = many(1)
    assert many(8) == alone
    assert len(set(alone)) == 1


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("repeats", [False, True])
def test_jobs_that_share_a_data_set_of_tf_data_get_the_same_orders(seed, repeats):
    def many(workers):
        cdl.utils.set_random_seed(3)
        shared = tf_data.Dataset.from_tensor_slices((X, X[:, :1])).shuffle(50, seed).batch(8)
        if repeats:
            shared = shared.repeat()
        models = [Sequential([Input((X.shape[1],)), dense(1, 9)]) for _ in range(6)]
        for model in models:
            model.compile("adam", "mse")
        jobs = [(model, shared, None) for model in models]
        cdl.train_many(jobs, workers=workers, epochs=4, steps_per_epoch=5 if repeats else None)
        return [bits(model) for model in models]

    alone = many(1)
    assert many(6) == alone
    assert len(set(alone)) == 1


def test_pydatasets_are_shuffled_in_train_many():
    seen = []

    class Seen(Batches):
        def __getitem__(self, i):
            seen.append(i)
            return super().__getitem__(i)

    cdl.train_many([(own_model(0), Seen(), None)], epochs=2)
    first, second = seen[-20:-10], seen[-10:]  # before these one is looked at for its shape
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second != list(range(10))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: cdl.random.normal((4,)),
        lambda: SeedGenerator().next(),
        lambda: cdl.utils.split_dataset(np.arange(50), 0.5, shuffle=True)[0],
        lambda: next(iter(cdl.utils.timeseries_dataset_from_array(X, None, 1, shuffle=True))),
    ],
)
def test_draws_without_a_seed_follow_that_of_their_thread(draw):
    def within(run):
        set_random_seed(run)
        with cdl.random.seeded(7):
            return np.ravel(draw())

    np.testing.assert_array_equal(within(1), within(2))
    set_random_seed(1)
    first = np.ravel(draw())
    set_random_seed(1)
    within_other = cdl.random.seeded(9)
    with within_other:
        draw()
    np.testing.assert_array_equal(np.ravel(draw()), first)


def test_seed_within_a_seed_leaves_the_outer_one_as_it_was():
    def outer(inner):
        with cdl.random.seeded(7):
            first = cdl.random.permutation(50)
            if inner:
                with cdl.random.seeded(8):
                    cdl.random.permutation(50)
            return [*first, *cdl.random.permutation(50), cdl.random.draw_seed()]

    assert outer(True) == outer(False)


@pytest.mark.parametrize("name", [name for name in LAYERS if not name.startswith("a layer")])
def test_a_layer_from_its_config_draws_by_the_seed_that_was_given(name):
    shape, make = LAYERS[name]
    x = samples(shape) / (1 if name in IMAGES else 255)
    layer = make(seed=5)
    again = type(layer).from_config(layer.get_config())
    assert np.array_equal(layer(x, training=True), again(x, training=True))
