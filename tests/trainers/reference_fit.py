"""A whole fit of a dense net in float64 NumPy: slow, plain, the judge.

It says what Keras's semantics are in as few words as possible: batches, weighted mean over the rows
of a batch, optimizer, logged means, validation from the end. No formula is shared with the library.
"""

import numpy as np

EPSILON = 1e-7


def relu(z):
    return np.maximum(z, 0)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# name -> (f(z), df/dz times the gradient by f)
ACTIVATIONS = {
    "linear": (lambda z: z, lambda z, g: g),
    "relu": (relu, lambda z, g: g * (z > 0)),
    "tanh": (np.tanh, lambda z, g: g * (1 - np.tanh(z) ** 2)),
    "sigmoid": (sigmoid, lambda z, g: g * sigmoid(z) * (1 - sigmoid(z))),
    "softmax": (softmax, lambda z, g: softmax(z) * (g - (g * softmax(z)).sum(-1, keepdims=True))),
}


def one_hot(y, width):
    return np.eye(width)[np.asarray(y).reshape(-1).astype(int)]


def crossentropy(y, p):
    return -(y * np.log(np.clip(p, EPSILON, 1))).sum(-1)


# name -> (a loss for each row, its gradient by p)
LOSSES = {
    "mean_squared_error": (
        lambda y, p: ((y - p) ** 2).mean(-1),
        lambda y, p: 2 * (p - y) / p.shape[-1],
    ),
    "mean_absolute_error": (
        lambda y, p: np.abs(y - p).mean(-1),
        lambda y, p: np.sign(p - y) / p.shape[-1],
    ),
    "categorical_crossentropy": (crossentropy, lambda y, p: -y / p),
    "sparse_categorical_crossentropy": (
        lambda y, p: crossentropy(one_hot(y, p.shape[-1]), p),
        lambda y, p: -one_hot(y, p.shape[-1]) / p,
    ),
    "binary_crossentropy": (
        lambda y, p: -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(-1),
        lambda y, p: ((p - y) / (p * (1 - p))) / p.shape[-1],
    ),
}

METRICS = {
    "mae": LOSSES["mean_absolute_error"][0],
    "mse": LOSSES["mean_squared_error"][0],
    "categorical_accuracy": lambda y, p: (y.argmax(-1) == p.argmax(-1)).astype(float),
    "sparse_categorical_accuracy": lambda y, p: (y.reshape(-1) == p.argmax(-1)).astype(float),
    "binary_accuracy": lambda y, p: ((p > 0.5) == (y > 0.5)).mean(-1),
}


class SGD:
    def __init__(self, rate=0.01, momentum=0.0, nesterov=False, decay=0.0):
        self.rate, self.momentum, self.nesterov, self.decay = rate, momentum, nesterov, decay
        self.step, self.slots = 0, {}

    def update(self, weights, gradients):
        rate = self.rate / (1 + self.decay * self.step)
        for i, g in enumerate(gradients):
            m = self.slots[i] = self.momentum * self.slots.get(i, 0.0) - rate * g
            weights[i] += self.momentum * m - rate * g if self.nesterov else m
        self.step += 1


class Adam:
    def __init__(self, rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, decay=0.0):
        self.rate, self.beta_1, self.beta_2, self.epsilon = rate, beta_1, beta_2, epsilon
        self.decay, self.step, self.slots = decay, 0, {}

    def update(self, weights, gradients):
        t = self.step + 1
        rate = self.rate / (1 + self.decay * self.step)
        rate *= np.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        for i, g in enumerate(gradients):
            m, v = self.slots.get(i, (0.0, 0.0))
            m = m + (g - m) * (1 - self.beta_1)
            v = v + (g * g - v) * (1 - self.beta_2)
            self.slots[i] = m, v
            weights[i] -= rate * m / (np.sqrt(v) + self.epsilon)
        self.step += 1


