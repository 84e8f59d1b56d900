"""Numbers and sizes that no float, or no integer of 32 bits, holds: right, or refused by name."""

import time

import numpy as np
import pytest

import cdl
from cdl import _core, layers, losses, ops, optimizers
from cdl._ir.program import Program

# ---- whole numbers of inputs ---------------------------------------------------------------------


def _moved(dtype, shape=(2,)):
    x = cdl.Input(shape, dtype=dtype, name="ids")
    return cdl.Model(x, ops.flip(x, axis=1))


@pytest.mark.parametrize("number", [2**24 + 1, -(2**24) - 1, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("given", ["int32", "int64"])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_an_integer_that_no_float_is_is_refused_by_the_inputs_name(dtype, given, number):
    model = _moved(dtype)
    x = np.array([[1, 2], [3, number], [number, 4]], given)
    with pytest.raises(ValueError, match=r"input 'ids' must have integers below 16777216.*row 1"):
        model.predict(x, verbose=0)
    np.testing.assert_array_equal(model.predict(x[:1], verbose=0), [[2, 1]])


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_an_unsigned_one_is_refused_too(dtype):
    model = _moved(dtype)
    x = np.array([[1, np.iinfo(dtype).max]], dtype)
    with pytest.raises(ValueError, match="input 'ids' must have integers below 16777216"):
        model.predict(x, verbose=0)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "bool"])
def test_integers_below_it_are_moved_as_they_are(dtype):
    most = 1 if dtype == "bool" else min(np.iinfo(dtype).max, 2**24 - 1)
    x = np.array([[0, most]], dtype)
    found = _moved(dtype).predict(x, verbose=0)
    np.testing.assert_array_equal(found, [[most, 0]])


@pytest.mark.parametrize("batch_size", [1, 4])
def test_fit_refuses_it_before_any_weight_of_the_batch_has_changed(batch_size):
    x = cdl.Input((2,), dtype="int32", name="ids")
    model = cdl.Model(x, layers.Dense(1)(ops.cast(x, "float32")))
    model.compile("sgd", "mse")
    before = model.get_weights()
    data = np.array([[2**24 + 1, 1], [1, 2], [3, 4], [5, 6]])
    with pytest.raises(ValueError, match=r"input 'ids' must have integers .* in row 0"):
        model.fit(data, np.ones(4), batch_size=batch_size, shuffle=False, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="input 'ids' must have integers"):
        model.evaluate(data, np.ones(4), verbose=0)
    model.fit(data[1:], np.ones(3), verbose=0)


# ---- sizes ---------------------------------------------------------------------------------------


def test_the_place_of_the_largest_of_too_many_is_refused():
    x = cdl.Input((2**24 + 2,))
    model = cdl.Model(x, ops.argmax(x, axis=-1))
    with pytest.raises(ValueError, match=r"n: expected at most 2\^24"):
        model.predict(np.zeros((1, 2**24 + 2), np.float32), verbose=0)


def test_an_int8_layer_of_more_inputs_than_its_sums_hold_is_refused():
    most = (2**31 - 1) // 127**2
    for k in (most, most + 1):
        model = cdl.Sequential([cdl.Input((k,)), layers.Dense(1, use_bias=False)])
        model.layers[0].set_weights([np.full((k, 1), 0.01, np.float32)])
        if k > most:
            with pytest.raises(ValueError, match=r"at most 133,144 inputs.* got 133,145"):
                model.quantize("int8")
            assert model.layers[0].dtype_policy.name == "float32"
            found = model.predict(np.ones((1, k), np.float32), verbose=0)[0, 0]
            assert found == pytest.approx(0.01 * k, rel=1e-4)
        else:
            model.quantize("int8")
            found = model.predict(np.ones((1, k), np.float32), verbose=0)[0, 0]
            assert found == pytest.approx(0.01 * k, rel=0.01)


@pytest.mark.parametrize("shift", [1e6, 9e6, 1e20, np.inf])
def test_a_place_far_outside_has_the_nearest_edge(shift):
    x, t = cdl.Input((4, 4, 1)), cdl.Input((8,))
    how = {"fill_mode": "nearest", "data_format": "channels_last"}
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    for interpolation in ("nearest", "bilinear"):
        moved = ops.image.affine_transform(x, t, interpolation=interpolation, **how)
        model = cdl.Model([x, t], moved)
        for sign, column in ((1, 3), (-1, 0)):
            by = np.array([[1, 0, sign * shift, 0, 1, 0, 0, 0]], np.float32)
            found = model.predict([image, by], verbose=0)[0, :, 0, 0]
            np.testing.assert_array_equal(found, image[0, :, column, 0])


