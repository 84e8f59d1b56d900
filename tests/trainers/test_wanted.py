"""Compile's arguments taken apart output by output, and what they must not be."""

import pytest

from cdl import losses
from cdl.trainers.compile_arguments import leaves, output_specs, up_to

NAMES = ["p", "q"]
NOTHING = {"loss": None, "loss_weights": None, "metrics": None, "weighted_metrics": None}


def wanted(nest=NAMES, **given):
    return output_specs(NOTHING | given, NAMES, nest)


def losses_of(specs):
    return [[loss for loss, _ in each.losses] for each in specs]


def scales_of(specs):
    return [[scale for _, scale in each.losses] for each in specs]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (None, [[], []]),
        ("mse", [["mse"], ["mse"]]),
        (["mse", "mae"], [["mse"], ["mae"]]),
        (("mse", None), [["mse"], []]),
        ({"q": "mae", "p": "mse"}, [["mse"], ["mae"]]),
        ({"p": "mse", "q": None}, [["mse"], []]),
        ([["mse", "mae"], "mape"], [["mse", "mae"], ["mape"]]),
        ({"q": ("mse", "mae"), "p": ["mape"]}, [["mape"], ["mse", "mae"]]),
    ],
)
def test_losses_of_each_output(loss, expected):
    assert losses_of(wanted(loss=loss)) == expected


def test_a_config_is_one_loss_for_all_outputs():
    config = losses.serialize(losses.MeanSquaredError())
    assert losses_of(wanted(loss=config)) == [[config], [config]]
    assert leaves(config) == [config]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, [1.0, 1.0]),
        (0.5, [0.5, 0.5]),
        ([2, 0.5], [2.0, 0.5]),
        ({"q": 3}, [3.0, 3.0]),  # as in Keras: as many weights as losses
        ({"q": 3, "p": 2}, [2.0, 3.0]),
    ],
)
def test_weight_of_each_loss(weights, expected):
    assert scales_of(wanted(loss="mse", loss_weights=weights)) == [[each] for each in expected]


def test_a_weight_by_name_of_several_losses():
    found = wanted(loss=["mse", "mae"], loss_weights={"q": 3})
    assert scales_of(found) == [[1.0], [3.0]]


def test_outputs_behind_a_short_list_of_losses_are_not_trained():
    with pytest.warns(UserWarning, match=r"a list of 1: the outputs \['q'\] are not trained"):
        found = wanted(loss=["mse"])
    assert losses_of(found) == [["mse"], []]


@pytest.mark.parametrize("weights", [[[2, 3], 4], [2, 3, 4]])
def test_weights_nested_as_the_losses_or_flat_are_of_each(weights):
    found = wanted(loss=[["mse", "mae"], "mse"], loss_weights=weights)
    assert scales_of(found) == [[2.0, 3.0], [4.0]]
    by_name = {"q": ["mse", "mae"], "p": "mse"}
    found = wanted(loss=by_name, loss_weights={"p": 2, "q": [3, 4]})
    assert scales_of(found) == [[2.0], [3.0, 4.0]]
    assert scales_of(wanted(loss=by_name, loss_weights={"q": 5})) == [[1.0], [5.0, 5.0]]


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
    assert [each[1 if argument == "metrics" else 2] for each in found] == expected


def test_a_dict_of_outputs_may_leave_losses_out():
    nest = {"p": "p", "q": "q"}
    assert losses_of(wanted(nest, loss={"q": "mse"})) == [[], ["mse"]]


def test_what_is_nested_as_the_outputs_are_is_found():
    nest = {"b": ["p"], "c": "q"}
    loss, metrics = {"c": "mae", "b": ["mse"]}, {"b": [["mse", "mae"]]}
    found = wanted(nest, loss=loss, loss_weights={"b": [2.0]}, metrics=metrics)
    assert losses_of(found) == [["mse"], ["mae"]]
    assert scales_of(found) == [[2.0], [1.0]]
    assert [each.metrics for each in found] == [["mse", "mae"], []]
    assert up_to(nest, {"z": 1}) is up_to(nest, {"b": [1, 2]}) is up_to(nest, 3) is None


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"loss": ["mse"] * 3}, ValueError, r"\['p', 'q'\], got a list of 3"),
        (
            {"loss": {"p": "mse"}},
            ValueError,
            r"names of the outputs, .*, got none for \[",
        ),
        ({"loss": {"p": "mse", "z": "mse"}}, ValueError, r"got \['z'\]"),
        (
            {"loss": [["mse", "mae"], "mse"], "loss_weights": [1, 2]},
            ValueError,
            "loss_weights must match the number of losses, got 3 losses and 2 weights",
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
