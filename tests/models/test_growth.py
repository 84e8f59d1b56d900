"""Models of many layers: work that is proportional to their number."""

import numpy as np
import pytest
from growing import extra_work

from cdl.layers import Add, Dense, Input
from cdl.models import Model, Sequential, clone_model
from cdl.utils import model_to_dot


def dense(n):
    return [Dense(2) for _ in range(n)]


def stack(n):
    return Sequential([Input((2,)), *dense(n)])


def constructed(n):
    layers = dense(n)
    return lambda: Sequential([Input((2,)), *layers])


def added_one_by_one(n):
    def add():
        model = Sequential([Input((2,))])
        for layer in layers:
            model.add(layer)

    layers = dense(n)
    return add


def added_before_the_shape_is_known(n):
    def add():
        model = Sequential()
        for layer in layers:
            model.add(layer)

    layers = dense(n)
    return add


def blocks_added_one_by_one(n):
    def add():
        model = Sequential([Input((2,))])
        for layer in layers:
            model.add(Sequential([layer]))

    layers = dense(n)
    return add


def popped(n):
    def pop():
        for _ in range(n):
            model.pop()

    model = stack(n)
    return pop


def chain(n):
    x = first = Input((2,))
    for layer in dense(n):
        x = layer(x)
    return Model(first, x)


def branches(n):
    first = Input((2,))
    return Model(first, Add()([layer(first) for layer in dense(n)]))


def one_layer_called_often(n):
    x = first = Input((2,))
    layer = Dense(2)
    for _ in range(n):
        x = layer(x)
    return Model(first, x)


@pytest.mark.parametrize(
    "work",
    [
        constructed,
        added_one_by_one,
        added_before_the_shape_is_known,
        blocks_added_one_by_one,
        popped,
    ],
)
def test_each_layer_costs_the_same(work):
    assert extra_work(work) < 1.02


def two_layers_in_turns_before_others(n):
    x = first = Input((2,))
    one, other = dense(2)
    for _ in range(n):
        x = other(one(x))
    for after in dense(n):
        x = after(x)
    return Model(first, x)


MODELS = (stack, chain, branches, one_layer_called_often, two_layers_in_turns_before_others)


def many_inputs_and_outputs(n):
    inputs = {f"input{i}": Input((2,), name=f"input{i}") for i in range(n)}
    return Model(inputs, {f"output{i}": Dense(2)(x) for i, x in enumerate(inputs.values())})


class ManyOutputs(Model):
    """n outputs that have no names."""

    def __init__(self, n):
        super().__init__()
        self.first = dense(n)

    def call(self, inputs):
        return [layer(inputs) for layer in self.first]


def weights(model):
    return lambda: model.set_weights(model.get_weights())


def config(model):
    return model.get_config


def from_config(model):
    config = model.get_config()
    return lambda: type(model).from_config(config)


def clone(model):
    return lambda: clone_model(model)


def first_step(model):
    model.compile("sgd", "mse")
    return lambda: model.train_on_batch(np.ones((2, 2)), np.ones((2, 2)))


def prediction(model):
    return lambda: model.predict(np.ones((2, 2)), verbose=0)


def call(model):
    return lambda: model(np.ones((2, 2)), training=True)


def summary(model):
    return lambda: model.summary(print_fn=len)


def html(model):
    return model._repr_html_


def drawing(model):
    return lambda: model_to_dot(model, show_shapes=True)


@pytest.mark.parametrize(
    "work",
    [
        *(weights, config, from_config, clone, first_step, prediction, call),
        *(summary, html, drawing),
    ],
)
@pytest.mark.parametrize("make", MODELS)
def test_what_is_done_with_a_model_costs_the_same_for_each_layer(make, work):
    assert extra_work(lambda n: work(make(n))) < 1.02


@pytest.mark.parametrize("way", ["fit", "evaluate", "train_on_batch"])
def test_each_output_with_its_loss_and_metrics_costs_the_same(way):
    def steps(n):
        model = many_inputs_and_outputs(n)
        names = list(model.output)
        maes = {name: ["mae"] for name in names}
        model.compile("sgd", dict.fromkeys(names, "mse"), metrics=maes)
        x = dict.fromkeys(model.input_names, np.ones((2, 2)))
        y = dict.fromkeys(names, np.ones((2, 2)))
        verbose = {} if way == "train_on_batch" else {"verbose": 0}
        return lambda: getattr(model, way)(x, y, **verbose)

    assert extra_work(steps) < 1.02


def test_each_output_without_a_name_costs_the_same():
    def steps(n):
        model = ManyOutputs(n)
        model.compile("sgd", "mse", metrics=[["mae"]] * n)
        return lambda: model.train_on_batch(np.ones((2, 2)), [np.ones((2, 2))] * n)

    assert extra_work(steps) < 1.02


def test_compile_looks_at_each_output_once():
    def compiled(n):
        names = [f"output{i}" for i in range(n)]
        model = many_inputs_and_outputs(n)
        return lambda: model.compile("sgd", dict.fromkeys(names, "mse"))

    assert extra_work(compiled) < 1.02
