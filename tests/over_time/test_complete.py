"""All classes of cdl with state have a row, so that later ones are tested too."""

import inspect

import pytest
from keras_names import classes
from over_time.layers import WEIGHTED
from over_time.things import THINGS

import cdl

COVERED = {cls for thing in THINGS for cls in thing.covers}
# Classes of a family without state, or that users derive from.
LEFT_OUT = {
    "callbacks": {
        *("Callback", "CallbackList", "MonitorCallback"),
        *("History", "ProgbarLogger"),  # of one fit
        *("RemoteMonitor", "TensorBoard", "OptunaPruning"),  # keep all elsewhere: tests/callbacks/
    },
    "layers": {"Input", "InputLayer", "InputSpec", "Layer", "Wrapper"},
    "metrics": {"Metric"},
    "sklearn": set(),
    "wrappers": set(),
    "optimizers": {"Optimizer", "OptimizerMap"},
}


@pytest.mark.parametrize("family", LEFT_OUT)
def test_each_public_class_has_a_row(family):
    public = {each for each in classes(cdl, family) if inspect.isclass(each)}
    missing = {each.__name__ for each in public - COVERED} - LEFT_OUT[family]
    assert not missing, f"no row of tests/over_time/{family}.py covers them"


def test_weights_of_all_layers_that_have_some_are_changed():
    rows = [each for each in THINGS if each.name.startswith("layer ")]
    weighted = set()
    for thing in rows:
        layer = thing.made()
        thing.used(layer)
        if layer.weights:
            weighted.add(type(layer).__name__)
    assert weighted == WEIGHTED
