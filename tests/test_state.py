"""A State is a variable and the array in it at once."""

import numpy as np
import pytest

from cdl._variables.state import State


def test_number_computes_as_a_number():
    state = State(0.5, name="rate", owner="o")
    assert (state.path, state.shape, state.ndim, state.dtype) == ("o/rate", (), 0, "float32")
    assert state * 2 == 1
    assert 1 - state == 0.5
    assert np.sqrt(state) == np.float32(np.sqrt(0.5))
    assert float(state) == 0.5
    assert f"{state:.1f}" == "0.5"
    assert bool(state)
    assert "value=0.5" in f"{state}"


def test_integer_is_an_index():
    assert [1, 2, 3][State(1, dtype="int64", name="i")] == 2


def test_assigning_changes_what_is_kept_and_gives_a_copy():
    state = State(np.zeros(2), name="s")
    given = state.assign([1, 2])
    given[0] = 9
    state.value[0] = 9
    state.numpy()[0] = 9
    np.testing.assert_array_equal(state, [1, 2])
    state.assign_add([1, 1])
    state.assign_sub([0, 1])
    assert (list(state), len(state), state[1]) == ([2, 2], 2, 2)


@pytest.mark.parametrize("value", [None, "a", "1"])
def test_what_is_no_number_is_refused(value):
    state = State(2.0, name="s")
    with pytest.raises(ValueError, match=f"s: value must be a number or an array, got {value!r}"):
        state.assign(value)
    assert float(state) == 2.0


def test_value_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"s: value must have shape \(2,\), got \(3,\)"):
        State(np.zeros(2), name="s").assign([1, 2, 3])


def test_states_are_keys_by_identity():
    first, second = State(1, name="a"), State(1, name="a")
    assert len({first, second}) == 2
