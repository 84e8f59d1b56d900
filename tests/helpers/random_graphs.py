"""Programs whose values branch and meet at random, for the tests of the core.

All ops are smooth, so that central differences of the losses are their gradients. Values that end
up without a reader are objectives, so that every weight has a gradient.
"""

from __future__ import annotations

import numpy as np
from programs import activation, dense, random_weight, weight

from cdl._ir import emit
from cdl._ir.lowering import Lowering
from cdl._tracing.variable import Variable

WIDTHS = (1, 2, 3, 5, 17)


class RandomGraph:
    """A program of `size` steps over two inputs, and arrays of `rows` rows for it."""

    def __init__(self, seed, size=12, rows=20):
        self.rng = np.random.default_rng(seed)
        self.program = Lowering()
        shapes = [(3,), (2, self.choose(WIDTHS))]
        self.pool = [self.program.input(shape) for shape in shapes]
        self.read: set[int] = set()
        steps = [getattr(self, name) for name in dir(self) if name.startswith("step_")]
        for _ in range(size):
            made = self.choose(steps)()
            if made is not None:
                self.pool.append(made)
        for value in self.pool[2:]:
            if id(value) not in self.read:
                self.finish(value)
        self.arrays = [self.normal(rows, *shape).astype(np.float32) for shape in shapes]

    def choose(self, things):
        return things[self.rng.integers(len(things))]

    def normal(self, *shape):
        return self.rng.normal(size=shape)

    def pick(self, fits=lambda value: True):
        """A value that fits, which counts as read; the youngest are likelier."""
        found = [v for v in self.pool if fits(v)]
        if not found:
            return None
        at = len(found) - 1 - min(int(self.rng.exponential(2.5)), len(found) - 1)
        self.read.add(id(found[at]))
        return found[at]

    def like(self, value):
        return self.pick(lambda v: v.shape == value.shape and v.shared == value.shared)

    def finish(self, value):
        """A loss of a value that nothing reads."""
        y = activation(self.program, value, "tanh")
        reduction, counts = self.choose(("mean", "sum")), bool(self.rng.integers(2))
        self.program.objective(y, scale=0.5, reduction=reduction, counts=counts)

    def step_dense(self):
        x = self.pick(lambda v: v.shape)
        n = self.choose(WIDTHS)
        bias = weight(self.normal(n)) if self.rng.integers(2) else None
        return dense(self.program, x, random_weight(self.rng, x.shape[-1], n), bias)

    def step_conv(self):
        """Lines as an image of one axis, of as many places or one less."""
        x = self.pick(lambda v: len(v.shape) == 2)
        if x is None:
            return None
        size, n = int(self.rng.integers(1, 3)), self.choose(WIDTHS)
        kernel = weight(self.normal(size, x.shape[1], n) / x.shape[1])
        places = x.shape[0] - int(self.rng.integers(size)) if x.shape[0] > 1 else x.shape[0]
        shape, numbers = (places, n), (size, 1, 1, 0)
        return self.program.emit("conv", [x], shape, (kernel, None), numbers=numbers, groups=1)

    def step_pool(self):
        x = self.pick(lambda v: len(v.shape) == 2)
        if x is None:
            return None
        return self.program.emit("pool", [x], x.shape, numbers=(2, 1, 1, 1), kind="mean")

    def step_activation(self):
        return activation(self.program, self.pick(), self.choose(("tanh", "sigmoid", "softplus")))

    def step_meet(self):
        """A sum or product of two values, perhaps of one with itself."""
        a = self.pick()
        return self.program.map(self.choose(("add", "multiply", "subtract")), [a, self.like(a)])

    step_meet_again = step_meet

    def step_softmax(self):
        x = self.pick(lambda v: v.shape)
        return self.program.emit("softmax", [x], x.shape)

    def step_reduce(self):
        x = self.pick(lambda v: len(v.shape) > 1)
        if x is None:
            return None
        axis = int(self.rng.integers(len(x.shape)))
        return emit.reduce(self.program, self.choose(("sum", "mean")), x, [axis])

    def step_broadcast(self):
        x = self.pick(lambda v: len(v.shape) == 1)
        return emit.broadcast(self.program, x, (2, *x.shape))

    def step_over_rows(self):
        x = self.pick(lambda v: not v.shared)
        return self.program.batch_reduce(x, self.choose(("sum", "mean")))

    def step_spread(self):
        x = self.pick(lambda v: v.shared)
        return None if x is None else self.program.broadcast_batch(x)

    def step_param(self):
        shape = self.choose(((), (3,), (2, 3)))
        values = np.asarray(self.normal(*shape), np.float32)
        return self.program.param(Variable(shape, lambda _: values))

    def step_product(self):
        x = self.pick(lambda v: v.shape)
        w = random_weight(self.rng, x.shape[-1], self.choose(WIDTHS))
        return emit.product(self.program, x, self.program.param(w))
