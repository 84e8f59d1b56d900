"""Models of many layers: work that is proportional to their number."""

import pytest
from growing import extra_work

from cdl.layers import Add, Dense, Input
from cdl.models import Model, Sequential
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


MODELS = (stack, chain, branches, one_layer_called_often)


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


def summary(model):
    return lambda: model.summary(print_fn=len)


def html(model):
    return model._repr_html_


def drawing(model):
    return lambda: model_to_dot(model, show_shapes=True)


@pytest.mark.parametrize("work", [summary, html, drawing])
@pytest.mark.parametrize("make", MODELS)
def test_what_is_done_with_a_model_costs_the_same_for_each_layer(make, work):
    assert extra_work(lambda n: work(make(n))) < 1.02
