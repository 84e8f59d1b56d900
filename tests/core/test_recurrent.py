"""Recurrent cells over time: values and gradients against float64."""

import numpy as np
import pytest
from programs import ISAS, activation, dense, predict, weight
from windows import check, check_bits, check_judge

from cdl import _core
from cdl._ir.program import Program

CELLS = {"simple": (0, 1), "lstm": (1, 4), "gru": (2, 3), "reset_first": (3, 3)}
NAMES = list(_core.ACTIVATIONS)


def program_of(
    cell="lstm",
    c=5,
    u=7,
    steps=4,
    *,
    sequence=True,
    reverse=False,
    mask=False,
    states=False,
    drops=0,
    bias=True,
    outputs=1,
    kind="tanh",
    gate="sigmoid",
):
    """A dense layer, the cell over its lines, and of c too if there are two outputs."""
    rng = np.random.default_rng(c * u)
    number, gates = CELLS[cell]
    program = Program()
    x = program.input((steps, 2))
    given = [dense(program, x, weight(rng.normal(size=(2, c))), weight(rng.normal(size=c)))]
    if mask:
        parts = program.emit("reduce", [x], (steps,), kind="max", outer=steps, n=2, inner=1)
        given.append(activation(program, parts, "plain_relu"))  # 0 where both are negative
    if states:
        first = program.emit("pick", [x], (2,), outer=1, n=steps, inner=2, numbers=(0, 1, 1))
        for _ in range(2 if cell == "lstm" else 1):
            given.append(dense(program, first, weight(rng.normal(size=(2, u)))))
    for bit, n in ((4, gates * c), (8, gates * u)):  # that no weight has a part in
        if drops & bit:
            first = program.emit("pick", [x], (2,), outer=1, n=steps, inner=2, numbers=(0, 1, 1))
            factors = program.emit("broadcast", [first], (n, 2))
            factors = program.emit("reshape", [factors], (2 * n,))
            runs = (0, n, 1)
            given.append(
                program.emit("pick", [factors], (n,), outer=1, n=2 * n, inner=1, numbers=runs)
            )
    width = gates * u
    params = [
        weight(rng.normal(size=(c, width)) / np.sqrt(c)),
        weight(rng.normal(size=(u, width)) / np.sqrt(u)),
        weight(rng.normal(size=2 * width if cell == "gru" else width)) if bias else None,
    ]
    y = program.emit(
        "recurrent",
        given,
        (steps, u) if sequence else (u,),
        params,
        activation=kind,
        gate=NAMES.index(gate),
        cell=number,
        reverse=int(reverse),
        given=mask + 2 * states + drops,
    )
    if outputs == 2:
        last = program.add_output(y, (u,))
        y = program.emit("reshape", [y], (steps * u,)) if sequence else y
        y = program.emit("concat", [y, last], (y.shape[0] + u,), axis=0)
    program.output(y)
    return program.fused() if states else program  # with forks of what two read


