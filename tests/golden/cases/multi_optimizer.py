"""MultiOptimizer: each weight by one of several optimizers."""

import numpy as np
from nets import numbers, state_weights, trained
from registry import add, case, config_of, error_of

X, Y = numbers(24, 4), numbers(24, 2, seed=2)


def net(k):
    dense = k.layers.Dense
    regular = {"kernel_regularizer": "l2", "kernel_constraint": "max_norm"}
    layers = [k.Input((4,)), dense(5, "tanh", name="one", **regular), dense(2, name="two")]
    return state_weights(k.Sequential(layers, name="net"))


def by_path(k, default, one, **options):
    o = k.optimizers
    return o.MultiOptimizer(o.OptimizerMap(default, {".*one/.*": one}), **options)


PAIRS = {
    "Adam and SGD": lambda o: (o.SGD(0.1, momentum=0.9), o.Adam(0.02)),
    "clips of each": lambda o: (o.SGD(0.2, clipnorm=0.1), o.Adam(0.02, global_clipnorm=0.05)),
    "decays of each": lambda o: (o.SGD(0.1, weight_decay=0.1), o.AdamW(0.02, weight_decay=0.3)),
    "averages of one": lambda o: (o.SGD(0.1, use_ema=True, ema_momentum=0.8), o.RMSprop(0.01)),
    "steps of each": lambda o: (
        o.SGD(0.1, gradient_accumulation_steps=2),
        o.Adagrad(0.1, gradient_accumulation_steps=3),
    ),
    "schedules": lambda o: (
        o.SGD(o.schedules.ExponentialDecay(0.2, 3, 0.5)),
        o.Adam(o.schedules.PolynomialDecay(0.05, 6, 0.01)),
    ),
}


def fitted(name):
    def run(k):
        optimizer = by_path(k, *PAIRS[name](k.optimizers))
        model = net(k)
        model.compile(optimizer, "mse", metrics=["mae"])
        seen = trained(k, model, X, Y)
        return {
            **seen,
            "iterations": int(optimizer.iterations),
            "of each": [int(each.iterations) for each in optimizer.optimizers],
            "names": [each.name for each in optimizer.optimizers],
            "paths": [variable.path for variable in optimizer.variables],
            "values": np.concatenate(
                [np.asarray(v, "float32").ravel() for v in optimizer.variables]
            ),
        }

    return run


for _name in PAIRS:
    add("multi_optimizer", f"fit {_name}", fitted(_name))


@case("multi_optimizer", "a function of weights")
def _function(k):
    sgd, adam = k.optimizers.SGD(0.1), k.optimizers.Adam(0.02)
    optimizer = k.optimizers.MultiOptimizer(lambda v: adam if "kernel" in v.path else sgd)
    model = net(k)
    model.compile(optimizer, "mse")
    return {**trained(k, model, X, Y), "names": [each.name for each in optimizer.optimizers]}


@case("multi_optimizer", "apply")
def _apply(k):
    a, b = k.Variable([1.0, 2.0], name="a"), k.Variable([3.0], name="b")
    optimizer = k.optimizers.MultiOptimizer(
        k.optimizers.OptimizerMap(k.optimizers.SGD(1.0), {"a": k.optimizers.Adam(0.1)}),
        loss_scale_factor=2.0,
    )
    for _ in range(3):
        optimizer.apply([np.array([1.0, -2.0], "float32"), np.array([0.5], "float32")], [a, b])
    variables = [np.asarray(v, "float32") for v in optimizer.variables]
    optimizer.set_weights([v * 2 for v in variables])
    doubled = [np.asarray(v, "float32") for v in optimizer.variables]
    return {
        "a": np.asarray(a),
        "b": np.asarray(b),
        "factors": [each.loss_scale_factor for each in optimizer.optimizers],
        "variables": np.concatenate([v.ravel() for v in variables]),
        "doubled": np.concatenate([v.ravel() for v in doubled]),
    }


@case("multi_optimizer", "stateless_apply")
def _stateless(k):
    a, b = k.Variable([1.0, 2.0], name="a"), k.Variable([3.0], name="b")
    optimizer = k.optimizers.MultiOptimizer(
        k.optimizers.OptimizerMap(k.optimizers.SGD(1.0), {"a": k.optimizers.Adam(0.1)})
    )
    optimizer.build([a, b])
    try:
        weights, state = optimizer.stateless_apply(
            optimizer.variables, [np.array([1.0, -2.0]), np.array([0.5])], [a, b]
        )
    except AttributeError:  # jax wants arrays
        weights, state = [a, b], optimizer.variables
    return {"kept": np.asarray(a), "number": len(state), "weights": len(weights)}


