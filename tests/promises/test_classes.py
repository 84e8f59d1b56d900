"""Classes and functions that programs make in loops go when nobody needs them any more."""

import gc
import weakref

import numpy as np
import pytest

from cdl import (
    callbacks,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    ops,
    optimizers,
    regularizers,
)
from cdl._common.weak_cache import weak_cache
from cdl.models import Model, Sequential, clone_model, load_model

X, Y = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)


def trained(model, optimizer="sgd", loss="mse", **options):
    model.compile(optimizer, loss, **options)
    model.fit(X, Y, verbose=0)
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    return model


def dense(**options):
    return Sequential([layers.Input((3,)), layers.Dense(2, **options)])


def layer_class():
    class Mine(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight((shape[-1], 2))

        def call(self, x, training=None):
            return ops.tanh(ops.matmul(x, self.kernel))

    return Mine


def layer(path):
    Mine = layer_class()
    model = trained(Sequential([layers.Input((3,)), Mine()]))
    model(X, training=True)
    clone_model(model).summary(print_fn=len)
    model.save(path / "a.keras")
    load_model(path / "a.keras", custom_objects={"Mine": Mine})
    return Mine, Mine.call, Mine.build


def layer_derived_from_one_of_cdl_s(path):
    class Mine(layers.Dense):
        pass

    trained(Sequential([layers.Input((3,)), Mine(2)])).save_weights(path / "a.weights.h5")
    return (Mine,)


def model(path):
    class Mine(Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x):
            return self.dense(x)

        def train_step(self, data):
            return super().train_step(data)

    net = trained(Mine())
    net.save_weights(path / "a.weights.h5")
    net.load_weights(path / "a.weights.h5")
    return Mine, Mine.call, Mine.train_step


def loss_and_metric(path):
    class Mine(losses.Loss):
        def call(self, y_true, y_pred):
            return ops.mean(ops.square(y_true - y_pred), axis=-1)

    class Sum(metrics.Metric):
        def __init__(self):
            super().__init__(name="sum")
            self.total = self.add_variable((), "zeros", name="total")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total.assign_add(ops.sum(y_true - y_pred))

        def result(self):
            return self.total

    def function(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)

    trained(dense(), loss=Mine(), metrics=[Sum(), function])
    trained(dense(), loss=function)
    return Mine, Sum, function


def optimizer(path):
    class Mine(optimizers.Optimizer):
        def __init__(self):
            super().__init__(learning_rate=0.1)

        def update_step(self, gradient, variable, learning_rate):
            variable.assign(variable - learning_rate * gradient)

    class Derived(optimizers.SGD):
        pass

    trained(dense(), Mine())
    trained(dense(), Derived())
    return Mine, Derived


def small_parts(path):
    class Ones(initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return np.ones(shape, np.float32)

    class Penalty(regularizers.Regularizer):
        def __call__(self, x):
            return ops.sum(x)

    class Positive(constraints.Constraint):
        def __call__(self, x):
            return ops.abs(x)

    class Quiet(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            pass

    def activation(x):
        return ops.tanh(x)

    parts = {"kernel_initializer": Ones(), "kernel_regularizer": Penalty()}
    net = dense(activation=activation, kernel_constraint=Positive(), **parts)
    net.add(layers.Lambda(activation))
    trained(net).fit(X, Y, verbose=0, callbacks=[Quiet()])
    return Ones, Penalty, Positive, Quiet, activation


KINDS = (layer, layer_derived_from_one_of_cdl_s, model, loss_and_metric, optimizer, small_parts)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_users_is_kept(kind, tmp_path):
    made = [weakref.ref(thing) for thing in kind(tmp_path)]
    gc.collect()
    assert [each() for each in made] == [None] * len(made)


def test_a_thousand_classes_of_layers_leave_nothing_behind():
    def used():
        mine = layer_class()
        mine()(X)
        return weakref.ref(mine)

    made = [used() for _ in range(1000)]
    gc.collect()
    assert not any(each() is not None for each in made)


def test_an_answer_is_found_once_for_each_class_and_its_other_arguments():
    asked = []

    @weak_cache
    def ask(cls, name):
        asked.append(name)
        return hasattr(cls, name)

    assert [ask(int, "real"), ask(int, "none"), ask(int, "real")] == [True, False, True]
    assert asked == ["real", "none"]
