"""Optimizers of one's own, in Python, with clipping, decay and averages around their steps."""

import numpy as np
from nets import numbers, state_weights
from registry import case, config_of

X, Y = numbers(24, 4), numbers(24, 2, seed=2)


def heavy(k):
    class Heavy(k.optimizers.Optimizer):
        def __init__(self, learning_rate=0.1, momentum=0.9, **kwargs):
            super().__init__(learning_rate=learning_rate, **kwargs)
            self.momentum = momentum

        def build(self, variables):
            if self.built:
                return
            super().build(variables)
            self.sums = [
                self.add_variable_from_reference(reference_variable=v, name="sum")
                for v in variables
            ]

        def update_step(self, gradient, variable, learning_rate):
            total = self.sums[self._get_variable_index(variable)]
            rate = k.ops.cast(learning_rate, variable.dtype)
            self.assign(total, k.ops.add(k.ops.multiply(total, self.momentum), gradient))
            self.assign_sub(variable, k.ops.multiply(rate, total))

        def get_config(self):
            return {**super().get_config(), "momentum": self.momentum}

    return Heavy


def damped(k):
    class Damped(k.optimizers.SGD):
        """A class of cdl's own with another step, which looks at the number of the step."""

        def update_step(self, gradient, variable, learning_rate):
            step = k.ops.cast(self.iterations + 1, "float32")
            self.assign_add(variable, -learning_rate * gradient / k.ops.sqrt(step))

    return Damped


def net(k):
    model = k.Sequential(
        [
            k.layers.Input((4,)),
            k.layers.Dense(
                5, "tanh", kernel_regularizer="l2", kernel_constraint="max_norm", name="one"
            ),
            k.layers.BatchNormalization(name="norm"),
            k.layers.Dense(2, name="two"),
        ],
        name="net",
    )
    state_weights(model)
    return model


OPTIONS = (
    {},
    {"clipnorm": 0.1},
    {"global_clipnorm": 0.1},
    {"clipvalue": 0.05},
    {"weight_decay": 0.1},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2},
    {"gradient_accumulation_steps": 2},
    {"gradient_accumulation_steps": 3, "clipnorm": 0.1, "weight_decay": 0.01},
)


def fitted(k, model, optimizer):
    model.compile(optimizer, "mse", metrics=["mae"])
    history = model.fit(X, Y, batch_size=8, epochs=3, shuffle=False, verbose=0).history
    return {
        "history": history,
        "weights": model.get_weights(),
        "iterations": int(optimizer.iterations),
        "variables": [list(v.shape) for v in optimizer.variables],
        "paths": [v.path for v in optimizer.variables],
        "config": config_of(optimizer),
    }


def of(make, options):
    def run(k):
        return fitted(k, net(k), make(k)(**options))

    return run


for _options in OPTIONS:
    case("written_optimizers", f"heavy {_options}")(of(heavy, _options))
case("written_optimizers", "damped")(of(damped, {"learning_rate": 0.2}))


@case("written_optimizers")
def schedules(k):
    rate = k.optimizers.schedules.ExponentialDecay(0.1, 3, 0.8)
    model, optimizer = net(k), heavy(k)(rate)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    seen = fitted(k, model, optimizer)
    again = type(optimizer).from_config(optimizer.get_config())
    return {**seen, "momentum": again.momentum}


@case("written_optimizers")
def steps_by_hand(k):
    seen = {}
    for options in OPTIONS:
        weights = [k.Variable(numbers(3, 2), name="w"), k.Variable(numbers(2), name="bias")]
        optimizer = heavy(k)(**options)
        optimizer.build(weights)
        for step in range(4):
            gradients = [numbers(3, 2, seed=step), numbers(2, seed=step + 9)]
            optimizer.apply_gradients(zip(gradients, weights, strict=True))
        seen[f"weights {options}"] = [np.asarray(w) for w in weights]
        seen[f"iterations {options}"] = int(optimizer.iterations)
    return seen


@case("written_optimizers")
def batches_and_callbacks(k):
    model = net(k)
    model.compile(heavy(k)(0.2), "mse")
    seen = {"batch": model.train_on_batch(X, Y)}
    plateau = k.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=10.0, factor=0.5)
    seen["history"] = model.fit(
        X, Y, epochs=3, verbose=0, shuffle=False, callbacks=[plateau]
    ).history
    return {**seen, "weights": model.get_weights()}
