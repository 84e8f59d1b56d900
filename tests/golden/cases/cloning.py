"""Models called on symbolic tensors and cloned, by functions of the user's own."""

import numpy as np
from nets import numbers, state_weights
from registry import case, error_of

X = numbers(5, 4)


def branched(k):
    a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
    shared = k.layers.Dense(3, "tanh", name="shared")
    y = k.layers.Add(name="sum")([shared(a), shared(b)])
    y = k.ops.multiply(y, 2.0)
    inner_x = k.Input((3,), name="inner_x")
    inner = k.Model(inner_x, k.layers.Dense(3, name="within")(inner_x), name="inner")
    return k.Model({"a": a, "b": b}, {"y": k.layers.Dense(2, name="out")(inner(y)), "z": y})


def names(model):
    return [layer.name for layer in model.layers]


@case("cloning")
def symbolic_dicts(k):
    model = branched(k)
    found = model({"a": k.Input((4,)), "b": k.Input((4,))})
    seen = {name: list(tensor.shape) for name, tensor in found.items()}
    whole_a, whole_b = k.Input((4,), name="a"), k.Input((4,), name="b")
    whole = k.Model([whole_a, whole_b], model({"a": whole_a, "b": whole_b})["y"])
    state_weights(whole)
    seen["predicted"] = whole.predict([X, X], verbose=0)
    seen["missing"] = error_of(lambda: model({"a": k.Input((4,)), "c": k.Input((4,))}))
    seen["shape"] = error_of(lambda: model({"a": k.Input((4,)), "b": k.Input((5,))}))
    return seen


@case("cloning")
def plain(k):
    model = branched(k)
    clone = k.models.clone_model(model)
    state_weights(model)
    state_weights(clone)
    seen = {"names": names(clone), "shares": sorted(set(names(model)) & set(names(clone)))}
    for name, y in clone.predict({"a": X, "b": 2 * X}, verbose=0).items():
        seen[f"predicted {name}"] = y
    return {**seen, "weights": len(clone.weights), "class": type(clone).__name__}


@case("cloning")
def functions(k):
    def renamed(layer):
        config = layer.get_config()
        config["name"] = f"{config['name']}_again"
        return layer.__class__.from_config(config)

    def linear(layer):
        if isinstance(layer, k.layers.Dense):
            layer = layer.__class__.from_config({**layer.get_config(), "activation": "linear"})
        return layer

    def dropped(layer, *args, **kwargs):
        y = layer(*args, **kwargs)
        return k.layers.Dropout(0.5)(y) if isinstance(layer, k.layers.Dense) else y

    x = k.Input((4,), name="x")
    hidden = k.layers.Dense(3, "tanh", name="one")
    y = k.layers.Dense(2, name="two")(hidden(x))
    model = k.Model(x, y, name="net")
    stack = k.Sequential([k.Input((4,)), k.layers.Dense(3, "tanh", name="one")], name="stack")
    nested = k.Sequential([k.Input((4,)), stack, k.layers.Dense(2, name="two")])
    seen = {}
    for name, each in (("model", model), ("stack", stack), ("nested", nested)):
        seen[f"{name} renamed"] = names(k.models.clone_model(each, clone_function=renamed))
        clone = k.models.clone_model(each, clone_function=linear)
        state_weights(clone)
        seen[f"{name} linear"] = clone.predict(X, verbose=0)
    clone = k.models.clone_model(nested, clone_function=renamed, recursive=True)
    seen["nested recursive"] = [names(clone), names(clone.layers[0])]
    clone = k.models.clone_model(model, clone_function=lambda a: a, call_function=dropped)
    seen["called"] = [type(layer).__name__ for layer in clone.layers]
    seen["called shares"] = clone.layers[1] is model.layers[1]
    seen["no call for stacks"] = error_of(
        lambda: k.models.clone_model(stack, call_function=dropped)
    )
    for name, each in (("model", model), ("stack", stack)):
        tensor = k.Input((4,), name="other")
        clone = k.models.clone_model(each, input_tensors=tensor)
        seen[f"{name} on a tensor"] = [list(clone.layers[0].output.shape), clone.name]
        seen[f"{name} on two"] = error_of(
            lambda each=each, t=tensor: k.models.clone_model(each, input_tensors=[t, t])
        )
    compiled = k.models.Model(x, y, name="compiled")
    compiled.compile("sgd", "mse")
    seen["compiled"] = k.models.clone_model(compiled).compiled
    return seen


@case("cloning")
def classes_of_ones_own(k):
    class Net(k.Model):
        def __init__(self, units=2, **kwargs):
            super().__init__(**kwargs)
            self.units, self.dense = units, k.layers.Dense(units)

        def call(self, x):
            return self.dense(x)

    model = Net()
    model(X)
    clone = k.models.clone_model(model)
    seen = {"units": clone.units, "built": len(clone.weights)}
    seen["shape"] = list(np.asarray(clone(X)).shape)
    seen["function"] = error_of(lambda: k.models.clone_model(model, clone_function=lambda a: a))
    return seen


@case("cloning")
def lists_of_one_loss(k):
    """A list of one loss for an output, in a list or a dict of losses."""
    seen = {}
    x = k.Input((4,), name="x")
    y, z = k.layers.Dense(1, name="y")(x), k.layers.Dense(1, name="z")(x)
    for name, outputs, loss in (
        ("listed", [y, z], ["mse", ["mae"]]),
        ("dict", {"y": y, "z": z}, {"y": "mse", "z": ["mae"]}),
        ("part", {"y": y, "z": z}, {"z": ["mae"]}),
        ("one", y, {"y": ["mse"]}),
        ("one listed", [y], ["mse"]),
    ):
        model = k.Model(x, outputs)
        state_weights(model)
        model.compile("sgd", loss)
        target = numbers(5, 1, seed=2)
        targets = {"y": target, "z": target} if isinstance(outputs, dict) else [target] * 2
        if name.startswith("one"):
            targets = target
        seen[f"history {name}"] = model.fit(X, targets, verbose=0).history
    return seen
