"""Models as layers of models: all that can be done with them, as in Keras."""

import numpy as np
import pytest
from models.nested_cases import CASES, HERE
from recorded import X, assert_same, recorded

import cdl
from cdl import layers

RECORDED = recorded(HERE / "keras_nested.json")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_model_in_a_model_is_that_of_keras(case):
    cdl.utils.clear_session()
    ours, theirs = case(cdl), RECORDED[case.__name__]
    for row, of_keras in zip(ours["table"], theirs["table"], strict=True):
        if of_keras[1] == "?":  # the shape that a user's class gives
            row[1] = "?"
    assert_same(ours, theirs, case.__name__)


def _functional(units=4, **kwargs):
    x = cdl.Input((4,))
    return cdl.Model(x, layers.Dense(units)(x), **kwargs)


def _of_two_outputs():
    x = cdl.Input((4,))
    return cdl.Model(x, [layers.Dense(2)(x), layers.Dense(3)(x)], name="two")


def _of_two_inputs():
    x, y = cdl.Input((4,)), cdl.Input((4,))
    return cdl.Model([x, y], layers.Dense(3)(layers.add([x, y])), name="sum")


def test_layers_of_a_trained_net_are_frozen_features_of_another(tmp_path):
    old = cdl.Sequential([cdl.Input((4,)), layers.Dense(32, "relu"), layers.Dense(7)])
    features = cdl.Model(old.inputs, old.layers[0].output)
    features.trainable = False
    model = cdl.Sequential([features, layers.Dense(1)])
    assert model.built
    assert model.count_params() == 4 * 32 + 32 + 32 + 1
    model.compile("adam", "mse")
    before = features.get_weights()
    model.fit(X, X[:, :1], epochs=2, verbose=0)
    for a, b in zip(before, features.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.save(tmp_path / "m.keras")
    loaded = cdl.saving.load_model(tmp_path / "m.keras")
    assert not loaded.layers[0].trainable
    assert len(loaded.trainable_weights) == 2
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_autoencoder_of_two_models_shares_their_weights():
    encoder, z = _functional(2), cdl.Input((2,))
    decoder = cdl.Model(z, layers.Dense(4)(z))
    both = cdl.Sequential([encoder, decoder])
    both.compile("adam", "mse")
    both.fit(X, X, epochs=2, verbose=0)
    np.testing.assert_array_equal(both.predict(X), decoder.predict(encoder.predict(X)))


def test_wired_model_tells_its_output_shapes_with_the_batch_that_it_is_asked_for():
    assert _functional().compute_output_shape((7, 4)) == (7, 4)
    assert _functional().compute_output_shape((None, 4)) == (None, 4)
    assert _of_two_outputs().compute_output_shape((7, 4)) == [(7, 2), (7, 3)]
    assert _of_two_inputs().compute_output_shape([(7, 4), (7, 4)]) == (7, 3)
    with pytest.raises(ValueError, match=r"must have shape \(None, 4\), got \(7, 5\)"):
        _functional().compute_output_shape((7, 5))


def test_model_of_several_inputs_is_no_layer_of_a_stack():
    with pytest.raises(ValueError, match=r"sum: inputs must be 2 tensors, .*, got 1"):
        cdl.Sequential([cdl.Input((4,)), _of_two_inputs()])


def test_model_of_several_outputs_is_no_last_layer_of_a_stack():
    with pytest.raises(ValueError, match="the last layer must give one output, got 2 of 'two'"):
        cdl.Sequential([cdl.Input((4,)), layers.Dense(4), _of_two_outputs()])
    joined = cdl.Sequential([cdl.Input((4,)), _of_two_outputs(), layers.Concatenate()])
    assert joined.predict(X).shape == (22, 5)


def test_stack_does_not_take_a_model_that_holds_it():
    model = cdl.Sequential([cdl.Input((4,)), layers.Dense(4)])
    x = cdl.Input((4,))
    with pytest.raises(ValueError, match="must not be the model itself or hold it, got 'outer'"):
        model.add(cdl.Model(x, model(x), name="outer"))


class _NoCall(layers.Layer):
    pass


class _ModelWithoutCall(cdl.Model):
    pass


@pytest.mark.parametrize("make", [_NoCall, _ModelWithoutCall])
def test_class_without_a_call_is_told_so(make):
    for use in (
        lambda: make()(X),
        lambda: make().compute_output_shape((None, 4)),
        lambda: cdl.Sequential([cdl.Input((4,)), make()]),
    ):
        with pytest.raises(NotImplementedError, match=rf"{make.__name__} must have a call\("):
            use()


@pytest.mark.parametrize("make", [layers.Layer, lambda: layers.Wrapper(layers.Dense(3)), cdl.Model])
def test_base_class_is_said_to_be_one(make):
    with pytest.raises(NotImplementedError, match="does nothing by itself: derive a class from it"):
        make()(X)


@pytest.mark.parametrize("kind", ["functional", "sequential", "in a class"])
def test_a_model_called_within_another_adds_a_last_axis_of_one_or_takes_it_away(kind):
    x = cdl.Input((6, 1))
    flat = layers.Dense(2)
    inner = cdl.Model(x, flat(layers.Flatten()(x)))
    if kind == "sequential":
        inner = cdl.Sequential([cdl.Input((6, 1)), layers.Flatten(), flat])

    class Around(cdl.Model):
        def call(self, inputs):
            return inner(inputs)

    y = cdl.Input((6,))
    model = Around() if kind == "in a class" else cdl.Model(y, inner(y))
    array = np.arange(18.0, dtype=np.float32).reshape(3, 6)
    np.testing.assert_allclose(model.predict(array, verbose=0), inner(array), rtol=1e-6)

    z = cdl.Input((6, 1))
    narrow = cdl.Model(y, flat(y))
    wide = cdl.Model(z, narrow(z))
    np.testing.assert_allclose(wide.predict(array[:, :, None], verbose=0), narrow(array), rtol=1e-6)
    with pytest.raises(ValueError, match=r"must have shape \(None, 6, 1\), got \(None, 3, 2, 2\)"):
        inner(cdl.Input((3, 2, 2)))
