"""Layers of attention with all their arguments: values, shapes, masks, training, errors."""

import numpy as np
from nets import numbers, state_weights, trained
from registry import add, case, config_of, error_of

Q, V, K = numbers(3, 5, 6), numbers(3, 4, 6, seed=1), numbers(3, 4, 6, seed=2)
WIDE = numbers(3, 4, 7, seed=3)  # as a value
PLANE = numbers(2, 3, 4, 5), numbers(2, 3, 4, 5, seed=1)
Q_MASK = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 1, 1], [1, 0, 0, 0, 0]], bool)
V_MASK = np.array([[1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 0, 0]], bool)
SEES = (np.arange(60).reshape(3, 5, 4) % 3 > 0) | (np.arange(4) == 1)  # each query some key
SCORES = {"return_attention_scores": True}
CAUSAL = {"use_causal_mask": True}
TOKENS = np.array([[1, 2, 3, 4, 0, 0], [5, 6, 1, 0, 0, 0], [2, 2, 3, 3, 4, 4], [7, 0, 0, 0, 0, 0]])

# Cases by class: inputs, arguments, arguments of the call.
LISTED = {
    "plain": ([Q, V], {}, {}),
    "key": ([Q, WIDE, K], {}, {}),
    "scale": ([Q, V, K], {"use_scale": True}, SCORES),
    "no scale": ([Q, V, K], {"use_scale": False}, SCORES),
    "causal": ([Q, V], {}, {**CAUSAL, **SCORES}),
    "value mask": ([Q, V], {}, {"mask": [None, V_MASK], **SCORES}),
    "masks": ([Q, V, K], {}, {"mask": [Q_MASK, V_MASK], **SCORES}),
    "masks, causal": ([Q, V, K], {}, {"mask": [Q_MASK, V_MASK, None], **CAUSAL, **SCORES}),
    "nothing seen": ([Q, V], {}, {"mask": [None, V_MASK & False], **SCORES}),
    "dropout": ([Q, V], {"dropout": 0.5, "seed": 3}, SCORES),
}
CONCAT = {
    "concat": ([Q, V, K], {"score_mode": "concat"}, SCORES),
    "concat, scale": ([Q, V, K], {"score_mode": "concat", "use_scale": True}, SCORES),
}
HEADS = {"num_heads": 2, "key_dim": 3}
MANY = {
    "plain": ([Q, V], {}, {}),
    "key": ([Q, WIDE, K], {}, {}),
    "scores": ([Q, V], {}, SCORES),
    "scores of as many keys": ([Q, Q[::-1]], {}, {**SCORES, **CAUSAL}),
    "value dim, scores": ([Q, V], {"value_dim": 4}, SCORES),
    "no bias": ([Q, V], {"use_bias": False}, {}),
    "output shape": ([Q, V], {"output_shape": 8}, {}),
    "output shape of axes": ([Q, V], {"output_shape": (2, 3)}, {}),
    "gate": ([Q, V], {"use_gate": True}, {}),
    "gate, value dim, scores": ([Q, V], {"use_gate": True, "value_dim": 2}, SCORES),
    "causal": ([Q, V], {}, CAUSAL),
    "causal, scores": ([Q, V], {}, {**CAUSAL, **SCORES}),
    "causal, dropout": ([Q, Q], {"dropout": 0.3, "seed": 1}, CAUSAL),
    "window": ([Q, V], {"sliding_window": 2}, {}),
    "window, causal": ([Q, V], {"sliding_window": 2}, CAUSAL),
    "window, causal, scores": ([Q, V], {"sliding_window": 2}, {**CAUSAL, **SCORES}),
    "attention mask": ([Q, V], {}, {"attention_mask": SEES}),
    "attention mask of numbers": ([Q, V], {}, {"attention_mask": SEES.astype("float32")}),
    "attention mask, scores": ([Q, V], {}, {"attention_mask": SEES, **SCORES}),
    "attention mask of heads": (
        [Q, V],
        {},
        {"attention_mask": np.stack([SEES, ~SEES | SEES[..., ::-1]], 1)},
    ),
    "attention mask for all": ([Q, V], {}, {"attention_mask": SEES[:1], **SCORES}),
    "attention mask, causal": ([Q, V], {}, {"attention_mask": SEES, **CAUSAL}),
    "value mask": ([Q, V], {}, {"value_mask": V_MASK}),
    "value mask, scores": ([Q, V], {}, {"value_mask": V_MASK, **SCORES}),
    "key mask": ([Q, V, K], {}, {"key_mask": V_MASK}),
    "value and key mask": (
        [Q, V, K],
        {},
        {"value_mask": V_MASK, "key_mask": V_MASK[::-1] | V_MASK},
    ),
    "nothing seen": ([Q, V], {}, {"value_mask": V_MASK & False}),
    "nothing seen, scores": ([Q, V], {}, {"value_mask": V_MASK & False, **SCORES}),
    "nothing seen, causal": (
        [Q, V],
        {},
        {"value_mask": np.array([[0, 0, 1, 1]] * 3, bool), **CAUSAL},
    ),
    "flash off": ([Q, V], {"flash_attention": False}, {}),
    "initializers": (
        [Q, V],
        {
            "kernel_initializer": "he_normal",
            "bias_initializer": "ones",
            "kernel_regularizer": "l2",
            "bias_regularizer": "l1",
            "activity_regularizer": "l2",
            "kernel_constraint": "max_norm",
            "bias_constraint": "non_neg",
        },
        {},
    ),
}
AXES = {
    "all": ([*PLANE], {}, SCORES),
    "first": ([*PLANE], {"attention_axes": 1}, SCORES),
    "last": ([*PLANE], {"attention_axes": (-2,)}, SCORES),
    "both, value dim": ([*PLANE], {"attention_axes": [1, 2], "value_dim": 2}, {}),
    "of steps": ([Q, V], {"attention_axes": (1,)}, {}),
}
GROUPS = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}
SHARED = {
    name: row
    for name, row in MANY.items()
    if "dim" not in name and "output" not in name and name not in ("key", "attention mask of heads")
} | {
    "key": ([Q, V, WIDE], {}, {}),
    "one head of keys": ([Q, V], {"num_key_value_heads": 1}, {}),
    "as many heads of keys": ([Q, V], {"num_key_value_heads": 4}, {}),
    "one head of keys, scores": ([Q, V], {"num_key_value_heads": 1}, SCORES),
}
CLASSES = {
    "Attention": ({}, {**LISTED, **CONCAT}, True),
    "AdditiveAttention": ({}, LISTED, True),
    "MultiHeadAttention": (HEADS, {**MANY, **{f"axes {k}": v for k, v in AXES.items()}}, False),
    "GroupQueryAttention": (GROUPS, SHARED, False),
}


