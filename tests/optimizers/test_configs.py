"""Configs of optimizers are those of Keras, and make equal optimizers again."""

import inspect
import json

import pytest

from cdl import optimizers
from cdl.utils import clear_session

# name and own configuration of each optimizer with its defaults, as Keras 3.15.1 writes them
WRITTEN = {
    "SGD": ("sgd", {"learning_rate": 0.009999999776482582, "momentum": 0.0, "nesterov": False}),
    "RMSprop": (
        "rm_sprop",
        {
            "learning_rate": 0.0010000000474974513,
            "rho": 0.9,
            "momentum": 0.0,
            "epsilon": 1e-07,
            "centered": False,
        },
    ),
    "Adam": (
        "adam",
        {
            "learning_rate": 0.0010000000474974513,
            "beta_1": 0.9,
            "beta_2": 0.999,
            "epsilon": 1e-07,
            "amsgrad": False,
        },
    ),
    "AdamW": (
        "adam_w",
        {
            "learning_rate": 0.0010000000474974513,
            "weight_decay": 0.004,
            "beta_1": 0.9,
            "beta_2": 0.999,
            "epsilon": 1e-07,
            "amsgrad": False,
        },
    ),
    "Adamax": (
        "adamax",
        {"learning_rate": 0.0010000000474974513, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07},
    ),
    "Nadam": (
        "nadam",
        {"learning_rate": 0.0010000000474974513, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07},
    ),
    "Lamb": (
        "lamb",
        {"learning_rate": 0.0010000000474974513, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07},
    ),
    "Adagrad": (
        "adagrad",
        {
            "learning_rate": 0.0010000000474974513,
            "initial_accumulator_value": 0.1,
            "epsilon": 1e-07,
        },
    ),
    "Adadelta": (
        "adadelta",
        {"learning_rate": 0.0010000000474974513, "rho": 0.95, "epsilon": 1e-07},
    ),
    "Ftrl": (
        "ftrl",
        {
            "learning_rate": 0.0010000000474974513,
            "learning_rate_power": -0.5,
            "initial_accumulator_value": 0.1,
            "l1_regularization_strength": 0.0,
            "l2_regularization_strength": 0.0,
            "l2_shrinkage_regularization_strength": 0.0,
            "beta": 0.0,
        },
    ),
    "Lion": ("lion", {"learning_rate": 0.0010000000474974513, "beta_1": 0.9, "beta_2": 0.99}),
    "Adafactor": (
        "adafactor",
        {
            "learning_rate": 0.0010000000474974513,
            "beta_2_decay": -0.8,
            "epsilon_1": 1e-30,
            "epsilon_2": 0.001,
            "clip_threshold": 1.0,
            "relative_step": True,
        },
    ),
    "ScheduleFreeAdamW": (
        "schedule_free_adam_w",
        {
            "learning_rate": 0.0024999999441206455,
            "beta_1": 0.9,
            "beta_2": 0.999,
            "epsilon": 1e-08,
            "warmup_steps": 0,
        },
    ),
    "Muon": (
        "muon",
        {
            "learning_rate": 0.0010000000474974513,
            "weight_decay": 0.004,
            "adam_beta_1": 0.9,
            "adam_beta_2": 0.999,
            "epsilon": 1e-07,
            "exclude_layers": [],
            "muon_a": 3.4445,
            "muon_b": -4.775,
            "muon_c": 2.0315,
            "adam_lr_ratio": 1,
            "momentum": 0.95,
            "ns_steps": 5,
            "nesterov": True,
            "exclude_embeddings": True,
            "adam_weight_decay": 0.004,
            "rms_rate": 0.2,
        },
    ),
}

SHARED = {
    "weight_decay": None,
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


@pytest.mark.parametrize("name", WRITTEN)
def test_config_of_the_defaults_is_that_of_keras(name):
    clear_session()
    optimizer = getattr(optimizers, name)()
    own, expected = WRITTEN[name]
    assert optimizer.get_config() == {"name": own, **SHARED, **expected}
    assert optimizers.serialize(optimizer) == {
        "module": "keras.optimizers",
        "class_name": name,
        "config": optimizer.get_config(),
        "registered_name": None,
    }


@pytest.mark.parametrize("name", WRITTEN)
def test_config_comes_back_through_json(name):
    options = {"clipnorm": 1.5, "weight_decay": 0.25, "use_ema": True, "name": "mine"}
    optimizer = getattr(optimizers, name)(**options)
    config = json.loads(json.dumps(optimizers.serialize(optimizer)))
    again = optimizers.deserialize(config)
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize("name", WRITTEN)
def test_every_argument_is_in_the_config(name):
    arguments = set(inspect.signature(getattr(optimizers, name)).parameters) - {"kwargs"}
    assert set(getattr(optimizers, name)().get_config()) == arguments


@pytest.mark.parametrize("name", WRITTEN)
def test_name_in_any_case_finds_the_class(name):
    for each in (name, name.lower(), name.upper()):
        assert type(optimizers.get(each)).__name__ == name
