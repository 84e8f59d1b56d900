"""Functions of `cdl.ops` of tensors with open axes: their shapes, and what they lower to."""

import numpy as np
import pytest
from ops.keras_cases import HERE, calls, shapes_of
from ops_calls import named
from programs import predict
from recorded import recorded
from traced import lowered, of_samples

import cdl
from cdl import ops, tree
from cdl._tracing import graph as graphs
from cdl._tracing.graph import KerasTensor

RECORDED = recorded(HERE / "keras_shapes.json")
CALLS = calls()
# Calls whose size is that of a known axis: Keras leaves it open in some, cdl in none.
KNOWN = {
    *("clip 3", "dot_product_attention 2", "dot_product_attention 3", "full_like 2", "matmul 1"),
    *("einsum 2", "layer_normalization 1", "layer_normalization 2", "rms_normalization 1"),
    *("rms_normalization 2", "categorical_crossentropy 2"),
}


def has_other_rank(key):
    """Whether Keras's shape has an axis too many, or a number of samples that is not known."""
    return key.startswith(("adaptive_", "image.scale_and_translate"))


def symbolic(name, call):
    """The shapes of a call's results; None if it cannot be traced or needs the size."""
    try:
        return shapes_of(cdl, name, call)
    except (TypeError, ValueError):
        return None


def test_most_of_what_keras_traces_is_traced():
    lacking = [key for key in RECORDED if symbolic(*CALLS[key]) is None]
    assert len(lacking) < 0.08 * len(RECORDED), lacking


@pytest.mark.parametrize("key", [key for key in RECORDED if not has_other_rank(key)])
def test_shape_is_that_of_keras(key):
    found = symbolic(*CALLS[key])
    if found is None:
        return
    pairs = zip(tree.flatten(found), tree.flatten(RECORDED[key]), strict=True)
    for ours, theirs in pairs:
        assert ours == theirs or (key in KNOWN and theirs is None)


@pytest.mark.parametrize("key", CALLS)
def test_a_program_for_a_size_gives_what_arrays_give(key):
    name, call = CALLS[key]
    function, arrays = of_samples(named(ops, name), call)
    specs = tuple(
        KerasTensor((None, *([None] * len(a.shape[1:2])), *a.shape[2:]), a.dtype.name)
        for a in arrays
    )
    try:
        with graphs.scope(False) as own:
            outputs = function(*specs)
    except (TypeError, ValueError):
        return  # not of symbolic values, or not without the size
    expected = tree.flatten(function(*arrays))
    program = lowered(graphs.Graph(list(specs), outputs, own), arrays)
    found = predict(program, arrays, rows=len(arrays[0]))
    found = found if isinstance(found, list) else [found]
    for spec, y, wanted in zip(tree.flatten(outputs), found, expected, strict=True):
        y = y if spec.rows_per_sample else y[0]
        y = y.reshape(-1, *y.shape[2:]) if y.ndim > np.ndim(wanted) else y
        y = np.moveaxis(y, 0, spec.batch_axis) if spec.rows_per_sample == 1 else y
        assert y.shape == np.shape(wanted)
        np.testing.assert_allclose(y, np.asarray(wanted, np.float32), rtol=3e-5, atol=3e-6)