class Net:
    """Dense layers with biases; `weights` is kernel, bias, kernel, bias ... in float64."""

    def __init__(self, weights, activations):
        self.weights = [np.array(w, np.float64) for w in weights]
        self.activations = [ACTIVATIONS[name] for name in activations]

    def forward(self, x):
        """Inputs and raw scores of each layer, and the output."""
        steps = []
        for i, (f, _) in enumerate(self.activations):
            z = x @ self.weights[2 * i] + self.weights[2 * i + 1]
            steps.append((x, z))
            x = f(z)
        return steps, x

    def gradients(self, steps, g):
        """The gradients of all weights, from the gradient by the output."""
        found = []
        for i in reversed(range(len(steps))):
            x, z = steps[i]
            g = self.activations[i][1](z, g)
            found[:0] = [x.T @ g, g.sum(0)]
            g = g @ self.weights[2 * i].T
        return found


class Means:
    """Means of an epoch's logs: loss by rows, metrics by rows or by weights."""

    def __init__(self):
        self.sums = {}

    def add(self, name, total, count):
        old = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = old[0] + total, old[1] + count

    def logs(self, prefix=""):
        return {prefix + name: t / n for name, (t, n) in sorted(self.sums.items())}


def run_batch(net, loss, metrics, weighted, x, y, w, means):
    """The loss's gradient by the output, after the batch has been added to the means."""
    value, gradient = LOSSES[loss]
    steps, p = net.forward(x)
    rows = len(x)
    scale = np.ones(rows) if w is None else w
    batch_loss = (scale * value(y, p)).sum() / rows
    means.add("loss", rows * batch_loss, rows)
    for name in metrics:
        means.add(name, METRICS[name](y, p).sum(), rows)
    for name in weighted:
        means.add(f"weighted_{name}", (scale * METRICS[name](y, p)).sum(), scale.sum())
    return steps, gradient(y, p) * scale[:, None] / rows


def evaluate(net, loss, x, y, w=None, metrics=(), weighted=(), batch=32):
    means = Means()
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        run_batch(
            net, loss, metrics, weighted, x[part], y[part], None if w is None else w[part], means
        )
    return means


def penalty(net, penalties):
    """The penalties of weights in the loss of a batch: `penalties` is {index: (l1, l2)}."""
    weights = [(net.weights[i], *factors) for i, factors in penalties.items()]
    return sum(l1 * np.abs(w).sum() + l2 * (w * w).sum() for w, l1, l2 in weights)


def fit(
    net,
    optimizer,
    loss,
    x,
    y,
    w=None,
    *,
    batch=32,
    epochs=1,
    split=0.0,
    metrics=(),
    weighted=(),
    orders=None,
    class_weight=None,
    penalties=None,
    constraints=None,
):
    """Train; the history as a dict of lists. `orders` holds the order of rows of each epoch.

    `constraints` is {number of a weight: function that gives the weight as it may be}.
    """
    penalties, constraints = penalties or {}, constraints or {}
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    rows = int(np.floor(len(x) * (1 - split)))
    x, x_val, y, y_val = x[:rows], x[rows:], y[:rows], y[rows:]
    w, w_val = (None, None) if w is None else (w[:rows], w[rows:])
    if class_weight is not None:
        classes = y.argmax(-1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1).round()
        w = np.array([class_weight.get(int(c), 1.0) for c in classes])
    history = {}
    for epoch in range(epochs):
        order = np.arange(rows) if orders is None else orders[epoch]
        means = Means()
        for start in range(0, rows, batch):
            part = order[start : start + batch]
            steps, g = run_batch(
                net,
                loss,
                metrics,
                weighted,
                x[part],
                y[part],
                None if w is None else w[part],
                means,
            )
            means.add("loss", len(part) * penalty(net, penalties), 0)
            gradients = net.gradients(steps, g)
            for i, (l1, l2) in penalties.items():
                gradients[i] = (
                    gradients[i]
                    + l1 * np.where(net.weights[i] >= 0, 1, -1)
                    + 2 * l2 * net.weights[i]
                )
            optimizer.update(net.weights, gradients)
            for i, allowed in constraints.items():
                net.weights[i] = allowed(net.weights[i])
        logs = means.logs()
        if split:
            logs |= evaluate(net, loss, x_val, y_val, w_val, metrics, weighted, batch).logs("val_")
            logs["val_loss"] += penalty(net, penalties)
        for name, each in logs.items():
            history.setdefault(name, []).append(each)
    return history
