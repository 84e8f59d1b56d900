"""A model that was pickled or copied goes on as the model itself would."""

import copy
import multiprocessing
import pickle
import sys

import numpy as np
import pytest
from trainers.nets import data, same_weights

from cdl import ops
from cdl.layers import BatchNormalization, Dense, Dropout, Input
from cdl.models import Model, Sequential
from cdl.optimizers import SGD, Adam
from cdl.optimizers.schedules import ExponentialDecay

X, _, LABELS, _ = data(40)


def through_a_pickle(model):
    return pickle.loads(pickle.dumps(model))


def through_shared_memory(model):
    """A copy as by Ray and Dask: arrays lie beside the pickle, and are read-only."""
    beside = []
    pickled = pickle.dumps(model, protocol=5, buffer_callback=beside.append)
    return pickle.loads(pickled, buffers=[bytes(each) for each in beside])


def trained(optimizer="adam"):
    model = Sequential(
        [
            Input((5,)),
            Dense(8, "relu", kernel_regularizer="l2", kernel_constraint="max_norm"),
            BatchNormalization(),
            Dropout(0.2),
            Sequential([Input((8,)), Dense(4)]),
            Dense(3, "softmax"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, LABELS, epochs=2, verbose=0)
    model.predict(X, verbose=0)
    return model


@pytest.mark.parametrize("duplicate", [through_a_pickle, through_shared_memory, copy.deepcopy])
@pytest.mark.parametrize(
    "optimizer",
    [
        Adam,
        lambda: SGD(ExponentialDecay(0.1, 3, 0.9), momentum=0.9),
        lambda: Adam(clipnorm=0.1, use_ema=True),
    ],
    ids=["adam", "schedule", "average"],
)
def test_duplicate_trains_on_as_the_model_does(optimizer, duplicate):
    model = trained(optimizer())
    other = duplicate(model)
    assert int(other.optimizer.iterations) == int(model.optimizer.iterations) == 4
    assert other.evaluate(X, LABELS, verbose=0) == model.evaluate(X, LABELS, verbose=0)
    before = model.get_weights()
    losses = other.fit(X, LABELS, epochs=2, shuffle=False, verbose=0).history
    assert same_weights(model, before)
    assert losses == model.fit(X, LABELS, epochs=2, shuffle=False, verbose=0).history
    assert same_weights(model, other.get_weights())


@pytest.mark.parametrize("duplicate", [through_a_pickle, through_shared_memory, copy.deepcopy])
def test_duplicate_has_the_history(duplicate):
    model = trained()
    other = duplicate(model)
    assert other.history.history == model.history.history
    assert other.history.model is other
    history = duplicate(model.history)
    assert history.history == model.history.history


@pytest.mark.parametrize("duplicate", [through_a_pickle, through_shared_memory, copy.deepcopy])
def test_model_without_weights_or_compile_can_be_duplicated(duplicate):
    other = duplicate(Sequential([Dense(3)]))
    assert other.predict(X, verbose=0).shape == (40, 3)
    assert not other.compiled


@pytest.mark.parametrize("duplicate", [through_a_pickle, through_shared_memory, copy.deepcopy])
def test_layer_can_be_duplicated(duplicate):
    layer = Dense(3)
    layer.build((None, 5))
    other = duplicate(layer)
    assert np.array_equal(other(X), layer(X))
    other.kernel.assign(np.zeros((5, 3)))
    assert np.any(layer.kernel.numpy())


def test_shallow_copy_shares_the_weights():
    model = trained()
    other = copy.copy(model)
    assert np.array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    assert np.array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))


def test_model_goes_to_a_spawned_process():
    model = trained()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(model.predict, (X,), {"verbose": 0})
    assert np.array_equal(found, model.predict(X, verbose=0))


@pytest.mark.parametrize("duplicate", [through_a_pickle, through_shared_memory, copy.deepcopy])
def test_duplicate_of_a_graph_with_operations(duplicate):
    x = Input((5,))
    lines = ops.concatenate([Dense(4)(x), ops.tanh(x) * 2 + 1], axis=-1)
    model = Model(x, Dense(3, "softmax")(lines / (1 + ops.abs(lines))))
    model.compile("adam", "sparse_categorical_crossentropy")
    other = duplicate(model)
    for each in (model, other):
        each.fit(X, LABELS, epochs=2, shuffle=False, verbose=0)
    assert same_weights(model, other.get_weights())


def test_pickled_graph_is_read_by_a_process_that_has_done_nothing_else(run_python, tmp_path):
    x = Input((5,))
    model = Model(x, ops.max(ops.square(x), axis=1, keepdims=True))
    (tmp_path / "m").write_bytes(pickle.dumps(model))
    run_python(
        f"import pickle; model = pickle.load(open({str(tmp_path / 'm')!r}, 'rb')); "
        "assert model.predict([[1, 2, 3, 4, -5]], verbose=0) == 25"
    )


@pytest.mark.parametrize("again", [copy.deepcopy, through_a_pickle, through_shared_memory])
def test_a_chain_may_be_longer_than_python_s_stack_is_deep(again):
    x = first = Input((5,))
    for _ in range(sys.getrecursionlimit()):
        x = Dense(5)(x) * 0.5
    model = Model(first, x)
    assert same_weights(again(model), model.get_weights())


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, through_a_pickle])
def test_layers_of_a_copied_sequential_have_inputs_and_outputs(again):
    original = Sequential([Input((5,)), Dense(4), Sequential([Input((4,)), Dense(3)])])
    other = again(original)
    dense, within = other.layers
    assert dense.input.shape == (None, 5) and dense.output.shape == (None, 4)
    assert within.layers[0].output.shape == (None, 3)
    features = Model(other.inputs, dense.output)
    np.testing.assert_array_equal(features.predict(X, verbose=0), dense(X))
    assert original.layers[0].output.shape == (None, 4)
