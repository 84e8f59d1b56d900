"""Function and Operation: calls of graphs, and the operations in them."""

import numpy as np
import pytest

import cdl

X = np.arange(12, dtype=np.float32).reshape(4, 3)


class Twice(cdl.Operation):
    def call(self, x):
        return x * 2


def test_a_function_is_what_leads_from_its_inputs_to_its_outputs():
    x = cdl.Input((3,))
    y = cdl.ops.sin(x) * 2
    f = cdl.Function(x, y)
    np.testing.assert_allclose(f(X), np.sin(X) * 2, rtol=1e-6)
    assert f.compute_output_shape((5, 3)) == (5, 3)
    assert f.compute_output_spec(cdl.KerasTensor((7, 3))).shape == (7, 3)
    assert (len(f.inputs), len(f.outputs)) == (1, 1)
    assert f(cdl.Input((3,))).shape == (None, 3)
    both = cdl.Function([x], [y, x * 3], name="both")
    np.testing.assert_allclose(both([X])[1], X * 3)
    assert both.name == "both"
    with pytest.raises(ValueError, match="Graph disconnected"):
        cdl.Function(x, cdl.Input((3,)) + 1)


def test_an_operation_is_called_on_arrays_and_in_models():
    x = cdl.Input((3,))
    twice = Twice()
    np.testing.assert_array_equal(twice(X), X * 2)
    y = twice(x)
    assert (twice.input.shape, twice.output.shape) == ((None, 3), (None, 3))
    np.testing.assert_array_equal(cdl.Model(x, y)(X), X * 2)
    assert Twice(name="z").get_config() == {"name": "z"}
    assert Twice.from_config({"name": "z"}).name == "z"
    for wrong in (3, "a/b"):
        with pytest.raises(ValueError, match="name must be a string without"):
            Twice(name=wrong)