@case("multi_optimizer", "config")
def _config(k):
    optimizer = by_path(k, k.optimizers.SGD(0.1), k.optimizers.Adam(0.02), name="both")
    again = type(optimizer).from_config(optimizer.get_config())
    return {
        "config": config_of(optimizer),
        "again": config_of(again),
        "map": config_of(optimizer._optimizer_map),
        "serialized": k.optimizers.serialize(optimizer)["class_name"],
    }


@case("multi_optimizer", "a map of optimizers")
def _map(k):
    o = k.optimizers
    sgd, adam, other = o.SGD(name="sgd"), o.Adam(name="adam"), o.RMSprop(name="rms")
    found = o.OptimizerMap(other)
    found["encoder/layer_0/dense"] = adam
    found["encoder/.*"] = sgd
    found["decoder"] = adam
    paths = ("decoder", "encoder/layer_0/dense", "encoder/x/y", "decoder/dense", "encoder")

    def twice():
        found[".*/x/.*"] = adam
        return found["encoder/x/y"]

    names = [found[path].name for path in paths]
    errors = {
        "no default": error_of(lambda: o.OptimizerMap("sgd")),
        "no dict": error_of(lambda: o.OptimizerMap(sgd, [1])),
        "there": error_of(lambda: found.__setitem__("decoder", sgd)),
        "no text": error_of(lambda: found.__setitem__(3, sgd)),
        "no optimizer": error_of(lambda: found.__setitem__("z", "sgd")),
        "scaled": error_of(lambda: found.__setitem__("z", o.LossScaleOptimizer(o.SGD()))),
        "several": error_of(lambda: found.__setitem__("z", o.MultiOptimizer(o.OptimizerMap(sgd)))),
        "not there": error_of(lambda: found.__delitem__("z")),
        "two": error_of(twice),
    }
    return {"names": names, "length": len(found), "keys": list(found), **errors}


@case("multi_optimizer", "what it refuses")
def _refuses(k):
    o = k.optimizers
    weight = k.Variable([1.0], name="a")

    def build(optimizer):
        return error_of(lambda: o.MultiOptimizer(lambda _: optimizer).build([weight]))

    one = by_path(k, o.SGD(0.1), o.Adam(0.02))
    return {
        "rate": error_of(lambda: one.learning_rate),
        "set rate": error_of(lambda: setattr(one, "learning_rate", 0.1)),
        "has rate": hasattr(one, "learning_rate"),
        "no optimizer": build("sgd"),
        "scaled": build(o.LossScaleOptimizer(o.SGD())),
        "several": build(one),
        "set_weights": error_of(lambda: one.set_weights([])),
        "apply": error_of(lambda: one.apply([np.ones(1, "float32")])),
        "nothing": error_of(lambda: one.apply([])),
        "another number": error_of(lambda: one.apply([np.ones(1, "float32")] * 2, [weight])),
    }


SCALED = {
    "several": lambda o: o.MultiOptimizer(o.OptimizerMap(o.SGD(0.2), {".*one/.*": o.Adam(0.02)})),
    "sums": lambda o: o.SGD(0.2, momentum=0.9, gradient_accumulation_steps=2),
}


def scaled(name, policy):
    def run(k):
        optimizer = k.optimizers.LossScaleOptimizer(SCALED[name](k.optimizers), 1024.0, 4)
        dense = k.layers.Dense
        layers = [k.Input((4,)), dense(5, "tanh", name="one", dtype=policy), dense(2, name="two")]
        model = state_weights(k.Sequential(layers, name="net"))
        model.compile(optimizer, "mse")
        seen = trained(k, model, X, Y)
        state = [optimizer.step_counter, optimizer.dynamic_scale, optimizer.iterations]
        return {**seen, "state": [float(np.asarray(each)) for each in state]}

    return run


for _name in SCALED:
    add("multi_optimizer", f"scaled {_name}", scaled(_name, "float32"))


@case("multi_optimizer", "float16")
def _float16(k):
    """The whole of it in float16: each machine rounds as it likes, so two digits count."""
    seen = scaled("sums", "mixed_float16")(k)
    return {"loss": np.round(seen["history loss"], 2), "state": seen["state"]}
