"""Time of an export is proportional to the number of layers, in models of many layers."""

import pytest
from growing import extra_work

from cdl.layers import Add, Dense, Input
from cdl.models import Model, Sequential


def chain(n):
    return Sequential([Input((2,)), *(Dense(2) for _ in range(n))])


def branches(n):
    first = Input((2,))
    return Model(first, Add()([Dense(2)(first) for _ in range(n)]))


@pytest.mark.parametrize("form", ["c", "onnx"])
@pytest.mark.parametrize("make", [chain, branches])
def test_each_layer_costs_the_same(make, form, tmp_path):
    if form == "onnx":
        pytest.importorskip("onnx")

    def exports(n):
        model = make(n)
        return lambda: model.export(tmp_path / f"model.{form}", format=form, verbose=False)

    assert extra_work(exports, 20) < 1.02
