"""LoRA on integers: layers that are quantized before or after it, their files and training."""

import numpy as np
from nets import numbers
from registry import add

from cases.quantized import LAYERS, configs, told

_KINDS = ("int8", "int4", "int4 of 6")
# Keras's product with A by the same equation fits these alone.
_LAYERS = ("Dense", "Dense of steps", "EinsumDense", "EinsumDense to heads", "Embedding")


def _run(name, which, first):
    x, options = LAYERS[name]

    def run(k):
        mode, config = configs(k)[which]
        layer = getattr(k.layers, name.split()[0])(**options)
        dtype = "int32" if x.dtype.kind == "i" else None
        net = k.Sequential([k.layers.Input(x.shape[1:], dtype=dtype), layer])
        for i, weight in enumerate(layer.weights):
            weight.assign(numbers(*weight.shape, seed=i, scale=0.5))
        if first == "quantized":
            layer.quantize(mode, config=config)
        layer.enable_lora(2, lora_alpha=3)
        for i, weight in enumerate(layer.weights):
            if "lora" in weight.name:
                weight.assign(numbers(*weight.shape, seed=10 + i, scale=0.3))
        if first == "lora":
            layer.quantize(mode, config=config)
        seen = {f"before {key}": value for key, value in told(layer).items()}
        seen["y"] = np.asarray(layer(x))
        net.compile(k.optimizers.SGD(0.05), "mse")
        y = numbers(*np.shape(net.predict(x, verbose=0)), seed=4)
        history = net.fit(x, y, epochs=2, batch_size=4, shuffle=False, verbose=0)
        seen["history"] = history.history["loss"]
        learned = [w for w in layer.weights if w.trainable]
        seen["trained"] = [w.name for w in learned]
        seen["weights"] = np.concatenate([np.ravel(w) for w in learned])
        store = {}
        layer.save_own_variables(store)
        layer.load_own_variables({key: np.asarray(value) for key, value in store.items()})
        seen["read"] = np.asarray(layer(x))
        seen["zeros"] = [float(np.abs(w).max()) for w in learned if "lora" in w.name]
        return seen

    return run


for _name in _LAYERS:
    for _which in (*_KINDS, "int8 weights", "int4 columns") if _name == "Dense" else _KINDS:
        for _first in ("quantized", "lora"):
            add("quantized_lora", f"{_first} first, {_name} {_which}", _run(_name, _which, _first))