def made(k, name, options, inputs, listed):
    """A built layer with stated weights."""
    layer = getattr(k.layers, name)(**options)
    shapes = [(None, *x.shape[1:]) for x in inputs]
    layer.build(shapes) if listed else layer.build(*shapes)
    return state_weights(layer)


def called(layer, inputs, listed, call):
    return layer(list(inputs), **call) if listed else layer(*inputs, **call)


def alone(name, options, inputs, call, listed):
    def run(k):
        layer = made(k, name, options, inputs, listed)
        y = called(layer, inputs, listed, call)
        symbolic = [k.layers.Input(x.shape[1:]) for x in inputs]
        plain = {key: value for key, value in call.items() if "mask" not in key or key in CAUSAL}
        outputs = called(getattr(k.layers, name)(**options), symbolic, listed, plain)
        shapes = [(None, *x.shape[1:]) for x in inputs]
        computed = (
            layer.compute_output_shape(shapes if listed else shapes[0])
            if listed
            else (layer.compute_output_shape(*shapes))
        )
        first = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
        return {
            "y": [np.asarray(each) for each in y] if isinstance(y, tuple) else np.asarray(y),
            "kind": type(y).__name__ if isinstance(y, (list, tuple)) else "array",
            "shape": list(first.shape),
            "computed": list(computed),
            "weights": [tuple(w.shape) for w in layer.weights],
            "paths": [w.path.split("/", 1)[1] for w in layer.weights],
            "trainable": len(layer.trainable_weights),
            "config": config_of(layer),
            "config again": config_of(type(layer).from_config(layer.get_config())),
            "built for": str(
                {
                    k: [list(each) for each in _shapes(v)]
                    for k, v in layer.get_build_config().items()
                }
            ),
        }

    return run


