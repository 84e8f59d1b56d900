"""Net of an estimator: a Sequential of Dense layers, and its training in the core.

Initial weights are drawn as scikit-learn's MLP draws them, in the same order from the same
generator, so that the same `random_state` starts from the same net there and here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl._ir.lowering import Lowering
from cdl._ir.program import Program
from cdl.layers import Dense, Input
from cdl.losses.core_loss import CompiledLoss
from cdl.models import Sequential
from cdl.optimizers import SGD, Adam
from cdl.sklearn.batches import Epoch
from cdl.sklearn.parameters import Settings
from cdl.trainers.learner import learner

_SLICE = 0.05  # seconds that the core may keep to itself: then Ctrl-C has its turn


class Objective(NamedTuple):
    """Output activation and loss of an estimator.

    Attributes:
        activation: of the last layer, by its Keras name.
        outputs: width of the last layer.
        loss: the loss that cdl has for it, the mean over the outputs.
        scale: what makes scikit-learn's of it, whose gradient is prediction less target.
        shown: what makes of that the number that scikit-learn shows.
    """

    activation: str
    outputs: int
    loss: CompiledLoss
    scale: float
    shown: float = 1.0


def new_model(
    sizes: Sequence[int], activation: str, last: str, random: np.random.RandomState
) -> Sequential:
    """New model of Dense layers.

    Args:
        sizes: of the input and of each layer's output.
        activation: of all layers but the last.
        last: activation of the last layer.
        random: draws kernels and biases uniformly between ``-b`` and ``b``, where
            ``b = sqrt(f / (fan_in + fan_out))`` and f is 2 for sigmoids and 6 for all else (Glorot
            and Bengio, 2010).
    """
    hidden = [
        Dense(size, activation, kernel_initializer="zeros", name=f"hidden_{i}")
        for i, size in enumerate(sizes[1:-1], 1)
    ]
    output = Dense(sizes[-1], last, kernel_initializer="zeros", name="output")
    model = Sequential([Input((sizes[0],), name="input"), *hidden, output], name="mlp")
    factor = 2.0 if activation == "sigmoid" else 6.0
    for layer in (*hidden, output):
        bound = np.sqrt(factor / sum(layer.kernel.shape))
        layer.kernel.assign(random.uniform(-bound, bound, layer.kernel.shape))
        assert layer.bias is not None
        layer.bias.assign(random.uniform(-bound, bound, layer.bias.shape))
    return model


def new_optimizer(settings: Settings) -> Any:
    """Optimizer of the solver; "lbfgs" reads gradients from the slots of SGD."""
    if settings.solver == "adam":
        return Adam(settings.learning_rate_init, settings.beta_1, settings.beta_2, settings.epsilon)
    return SGD(settings.learning_rate_init, settings.momentum, settings.nesterovs_momentum)


class Trainer:
    """Trainer of a net on one kind of data, with the built program.

    Args:
        model: the net.
        optimizer: it is built if it is not.
        objective: what is minimized.
        alpha: of the penalty ``alpha / 2 |kernels|^2``.
        rows: the most rows of a batch.
        weighted: whether rows have weights.
    """

    def __init__(
        self,
        model: Sequential,
        optimizer: Any,
        objective: Objective,
        alpha: float,
        rows: int,
        weighted: bool,
    ) -> None:
        variables = model.trainable_variables
        optimizer.build(variables)
        self.optimizer = optimizer
        self._shown = objective.shown
        program = lower(model, objective, weighted)
        self._inputs = program.inputs
        dense = [layer for layer in model.layers if isinstance(layer, Dense)]
        penalties = {layer.kernel: (0.0, 0.5 * alpha) for layer in dense} if alpha else {}
        rules = {"penalties": penalties}
        self._executor = learner(program, rows, optimizer, variables, rules)

    def epoch(
        self,
        x: Any,
        y: NDArray[Any],
        batch: int,
        epoch: Epoch,
        rate: float,
        lacking: NDArray[np.float64] | None = None,
    ) -> float:
        """Train for an epoch; the loss as scikit-learn shows it, the mean over the batches.

        Args:
            x: all rows.
            y: their targets.
            epoch: which rows make which batch, and what they weigh.
            rate: the learning rate.
            lacking: for each row what the core's loss lacks.
        """
        executor, optimizer = self._executor, self.optimizer
        arrays = [x, y] if epoch.weight is None else [x, y, epoch.weight]
        rates = np.array([rate], np.float32)
        batches, done = len(epoch.shares), 0
        executor.reset()
        executor.begin(arrays, batch, epoch.order)
        while done < batches:
            step = optimizer.step
            done = executor.train(batches - done, _SLICE, rates, step, 0, epoch.shares)
        (loss,) = executor.results()
        penalty, rows = executor.penalty()
        constant = 0.0 if lacking is None else epoch.mean(lacking)
        return loss * self._shown + constant + (penalty / rows if rows else 0.0)

    def release(self) -> None:
        """Release the data of the epochs."""
        nothing = [np.empty((0, *value.shape), np.float32) for value in self._inputs]
        self._executor.begin(nothing, 1)


def lower(model: Sequential, objective: Objective, weighted: bool) -> Program:
    """Program of a step: rows, targets and weights in, the loss out."""
    program = Lowering()
    (x,) = model._graph_of_model.input_infos()
    prediction = model.append_to(program, program.input(x.row, role="x"))
    program.output(prediction)
    if objective.loss.wants == "classes":
        target = program.input(prediction.shape[:-1], "int32", role="y")
    else:
        target = program.input(prediction.shape, role="y")
    weight = program.input((), role="weight") if weighted else None
    objective.loss.lower(program, target, prediction, weight, objective.scale)
    return program.fused()
