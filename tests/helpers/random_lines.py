"""Programs of maps, reductions of lines and broadcasts at random, where fusions meet.

Shapes are square, or have axes of one number; operands are shared, constant, rows, columns, or a
line that is read as a row; reductions are of reductions. All are smooth but at corners, which
normal numbers miss.
"""

from __future__ import annotations

import math

import numpy as np
from programs import activation, dense, random_weight, weight

from cdl._ir import emit
from cdl._ir.elementwise import apply, argument, arguments
from cdl._ir.lowering import Lowering

ROWS = 5
SHAPES = [
    (4, 4),
    (1, 5),
    (5, 1),
    (3, 3, 3),
    (2, 3, 4),
    (17,),
    (1,),
    (16, 16),
    (33, 2),
    (1, 1),
    (40,),
]
SHAPES += [(1, 1, 6), (2, 2, 2), (1, 4, 4), (4, 1, 4), (3, 100), (6, 6), (2, 700), (64, 64)]
A = argument(0)
ONE = [
    apply(name, A) for name in ("tanh", "sigmoid", "sin", "cos", "softplus", "erf", "relu", "abs")
]
ONE += [apply("exp", apply("tanh", A)), apply("expm1", apply("tanh", A)), apply("square", A) * 0.3]
ONE += [-A, A * 2.0 + 1.0, 1.0 - A, A * 0.0 + 1.5, apply("copy", A), apply("maximum", A, 0.2)]
ONE += [apply("sqrt", apply("abs", A) + 0.5), apply("reciprocal", apply("square", A) + 1.0)]
ONE += [apply("rsqrt", apply("square", A) + 0.5), apply("log", apply("abs", A) + 0.7)]
ONE += [apply("where", apply("greater", A, 0.1), A, 0.5 * A)]
A, B = arguments(2)
TWO = [A + B, A - B, B - A, A * B, A * B + A, A * A - B * B, A / (apply("square", B) + 1.0)]
TWO += [apply("maximum", A, B), apply("minimum", A, B), apply("exp", apply("tanh", A - B))]
TWO += [apply("where", apply("greater", A, B), A, B * 2.0), apply("tanh", A) * B, B * 2.0]
TWO += [apply("where", apply("greater", B, 0.0), A, 0.0), A / apply("sqrt", B * B + 0.5)]
A, B, C = arguments(3)
THREE = [A * B + C, (A - B) * C, A * B * C, A - B * C, apply("multiply_add", A, B, C)]
THREE += [apply("where", apply("greater", A, 0.0), B, C)]
KINDS = ("sum", "mean", "max", "min", "mean")
ACTIVATIONS = ("tanh", "sigmoid", "softplus", "silu", "gelu", "mish", "selu", "plain_relu")


