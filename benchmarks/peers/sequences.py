"""The nets of series and texts as cdl and Keras, PyTorch, JAX and ONNX Runtime have them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.harness.cases import BETA_1, BETA_2, EPSILON, RATE
from benchmarks.harness.sequences import Net, data, weights


class KerasTrainer:
    """`fit` of cdl or Keras: the same lines."""

    def __init__(self, api, net: Net) -> None:
        self.net, (self.x, self.y) = net, data(net)
        self.model = transformer(api, net) if net.heads else self.recurrent(api, net)
        self.model.set_weights(weights(net))
        adam = api.optimizers.Adam(RATE, BETA_1, BETA_2, EPSILON)
        self.model.compile(adam, "binary_crossentropy" if net.vocabulary else "mse")

    def recurrent(self, api, net: Net):
        layers = api.layers
        model = api.Sequential([api.Input(self.x.shape[1:], dtype=self.x.dtype.name)])
        if net.vocabulary:
            model.add(layers.Embedding(net.vocabulary, net.inputs))
        make = {"gru": layers.GRU, "lstm": layers.LSTM}[net.cell]
        for k in range(net.depth):
            layer = make(net.units, return_sequences=k + 1 < net.depth)
            model.add(layers.Bidirectional(layer) if net.is_bidirectional else layer)
        model.add(layers.Dense(1, activation="sigmoid" if net.vocabulary else None))
        return model

    def train(self, epochs: int, shuffle: bool = True) -> None:
        batch = self.net.batch
        self.model.fit(self.x, self.y, batch_size=batch, epochs=epochs, shuffle=shuffle, verbose=0)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(x, batch_size=256, verbose=0)


def transformer(api, net: Net):
    """The transformer with one block, by cdl or Keras."""
    layers = api.layers
    tokens = api.Input((net.length,), dtype="int32")
    x = layers.Embedding(net.vocabulary, net.inputs)(tokens)
    x = layers.Add()([x, layers.MultiHeadAttention(net.heads, net.units)(x, x)])
    x = layers.LayerNormalization()(x)
    y = layers.Dense(net.inputs)(layers.Dense(net.units, activation="relu")(x))
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    x = layers.Dense(20, activation="relu")(layers.GlobalAveragePooling1D()(x))
    return api.Model(tokens, layers.Dense(1, activation="sigmoid")(x))


def torch_transformer(net: Net):
    """The transformer in PyTorch, attention by its fused function."""
    import torch
    from torch import nn
    from torch.nn import functional as f

    wide = net.heads * net.units

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(net.vocabulary, net.inputs)
            sizes = [(net.inputs, wide)] * 3 + [(wide, net.inputs), (net.inputs, net.units)]
            sizes += [(net.units, net.inputs), (net.inputs, 20), (20, 1)]
            self.dense = nn.ModuleList(nn.Linear(*size) for size in sizes)
            self.norms = nn.ModuleList(nn.LayerNorm(net.inputs, 1e-3) for _ in range(2))

        def forward(self, x):
            x, (q, k, v, out, first, second, third, last) = self.embedding(x), self.dense
            heads = [
                part(x).unflatten(-1, (net.heads, net.units)).transpose(1, 2) for part in (q, k, v)
            ]
            y = f.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
            x = self.norms[0](x + out(y))
            x = self.norms[1](x + second(f.relu(first(x))))
            return last(f.relu(third(x.mean(1))))

    model = Block()
    q, k, v, out, first, second, third, last = model.dense
    inner = model.norms
    parts = [q, k, v, out, inner[0], first, second, inner[1], third, last]
    flat = iter(map(torch.from_numpy, weights(net)))
    with torch.no_grad():
        model.embedding.weight.copy_(next(flat))
        for part in parts:
            kernel, bias = next(flat), next(flat)
            if part not in list(inner):
                kernel = kernel.reshape(part.in_features, part.out_features).T
            part.weight.copy_(kernel)
            part.bias.copy_(bias.reshape(-1))
    return model


def torch_model(net: Net):
    """Raw scores. PyTorch's second bias stays 0, but that of a GRU, which Keras has too."""
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(net.vocabulary, net.inputs) if net.vocabulary else None
            make = {"gru": nn.GRU, "lstm": nn.LSTM}[net.cell]
            self.recurrent = make(
                net.inputs, net.units, net.depth, batch_first=True,
                bidirectional=net.is_bidirectional,
            )  # fmt: skip
            self.dense = nn.Linear(net.units * net.directions, 1)

        def forward(self, x):
            y, _ = self.recurrent(x if self.embedding is None else self.embedding(x))
            u = net.units
            last = y[:, -1, :u]
            return self.dense(torch.cat([last, y[:, 0, u:]], 1) if net.directions > 1 else last)

    model, flat = Model(), iter(map(torch.from_numpy, weights(net)))
    order = [1, 0, 2] if net.cell == "gru" else [0, 1, 2, 3]  # of Keras's gates

    def turned(values):
        parts = values.chunk(len(order), -1)
        return torch.cat([parts[k] for k in order], -1).movedim(-1, 0)

    with torch.no_grad():
        if net.vocabulary:
            model.embedding.weight.copy_(next(flat))
        for k in range(net.depth):
            for end in ("", "_reverse")[: net.directions]:
                kernel, recurrent, bias = next(flat), next(flat), next(flat)
                parts = model.recurrent
                getattr(parts, f"weight_ih_l{k}{end}").copy_(turned(kernel))
                getattr(parts, f"weight_hh_l{k}{end}").copy_(turned(recurrent))
                second = getattr(parts, f"bias_hh_l{k}{end}")
                rows = bias if net.cell == "gru" else (bias, torch.zeros_like(bias))
                getattr(parts, f"bias_ih_l{k}{end}").copy_(turned(rows[0]))
                second.copy_(turned(rows[1]))
                second.requires_grad_(net.cell == "gru")
        model.dense.weight.copy_(next(flat).T)
        model.dense.bias.copy_(next(flat))
    return model


