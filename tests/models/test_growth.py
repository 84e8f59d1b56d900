"""Models of many layers: work that is proportional to their number."""

import pytest
from growing import extra_work

from cdl.layers import Dense, Input
from cdl.models import Sequential


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
    assert extra_work(work) < 1.01
