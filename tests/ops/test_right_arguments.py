"""Arguments of functions that only some shapes, orders and places fit."""

import numpy as np
import pytest

import cdl
from cdl import ops

X = np.arange(24, dtype="float32").reshape(2, 3, 4)
EMPTY = np.zeros((0, 3), "float32")


@pytest.mark.parametrize("axis", [(5, 0), (0, -4), 3, -4])
@pytest.mark.parametrize("order", [None, 1, 2, np.inf])
def test_norm_refuses_an_axis_that_is_not_there(axis, order):
    with pytest.raises(ValueError, match=r"norm: axis .* is out of bounds of 3 axes"):
        ops.norm(X, order, axis)


@pytest.mark.parametrize("axis", [5, -4])
@pytest.mark.parametrize(
    "call",
    [
        lambda axis: ops.diff(X, axis=axis),
        lambda axis: ops.trapezoid(X, axis=axis),
        lambda axis: ops.tensordot(X, X, axes=([axis], [2])),
        lambda axis: ops.tensordot(X, X, axes=([2], [axis])),
        lambda axis: ops.image.scale_and_translate(X, X.shape, [1.0], [0.0], (axis,), "linear"),
    ],
)
def test_no_axis_stands_for_one_that_is_not_there(call, axis):
    with pytest.raises(ValueError, match=f"axis {axis} is out of bounds of 3 axes"):
        call(axis)


@pytest.mark.parametrize("n", [-1, 1.5])
def test_counts_below_0_are_refused(n):
    with pytest.raises(ValueError, match="diff: n must be an int of at least 0"):
        ops.diff(X, n)
    with pytest.raises(ValueError, match="tensordot: axes must be"):
        ops.tensordot(X, X, -1)


@pytest.mark.parametrize("order", [None, "fro", 1, 2, "nuc"])
def test_norm_refuses_an_axis_twice(order):
    with pytest.raises(ValueError, match="norm: axis must be two different axes"):
        ops.norm(X, order, (1, -2))


def _composed(first, second):
    """The second of two affine maps after the first one."""
    return first[0] * second[0], first[1] * second[0] + second[1]


def _scanned(elements):
    found = [tuple(part[0] for part in elements)]
    for element in zip(*(part[1:] for part in elements), strict=True):
        found.append(_composed(found[-1], element))
    return [np.array(part) for part in zip(*found, strict=True)]


def test_associative_scan_hands_over_what_came_before_first_in_either_order():
    maps = np.array([1, 2, 3, 4], "float32"), np.array([5, 6, 7, 8], "float32")
    for found, expected in zip(ops.associative_scan(_composed, maps), _scanned(maps), strict=True):
        np.testing.assert_array_equal(found, expected)
    back = _scanned([part[::-1] for part in maps])
    found = ops.associative_scan(_composed, maps, reverse=True)
    for mine, expected in zip(found, back, strict=True):
        np.testing.assert_array_equal(mine, expected[::-1])


def test_loops_over_nothing_give_nothing_of_the_right_shape():
    doubled = ops.map(lambda x: {"a": x * 2, "b": x[0]}, EMPTY)
    assert (doubled["a"].shape, doubled["b"].shape) == ((0, 3), (0,))
    assert ops.vectorized_map(ops.sum, EMPTY).shape == (0,)
    carry, results = ops.scan(lambda c, x: (c + 1, ops.stack([x, x])), np.float32(1), EMPTY)
    assert (float(carry), results.shape, results.dtype) == (1, (0, 2, 3), "float32")
    assert ops.scan(lambda c, x: (c, None), np.float32(1), EMPTY)[1] is None
    assert ops.scan(lambda c, _: (c, c), np.float32(1), None, length=0)[1].shape == (0,)
    assert ops.associative_scan(ops.add, EMPTY).shape == (0, 3)


@pytest.mark.parametrize("num", [2, 5])
def test_unstack_takes_no_other_number_than_that_of_the_axis(num):
    for x in (X, cdl.Input((3, 4))):
        with pytest.raises(ValueError, match=f"num must be the size of the axis, 3, got {num}"):
            ops.unstack(x, num, axis=1)
    assert len(ops.unstack(cdl.Input((None, 4)), num, axis=1)) == num


@pytest.mark.parametrize("traced", [False, True])
def test_in_top_k_is_false_for_a_class_that_no_prediction_has(traced):
    scores, classes = np.float32([[1, 2, 3], [4, 1, 2], [4, 1, 2]]), np.array([2, 5, -7])
    if traced:
        inputs = [cdl.Input((3,)), cdl.Input((), dtype="int32")]
        model = cdl.Model(inputs, ops.in_top_k(inputs[1], inputs[0], 1))
        found = model.predict([scores, classes], verbose=0)
    else:
        found = ops.in_top_k(classes, scores, 1)
    assert found.tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("length", "stride", "words"),
    [
        (9, 1, "sequence_length must fit into the last axis of x"),
        (0, 1, "sequence_length must be a positive int"),
        (2, 0, "sequence_stride must be a positive int"),
        (2, -1, "sequence_stride must be a positive int"),
    ],
)
def test_extract_sequences_refuses_windows_that_are_none(length, stride, words):
    with pytest.raises(ValueError, match=words):
        ops.extract_sequences(X, length, stride)


@pytest.mark.parametrize("images", [np.zeros((1, 6, 6, 2), "float32"), np.zeros((1, 6, 6, 6, 2))])
def test_patches_refuse_strides_of_0(images):
    with pytest.raises(ValueError, match="extract_patches: strides must be"):
        ops.image.extract_patches(images, (2,) * (images.ndim - 2), strides=0)


def test_rearrange_has_axes_of_size_1_as_empty_brackets():
    x = np.arange(6.0).reshape(2, 1, 3)
    np.testing.assert_array_equal(ops.rearrange(x, "a () b -> b a"), x[:, 0].T)
    np.testing.assert_array_equal(ops.rearrange(x[:, 0], "a b -> b () a"), x.T)


@pytest.mark.parametrize("pattern", ["(a b -> b a", "a b) -> b a", "a ... b -> b ... a", "a,b->ba"])
def test_rearrange_refuses_what_it_would_not_read(pattern):
    with pytest.raises(ValueError, match="pattern must be names, alone or in brackets"):
        ops.rearrange(np.ones((2, 3)), pattern)