class TorchTrainer:
    """The loop of the tutorials; eager or compiled."""

    def __init__(self, net: Net, threads: int, compiled: bool) -> None:
        import torch
        from torch import nn

        torch.set_num_threads(threads)
        model = torch_transformer(net) if net.heads else torch_model(net)
        x, y = (torch.from_numpy(each) for each in data(net))
        learned = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(
            learned, RATE, (BETA_1, BETA_2), EPSILON, fused=compiled or None
        )
        criterion = nn.BCEWithLogitsLoss() if net.vocabulary else nn.MSELoss()

        def loss(x, y):
            return criterion(model(x), y)

        step = torch.compile(loss) if compiled else loss

        def train(epochs: int, shuffle: bool = True) -> None:
            for _ in range(epochs):
                order = torch.randperm(net.rows) if shuffle else torch.arange(net.rows)
                for rows in order.split(net.batch):
                    optimizer.zero_grad()
                    step(x[rows], y[rows]).backward()
                    optimizer.step()

        head = nn.Sequential(model, nn.Sigmoid()) if net.vocabulary else model
        run = torch.compile(head) if compiled else head

        @torch.inference_mode()
        def predict(x: np.ndarray) -> np.ndarray:
            return run(torch.from_numpy(x)).numpy()

        self.train, self.predict = train, predict


def jax_scores(net: Net) -> Callable:
    """A function from weights and samples to raw scores, with `lax.scan` over time."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    def lstm(state, z, u):
        h, c = state
        i, f, g, o = jnp.split(z + h @ u, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(state, x, u, b):
        (h,) = state
        (xz, xr, xn), (hz, hr, hn) = jnp.split(x, 3, -1), jnp.split(h @ u + b, 3, -1)
        z, r = jax.nn.sigmoid(xz + hz), jax.nn.sigmoid(xr + hr)
        h = z * h + (1 - z) * jnp.tanh(xn + r * hn)
        return (h,), h

    def along(x, kernel, u, bias, reverse):
        """All h, time first; x is time first."""
        zero = jnp.zeros((x.shape[1], net.units))
        if net.cell == "lstm":
            z = x @ kernel + bias
            _, y = lax.scan(lambda s, z: lstm(s, z, u), (zero, zero), z, reverse=reverse)
        else:
            z = x @ kernel + bias[0]
            _, y = lax.scan(lambda s, z: gru(s, z, u, bias[1]), (zero,), z, reverse=reverse)
        return y

    def scores(flat, x):
        flat = iter(flat)
        if net.vocabulary:
            x = next(flat)[x]
        x = jnp.swapaxes(x, 0, 1)
        for _ in range(net.depth):
            sides = [
                along(x, next(flat), next(flat), next(flat), side == 1)
                for side in range(net.directions)
            ]
            x = jnp.concatenate(sides, -1)
        last = jnp.concatenate([sides[0][-1], *(side[0] for side in sides[1:])], -1)
        return last @ next(flat) + next(flat)

    return scores


def jax_transformer(net: Net) -> Callable:
    """A function from weights and tokens to raw scores of the transformer."""
    import jax
    import jax.numpy as jnp

    def normalized(x, gamma, beta):
        centred = x - x.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-3) * gamma + beta

    def scores(flat, x):
        table, *heads = flat[:7]
        x, (out, of_out, *norm) = table[x], flat[7:11]
        q, k, v = (jnp.einsum("btd,dhu->bthu", x, heads[i]) + heads[i + 1] for i in range(0, 6, 2))
        y = jax.nn.dot_product_attention(q, k, v)
        x = normalized(x + jnp.einsum("bthu,hud->btd", y, out) + of_out, *norm)
        w1, b1, w2, b2, *norm = flat[11:17]
        x = normalized(x + jax.nn.relu(x @ w1 + b1) @ w2 + b2, *norm)
        w1, b1, w2, b2 = flat[17:]
        return jax.nn.relu(x.mean(1) @ w1 + b1) @ w2 + b2

    return scores


class JaxTrainer:
    """A jitted step a batch; data and state on the device."""

    def __init__(self, net: Net) -> None:
        import jax
        import jax.numpy as jnp

        x, y = (jnp.asarray(each) for each in data(net))
        scores = jax_transformer(net) if net.heads else jax_scores(net)

        def loss(flat, x, y):
            z = scores(flat, x)
            if net.vocabulary:
                return jnp.mean(jax.nn.softplus(z) - y * z)
            return jnp.mean((z - y) ** 2)

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
        head = jax.nn.sigmoid if net.vocabulary else lambda z: z
        run = jax.jit(lambda flat, x: head(scores(flat, x)))
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
