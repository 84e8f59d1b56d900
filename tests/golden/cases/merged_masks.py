"""Masks of several inputs, joined by the layers that merge them."""

import numpy as np
from nets import classes, numbers, state_weights
from registry import case, error_of

TOKENS = classes(60, 4, seed=3).reshape(12, 5), classes(60, 4, seed=5).reshape(12, 5)


def net(k, merge, masked, pooled):
    inputs = [k.Input((5,), name=name) for name in ("a", "b")]
    tables = [k.layers.Embedding(4, 3, mask_zero=mask) for mask in masked]
    y = merge([table(x) for table, x in zip(tables, inputs, strict=True)])
    if pooled:
        y = k.layers.GlobalAveragePooling1D()(y)
    model = k.Model(inputs, k.layers.Dense(2)(y))
    state_weights(model)
    model.compile(k.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return model


def of(name, options):
    def run(k):
        seen = {}
        for masked in ((True, True), (True, False), (False, True), (False, False)):
            for pooled in (False, True):
                if pooled and name == "Concatenate" and not all(masked):
                    continue
                model = net(k, getattr(k.layers, name)(**options), masked, pooled)
                y = numbers(12, *model.output_shape[1:], seed=6)
                tokens = [np.maximum(TOKENS[0], 0), TOKENS[1].copy()]
                tokens[0][:, 0] = tokens[1][:, 0] = 1  # no sample without a step that counts
                key = f"{masked} {pooled}"
                seen[f"loss {key}"] = model.evaluate(tokens, y, verbose=0)
                model.fit(tokens, y, batch_size=12, epochs=2, verbose=0, shuffle=False)
                seen[f"weights {key}"] = model.get_weights()
                seen[f"predicted {key}"] = model.predict(tokens, verbose=0)
        return seen

    return run


for _name, _options in (
    *((name, {}) for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")),
    ("Concatenate", {}),
    ("Concatenate", {"axis": 1}),
):
    case("merged_masks", f"{_name} {_options}")(of(_name, _options))


@case("merged_masks")
def by_hand(k):
    a, b = numbers(2, 4, 3), numbers(2, 4, 3, seed=1)
    one = np.array([[1, 0, 1, 0], [1, 1, 0, 0]], bool)
    two = np.array([[1, 1, 0, 0], [0, 1, 0, 1]], bool)
    seen = {}
    for name, options in (
        *((n, {}) for n in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")),
        *(("Concatenate", {}), ("Concatenate", {"axis": 1}), ("Dot", {"axes": 1})),
    ):
        layer = getattr(k.layers, name)(**options)
        key = f"{name} {options}"
        seen[f"supports {key}"] = layer.supports_masking
        for which, masks in {
            "both": [one, two],
            "first": [one, None],
            "second": [None, two],
            "neither": [None, None],
        }.items():
            mask = layer.compute_mask([a, b], masks)
            seen[f"{which} {key}"] = None if mask is None else np.asarray(mask)
        if name != "Dot":
            wrong = {
                "array": lambda layer=layer: layer.compute_mask([a, b], one),
                "no list": lambda layer=layer: layer.compute_mask(a, [one, two]),
                "short": lambda layer=layer: layer.compute_mask([a, b], [one]),
            }
            seen[f"errors {key}"] = {n: error_of(call) for n, call in wrong.items()}
        seen[f"build {key}"] = error_of(lambda layer=layer: layer.build((None, 4)))
    return seen


@case("merged_masks")
def elided_axes(k):
    """EinsumDense whose equation leaves axes out behind; configs that a constructor refuses."""
    seen = {}
    for equation, shape, sizes, bias in (
        ("bc...,cd->bd...", 4, (3, 5, 2), None),
        ("bc...,cde->bde...", (3, 4), (3, 5, 2), None),
        ("bc...,cde->bde...", (3, 4), (3, 5, 2), "de"),
        ("bc...,cd->bd...", 4, (3,), "d"),
        ("ab...,bc->ac...", (7,), (3, 2, 2), None),
        ("...x,xy->...y", 6, (3, 5), "y"),
    ):
        layer = k.layers.EinsumDense(equation, shape, bias_axes=bias)
        model = k.Sequential([k.Input(sizes), layer])
        state_weights(model)
        key = f"{equation} {sizes} {bias}"
        seen[key] = model.predict(numbers(2, *sizes), verbose=0)
        seen[f"shape {key}"] = list(layer.compute_output_shape((None, *sizes)))
        seen[f"weights {key}"] = [list(w.shape) for w in layer.weights]
    for value in (3.7, "3", -1):
        config = {"input_dim": value, "output_dim": 8}
        seen[f"refused {value}"] = error_of(lambda c=config: k.layers.Embedding.from_config(c))
    layer = k.layers.Dense(2)
    layer.dtype_policy = "float32"
    return {**seen, "policy": layer.dtype_policy.name}
