"""Arguments of constructors: lists, numbers, other default values than the base's, and configs."""

import inspect

import pytest

from cdl import layers, losses, metrics, optimizers
from cdl._common.validation import count, number
from cdl.models import Sequential

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


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"low": 0, "high": 1}, "a number between 0 and 1"),
        ({"low": 2, "high": 9}, "a number between 2 and 9"),
        ({"low": 0, "below": 1}, "a number >= 0 and < 1"),
        ({"low": 0}, "a number >= 0"),
        ({"above": 0}, "a number > 0"),
        ({"above": 0, "high": 1}, "a number > 0 and <= 1"),
        ({}, "a number"),
    ],
)
@pytest.mark.parametrize("value", [-1e9, float("nan"), "a", None, True])
def test_limits_are_told_in_words(limits, words, value):
    if limits or value != -1e9:
        with pytest.raises(ValueError) as caught:
            number("Layer", "rate", value, **limits)
        assert str(caught.value) == f"Layer: rate must be {words}, got {value!r}"


def test_whole_numbers_are_told_in_the_same_words():
    with pytest.raises(ValueError, match="Callback: patience must be an int >= 0, got -1"):
        count("Callback", "patience", -1)


@pytest.mark.parametrize("split", [20, 5.0, 99])
def test_a_share_in_percent_is_told_as_a_part_of_1(split):
    model = Sequential([layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=f"got {split}: .* % is {split / 100:g}$"):
        model.fit([[1.0]] * 9, [1.0] * 9, validation_split=split)
    with pytest.raises(ValueError, match=r"got 100$"):
        model.fit([[1.0]] * 9, [1.0] * 9, validation_split=100)


@pytest.mark.parametrize(
    ("cls", "base", "name", "value"),
    [
        (layers.ZeroPadding3D, layers.ZeroPadding1D, "padding", ((1, 1), (1, 1), (1, 1))),
        (layers.Cropping2D, layers.Cropping3D, "cropping", ((0, 0), (0, 0))),
        (layers.MaxPooling2D, layers.AveragePooling2D, "pool_size", 2),
        (losses.LogCosh, losses.Poisson, "name", "log_cosh"),
        (metrics.Accuracy, metrics.Mean, "name", "accuracy"),
    ],
)
def test_another_default_value_is_that_of_its_class_alone(cls, base, name, value):
    assert inspect.signature(cls).parameters[name].default == value
    assert inspect.signature(base).parameters[name].default != value
    assert getattr(cls(), name) == ((2, 2) if value == 2 else value)
    with pytest.raises((TypeError, ValueError), match=f"{name}s"):
        cls(**{f"{name}s": value})


def test_a_config_has_arguments_of_all_bases_but_those_left_out():
    layer = layers.AdditiveAttention(use_scale=False, dropout=0.25, seed=3)
    config = layer.get_config()
    assert [config[name] for name in ("use_scale", "dropout", "seed")] == [False, 0.25, 3]
    assert "score_mode" not in config and "weights" not in layers.Embedding(3, 2).get_config()

    class Mine(layers.Dense):
        def __init__(self, units, extra=1, **kwargs):
            super().__init__(units, **kwargs)
            self.extra = extra

    assert Mine(2, 5).get_config()["units"] == 2
