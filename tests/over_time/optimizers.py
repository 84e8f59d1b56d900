"""Rows of optimizers, in `fit` and where gradients are applied by hand, and of their attributes."""

from functools import partial

import numpy as np
from keras_names import classes
from over_time.thing import COPIES, Thing

import cdl
from cdl import layers, optimizers
from cdl.models import Sequential, load_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3)).astype(np.float32)
Y = RNG.normal(size=(12, 2)).astype(np.float32)
SHAPES = {"kernel": (4, 3), "embedding": (4, 3), "bias": (3,)}
GRADIENTS = [RNG.normal(size=each).astype(np.float32) for each in SHAPES.values()]


def inner():
    return optimizers.SGD(0.1, momentum=0.9)


# Optimizers that need an argument, or of which some attributes count only with others.
MADE = {
    "LossScaleOptimizer": lambda: optimizers.LossScaleOptimizer(inner(), initial_scale=4.0),
    "MultiOptimizer": lambda: optimizers.MultiOptimizer(
        optimizers.OptimizerMap(inner(), {".*bias.*": optimizers.Adam(0.01)})
    ),
    "SGD": lambda: optimizers.SGD(0.1, momentum=0.9),
    "Adafactor": lambda: optimizers.Adafactor(0.9),
    "RMSprop": lambda: optimizers.RMSprop(0.1, momentum=0.9),
}
BASES = {"Optimizer", "OptimizerMap", "LBFGS"}  # LBFGS has a row of its own, of whole batches
PUBLIC = [each for each in classes(cdl, "optimizers") if each.__name__ not in BASES]


def fresh(cls):
    name = cls.__name__
    made = MADE[name]() if name in MADE else cls(0.1)
    if name not in ("LossScaleOptimizer", "MultiOptimizer"):
        made.use_ema, made.ema_momentum = True, 0.5
    return made


def net(cls):
    model = Sequential(
        [layers.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2, name="embedding")]
    )
    model.compile(fresh(cls), "mse")
    return model


def fit(model):
    model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return [*model.get_weights(), *map(np.asarray, model.optimizer.variables)]


def by_file(model, folder):
    model.save(folder / "model.keras")
    return load_model(folder / "model.keras")


class Applied:
    """An optimizer, and the weights to which it applies gradients."""

    def __init__(self, cls):
        self.optimizer = fresh(cls)
        self.weights = [cdl.Variable(np.ones(shape), name=name) for name, shape in SHAPES.items()]

    def use(self):
        for i in range(3):
            given = [np.roll(each, i, 0) * (-2.0) ** -i for each in GRADIENTS]
            self.optimizer.apply(given, self.weights)
        return list(map(np.array, (*self.weights, *self.optimizer.variables)))


def by_config(applied, folder):
    """An optimizer of the same config, and the same values in all its variables."""
    twin = Applied(type(applied.optimizer))
    config = applied.optimizer.get_config()
    twin.optimizer = type(applied.optimizer).from_config(config)
    if applied.optimizer.built:
        twin.optimizer.build(twin.weights)
        for mine, other in zip(twin.optimizer.variables, applied.optimizer.variables, strict=True):
            mine.assign(np.asarray(other))
    for mine, other in zip(twin.weights, applied.weights, strict=True):
        mine.assign(np.asarray(other))
    return twin


# Another value of each argument that all optimizers share.
SHARED = {
    "learning_rate": 0.02,
    "weight_decay": 0.3,
    "clipnorm": 0.01,
    "clipvalue": 0.01,
    "global_clipnorm": 0.01,
    "use_ema": False,
    "ema_momentum": 0.1,
    "ema_overwrite_frequency": 2,
    "gradient_accumulation_steps": 2,
}
# Entries of a config that no next step can show, and why.
NOT_SHOWN = {
    "name": "it is what variables are called",
    "loss_scale_factor": "gradients of a loss are divided by what they were multiplied by",
    "initial_scale": "the scale has begun",
    "relative_step": "it has no effect, as in Keras",
    "initial_accumulator_value": "the sums have begun",
    "inner_optimizer": "it is another optimizer",
    "optimizer_map": "it is another optimizer",
}
OTHER = {
    ("Adafactor", "beta_2_decay"): -0.5,
    ("Adafactor", "epsilon_1"): 0.1,
    ("Adafactor", "epsilon_2"): 5.0,
    ("Ftrl", "learning_rate_power"): -0.7,
    ("LossScaleOptimizer", "dynamic_growth_steps"): 1,
    ("ScheduleFreeAdamW", "warmup_steps"): 20,
    ("Muon", "muon_b"): -4.7,
    ("Muon", "ns_steps"): 2,
    ("Muon", "rms_rate"): 0.3,
    ("Muon", "adam_weight_decay"): 0.3,
    ("Muon", "exclude_layers"): ["kernel"],
}


def another(cls, name, value):
    if (cls.__name__, name) in OTHER:
        return OTHER[cls.__name__, name]
    if name in SHARED:
        return SHARED[name]
    if name == "epsilon":
        return 0.1
    if isinstance(value, bool):
        return not value
    assert isinstance(value, (int, float)), f"{cls.__name__}.{name}: OTHER needs a row"
    return value * 0.5 if value else 0.5


def changes(cls, optimizer_of):
    """Each attribute of the config, set to another value."""
    found = {}
    for name, value in fresh(cls).get_config().items():
        if name not in NOT_SHOWN:
            other = another(cls, name, value)
            found[name] = lambda each, n=name, v=other: setattr(optimizer_of(each), n, v)
    return found


def of_fit(model):
    return model.optimizer


def of_applied(applied):
    return applied.optimizer


def wrong_gradient(applied):
    applied.optimizer.apply(GRADIENTS[:1] * 3, applied.weights)


def net_of_whole_batches():
    model = Sequential([layers.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2)])
    model.compile(optimizers.LBFGS(history_size=2), "mse")
    return model


def fit_whole(model):
    model.fit(X, Y, epochs=3, verbose=0)
    return [*model.get_weights(), *map(np.asarray, model.optimizer.variables)]


WHOLE_BATCHES = Thing(
    "fit by LBFGS",
    net_of_whole_batches,
    fit_whole,
    (optimizers.LBFGS,),
    {
        name: lambda model, n=name, v=value: setattr(model.optimizer, n, v)
        for name, value in {"learning_rate": 0.1, "tolerance_grad": 9.0, "decay": 0.5}.items()
    },
    {**COPIES, "file": by_file},
    fails={"targets": lambda model: model.fit(X, Y[:, :1].repeat(3, 1), verbose=0)},
)
ROWS = [
    WHOLE_BATCHES,
    *(
        row
        for cls in PUBLIC
        for row in (
            Thing(
                f"fit by {cls.__name__}",
                partial(net, cls),
                fit,
                (cls,),
                changes(cls, of_fit),
                {**COPIES, "file": by_file},
                fails={"targets": lambda model: model.fit(X, Y[:, :1].repeat(3, 1), verbose=0)},
            ),
            Thing(
                f"steps of {cls.__name__}",
                partial(Applied, cls),
                Applied.use,
                (cls,),
                changes(cls, of_applied),
                {**COPIES, "config": by_config},
                fails={"gradient": wrong_gradient},
            ),
        )
    ),
]
