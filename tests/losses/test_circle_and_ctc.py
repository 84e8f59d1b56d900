"""Circle, whose pairs are the batch's, and CTC as users call them."""

import numpy as np
import pytest

import cdl
from cdl import losses, ops

RNG = np.random.default_rng(0)
LABELS = np.array([0, 1, 1, 2, 0, 2, 3, 1])


def embeddings(rows=8, width=5):
    p = RNG.normal(size=(rows, width))
    return (p / np.linalg.norm(p, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("reduction", ["sum", "mean", "sum_over_batch_size"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("remove_diagonal", [False, True])
def test_gradient_of_circle_is_that_of_differences(reduction, weighted, remove_diagonal):
    loss = losses.Circle(6.0, 0.3, remove_diagonal, reduction)
    p = embeddings().astype(np.float64) * 0.9  # no pair stands in a corner of the formula
    weight = RNG.uniform(0.5, 2, len(p)) if weighted else None
    found = losses.numeric_gradient(loss, LABELS, p, weight)
    expected = np.zeros_like(p)
    for at in np.ndindex(p.shape):
        step = np.zeros_like(p)
        step[at] = 1e-5
        above, below = (
            loss.reduce(loss.call(LABELS, p + d).astype(np.float64), weight) for d in (step, -step)
        )
        expected[at] = (above - below) / 2e-5
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_sample_without_pairs_does_not_count():
    p = embeddings()
    each = losses.Circle(reduction=None)(LABELS, p)
    assert each[6] == 0  # the only one of its class
    np.testing.assert_allclose(losses.Circle()(LABELS, p), each.sum() / 7, rtol=1e-6)
    np.testing.assert_allclose(losses.Circle(reduction="sum")(LABELS, p), each.sum(), rtol=1e-6)


def test_references_stand_for_the_batch():
    p = embeddings()
    own = losses.circle(LABELS, p)
    np.testing.assert_array_equal(losses.circle(LABELS, p, LABELS, p), own)
    np.testing.assert_array_equal(losses.circle(LABELS[:, None], p), own)
    assert losses.circle(LABELS[:2], p[:2], LABELS, p, remove_diagonal=False).shape == (2,)


def test_circle_separates_the_classes():
    cdl.utils.set_random_seed(1)
    x = RNG.normal(size=(90, 4)) + np.repeat(np.eye(3, 4) * 4, 30, 0)
    y = np.repeat(np.arange(3), 30)
    layers = [cdl.layers.Dense(8, "relu"), cdl.layers.Dense(2), cdl.layers.UnitNormalization()]
    model = cdl.Sequential([cdl.Input((4,)), *layers])
    model.compile(cdl.optimizers.Adam(0.02), losses.Circle(gamma=8.0))
    history = model.fit(x, y, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ([[1, 2], [1, 2]], np.ones((2, 3)), "y_true must have shape"),
        ([1, 2, 3], np.ones((2, 3)), "n classes"),
        ([1, 2], np.ones(2), "y_pred must have shape"),
    ],
)
def test_circle_says_what_does_not_fit(y, p, words):
    with pytest.raises(ValueError, match=words):
        losses.Circle()(y, p)


@pytest.mark.parametrize(
    ("y", "p", "words"),
    [
        ([1, 2], np.ones((2, 3, 4)), r"y_true must have shape \(n, labels\)"),
        ([[1, 2]], np.ones((2, 4)), r"y_pred must have shape \(n, steps, classes\)"),
        ([[1, 2]], np.ones((2, 3, 4)), "as many rows"),
        ([[1, 4]], np.ones((1, 3, 4)), "class numbers from 0 to 3, got 4"),
        ([[-1, 1]], np.ones((1, 3, 4)), "class numbers from 0 to 3, got -1"),
        ([[1.5, 1]], np.ones((1, 3, 4)), r"got 1\.5"),
        (np.ones((1, 0)), np.ones((1, 3, 4)), "must not be empty"),
    ],
)
def test_ctc_says_what_does_not_fit(y, p, words):
    with pytest.raises(ValueError, match=words):
        losses.CTC()(y, p)


def sequence_model(**options):
    layers = [cdl.Input((6, 3)), cdl.layers.Dense(8, "tanh"), cdl.layers.Dense(5)]
    model = cdl.Sequential(layers)
    model.compile(cdl.optimizers.Adam(0.02), losses.CTC(**options))
    return model


def test_ctc_learns_in_the_core():
    cdl.utils.set_random_seed(3)
    x = RNG.normal(size=(64, 6, 3)).astype(np.float32)
    y = 1 + (x[:, :3, 0] > 0) + 2 * (x[:, :3, 1] > 0)
    model = sequence_model()
    history = model.fit(x, y, epochs=30, verbose=0, validation_split=0.25).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    np.testing.assert_allclose(
        model.evaluate(x, y, verbose=0), losses.CTC()(y, model.predict(x)), rtol=1e-5
    )


class LossOfLabels(cdl.layers.Layer):
    """The layer at the end of recipes for texts in images, which adds the loss itself."""

    def call(self, y_true, y_pred):
        self.add_loss(ops.mean(losses.CTC()(y_true, y_pred)))
        return y_pred


def test_ctc_within_a_layer_trains_as_the_compiled_loss():
    x = RNG.normal(size=(12, 6, 3)).astype(np.float32)
    y = np.array([[1, 2, 3], [2, 2, 0], [4, 0, 0], [3, 1, 3]] * 3)
    plain = cdl.Sequential([cdl.Input((6, 3)), cdl.layers.Dense(5)])
    scores, labels = cdl.Input((6, 3)), cdl.Input((3,), dtype="int32")
    dense = cdl.layers.Dense(5)
    within = cdl.Model([scores, labels], LossOfLabels()(labels, dense(scores)))
    within.set_weights(plain.get_weights())
    plain.compile("sgd", "ctc")
    within.compile("sgd")
    told = {"epochs": 3, "batch_size": 6, "shuffle": False, "verbose": 0}
    found = within.fit([x, y], **told).history["loss"]
    np.testing.assert_allclose(found, plain.fit(x, y, **told).history["loss"], rtol=1e-5)
    for one, other in zip(within.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight", "sum_over_batch_size"])
def test_ctc_with_weights_is_the_same_in_fit_and_in_a_call(reduction):
    x, y = RNG.normal(size=(16, 6, 3)), RNG.integers(0, 5, (16, 3))
    weight = RNG.uniform(0.5, 2, 16)
    model = sequence_model(reduction=reduction)
    expected = losses.CTC(reduction)(y, model.predict(x), weight)
    got = model.evaluate(x, y, sample_weight=weight, batch_size=16, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.ones(8), r"y must have shape \(n, labels\)"),
        (np.full((8, 2), 5), "class numbers from 0 to 4"),
    ],
)
def test_fit_with_ctc_says_what_does_not_fit(y, words):
    with pytest.raises(ValueError, match=words):
        sequence_model().fit(np.ones((8, 6, 3)), y, verbose=0)


def test_ctc_wants_a_sequence_of_scores():
    model = cdl.Sequential([cdl.Input((3,)), cdl.layers.Dense(4)])
    model.compile("sgd", losses.CTC())
    with pytest.raises(ValueError, match="steps, classes"):
        model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)


LENGTHS = np.array([4, 3, 2, 1, 0, 4]), np.array([9, 8, 7, 5, 3, 2])
# Losses of these scores by Keras 3.15 on JAX, and the best of beams of width 5.
OF_KERAS = [13.722741, 11.667247, 5.4762754, 8.5068913, 7.6656504, 1.0000018e5]
BEST = {
    "paths": [
        ["133532", "2151521", "14154", "32135", "54", "35"],
        ["13532", "215151", "15154", "35135", "534", "31"],
        ["533532", "2151525", "141514", "32131", "514", "34"],
    ],
    "values": [
        [-4.962118, -5.090229, -5.177069],
        [-3.90669, -4.221842, -4.2752],
        [-4.568213, -4.579039, -4.881359],
        [-2.532076, -2.718639, -2.8181],
        [-1.789889, -2.027746, -2.463403],
        [-1.733459, -1.777594, -1.962493],
    ],
    "greedy": ["133532", "2151521", "1541514", "32135", "534", "35"],
    "greedy values": [
        [-20.60643],
        [-21.841034],
        [-10.84027],
        [-10.807117],
        [-4.775028],
        [-1.740062],
    ],
}


def scores_and_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (6, 4))
    return np.where(labels == 0, 1, labels), 2 * rng.normal(size=(6, 9, 6)).astype(np.float32)


