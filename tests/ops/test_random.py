"""Random numbers in traced code: drawn by the core, anew in each call and step."""

import numpy as np
import pytest

import cdl
from cdl import Input, Model, layers, ops
from cdl.utils import set_random_seed

X = np.zeros((600, 3), np.float32)


class Drawing(layers.Layer):
    """A layer that adds what a function draws in the shape of its input."""

    def __init__(self, draw, **kwargs):
        super().__init__(**kwargs)
        self.draw = draw
        self.generator = cdl.random.SeedGenerator(7)

    def call(self, x):
        return x + ops.cast(self.draw(x, self.generator), "float32")


def model_of(draw):
    return cdl.Sequential([Input((3,)), Drawing(draw)])


SHAPES = {
    "shape of a tensor": ops.shape,
    "number of samples": lambda x: (ops.shape(x)[0], 3),
    "None": lambda x: (x.shape[0], 3),
    "a tensor of sizes": lambda x: ops.stack([ops.shape(x)[0], 3]),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_each_call_draws_others(shape):
    model = model_of(lambda x, seed: cdl.random.normal(shape(x), 2.0, 3.0, seed=seed))
    first, second = model.predict(X, verbose=0), model.predict(X, verbose=0)
    assert not (first == second).any()
    assert len(np.unique(first)) > 1790
    assert first.mean() == pytest.approx(2.0, abs=0.3)
    assert first.std() == pytest.approx(3.0, rel=0.1)
    few = model(X[:5]), model(X[:5])
    assert not (few[0] == few[1]).any()


@pytest.mark.parametrize(
    ("draw", "low", "high", "mean"),
    [
        (lambda x, s: cdl.random.uniform(ops.shape(x), -1.0, 3.0, seed=s), -1, 3, 1),
        (lambda x, s: cdl.random.truncated_normal(ops.shape(x), 1.0, 0.5, seed=s), 0, 2, 1),
        (lambda x, s: cdl.random.randint(ops.shape(x), 2, 5, seed=s), 2, 4, 3),
        (lambda x, s: cdl.random.dropout(x + 1.0, 0.25, seed=s), 0, 4 / 3, 1),
        (lambda x, s: cdl.random.categorical(x, 3, seed=s), 0, 2, 1),
        (lambda x, s: cdl.random.normal(ops.shape(x), x, 0.0, seed=s), 0, 0, 0),
    ],
)
def test_draws_are_of_their_distribution(draw, low, high, mean):
    y = model_of(draw).predict(X, verbose=0)
    assert y.min() >= low - 1e-6 and y.max() <= high + 1e-6
    assert y.mean() == pytest.approx(mean, abs=0.1)


def test_classes_are_drawn_by_their_logits():
    logits = np.log(np.float32([0.5, 0.2, 0.3]))
    model = model_of(lambda x, seed: cdl.random.categorical(x + logits, 3, seed=seed))
    y = model.predict(X, verbose=0)
    np.testing.assert_allclose([(y == k).mean() for k in range(3)], [0.5, 0.2, 0.3], atol=0.05)


def test_an_int_as_a_seed_draws_the_same_in_each_call():
    model = model_of(lambda x, seed: cdl.random.normal(ops.shape(x), seed=3))
    first = model.predict(X, verbose=0)
    np.testing.assert_array_equal(model.predict(X, verbose=0), first)
    assert len(np.unique(first[:30])) == 90


def test_what_has_no_axis_of_samples_is_one_draw_for_all():
    model = model_of(lambda x, seed: cdl.random.normal((1, 3), seed=seed))
    first = model.predict(X, verbose=0, batch_size=600)
    assert (first == first[:1]).all()
    assert len(np.unique(first[0])) == 3
    assert not (model.predict(X, verbose=0) == first).any()
    model = model_of(lambda x, seed: cdl.random.normal((3,), seed=5))
    expected = cdl.random.normal((3,), seed=5)
    np.testing.assert_array_equal(model.predict(X[:2], verbose=0), [expected, expected])


@pytest.mark.filterwarnings("ignore:.*no weight is trainable")
def test_each_step_of_training_draws_others_and_a_seed_repeats_them():
    def losses():
        set_random_seed(4)
        model = model_of(lambda x, seed: cdl.random.normal(ops.shape(x), seed=seed))
        model.compile("sgd", "mse")
        return model.fit(X, X, epochs=3, verbose=0).history["loss"]

    first = losses()
    assert len(set(first)) == 3
    assert first == losses()
    assert first[0] == pytest.approx(1.0, abs=0.1)


def test_a_functional_model_draws_too():
    x = Input((3,))
    model = Model(x, x * 2.0 + cdl.random.uniform(ops.shape(x)))
    y = model.predict(X, verbose=0)
    assert y.mean() == pytest.approx(0.5, abs=0.05)


def test_tracing_leaves_the_global_generators_alone():
    import random

    set_random_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    x = Input((3,))
    cdl.random.uniform(ops.shape(x))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_arrays_are_drawn_at_once():
    layer = Drawing(lambda x, seed: cdl.random.normal(ops.shape(x), seed=seed))
    first = layer(X[:4])
    assert isinstance(first, np.ndarray)
    assert not (layer(X[:4]) == first).any()


def test_a_shape_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="normal: shape must be sizes that are known"):
        model_of(lambda x, seed: cdl.random.normal(ops.cast(ops.mean(x), "int32"), seed=seed))


def test_shuffling_samples_is_refused():
    with pytest.raises(TypeError, match="no NumPy array"):
        cdl.random.shuffle(Input((3,)))