def _shapes(given):
    return given.values() if isinstance(given, dict) else given


def in_training(name, options, inputs, call, listed):
    """Training of the layer behind a dense layer of each input; symbolic masks are inputs."""

    def run(k):
        layers = k.layers
        given = {key: value for key, value in call.items() if isinstance(value, bool)}
        masks = {key: value for key, value in call.items() if hasattr(value, "shape")}
        symbolic = [layers.Input(x.shape[1:]) for x in inputs]
        of_masks = {
            key: layers.Input(value.shape[1:], dtype="bool") for key, value in masks.items()
        }
        hidden = [
            layers.Dense(x.shape[-1], activation="tanh", name=f"before_{i}")(x)
            for i, x in enumerate(symbolic)
        ]
        y = called(
            getattr(layers, name)(**options, name="attention"),
            hidden,
            listed,
            {**given, **of_masks},
        )
        y = list(y) if isinstance(y, (list, tuple)) else [y]
        flat = [layers.Flatten(name=f"flat_{i}")(0.1 * each) for i, each in enumerate(y)]
        joined = layers.Concatenate(name="joined")(flat) if len(flat) > 1 else flat[0]
        net = k.Model([*symbolic, *of_masks.values()], layers.Dense(2, name="after")(joined))
        state_weights(net)
        net.compile(k.optimizers.SGD(0.01), "mse")
        x = [*inputs, *(value for value in masks.values())]
        if any(len(each) != len(inputs[0]) for each in x):
            x = [np.broadcast_to(each, (len(inputs[0]), *each.shape[1:])) for each in x]
        seen = trained(k, net, x, numbers(len(inputs[0]), 2, seed=4), epochs=2, batch_size=2)
        return {**seen, "predicted": net.predict(x, verbose=0)}

    return run


for _name, (_given, _rows, _listed) in CLASSES.items():
    for _of, (_inputs, _options, _call) in _rows.items():
        _all = {**_given, **_options}
        add("attention", f"{_name} {_of}", alone(_name, _all, _inputs, _call, _listed))
        # The symbolic scores of Keras's MultiHeadAttention have as many keys as queries.
        _fit = not (_name == "MultiHeadAttention" and SCORES.keys() <= _call.keys())
        _fit = _fit or _of == "scores of as many keys"
        if _fit and "dropout" not in _of and not isinstance(_call.get("mask"), list):
            _run = in_training(_name, _all, _inputs, _call, _listed)
            add("attention", f"{_name} {_of} in training", _run)


def classifier(k, attend, pooled=True):
    """Tokens with padding, one block of a transformer."""
    layers = k.layers
    tokens = layers.Input((6,))
    x = layers.Embedding(8, 4, mask_zero=True, name="embedding")(tokens)
    y = layers.Add(name="sum")([x, attend(x)])
    y = layers.LayerNormalization(name="norm")(y)
    y = layers.Dense(4, activation="relu", name="ffn")(y)
    y = layers.GlobalAveragePooling1D(name="mean")(y) if pooled else layers.Flatten(name="flat")(y)
    return k.Model(tokens, layers.Dense(2, activation="softmax", name="out")(y))