def test_ctc_loss_is_that_of_keras_where_lengths_are_given():
    labels, scores = scores_and_labels()
    np.testing.assert_allclose(ops.ctc_loss(labels, scores, *LENGTHS), OF_KERAS, rtol=1e-6)
    blank_last = np.roll(scores, -1, axis=-1)
    np.testing.assert_allclose(
        ops.ctc_loss(labels - 1, blank_last, *LENGTHS, mask_index=5), OF_KERAS, rtol=1e-6
    )


def test_ctc_loss_is_compiled_with_its_gradient():
    labels, scores = scores_and_labels()

    class OfLengths(cdl.layers.Layer):
        def call(self, given):
            return ops.ctc_loss(*given)[:, None]

    inputs = [cdl.Input((4,), dtype="int32"), cdl.Input((9, 6))]
    inputs += [cdl.Input((), dtype="int32"), cdl.Input((), dtype="int32")]
    model = cdl.Model(inputs, OfLengths()(inputs))
    found = model.predict([labels, scores, *LENGTHS], verbose=0)[:, 0]
    np.testing.assert_allclose(found, OF_KERAS, rtol=1e-5)

    given = [labels[:5], *(each[:5] for each in LENGTHS)]

    def total(scores, labels, *lengths):
        return ops.sum(ops.ctc_loss(labels, scores, *lengths))

    _, slope = cdl.value_and_grad(total)(scores[:5], *given)
    for place in [(0, 0, 0), (1, 3, 2), (3, 4, 1), (4, 2, 0)]:
        step = np.zeros_like(scores[:5])
        step[place] = 1e-2
        ends = [total(scores[:5] + sign * step, *given) for sign in (1, -1)]
        central = (ends[0] - ends[1]) / 2e-2
        np.testing.assert_allclose(slope[place], central, rtol=2e-2, atol=2e-3)
    assert not slope[2, 7:].any()  # behind the steps that count