class RandomLines:
    """A program of some steps over weights (ROWS, ...), which eye(ROWS) as its input shows."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.program = Lowering()
        rows = self.program.input((ROWS,))
        self.pool, self.read = [], set()
        self.far = self.choose((0.5, 1.0, 2.5))
        shape = self.choose(SHAPES)
        others = [shape, shape[-1:], (*shape[:-1], 1), (1,) * len(shape), shape]
        for own in [shape, *(self.choose(others) for _ in range(self.below(3) + 1))]:
            values = weight(self.rng.normal(size=(ROWS, math.prod(own))))
            self.pool.append(emit.reshape(self.program, dense(self.program, rows, values), own))
        steps = [getattr(self, name) for name in dir(self) if name.startswith("step_")]
        for _ in range(self.below(12) + 4):
            made = self.choose(steps)()
            if made is not None:
                self.pool.append(made)
        self.ends = [v for v in self.pool if id(v) not in self.read]
        self.arrays = [np.eye(ROWS, dtype=np.float32)]

    def below(self, n):
        return int(self.rng.integers(n))

    def choose(self, things):
        return things[self.below(len(things))]

    def reading(self, value):
        self.read.add(id(value))
        return value

    def pick(self):
        """A value, which counts as read; the youngest are likelier."""
        back = min(int(self.rng.exponential(self.far)), len(self.pool) - 1)
        return self.reading(self.pool[-1 - back])

    def like(self, value):
        found = [v for v in self.pool if v.shape == value.shape]
        return self.reading(self.choose(found)) if found else value

    def step_one(self):
        return self.program.map(self.choose(ONE), [self.pick()])

    def meet(self, forms, n):
        """An expression of n values, broadcast to one shape where they can be."""
        values = [self.pick() for _ in range(n)]
        try:
            shape = emit.broadcast_shapes(v.shape for v in values)
        except ValueError:
            return None
        if math.prod(shape) > 20000:
            return None
        spread = [v if v.shape == shape else emit.broadcast(self.program, v, shape) for v in values]
        return self.program.map(self.choose(forms), spread)

    def step_two(self):
        return self.meet(TWO, 2)

    def step_three(self):
        return self.meet(THREE, 3)

    step_two_again = step_two

    def step_reduce(self):
        x = self.pick()
        if not x.shape:
            return None
        size = self.below(len(x.shape)) + 1
        axes = sorted(self.rng.choice(len(x.shape), size=size, replace=False).tolist())
        axes = axes if self.below(3) == 0 else [-1]
        return emit.reduce(self.program, self.choose(KINDS), x, axes, keepdims=bool(self.below(3)))

    def step_normalize(self):
        """x with a number a line, made of sums of its lines; perhaps again and again."""
        x = self.pick()
        if not x.shape or x.shape[-1] == 1:
            return None
        for _ in range(self.below(3) + 1):
            found = emit.broadcast(self.program, self.column(x), x.shape)
            partner = self.like(x) if self.below(4) == 0 else x
            x = self.program.map(self.choose(TWO), [partner, found])
        return x

    step_normalize_again = step_normalize_once_more = step_normalize

    def column(self, x):
        """A reduction of lines of x, or of another value made of it, and maps of it."""
        y = x
        if self.below(2):
            y = self.program.map(self.choose(ONE), [x])
        elif self.below(2):
            y = self.program.map(self.choose(TWO), [x, self.like(x)])
        keeps = bool(self.below(2))
        found = emit.reduce(self.program, self.choose(KINDS), y, [-1], keepdims=keeps)
        for _ in range(self.below(3)):
            if self.below(2):
                found = self.program.map(self.choose(ONE), [found])
            else:
                found = self.program.map(self.choose(TWO), [found, self.like(found)])
        if keeps:
            return found
        if found.shape and found.shape[-1] == x.shape[-1] and self.below(4) == 0:  # as a row
            return emit.reshape(self.program, found, (*found.shape[:-1], 1, found.shape[-1]))
        return emit.reshape(self.program, found, (*x.shape[:-1], 1))

    def step_reshape(self):
        x = self.pick()
        shape = list(x.shape)
        for _ in range(self.below(2) + 1):
            how = self.below(4)
            if how == 0:
                shape.insert(self.below(len(shape) + 1), 1)
            elif how == 1 and 1 in shape:
                shape.remove(1)
            elif how == 2:
                self.rng.shuffle(shape)
            elif len(shape) > 1:
                shape = [shape[0] * shape[1], *shape[2:]]
        return emit.reshape(self.program, x, tuple(shape)) if len(shape) < 6 else None

    def step_permute(self):
        x = self.pick()
        order = self.rng.permutation(len(x.shape)).tolist()
        return emit.permute(self.program, x, order) if len(order) > 1 else None

    def step_activation(self):
        return activation(self.program, self.pick(), self.choose(ACTIVATIONS))

    def step_dropout(self):
        """None is dropped, so that values are known; the instruction stands all the same."""
        x = self.pick()
        return self.program.emit("dropout", [x], x.shape, rate=0.0, seed=1, user_draw=0)

    def step_softmax(self):
        x = self.pick()
        return self.program.emit("softmax", [x], x.shape) if x.shape else None

    def step_dense(self):
        x = self.pick()
        n = self.choose((1, 3, x.shape[-1])) if x.shape else 0
        return dense(self.program, x, random_weight(self.rng, x.shape[-1], n)) if n else None