ATTENDING = {
    "MultiHeadAttention": lambda k: lambda x: k.layers.MultiHeadAttention(2, 3, name="a")(x, x),
    "MultiHeadAttention, causal": lambda k: (
        lambda x: k.layers.MultiHeadAttention(2, 3, name="a")(x, x, use_causal_mask=True)
    ),
    "Attention": lambda k: lambda x: k.layers.Attention(use_scale=True, name="a")([x, x]),
    "AdditiveAttention": lambda k: lambda x: k.layers.AdditiveAttention(name="a")([x, x]),
    "GroupQueryAttention": lambda k: (
        lambda x: k.layers.GroupQueryAttention(3, 4, 2, name="a")(x, x)
    ),
}
for _name, _attend in ATTENDING.items():

    def _masked(k, attend=_attend):
        net = state_weights(classifier(k, attend(k)))
        net.compile(k.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        seen = trained(k, net, TOKENS, np.array([0, 1, 1, 0]), epochs=3, batch_size=2)
        return {**seen, "predicted": net.predict(TOKENS, verbose=0)}

    add("attention", f"padding {_name}", _masked)


WRONG = {
    "no heads": lambda L: L.MultiHeadAttention(0, 3),
    "heads of text": lambda L: L.MultiHeadAttention("2", 3),
    "half a head": lambda L: L.MultiHeadAttention(2, 3.5),
    "value dim": lambda L: L.MultiHeadAttention(2, 3, value_dim=-1),
    "window": lambda L: L.MultiHeadAttention(2, 3, sliding_window=0),
    "window of groups": lambda L: L.GroupQueryAttention(3, 4, 2, sliding_window=1.5),
    "axes": lambda L: L.MultiHeadAttention(2, 3, attention_axes="a"),
    "output shape": lambda L: L.MultiHeadAttention(2, 3, output_shape=2.5),
    "flash, dropout": lambda L: L.MultiHeadAttention(2, 3, flash_attention=True, dropout=0.1),
    "flash, scores": lambda L: L.MultiHeadAttention(2, 3, flash_attention=True)(Q, V, **SCORES),
    "steps of key": lambda L: L.MultiHeadAttention(2, 3)(Q, V, Q),
    "steps of a symbolic key": lambda L: L.MultiHeadAttention(2, 3)(
        L.Input((5, 6)), L.Input((4, 6)), L.Input((5, 6))
    ),
    "groups": lambda L: L.GroupQueryAttention(3, 4, 3),
    "last axes": lambda L: L.GroupQueryAttention(3, 4, 2)(L.Input((5, 6)), L.Input((4, 7))),
    "no list": lambda L: L.Attention()(Q),
    "a tuple": lambda L: L.Attention()((Q, V)),
    "one input": lambda L: L.Attention()([Q]),
    "four inputs": lambda L: L.AdditiveAttention()([Q, V, K, K]),
    "a mask": lambda L: L.Attention()([Q, V], mask=V_MASK),
    "one mask": lambda L: L.Attention()([Q, V], mask=[V_MASK]),
    "score mode": lambda L: L.Attention(score_mode="cosine"),
    "dropout": lambda L: L.MultiHeadAttention(2, 3, dropout=2.0)(Q, V),
}


@case("attention")
def errors(k):
    return {name: error_of(lambda call=call: call(k.layers)) for name, call in WRONG.items()}


@case("attention")
def sublayers(k):
    layer = made(k, "MultiHeadAttention", {**HEADS, "use_gate": True}, [Q, V], False)
    return {
        "dense": [
            list(part.kernel.shape)
            for part in (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense)
        ],
        "names": [part.name for part in layer._flatten_layers(include_self=False)],
        "arguments": [
            layer.num_heads, layer.key_dim, layer.value_dim, layer.dropout, layer.use_bias,
            list(layer.attention_axes),
        ],
        "name": k.layers.GroupQueryAttention(3, 4, 2).name,
        "mask": [list(map(int, layer.compute_mask(Q, Q_MASK)[0]))],
    }  # fmt: skip


@case("attention")
def other_attention(k):
    """A subclass with an attention of its own, as in KerasHub."""

    class Linear(k.layers.MultiHeadAttention):
        def _compute_attention(self, query, key, value, attention_mask=None, *args, **kwargs):
            query = query * self._inverse_sqrt_key_dim
            scores = k.ops.einsum(self._dot_product_equation, key, query)
            scores = self._masked_softmax(scores, attention_mask)
            return k.ops.einsum(self._combine_equation, scores, value), scores

    layer = Linear(2, 3)
    layer.build((None, 5, 6), (None, 4, 6))
    state_weights(layer)
    return {
        "y": np.asarray(layer(Q, V, use_causal_mask=True)),
        "masked": np.asarray(layer(Q, V, value_mask=V_MASK)),
        "paths": [w.path.split("/", 1)[1] for w in layer.weights],
    }
