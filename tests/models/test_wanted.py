"""Compile's arguments taken apart output by output, and what they must not be."""

import pytest

from cdl import losses
from cdl.trainers.compile_utils import leaves, output_specs, up_to

NAMES = ["p", "q"]
NOTHING = {"loss": None, "loss_weights": None, "metrics": None, "weighted_metrics": None}


def wanted(nest=NAMES, **given):
    return output_specs(NOTHING | given, NAMES, nest)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (None, [None, None]),
        ("mse", ["mse", "mse"]),
        (["mse", "mae"], ["mse", "mae"]),
        (("mse", None), ["mse", None]),
        ({"q": "mae", "p": "mse"}, ["mse", "mae"]),
        ({"p": "mse", "q": None}, ["mse", None]),
    ],
)
def test_loss_of_each_output(loss, expected):
    assert [each.loss for each in wanted(loss=loss)] == expected


def test_a_config_is_one_loss_for_all_outputs():
    config = losses.serialize(losses.MeanSquaredError())
    assert [each.loss for each in wanted(loss=config)] == [config, config]
    assert leaves(config) == [config]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, [1.0, 1.0]),
        (0.5, [0.5, 0.5]),
        ([2, 0.5], [2.0, 0.5]),
        ({"q": 3}, [1.0, 3.0]),
        ({"q": 3, "p": 2}, [2.0, 3.0]),
    ],
)
def test_weight_of_each_loss(weights, expected):
    assert [each.scale for each in wanted(loss="mse", loss_weights=weights)] == expected


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (None, [[], []]),
        ([], [[], []]),
        (["mae", "mse"], [["mae"], ["mse"]]),
        ([["mae", "mse"], None], [["mae", "mse"], []]),
        ({"q": "mae"}, [[], ["mae"]]),
        ({"q": ["mae", "mse"], "p": ("acc",)}, [["acc"], ["mae", "mse"]]),
    ],
)
@pytest.mark.parametrize("argument", ["metrics", "weighted_metrics"])
def test_metrics_of_each_output(argument, metrics, expected):
    found = wanted(**{argument: metrics})
    assert [each[2 if argument == "metrics" else 3] for each in found] == expected


def test_a_dict_of_outputs_may_leave_losses_out():
    nest = {"p": "p", "q": "q"}
    assert [each.loss for each in wanted(nest, loss={"q": "mse"})] == [None, "mse"]


def test_what_is_nested_as_the_outputs_are_is_found():
    nest = {"b": ["p"], "c": "q"}
    loss, metrics = {"c": "mae", "b": ["mse"]}, {"b": [["mse", "mae"]]}
    found = wanted(nest, loss=loss, loss_weights={"b": [2.0]}, metrics=metrics)
    assert [each.loss for each in found] == ["mse", "mae"]
    assert [each.scale for each in found] == [2.0, 1.0]
    assert [each.metrics for each in found] == [["mse", "mae"], []]
    assert up_to(nest, {"z": 1}) is up_to(nest, {"b": [1, 2]}) is up_to(nest, 3) is None


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"loss": ["mse"]}, ValueError, r"loss must have one element for each of the 2 outputs"),
        ({"loss": ["mse"] * 3}, ValueError, r"\['p', 'q'\], got a list of 3"),
        (
            {"loss": {"p": "mse"}},
            ValueError,
            r"names of the outputs, .*, got none for \[",
        ),
        ({"loss": {"p": "mse", "z": "mse"}}, ValueError, r"got \['z'\]"),
        (
            {"loss": {"p": ["mse", "mae"], "q": "mse"}},
            ValueError,
            "got a list of 2 for one",
        ),
        ({"loss_weights": [1.0]}, ValueError, "loss_weights must have one element for each"),
        (
            {"loss_weights": {"z": 1.0}},
            ValueError,
            r"loss_weights must have .* got \[",
        ),
        ({"loss_weights": ["mae", 1]}, TypeError, "give metrics by name"),
        ({"metrics": ["mae"]}, ValueError, "metrics must have one element for each of the 2"),
        ({"metrics": {"z": "mae"}}, ValueError, r"metrics must have as keys .* got \['z'\]"),
        ({"metrics": "mae"}, ValueError, "metrics must be a list, tuple or dict, got 'mae'"),
        ({"weighted_metrics": [[3], None]}, ValueError, "must hold names, functions or Metrics"),
    ],
)
def test_what_does_not_fit_the_outputs_is_refused(given, error, text):
    with pytest.raises(error, match=text):
        wanted(**given)
