"""Arguments that `compile` refuses, and that the model stays as it was."""

import pytest
from trainers.nets import data, net, same_weights

from cdl import DTypePolicy, Sequential
from cdl.layers import Dense

X, _, _, ONE_HOT = data(20)


@pytest.fixture
def model():
    model = net((4, "relu"), (3, "softmax"))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"optimizer": "addam"}, ValueError, "did you mean 'adam'"),
        ({"optimizer": 3}, ValueError, "Could not interpret optimizer 3"),
        ({"loss": "mean_square_error"}, ValueError, "did you mean 'mean_squared_error'"),
        ({"loss": 3}, ValueError, "loss"),
        ({"loss": {"zz": "mse"}}, ValueError, "loss must have as keys the names of the outputs"),
        ({"metrics": ["acuracy"]}, ValueError, "did you mean 'accuracy'"),
        ({"metrics": "accuracy"}, ValueError, "metrics must be a list"),
        ({"metrics": [None]}, ValueError, "metrics must hold"),
        ({"weighted_metrics": [3]}, ValueError, "weighted_metrics must hold"),
        ({"loss_weights": "a"}, TypeError, "loss_weights must be a number"),
        ({"loss_weights": ["accuracy"]}, TypeError, "give metrics by name, metrics=[...]"),
        ({"loss_weights": [1, 2]}, ValueError, "loss_weights must have one element"),
        ({"steps_per_execution": 0}, ValueError, "steps_per_execution must be a positive int"),
        ({"run_eagerly": "a"}, TypeError, "run_eagerly must be True or False"),
        ({"jit_compile": "a"}, TypeError, "jit_compile must be True or False"),
        ({"learning_rate": 0.1}, TypeError, "learning_rate"),
    ],
)
def test_failed_compile_leaves_the_model_as_it_was(arguments, error, text, model):
    model.fit(X, ONE_HOT, verbose=0)
    before, optimizer = model.get_weights(), model.optimizer
    with pytest.raises(error) as caught:
        model.compile(**({"optimizer": "sgd", "loss": "mse"} | arguments))
    assert text in str(caught.value)
    assert same_weights(model, before)
    assert model.optimizer is optimizer
    model.fit(X, ONE_HOT, verbose=0)
    assert int(optimizer.iterations) == 2


def test_what_is_not_there_says_so():
    with pytest.raises(NotImplementedError, match="'int8' or 'int4' in cdl, got 'float8'"):
        Sequential([Dense(1)]).quantize("float8")


def test_dtypes_are_those_of_keras_s_names():
    layer = Dense(1)
    assert layer.dtype_policy == DTypePolicy("float32")
    assert (layer.compute_dtype, layer.variable_dtype, layer.path) == ("float32",) * 2 + (
        layer.name,
    )
    assert repr(DTypePolicy()) == '<DTypePolicy "float32">'
    assert hash(DTypePolicy()) == hash(DTypePolicy("float32"))