CASES = {
    "lstm": dict(),
    "lstm_last": dict(sequence=False),
    "lstm_reverse": dict(reverse=True),
    "lstm_states": dict(states=True, outputs=2),
    "lstm_states_last": dict(states=True, outputs=2, sequence=False),
    "lstm_c_alone": dict(outputs=2, sequence=False),
    "lstm_mask": dict(mask=True, steps=6),
    "lstm_mask_states_reverse": dict(mask=True, states=True, outputs=2, reverse=True, steps=6),
    "lstm_no_bias": dict(bias=False),
    "lstm_one_step": dict(steps=1),
    "lstm_one_unit": dict(u=1),
    "lstm_one_of_each": dict(c=1, u=1, states=True, outputs=2, mask=True),
    "lstm_of_lines": dict(c=16, u=16),
    "lstm_wide": dict(c=3, u=70, steps=3),
    "lstm_wide_inputs": dict(c=130, u=33, steps=3),
    "lstm_deep": dict(c=65, u=129, steps=2),
    "lstm_relu": dict(kind="plain_relu", gate="hard_sigmoid"),
    "lstm_linear": dict(kind="linear", gate="linear", steps=3),
    "lstm_softplus": dict(kind="softplus", gate="exponential", steps=2),
    "gru": dict(cell="gru"),
    "gru_last": dict(cell="gru", sequence=False, reverse=True),
    "gru_mask_states": dict(cell="gru", mask=True, states=True, steps=6),
    "gru_no_bias": dict(cell="gru", bias=False),
    "gru_one_of_each": dict(cell="gru", c=1, u=1),
    "gru_wide": dict(cell="gru", c=20, u=90, steps=3),
    "gru_relu": dict(cell="gru", kind="plain_relu", gate="hard_sigmoid"),
    "reset_first": dict(cell="reset_first"),
    "reset_first_mask_states": dict(cell="reset_first", mask=True, states=True, steps=6),
    "reset_first_one_of_each": dict(cell="reset_first", c=1, u=1, states=True),
    "reset_first_wide": dict(cell="reset_first", c=20, u=70, steps=3, bias=False),
    "reset_first_drops": dict(cell="reset_first", drops=12),
    "lstm_drops": dict(drops=12, mask=True, steps=5),
    "lstm_drops_h": dict(drops=8, states=True, outputs=2),
    "lstm_drops_x": dict(drops=4, u=17),
    "gru_drops": dict(cell="gru", drops=12),
    "gru_drops_wide": dict(cell="gru", drops=12, c=70, u=33, steps=2),
    "simple_drops": dict(cell="simple", drops=12, u=70),
    "simple": dict(cell="simple"),
    "simple_mask_states": dict(cell="simple", mask=True, states=True, steps=6),
    "simple_reverse_last": dict(cell="simple", reverse=True, sequence=False),
    "simple_one_of_each": dict(cell="simple", c=1, u=1, states=True),
    "simple_wide": dict(cell="simple", c=70, u=100, steps=3),
    "simple_relu": dict(cell="simple", kind="plain_relu"),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, isa):
    check(program_of(**CASES[name]), 5, isa=isa)


@pytest.mark.parametrize("name", ["lstm", "gru_mask_states", "simple", "lstm_drops", "reset_first"])
@pytest.mark.parametrize("rows", [1, 70, 150])
def test_values_and_gradients_of_a_batch(name, rows):
    check(program_of(**CASES[name]), rows)


@pytest.mark.parametrize("name", [n for n in CASES if "wide" not in n and "deep" not in n])
def test_the_judge_agrees_with_central_differences(name):
    check_judge(program_of(**CASES[name]))


@pytest.mark.parametrize(
    "name", ["lstm_mask", "lstm_deep", "lstm_drops_x", "gru_wide", "reset_first_wide", "simple"]
)
def test_the_bits_are_the_same_for_any_number_of_threads(name):
    check_bits(lambda: program_of(**CASES[name]))


@pytest.mark.parametrize("cell", CELLS)
def test_predictions_follow_the_weights(cell):
    program = program_of(cell)
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    executor = _core.Executor(program, 3)
    executor.predict([x])
    for v in program.variables[2:]:
        v.assign(v.numpy() * 0.5)
        found = executor.predict([x])
        np.testing.assert_array_equal(found, predict(program, [x]))
        np.testing.assert_array_equal(executor.predict([x]), found)


@pytest.mark.parametrize("isa", ISAS)
def test_gates_of_an_lstm_are_right_however_large_their_arguments(isa):
    z = np.float32([0, 1e-4, 0.3, 9, 11, 30, 42, 44, 90, 1e4, 3e38, np.inf])
    z = np.concatenate([z, -z, [np.nan]]).astype(np.float32)
    program = Program()
    x = program.input((1, 1))
    ones, none = np.ones((1, 4)), np.zeros((1, 4))
    y = program.emit(
        "recurrent",
        [x],
        (1,),
        [weight(ones), weight(none), weight(none[0])],
        activation="tanh",
        gate=NAMES.index("sigmoid"),
        cell=1,
        reverse=0,
        given=0,
    )
    program.output(y)
    found = predict(program, [z.reshape(-1, 1, 1)], isa=isa)[:, 0]
    with np.errstate(over="ignore"):
        sigmoid = 1 / (1 + np.exp(-z.astype(np.float64)))
    expected = sigmoid * np.tanh(sigmoid * np.tanh(z.astype(np.float64)))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-18)
