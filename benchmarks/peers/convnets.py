"""The nets of convolutions as cdl and Keras, PyTorch, JAX and ONNX Runtime have them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.harness.cases import BETA_1, BETA_2, EPSILON, RATE
from benchmarks.harness.convnets import Net, data, output_shape, weights


class KerasTrainer:
    """`fit` of cdl or Keras: the same lines."""

    def __init__(self, api, net: Net) -> None:
        self.net, (self.x, self.y) = net, data(net)
        layers, axes = api.layers, len(net.shape) - 1

        def of(name: str):
            return getattr(layers, f"{name}{axes}D", None)  # there is no DepthwiseConv3D

        make = {
            "conv": lambda n, k: of("Conv")(n, k, activation="relu"),
            "same": lambda n, k: of("Conv")(n, k, padding="same", activation="relu"),
            "depthwise": lambda k: of("DepthwiseConv")(k, padding="same", activation="relu"),
            "strided": lambda k: of("DepthwiseConv")(k, strides=2, activation="relu"),
            "pool": of("MaxPooling"),
            "max": of("GlobalMaxPooling"),
            "average": of("GlobalAveragePooling"),
            "dense": lambda n: layers.Dense(n, activation="softmax"),
        }
        self.model = api.Sequential([api.Input(net.shape)])
        for kind, *sizes in net.layers:
            if kind == "dense":
                self.model.add(layers.Flatten())
            self.model.add(make[kind](*sizes))
        self.model.set_weights(weights(net))
        adam = api.optimizers.Adam(RATE, BETA_1, BETA_2, EPSILON)
        self.model.compile(adam, "sparse_categorical_crossentropy")

    def train(self, epochs: int, shuffle: bool = True) -> None:
        self.model.fit(
            self.x,
            self.y,
            batch_size=self.net.batch,
            epochs=epochs,
            shuffle=shuffle,
            verbose=0,
        )

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(x, batch_size=256, verbose=0)


def torch_model(net: Net):
    """Raw scores of images whose channels lie second; the memory is channels last."""
    import torch
    from torch import nn

    axes = len(net.shape) - 1
    conv, pool = (nn.Conv1d, nn.MaxPool1d) if axes == 1 else (nn.Conv2d, nn.MaxPool2d)

    class ChannelsLast(nn.Module):
        def forward(self, x):
            return (x.movedim(1, -1) if x.ndim > 2 else x).flatten(1)

    class GlobalPooling(nn.Module):
        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind, self.axes = kind, tuple(range(2, 2 + axes))

        def forward(self, x):
            return x.amax(self.axes) if self.kind == "max" else x.mean(self.axes)

    parts, shape = [], net.shape
    for layer in net.layers:
        kind, *sizes = layer
        c = shape[-1]
        if kind in ("conv", "same"):
            padding = sizes[1] // 2 if kind == "same" else 0
            parts += [conv(c, sizes[0], sizes[1], padding=padding), nn.ReLU()]
        elif kind in ("depthwise", "strided"):
            how = {"stride": 2} if kind == "strided" else {"padding": sizes[0] // 2}
            parts += [conv(c, c, sizes[0], groups=c, **how), nn.ReLU()]
        elif kind == "pool":
            parts.append(pool(sizes[0]))
        elif kind == "dense":
            parts += [ChannelsLast(), nn.Linear(math.prod(shape), sizes[0])]
        else:
            parts.append(GlobalPooling(kind))
        shape = output_shape(shape, layer)
    model = nn.Sequential(*parts)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), weights(net), strict=True):
            if value.ndim == 2:
                value = value.T
            elif value.ndim > 2:  # outputs, inputs of each, window
                first = (-2, -1) if value.shape[-1] == 1 else (-1, -2)
                value = np.moveaxis(value, first, (0, 1))
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return model.to(memory_format=torch.channels_last) if axes == 2 else model


class TorchTrainer:
    """The loop of the tutorials, channels last; eager or compiled."""

    def __init__(self, net: Net, threads: int, compiled: bool) -> None:
        import torch
        from torch import nn

        torch.set_num_threads(threads)
        model = torch_model(net)
        x, y = (torch.from_numpy(each) for each in data(net))
        optimizer = torch.optim.Adam(
            model.parameters(), RATE, (BETA_1, BETA_2), EPSILON, fused=compiled or None
        )
        criterion = nn.CrossEntropyLoss()

        def loss(x, y):
            return criterion(model(x.movedim(-1, 1)), y)

        step = torch.compile(loss) if compiled else loss

        def train(epochs: int, shuffle: bool = True) -> None:
            for _ in range(epochs):
                order = torch.randperm(net.rows) if shuffle else torch.arange(net.rows)
                for rows in order.split(net.batch):
                    optimizer.zero_grad()
                    step(x[rows], y[rows]).backward()
                    optimizer.step()

        head = nn.Sequential(model, nn.Softmax(1))
        run = torch.compile(head) if compiled else head

        @torch.inference_mode()
        def predict(x: np.ndarray) -> np.ndarray:
            return run(torch.from_numpy(x).movedim(-1, 1)).numpy()

        self.train, self.predict = train, predict


class JaxTrainer:
    """A jitted step a batch; data and state on the device."""

    def __init__(self, net: Net) -> None:
        import jax
        import jax.numpy as jnp
        from jax import lax

        x, y = (jnp.asarray(each) for each in data(net))
        axes = tuple(range(1, len(net.shape)))
        names = {2: ("NWC", "WIO", "NWC"), 3: ("NHWC", "HWIO", "NHWC")}[len(net.shape)]

        def scores(flat, x):
            flat = iter(flat)
            for kind, *sizes in net.layers:
                if kind in ("conv", "same", "depthwise", "strided"):
                    kernel, bias = next(flat), next(flat)
                    groups = 1
                    if kind in ("depthwise", "strided"):
                        groups, kernel = x.shape[-1], jnp.swapaxes(kernel, -1, -2)
                    x = lax.conv_general_dilated(
                        x,
                        kernel,
                        (2 if kind == "strided" else 1,) * len(axes),
                        "SAME" if kind in ("same", "depthwise") else "VALID",
                        dimension_numbers=names,
                        feature_group_count=groups,
                    )
                    x = jax.nn.relu(x + bias)
                elif kind == "pool":  # XLA's own window has a slow backward pass
                    for axis in axes:
                        n = x.shape[axis] // sizes[0]
                        x = lax.slice_in_dim(x, 0, n * sizes[0], axis=axis)
                        shape = (*x.shape[:axis], n, sizes[0], *x.shape[axis + 1 :])
                        x = x.reshape(shape).max(axis + 1)
                elif kind == "dense":
                    x = x.reshape(len(x), -1) @ next(flat) + next(flat)
                else:
                    x = x.max(axes) if kind == "max" else x.mean(axes)
            return x

        def loss(flat, x, y):
            return -jnp.mean(
                jnp.take_along_axis(jax.nn.log_softmax(scores(flat, x)), y[:, None], 1)
            )

        def step(state, rows, x, y):
            flat, m, v, t = state
            gradient = jax.grad(loss)(flat, x[rows], y[rows])
            t = t + 1
            m = [a + (g - a) * (1 - BETA_1) for a, g in zip(m, gradient, strict=True)]
            v = [a + (g * g - a) * (1 - BETA_2) for a, g in zip(v, gradient, strict=True)]
            rate = RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
            moved = zip(flat, m, v, strict=True)
            return [w - rate * a / (jnp.sqrt(b) + EPSILON) for w, a, b in moved], m, v, t

        first = weights(net)
        zeros = [[jnp.zeros_like(w) for w in first] for _ in range(2)]
        self.state = [jnp.array(w) for w in first], *zeros, jnp.float32(0)
        one_step = jax.jit(step, donate_argnums=0)
        run = jax.jit(lambda flat, x: jax.nn.softmax(scores(flat, x)))
        rng = np.random.default_rng(0)

        def train(epochs: int, shuffle: bool = True) -> None:
            for _ in range(epochs):
                order = rng.permutation(net.rows) if shuffle else np.arange(net.rows)
                for rows in order.astype(np.int32).reshape(net.steps, net.batch):
                    self.state = one_step(self.state, rows, x, y)
            jax.block_until_ready(self.state)

        self.train = train
        self.predict = lambda x: np.asarray(run(self.state[0], x))


def trainer(peer: str, net: Net, threads: int):
    """An object with `train(epochs, shuffle)` and `predict(x)`, imported when asked for."""
    if peer == "cdl":
        import cdl

        return KerasTrainer(cdl, net)
    if peer.startswith("keras"):
        from benchmarks.peers import keras

        return KerasTrainer(keras.load(peer.split()[1], threads), net)
    if peer.startswith("torch"):
        return TorchTrainer(net, threads, peer == "torch compile")
    return JaxTrainer(net)


def onnx_predictor(net: Net, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """ONNX Runtime on the file that cdl writes of the net, trained as the others."""
    import onnxruntime

    import cdl

    mine = KerasTrainer(cdl, net)
    mine.train(1, shuffle=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        mine.model.export(path, format="onnx", verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(path), options)
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]
