"""Attention whose weights are dropped: one instruction, with the numbers of the way around it."""

import numpy as np
import pytest

import cdl
from cdl import layers

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 9, 8)).astype(np.float32)
SHOWN = np.arange(9) < np.array([9, 5, 1, 0, 7, 2])[:, None]


def multi_head(**more):
    return layers.MultiHeadAttention(2, 4, seed=3, **more)


def grouped(**more):
    return layers.GroupQueryAttention(4, 4, 2, seed=3, **more)


def net_of(layer, masked=False, **given):
    x, mask = cdl.Input((9, 8)), cdl.Input((9,), dtype="bool")
    more = {"value_mask": mask, "query_mask": mask} if masked else {}
    return cdl.Model([x, mask], layer(x, x, **more, **given))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("make", [multi_head, grouped])
def test_weights_are_dropped_as_where_scores_are_returned(make, masked, causal):
    """The seed fixes the mask, so both ways drop the same weights."""
    one = net_of(make(dropout=0.4), masked, use_causal_mask=causal)
    ops = [i.op for i in one.program().instructions]
    assert ops.count("attention") == 1 and not {"softmax", "dropout"} & set(ops)
    more = {"use_causal_mask": causal, "return_attention_scores": True}
    other = net_of(make(dropout=0.4), masked, **more)
    other = cdl.Model(other.inputs, other.outputs[0])
    other.set_weights(one.get_weights())
    given = [X, SHOWN]
    np.testing.assert_allclose(
        one.predict(given, verbose=0), other.predict(given, verbose=0), rtol=1e-4, atol=2e-6
    )
    target = RNG.normal(size=X.shape)
    for net in (one, other):
        net.compile(cdl.optimizers.SGD(0.1), "mse")
    for _ in range(3):
        losses = [net.train_on_batch(given, target) for net in (one, other)]
        np.testing.assert_allclose(*losses, rtol=1e-5)
    for here, there in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [multi_head, grouped])
def test_weights_are_dropped_where_training_is_asked_for(make):
    cdl.utils.set_random_seed(1)
    layer = make(dropout=0.5)
    y = np.asarray(layer(X, X))
    dropped = [np.asarray(layer(X, X, training=True)) for _ in range(300)]
    assert not np.array_equal(dropped[0], y)
    assert np.array_equal(layer(X, X), y)
    assert np.abs(np.mean(dropped, axis=0) - y).max() < 6 * np.std(dropped, axis=0).max() / 300**0.5
    x = cdl.Input((9, 8))
    net = cdl.Model(x, layer(x, x))
    np.testing.assert_allclose(net.predict(X, verbose=0), y, rtol=1e-4, atol=1e-6)
    assert not np.array_equal(net(X, training=True), y)
    always = cdl.Model(x, layer(x, x, training=True))
    assert not np.array_equal(always.predict(X, verbose=0), always.predict(X, verbose=0))


def test_a_softmax_of_ones_own_sees_all_scores():
    class Sharp(layers.MultiHeadAttention):
        def _masked_softmax(self, attention_scores, attention_mask=None):
            return super()._masked_softmax(attention_scores * 4.0, attention_mask)

    net = net_of(Sharp(2, 4, dropout=0.1))
    assert "softmax" in [i.op for i in net.program().instructions]
