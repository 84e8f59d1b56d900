"""Things are found by their Keras names, and written as Keras writes them."""

import numpy as np
import pytest

from cdl import (
    activations,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
)
from cdl._configs.identifiers import Registry, serialize
from cdl.models import Model, Sequential


@pytest.mark.parametrize(
    ("module", "name", "expected"),
    [
        (losses, "MeanSquaredError", losses.MeanSquaredError),
        (metrics, "MeanSquaredError", metrics.MeanSquaredError),
        (metrics, "mean_squared_error", metrics.MeanSquaredError),
        (metrics, "MSE", metrics.MeanSquaredError),
        (metrics, "mae", metrics.MeanAbsoluteError),
        (metrics, "bce", metrics.BinaryCrossentropy),
        (metrics, "accuracy", metrics.Accuracy),
        (optimizers, "Adam", optimizers.Adam),
        (optimizers, "adam", optimizers.Adam),
        (optimizers, "SGD", optimizers.SGD),
        (optimizers, "sGd", optimizers.SGD),
        (initializers, "glorot_uniform", initializers.GlorotUniform),
        (initializers, "GlorotUniform", initializers.GlorotUniform),
        (initializers, "uniform", initializers.RandomUniform),
        (initializers, "normal", initializers.RandomNormal),
        (initializers, "zero", initializers.Zeros),
        (initializers, "one", initializers.Ones),
        (regularizers, "l2", regularizers.L2),
        (regularizers, "L1L2", regularizers.L1L2),
        (regularizers, "l1l2", regularizers.L1L2),
        (constraints, "max_norm", constraints.MaxNorm),
        (constraints, "NonNeg", constraints.NonNeg),
    ],
)
def test_class_is_found_by_name(module, name, expected):
    assert type(module.get(name)) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mse", losses.mean_squared_error),
        ("MAE", losses.mean_absolute_error),
        ("BCE", losses.binary_crossentropy),
        ("sparse_categorical_crossentropy", losses.sparse_categorical_crossentropy),
    ],
)
def test_name_of_a_loss_function_gives_the_function(name, expected):
    assert losses.get(name) is expected


@pytest.mark.parametrize("module", [losses, metrics, optimizers, initializers, regularizers])
def test_none_is_nothing(module):
    assert module.get(None) is None


@pytest.mark.parametrize(
    ("module", "cls"),
    [
        (losses, losses.MeanSquaredError),
        (metrics, metrics.Mean),
        (initializers, initializers.Zeros),
        (regularizers, regularizers.L2),
        (constraints, constraints.NonNeg),
    ],
)
def test_class_gives_an_instance(module, cls):
    assert type(module.get(cls)) is cls


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: optimizers.get("addam"), "Could not find optimizer 'addam'; did you mean 'adam'?"),
        (lambda: optimizers.get("foo"), "Could not find optimizer 'foo'. Known names: adadelta, "),
        (lambda: optimizers.get(3), "Could not interpret optimizer 3 of type int; expected"),
        (lambda: optimizers.get(optimizers.Adam), "did you mean Adam()?"),
        (lambda: optimizers.get({"config": {}}), "Could not interpret optimizer"),
        (lambda: losses.get("mean_sqared_error"), "did you mean 'mean_squared_error'?"),
        (lambda: losses.get("mse "), "Could not find loss 'mse '; did you mean 'mse'?"),
        (lambda: losses.get("huber_loss"), "Could not find loss 'huber_loss'"),
        (lambda: losses.get(3), "Could not interpret loss 3"),
        (lambda: losses.resolve(None, (1,), (1,)), "Could not interpret loss None"),
        (lambda: metrics.get("acurracy"), "did you mean 'accuracy'?"),
        (lambda: metrics.get("acc"), "Could not find metric 'acc'"),
        (lambda: metrics.resolve(None, (1,), (1,)), "Could not interpret metric None"),
        (lambda: initializers.get("glorot"), "Could not find initializer 'glorot'"),
        (lambda: regularizers.get("l1_l2"), "Could not find regularizer 'l1_l2'; did you mean"),
        (lambda: constraints.get("maxnorm"), "did you mean 'MaxNorm'?"),
        (lambda: activations.get("RELU"), "did you mean 'relu'?"),
        (lambda: activations.get(3), "Could not interpret activation 3 of type int"),
        (lambda: layers.Dense(2, "rleu"), "Could not find activation 'rleu'; did you mean 'relu'?"),
        (lambda: layers.Dense(2, kernel_initializer="x"), "Could not find initializer 'x'"),
    ],
)
def test_unknown_is_refused_with_what_is_known(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


def test_class_of_a_layer_config_that_is_not_known_is_a_type_error():
    with pytest.raises(TypeError, match="Could not find layer 'Foo'"):
        layers.deserialize({"class_name": "Foo", "config": {}})


INSTANCES = [
    losses.MeanSquaredError(reduction="sum"),
    losses.BinaryCrossentropy(label_smoothing=0.1, from_logits=True),
    losses.SparseCategoricalCrossentropy(ignore_class=2),
    losses.LossFunctionWrapper(losses.mean_squared_error, name="mine"),
    metrics.BinaryAccuracy(threshold=0.3),
    metrics.CategoricalCrossentropy(from_logits=True),
    metrics.MeanMetricWrapper(losses.mean_absolute_error, name="mine"),
    metrics.Sum(),
    optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    optimizers.Adam(0.5, beta_1=0.5, amsgrad=True, decay=0.1),
    optimizers.Adam(optimizers.schedules.CosineDecay(0.1, 10, warmup_target=1.0, warmup_steps=3)),
    initializers.Constant(3.0),
    initializers.RandomUniform(-1, 1, seed=4),
    initializers.VarianceScaling(2.0, "fan_out", "uniform"),
    initializers.HeNormal(seed=3),
    regularizers.L1L2(0.1, 0.2),
    constraints.MinMaxNorm(0.1, 0.9, 0.5, axis=[0, 1]),
    layers.Dense(3, "relu", kernel_regularizer="l2", bias_constraint=constraints.MaxNorm(3)),
    layers.Activation("softmax"),
    layers.Dropout(0.3, seed=3),
    layers.Flatten(),
    layers.InputLayer((3, 4), batch_size=5),
]


@pytest.mark.parametrize("thing", INSTANCES, ids=lambda thing: type(thing).__name__)
def test_config_makes_an_equal_object(thing):
    config = serialize(thing)
    module = {
        "keras.losses": losses,
        "keras.metrics": metrics,
        "keras.optimizers": optimizers,
        "keras.initializers": initializers,
        "keras.regularizers": regularizers,
        "keras.constraints": constraints,
        "keras.layers": layers,
    }.get(config["module"])
    if module is None:  # a wrapper is no name of Keras's
        again = type(thing).from_config(config["config"])
    else:
        again = module.deserialize(config)
    assert type(again) is type(thing)
    assert serialize(again) == config


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (
            losses.MeanSquaredError(),
            {
                "module": "keras.losses",
                "class_name": "MeanSquaredError",
                "config": {"name": "mean_squared_error", "reduction": "sum_over_batch_size"},
                "registered_name": None,
            },
        ),
        (
            losses.mean_squared_error,
            {
                "module": "builtins",
                "class_name": "function",
                "config": "mean_squared_error",
                "registered_name": "function",
            },
        ),
        ([1, "a", None, np.float32(0.5)], [1, "a", None, 0.5]),
    ],
)
def test_config_is_as_keras_writes_it(thing, expected):
    assert serialize(thing) == expected


