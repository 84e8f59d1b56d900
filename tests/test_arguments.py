"""test_arguments.py - where a list is wanted and none comes, the error names the argument."""

import pytest

from cdl import layers, metrics, optimizers

WRONG = {
    "EinsumDense: output_shape must be an int or a tuple of sizes": lambda value: (
        layers.EinsumDense("ab,bc->ac", output_shape=value)
    ),
    "IoU: target_class_ids must be a list of class numbers": lambda value: metrics.IoU(
        3, target_class_ids=value
    ),
    "AUC: thresholds must be a list of numbers or None": lambda value: metrics.AUC(
        thresholds=value
    ),
    "Muon: exclude_layers must be a list of patterns or None": lambda value: optimizers.Muon(
        exclude_layers=value
    ),
    "PiecewiseConstantDecay: boundaries must be a list of step numbers": lambda value: (
        optimizers.schedules.PiecewiseConstantDecay(value, [0.1, 0.2])
    ),
    "PiecewiseConstantDecay: values must be a list of rates": lambda value: (
        optimizers.schedules.PiecewiseConstantDecay([1], value)
    ),
}


@pytest.mark.parametrize("message", WRONG)
@pytest.mark.parametrize("value", [1.5, True])
def test_what_is_no_list_is_refused_by_name(message, value):
    with pytest.raises(ValueError, match=f"{message}, got {value!r}"):
        WRONG[message](value)