def said(path):
    assert (path[np.argmin(path) :] == -1).all()
    return "".join(str(label) for label in path if label >= 0)


def test_ctc_decode_gives_the_sequences_of_keras():
    _, scores = scores_and_labels()
    labels, values = ops.ctc_decode(scores, LENGTHS[1], "beam_search", beam_width=5, top_paths=3)
    assert [[said(path) for path in paths] for paths in labels] == BEST["paths"]
    np.testing.assert_allclose(values, BEST["values"], rtol=1e-5)
    labels, values = ops.ctc_decode(scores, LENGTHS[1])
    assert [said(path) for path in labels[0]] == BEST["greedy"]
    np.testing.assert_allclose(values, BEST["greedy values"], rtol=1e-5)


def test_ctc_decode_sums_all_ways_to_say_the_labels():
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(1, 4, 3)).astype(np.float32)
    labels, values = ops.ctc_decode(scores, [4], "beam_search", beam_width=100, top_paths=8)
    for path, value in zip(labels[:, 0], values[0], strict=True):
        length = int((path >= 0).sum())
        loss = ops.ctc_loss(np.maximum(path, 0)[None], scores, [length], [4])
        np.testing.assert_allclose(-loss[0], value, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "best"}, "strategy must be"),
        ({"strategy": "beam_search", "beam_width": 2, "top_paths": 3}, "at most beam_width=2"),
    ],
)
def test_ctc_decode_says_what_does_not_fit(options, words):
    with pytest.raises(ValueError, match=words):
        ops.ctc_decode(np.zeros((1, 2, 3)), [2], **options)