def test_config_of_a_user_class_has_its_name_and_its_module():
    class Mine(initializers.Initializer):
        pass

    config = serialize(Mine())
    assert (config["class_name"], config["registered_name"]) == ("Mine", "Mine")
    assert config["module"] == __name__
    assert type(initializers.deserialize(config, {"Mine": Mine})) is Mine


def test_config_of_another_family_is_found_by_its_module():
    config = layers.serialize(layers.Flatten())
    assert type(activations.deserialize(config)) is layers.Flatten


@pytest.mark.parametrize(
    ("thing", "error", "text"),
    [
        (int, TypeError, "has no get_config and no name"),
        (object(), TypeError, "has no get_config and no name"),
    ],
)
def test_what_has_no_name_cannot_be_written(thing, error, text):
    with pytest.raises(error, match=text):
        serialize(thing)


def test_first_thing_of_a_name_keeps_it():
    family = Registry("thing", "test.things")

    @family.add("b")
    class A:
        pass

    @family.add("a")
    class B:
        pass

    assert family.find("b") is A
    assert family.names() == ["A", "B", "a", "b"]
    assert A in family
    assert int not in family


def _model():
    return Sequential([layers.Input((2,)), layers.Dense(1)])


MISSPELT = {
    "activaton": (lambda: layers.Dense(3, activaton="relu"), "activation"),
    "unit": (lambda: layers.Dense(unit=3), "units"),
    "epoch": (lambda: _model().fit(np.ones((2, 2)), np.ones(2), epoch=3), "epochs"),
    "metric": (lambda: _model().compile("sgd", "mse", metric=["mae"]), "metrics"),
    "batchsize": (lambda: _model().predict(np.ones((2, 2)), batchsize=3), "batch_size"),
    "from_logit": (lambda: losses.BinaryCrossentropy(from_logit=True), "from_logits"),
    "treshold": (lambda: metrics.BinaryAccuracy(treshold=0.3), "threshold"),
    "learning_rat": (lambda: optimizers.Adam(learning_rat=0.1), "learning_rate"),
    "decay_step": (lambda: optimizers.schedules.CosineDecay(0.1, decay_step=3), "decay_steps"),
    "std": (lambda: initializers.RandomNormal(stdev=3), "stddev"),
    "max_val": (lambda: constraints.MaxNorm(max_valu=3), "max_value"),
    "ll2": (lambda: regularizers.L1L2(ll2=3), "l2"),
}


@pytest.mark.parametrize("name", MISSPELT)
def test_argument_that_is_misspelt_is_told_the_near_one(name):
    call, meant = MISSPELT[name]
    with pytest.raises((TypeError, ValueError), match=f"did you mean '{meant}'"):
        call()


def test_error_within_a_call_gets_no_hint():
    from cdl._common.errors import hinted

    def inner(alpha):
        return alpha

    @hinted
    def outer(alpha=0, **others):
        return inner(alhpa=1)

    with pytest.raises(TypeError) as caught:
        outer(alpa=1)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: layers.LeakyReLU(alpha=0.1),
        lambda: layers.Embedding(3, 2, input_length=4),
        lambda: Model({"a": (x := layers.Input((2,), name="b"))}, layers.Dense(1)(x)),
    ],
)
def test_warning_shows_the_line_of_the_user(call):
    with pytest.warns(UserWarning) as caught:
        call()
    assert {each.filename for each in caught} == {__file__}
