"""Rows of what trains: `train_many`, and functions that give derivatives."""

import numpy as np
from over_time.thing import Thing

import cdl
from cdl import callbacks, ops

RNG = np.random.default_rng(6)
X = RNG.normal(size=(20, 4)).astype(np.float32)
Y = X[:, :1] * 2
EDGE = RNG.normal(size=(3, 4)).astype(np.float32)


def net(seed):
    cdl.utils.set_random_seed(seed)
    model = cdl.Sequential([cdl.Input((4,)), cdl.layers.Dense(3, "tanh"), cdl.layers.Dense(1)])
    model.compile(cdl.optimizers.Adam(0.1 * (1 + seed)), "mse", metrics=["mae"])
    return model


class Jobs:
    """Models, and the callbacks that all of them share."""

    def __init__(self):
        self.models = [net(seed) for seed in range(3)]
        self.callbacks = [
            callbacks.EarlyStopping("loss", patience=1, min_delta=0.1, restore_best_weights=True),
            callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=0.2),
        ]

    def train(self, more=()):
        jobs = [(model, X, Y) for model in [*self.models, *more]]
        found = cdl.train_many(jobs, workers=2, epochs=8, callbacks=self.callbacks)
        return [[h.history for h in found], [model.get_weights() for model in self.models]]

    def share(self):
        """Jobs that are refused before one of them begins."""
        self.train([self.models[0]])

    def set_weights(self):
        for model in self.models:
            model.set_weights([w + 1 for w in model.get_weights()])

    def set_patience(self):
        self.callbacks[0].patience = 6


class Derived:
    """A derivative by arguments, or by weights, of a loss with numbers and rows of two counts."""

    def __init__(self, by_weights):
        self.model = net(1)
        weights = {"variables": self.model.trainable_variables} if by_weights else {}
        self.step = cdl.value_and_grad(self.loss, has_aux=True, **weights)
        self.number = 0.5

    def loss(self, x, edge, number):
        y = self.model(x)
        return ops.mean(y**2) + number * ops.mean((self.model(edge) - 1) ** 2), {"y": y}

    def use(self):
        return [self.step(rows, EDGE, self.number) for rows in (X, X[:5])]

    def set_weights(self):
        self.model.set_weights([w + 1 for w in self.model.get_weights()])

    def set_number(self):
        self.number += 1.0

    def fail(self):
        self.step(X, EDGE[:, :2], self.number)


def derived(by_weights):
    return Thing(
        f"derivative by {'weights' if by_weights else 'arguments'}",
        lambda: Derived(by_weights),
        Derived.use,
        changes={"weights": Derived.set_weights, "number": Derived.set_number},
        ways={},
        fails={"shapes": Derived.fail},
        shared=not by_weights,
    )


class Looped(Derived):
    """A step that `cdl.Steps` runs, by the derivative of the same loss."""

    def __init__(self):
        super().__init__(True)
        weights, optimizer = self.model.trainable_variables, self.model.optimizer
        gradients = cdl.value_and_grad(
            lambda x: self.number * ops.mean(self.model(x) ** 2), variables=weights
        )

        @cdl.Steps
        def learn(x):
            loss, found = gradients(x)
            optimizer.apply(found, weights)
            return loss

        self.step = learn

    def use(self):
        called = [self.step(X[:5]) for _ in range(4)]
        rows = np.arange(12).reshape(3, 4)
        return [called, self.step.run((X,), rows), self.model.get_weights()]

    def fail(self):
        self.step(X[:5, :2])


ROWS = [
    Thing(
        "steps in a loop outside",
        Looped,
        Looped.use,
        changes={"weights": Looped.set_weights, "number": Looped.set_number},
        ways={},
        fails={"shapes": Looped.fail},
    ),
    Thing(
        "train_many",
        Jobs,
        Jobs.train,
        changes={"weights": Jobs.set_weights, "patience": Jobs.set_patience},
        fails={"a model twice": Jobs.share},
    ),
    derived(False),
    derived(True),
]