# ---- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", ["clipnorm", "global_clipnorm"])
def test_a_clipped_step_is_as_long_as_the_limit_however_large_the_gradient(clip):
    model = cdl.Sequential([cdl.Input((1,)), layers.Dense(1, use_bias=False)])
    model.layers[0].set_weights([np.ones((1, 1), np.float32)])
    model.compile(optimizers.SGD(0.1, **{clip: 1.0}), "mse")
    model.fit(np.full((1, 1), 1e10), np.full((1, 1), -1e10), verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], 0.9, rtol=1e-6)


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.Lamb(0.1),
        optimizers.Adafactor(0.1),
        optimizers.Muon(0.1),
        optimizers.Adam(0.1, clipnorm=1.0),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("shape", [(2, 3), (130, 140)])
def test_an_optimizer_that_takes_norms_gives_finite_weights_to_large_gradients(optimizer, shape):
    model = cdl.Sequential([cdl.Input(shape[:1]), layers.Dense(shape[1])])
    model.compile(type(optimizer).from_config(optimizer.get_config()), "mse")
    x, y = np.full((4, shape[0]), 1e12), np.full((4, shape[1]), -1e12)
    model.fit(x, y, epochs=2, verbose=0)
    for each in model.get_weights():
        assert np.isfinite(each).all()


@pytest.mark.parametrize("outputs", [1, 2, 20])
def test_gradients_of_dense_layers_of_a_million_rows_are_near_those_of_doubles(outputs):
    n = 2**20
    model = cdl.Sequential([cdl.Input((4,)), layers.Dense(outputs, kernel_initializer="zeros")])
    model.compile(optimizers.SGD(1.0), "mse")
    model.fit(
        np.full((n, 4), 0.7, np.float32),
        np.full((n, outputs), -0.3, np.float32),
        batch_size=n,
        verbose=0,
    )
    kernel, bias = (each * outputs for each in model.get_weights())
    np.testing.assert_allclose(kernel, -0.3 * 0.7 * 2, rtol=1e-4)
    np.testing.assert_allclose(bias, -0.3 * 2, rtol=1e-4)


# ---- losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [5, 10, 17])
@pytest.mark.parametrize("rows", [1, 3, 4, 9])
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_an_ignored_row_has_neither_loss_nor_gradient_whatever_it_holds(
    classes, rows, from_logits, bad
):
    z, t = np.full((rows, classes), 0.25, np.float32), np.zeros(rows, np.int32)
    z[0, 0], t[0] = bad, -1
    model = cdl.Sequential([cdl.Input((classes,)), layers.Rescaling(1.0)])
    loss = losses.SparseCategoricalCrossentropy(from_logits=from_logits, ignore_class=-1)
    model.compile("sgd", loss)
    wanted = np.log(classes) if rows > 1 else 0.0  # of the rows that count
    assert model.evaluate(z, t, verbose=0) == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    learner = cdl.Sequential([cdl.Input((classes,)), layers.PReLU(alpha_initializer="ones")])
    learner.compile("sgd", loss)
    learner.fit(np.where(np.isfinite(z), z, -bad), t, verbose=0)


@pytest.mark.parametrize("rows", [3, 4])
def test_a_class_that_is_masked_by_minus_infinity_costs_nothing(rows):
    z, t = np.zeros((rows, 10), np.float32), np.ones(rows, np.int32)
    z[:, 0] = -np.inf
    model = cdl.Sequential([cdl.Input((10,)), layers.Rescaling(1.0)])
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    assert model.evaluate(z, t, verbose=0) == pytest.approx(np.log(9), rel=1e-5)


# ---- masks of dropout, memory, building ----------------------------------------------------------


def test_masks_of_dropout_are_no_rearrangements_of_each_other():
    x = cdl.Input((1024, 64))
    model = cdl.Model(x, layers.Dropout(0.5, seed=3)(x, training=True))
    kept = model.predict(np.ones((128, 1024, 64), np.float32), batch_size=128, verbose=0) != 0
    lines = kept.reshape(-1, 64)
    assert abs(lines.mean() - 0.5) < 1e-3
    columns = np.arange(64)
    seen = set()
    for line in np.packbits(lines, axis=1):
        seen.add(line.tobytes())
    assert len(seen) == len(lines)
    repeated = 0
    for turn in range(1, 64):
        turned = np.packbits(lines[:, columns ^ turn], axis=1)
        repeated += sum(line.tobytes() in seen for line in turned)
    assert repeated == 0


@pytest.mark.measures
def test_weights_of_a_megabyte_take_one():
    def resident():
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) / 256

    before = resident()
    kept = [_core.Parameter((512, 512), True) for _ in range(60)]
    assert resident() - before < 1.3 * len(kept)


@pytest.mark.measures
def test_building_takes_a_time_that_grows_with_the_instructions():
    def spent(n):
        program = Program()
        value = program.input((4,))
        for _ in range(n):
            value = program.emit("activation", [value], (4,), kind="tanh")
        program.output(value)
        start = time.process_time()
        _core.Executor(program, 1)
        return time.process_time() - start

    # 8 times as many take 8 times as long, 49 where it was quadratic; processes beside it disturb.
    assert any(spent(20_000) < 24 * spent(2_500) for _ in range(8))
