"""Masks when a `call` is first run on symbolic tensors, and None in place of a tensor."""

import numpy as np
import pytest

from cdl import Input, Model, Sequential, layers, ops, saving

RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, 5, 3)).astype(np.float32)
X[RNG.random((12, 5)) < 0.4] = 0
COUNTS = X.any(-1)
IDS = RNG.integers(0, 4, (12, 5))
Y = RNG.normal(size=(12, 5, 3)).astype(np.float32)


@saving.register_keras_serializable("masks_in_first_calls")
class Weighed(layers.Layer):
    """Lines by their mask, which must be there."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x, mask):
        return x * ops.expand_dims(ops.cast(mask, "float32"), -1)


@saving.register_keras_serializable("masks_in_first_calls")
class WeighedPair(layers.Layer):
    """A pair, the first by its mask."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, x, other, x_mask=None, other_mask=None):
        assert other_mask is None
        return ops.where(ops.expand_dims(x_mask, -1), x, other)


@saving.register_keras_serializable("masks_in_first_calls")
class Inner(layers.Layer):
    """Layers within a layer: one that makes a mask, and one that reads it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding, self.weighed = layers.Embedding(4, 3, mask_zero=True), Weighed()

    def call(self, ids):
        return self.weighed(self.embedding(ids))


def functional(make):
    inputs = Input((5, 3))
    return Model(inputs, make(layers.Masking()(inputs)))


def of_ids(*stack):
    return Sequential([Input((5,), dtype="int32"), *stack])


def within(x):
    inner = Input((5, 3))
    return Weighed()(Model(inner, layers.Activation("linear")(inner))(x))


def a_pair(x):
    return WeighedPair()(x, ops.zeros_like(x))


STEPS = COUNTS[..., None]
NETS = {
    "functional": (lambda: functional(Weighed()), X, X * STEPS),
    "behind other layers": (
        lambda: functional(lambda x: Weighed()(layers.Dropout(0.5)(layers.ReLU()(x)))),
        X,
        np.maximum(X, 0) * STEPS,
    ),
    "behind a model": (lambda: functional(within), X, X * STEPS),
    "of several arguments": (lambda: functional(a_pair), X, X * STEPS),
    "a sum of two": (
        lambda: functional(lambda x: Weighed()(layers.Add()([x, x]))), X, 2 * X * STEPS,
    ),
    "sequential": (lambda: Sequential([Input((5, 3)), layers.Masking(), Weighed()]), X, X * STEPS),
    "open steps": (
        lambda: Sequential([Input((None, 3)), layers.Masking(), Weighed()]), X, X * STEPS,
    ),
    "embedding": (lambda: of_ids(layers.Embedding(4, 3, mask_zero=True), Weighed()), IDS, None),
    "reversible": (
        lambda: of_ids(layers.ReversibleEmbedding(4, 3, mask_zero=True), Weighed()), IDS, None,
    ),
    "recurrent": (
        lambda: of_ids(
            layers.Embedding(4, 3, mask_zero=True),
            layers.Bidirectional(layers.GRU(2, return_sequences=True)),
            layers.LSTM(3, return_sequences=True),
            Weighed(),
        ),
        IDS,
        None,
    ),
    "time distributed": (
        lambda: of_ids(
            layers.Embedding(4, 3, mask_zero=True),
            layers.TimeDistributed(layers.Dense(3)),
            Weighed(),
        ),
        IDS,
        None,
    ),
    "attention": (
        lambda: functional(lambda x: Weighed()(layers.MultiHeadAttention(1, 2)(x, x))), X, None,
    ),
    "within a layer": (lambda: of_ids(Inner()), IDS, None),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*no weight is trainable")
@pytest.mark.parametrize("name", NETS)
def test_a_call_is_told_the_mask_when_it_is_first_run(name, tmp_path):
    make, x, expected = NETS[name]
    model = make()
    y = model.predict(x, verbose=0)
    if expected is None:
        hidden = (x == 0) if x is IDS else ~COUNTS
        assert (y[hidden] == 0).all()
        assert (y[~hidden] != 0).all()
    else:
        np.testing.assert_allclose(y, expected, rtol=1e-6)
    model.compile("sgd", "mse")
    model.fit(x, Y, epochs=2, batch_size=5, verbose=0)
    model.save(tmp_path / "m.keras")
    again = saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    for each in (model, again):
        each.fit(x, Y, batch_size=5, shuffle=False, verbose=0)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


class Subclassed(Model):
    """Model whose own `call` reads a mask."""

    def __init__(self):
        super().__init__()
        self.masking, self.weighed, self.dense = layers.Masking(), Weighed(), layers.Dense(3)

    def call(self, x):
        return self.dense(self.weighed(self.masking(x)))


def test_a_subclassed_model_is_told_its_masks():
    model = Subclassed()
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=2, batch_size=5, verbose=0)
    kernel, bias = model.get_weights()
    expected = X * STEPS @ kernel + bias
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_a_lambda_is_told_the_mask_when_it_is_first_run():
    def weigh(x, mask):
        return x * ops.expand_dims(ops.cast(mask, "float32"), -1)

    def made():
        return layers.Lambda(weigh, mask=lambda x, mask: mask)

    for model in (functional(made()), Sequential([Input((5, 3)), layers.Masking(), made()])):
        np.testing.assert_allclose(model.predict(X, verbose=0), X * STEPS, rtol=1e-6)


def test_a_call_without_a_mask_says_what_was_none():
    class Optional(Weighed):
        def call(self, x, mask=None):
            return super().call(x, mask)

    message = "cast: x must be an array, a symbolic tensor or a number, got None"
    with pytest.raises(ValueError, match=message):
        Optional()(Input((5, 3)))
    with pytest.raises(ValueError, match=message):
        Optional()(X)


V = np.ones((2, 3), np.float32)
OF_NONE = {
    "cast: x": lambda v: ops.cast(None, "float32"),
    "exp: x": lambda v: ops.exp(None),
    "where: condition": lambda v: ops.where(None, v, 1.0),
    "full: fill_value": lambda v: ops.full((1, 3), None),
    "add: x2": lambda v: ops.add(v, None),
    "maximum: x2": lambda v: ops.maximum(v, x2=None),
    "matmul: x1": lambda v: ops.matmul(None, v),
    "concatenate: xs": lambda v: ops.concatenate([v, None], -1),
    "stack: x": lambda v: ops.stack([v, None]),
    "equal: x2": lambda v: ops.equal(v, None),
    "expand_dims: x": lambda v: ops.expand_dims(None, -1),
    "take: indices": lambda v: ops.take(v, None, axis=1),
    "one_hot: x": lambda v: ops.one_hot(None, 3),
    "zeros_like: x": lambda v: ops.zeros_like(None),
    "convert_to_tensor: x": lambda v: ops.convert_to_tensor(None),
    "einsum: operands": lambda v: ops.einsum("ij,ij->i", v, None),
    "dot_product_attention: key": lambda v: ops.dot_product_attention(v, None, v),
    "sum: x": lambda v: ops.sum(None),
}


@pytest.mark.parametrize("name", OF_NONE)
def test_none_in_place_of_a_tensor_is_refused_by_name(name):
    class Own(layers.Layer):
        def call(self, v):
            return OF_NONE[name](v) + v

    message = f"^{name} must be an array, a symbolic tensor or a number, got None"
    for call in (OF_NONE[name], Own()):
        for x in (V, Input((3,))):
            with pytest.raises(ValueError, match=message):
                call(x)


def test_none_stays_where_it_says_something():
    for x in (V, Input((3,))):
        assert ops.sum(x, axis=None).shape == ()
        assert x[:, None].shape[1:] == (1, 3)
        assert ops.clip(x, None, 0.5).shape == x.shape
        assert (x == None) is not True  # noqa: E711
    np.testing.assert_array_equal(ops.clip(V, None, 0.5), V / 2)
