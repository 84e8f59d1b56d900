"""Every optimizer with its arguments on a small net; names, configs, errors."""

import numpy as np
from nets import mlp, numbers, one_hot, trained
from registry import add, config_of, error_of, label

COMMON = [
    {"weight_decay": 0.05},
    {"clipnorm": 0.1},
    {"clipvalue": 0.02},
    {"global_clipnorm": 0.1},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 2},
    {"gradient_accumulation_steps": 2},
]
TABLE = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, *COMMON],
    "RMSprop": [
        {},
        {"momentum": 0.5},
        {"centered": True},
        {"rho": 0.8, "epsilon": 1e-3},
        *COMMON[:2],
    ],
    "Adam": [{}, {"amsgrad": True}, {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}, *COMMON],
    "AdamW": [{}, {"weight_decay": 0.1}, *COMMON[1:2]],
    "Adamax": [{}, {"beta_1": 0.5}, *COMMON[:1]],
    "Nadam": [{}, {"beta_2": 0.9}, *COMMON[:1]],
    "Adagrad": [{}, {"initial_accumulator_value": 0.3}, *COMMON[:1]],
    "Adadelta": [{}, {"rho": 0.8}, *COMMON[:1]],
    "Ftrl": [
        {},
        {"l1_regularization_strength": 0.01, "l2_regularization_strength": 0.02},
        {"l2_shrinkage_regularization_strength": 0.1, "beta": 0.2},
    ],
    "Lion": [{}, {"beta_1": 0.5, "beta_2": 0.8}, *COMMON[:1]],
    "Lamb": [{}, {"beta_1": 0.5}, *COMMON[:1]],
    "Adafactor": [{}, {"relative_step": False}, {"clip_threshold": 0.5}],
    "ScheduleFreeAdamW": [{}, {"warmup_steps": 3}, {"weight_decay": 0.01}],
    "Muon": [{}, {"momentum": 0.8, "nesterov": False}],
}
RATES = {"Adadelta": 1.0, "SGD": 0.1}


def net_of(k):
    return mlp(k)


def steps(name, options):
    def run(k):
        net = net_of(k)
        rate = RATES.get(name, 0.02)
        optimizer = getattr(k.optimizers, name)(learning_rate=rate, **options)
        net.compile(optimizer, "categorical_crossentropy")
        seen = trained(k, net, numbers(14, 4), one_hot(14, 3), batch_size=5)
        again = type(optimizer).from_config(optimizer.get_config())
        return {
            **seen,
            "iterations": int(np.asarray(optimizer.iterations)),
            "rate": float(np.asarray(optimizer.learning_rate)),
            "variables": [tuple(v.shape) for v in optimizer.variables],
            "paths": [v.path.split("/", 1)[-1] for v in optimizer.variables],
            "config": config_of(optimizer),
            "config again": config_of(again),
        }

    return run


for _name, _rows in TABLE.items():
    for _options in _rows:
        add("optimizers", f"{_name} {label(_options)}", steps(_name, _options))


def scheduled(k):
    net = net_of(k)
    schedule = k.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    net.compile(k.optimizers.Adam(schedule), "categorical_crossentropy")
    seen = trained(k, net, numbers(14, 4), one_hot(14, 3), batch_size=5)
    setting = error_of(lambda: setattr(net.optimizer, "learning_rate", 0.1))
    return {**seen, "setting": setting, "config": config_of(net.optimizer)}


def set_rate(k):
    net = net_of(k)
    net.compile(k.optimizers.SGD(0.1, momentum=0.5), "categorical_crossentropy")
    first = trained(k, net, numbers(14, 4), one_hot(14, 3), epochs=1)
    net.optimizer.learning_rate = 0.01
    second = trained(k, net, numbers(14, 4), one_hot(14, 3), epochs=1)
    rate = float(np.asarray(net.optimizer.learning_rate))
    return {"first": first["weights"], "weights": second["weights"], "rate": rate}


def excluded(k):
    net = net_of(k)
    optimizer = k.optimizers.AdamW(0.05, weight_decay=0.3)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    net.compile(optimizer, "categorical_crossentropy")
    return trained(k, net, numbers(14, 4), one_hot(14, 3))


IDS = [
    *("sgd", "SGD", "rmsprop", "RMSprop", "adam", "Adam", "ADAM", "adamw", "adamax", "nadam"),
    *("adagrad", "adadelta", "ftrl", "lion", "adafactor", "muon", "xyz"),
]


def identifiers(k):
    return {name: error_of(lambda name=name: k.optimizers.get(name)) for name in IDS}


def errors(k):
    o = k.optimizers
    calls = {
        "int rate": lambda: o.Adam(1),
        "numpy rate": lambda: o.Adam(np.float32(0.1)),
        "text rate": lambda: o.Adam("fast"),
        "momentum 2": lambda: o.SGD(0.1, momentum=2.0),
        "two clips": lambda: o.SGD(0.1, clipnorm=1.0, clipvalue=1.0),
        "unknown": lambda: o.SGD(0.1, rate=3),
        "negative ema": lambda: o.SGD(0.1, use_ema=True, ema_momentum=2.0),
        "accumulation 1": lambda: o.SGD(0.1, gradient_accumulation_steps=1),
    }
    return {name: error_of(call) for name, call in calls.items()}


for _function in (scheduled, set_rate, excluded, identifiers, errors):
    add("optimizers", _function.__name__, _function)
