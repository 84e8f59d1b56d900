"""`dir()` and completion of an object show what users call, and no more."""

import json

import pytest
from keras_names import FAMILIES, OF_OBJECTS, classes, made, public

import cdl

KERAS = {family: set(names) for family, names in json.loads(OF_OBJECTS.read_text()).items()}
OWN = {  # public beside what Keras has
    "callbacks": {
        "best_epoch",
        "current",
        "epoch",
        "history",
        "plot",
        "pruned",
        "to_pandas",
        "trial",
    },
    "layers": {
        "backward_layer",
        "beta",
        "bias",
        "cells",
        "check",
        "forward_layer",
        "frequencies",
        "gamma",
        "idf_weights",
        "input_scale",
        "input_scale_initializer",
        "limit",
        "members",
        "merge_mode",
        "output_scale",
        "output_scale_initializer",
        "phase",
        "phases",
        "quantile_range",
        "scale_constraint",
        "scale_initializer",
        "scale_regularizer",
        "shared",
        "skip",
        "variance",
    },
    "losses": {"axis", "delta", "ignore_class", "quantiles"},
    "metrics": {"axis", "from_logits", "heeds_masks", "threshold"},
    "optimizers": {
        "decay",
        "dynamic_scale",
        "history_size",
        "lr",
        "max_line_search_steps",
        "rate_factors",
        "step_counter",
        "tolerance_change",
        "tolerance_grad",
    },
    "optimizers.schedules": {"cycles", "m_mul", "max_learning_rate", "t_mul"},
    "random": {"seed"},
}
MODEL = cdl.Sequential([cdl.Input((3,)), cdl.layers.Dense(1)])


@pytest.mark.parametrize(
    ("family", "cls"),
    [(family, cls) for family in FAMILIES for cls in classes(cdl, family)],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_an_object_lists_what_those_of_keras_have(family, cls):
    listed = public(made(cls, cdl))
    assert listed
    assert sorted(listed - KERAS[family] - OWN.get(family, set())) == []


@pytest.mark.parametrize(
    ("thing", "shown", "kept"),
    [
        (MODEL, {"fit", "layers", "program"}, {"lower", "append_all"}),
        (MODEL.weights[0], {"assign", "shape", "trainable"}, {"storage"}),
        (MODEL.inputs[0], {"shape", "dtype", "name"}, {"rows_per_sample", "like", "node"}),
        (cdl.optimizers.Adam(), {"learning_rate", "beta_1", "apply"}, {"slots", "row", "rates"}),
        (cdl.metrics.AUC(), {"result", "update_state", "thresholds"}, {"sums", "tables", "row"}),
    ],
    ids=["model", "variable", "tensor", "optimizer", "metric"],
)
def test_names_that_are_kept_for_cdl_are_there_all_the_same(thing, shown, kept):
    assert shown <= public(thing)
    assert not kept & public(thing)
    assert all(hasattr(thing, name) for name in kept)


def test_what_a_users_class_defines_is_listed_under_any_name():
    class Loss(cdl.losses.Loss):
        shares = 3

        def masked(self):
            return 4

    assert {"shares", "masked"} <= public(Loss())
    assert "reduce" not in public(Loss())
