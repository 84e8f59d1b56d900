"""Nets of the recipes: built, with first weights by data, and compiled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl import losses, ops
from cdl._common.validation import expected
from cdl.initializers import RandomUniform
from cdl.layers import (
    Activation,
    ColumnScaling,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    EnsembleDense,
    Flatten,
    GlobalAveragePooling1D,
    Increasing,
    Input,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEncoding,
    Softmax,
)
from cdl.models import Model
from cdl.optimizers import Adam
from cdl.optimizers.rate_factors import factor_of
from cdl.optimizers.schedules import LogCosineCycles
from cdl.random import permutation
from cdl.sklearn.tables.columns import Column
from cdl.sklearn.tables.recipes import Recipe
from cdl.sklearn.tables.table import Encoded, Table

Array = NDArray[Any]

_GROUPS, _PLANES = 3, 3  # of a monotone output
_EDGES = np.linspace(-2.5, 2.5, 11).tolist()  # of bins of a monotone input
_DECAYS = {"^front": 36.0, "^pbld|^activation": 0.01}  # squares of their parts of the rate
_EXACT: Any = {"dtype": "float32"}  # whatever the policy: numbers, categories, logits
_SAMPLE = 1000  # rows by which first weights are chosen


class Task(NamedTuple):
    """Kind of targets: classes, quantiles of one number, or means of numbers.

    Attributes:
        classes: whether targets are classes.
        quantiles: from low to high; None for none.
        signs: of columns by their numbers, 1 where outputs must not fall as the column rises, -1
            where they must not rise; of classes the output is the probability of the second.
    """

    classes: bool
    quantiles: tuple[float, ...] | None = None
    signs: Mapping[int, int] = MappingProxyType({})


class Net(NamedTuple):
    """Net for training, and the one that shares its weights and predicts.

    Attributes:
        trained: gives logits or numbers, of all members.
        predicts: gives probabilities or numbers, means of members.
        first: pairs of a Dense layer and its input, in order, for first weights by data.
    """

    trained: Any
    predicts: Any
    first: list[tuple[Any, Any]]


def built(recipe: Recipe, table: Table, outputs: int, task: Task) -> Net:
    """Net of a recipe for the inputs of a table."""
    numbers, flags, codes = (
        Input((width,), dtype=dtype, name=name)
        for width, dtype, name in zip(
            table.widths, ("float32", "float32", "int32"), Encoded._fields, strict=True
        )
    )
    inputs = [each for each in (numbers, flags, codes) if each.shape[1]]
    parts = []
    numbers, rising = _apart(numbers, table, task.signs)
    if numbers.shape[1] and recipe.realmlp:
        pbld = PeriodicEmbedding(4, 16, 0.1, None, phases=True, skip=True, name="pbld", **_EXACT)
        parts.append(Flatten(**_EXACT)(pbld(numbers)))
    elif numbers.shape[1]:
        parts.append(numbers)
    if flags.shape[1]:
        parts.append(flags)
    if codes.shape[1]:
        vectors = Embedding(table.embedded, recipe.embedding, "normal", name="categories", **_EXACT)
        parts.append(Flatten(**_EXACT)(vectors(codes)))
    x = Concatenate(**_EXACT)(parts) if len(parts) > 1 else parts[0] if parts else None
    if rising is not None:
        y, first = _monotone(recipe, x, rising, 1 if task.classes else outputs)
        y = Concatenate(**_EXACT)([ops.zeros_like(y), y]) if task.classes else y
    else:
        y, first = _free(recipe, x, outputs)
    y = Increasing(**_EXACT)(y) if task.quantiles else y
    z = Softmax(**_EXACT)(y) if task.classes else y
    if recipe.members:
        z = GlobalAveragePooling1D(**_EXACT)(z)
    return Net(Model(inputs, y), Model(inputs, z), first)


def _apart(numbers: Any, table: Table, signs: Mapping[int, int]) -> tuple[Any, Any]:
    """Numbers without those of monotone columns, and these, times their signs, or None."""
    owners = table.owners()[0]
    sign = np.array([signs.get(int(column), 0) for column in owners], np.float32)
    if not sign.any():
        return numbers, None
    at = np.flatnonzero(sign)
    return ops.take(numbers, np.flatnonzero(sign == 0), axis=1), (
        ops.take(numbers, at, axis=1) * sign[at]
    )


def _monotone(recipe: Recipe, x: Any, rising: Any, outputs: int) -> tuple[Any, Any]:
    """Outputs that do not fall as an input of `rising` rises, whatever the other inputs.

    Each such input becomes itself and what it fills of bins, none of which falls. A net of the
    other inputs gives a positive factor for each of these, and the height of planes, whose slopes
    are not negative. Outputs are the smooth minimum of planes within groups and the smooth maximum
    over groups: no step of these can make them fall (min-max networks; Sill, 1997; smooth: Igel,
    2023). The members of TabM share slopes.
    """
    bins = PiecewiseLinearEncoding(bins=[_EDGES] * rising.shape[1], name="bins", **_EXACT)
    steps = Concatenate(**_EXACT)([rising, Flatten(**_EXACT)(bins(rising))])
    planes, width = outputs * _GROUPS * _PLANES, steps.shape[1]
    start = RandomUniform(0.0, 1.0 / math.sqrt(width))
    slopes = Dense(
        planes, kernel_constraint="non_neg", kernel_initializer=start, name="monotone", **_EXACT
    )
    first: list[Any] = []
    if recipe.members:
        steps = steps[:, None]
    if x is None:
        y = slopes(steps)
    else:
        z, first = _free(recipe, x, width + planes)
        y = slopes(steps * ops.softplus(z[..., :width])) + z[..., width:]
    y = ops.reshape(y, (-1, *y.shape[1:-1], outputs, _GROUPS, _PLANES))
    return ops.logsumexp(-ops.logsumexp(-y, axis=-1), axis=-1), first


def _free(recipe: Recipe, x: Any, outputs: int) -> tuple[Any, list[tuple[Any, Any]]]:
    return (_ensemble if recipe.members else _one)(recipe, x, outputs)


def _one(recipe: Recipe, x: Any, outputs: int) -> tuple[Any, list[tuple[Any, Any]]]:
    if recipe.realmlp:
        x = ColumnScaling(name="front", **_EXACT)(x)
    first = []
    for i, units in enumerate((*recipe.hidden, outputs)):
        last = i == len(recipe.hidden)
        layer = Dense(units, name="last", **_EXACT) if last else Dense(units, name=f"hidden{i}")
        first.append((layer, x))
        x = layer(x)
        if last:
            break
        kind = ParametricActivation if recipe.realmlp else Activation
        x = kind(recipe.activation, name=f"activation{i}")(x)
        x = Dropout(recipe.dropout)(x) if recipe.dropout else x
    return x, first


def _ensemble(recipe: Recipe, x: Any, outputs: int) -> tuple[Any, list[tuple[Any, Any]]]:
    for i, units in enumerate(recipe.hidden):
        scale = "random_sign" if i == 0 else "ones"
        dense = EnsembleDense(
            units, recipe.members, recipe.activation, input_scale_initializer=scale
        )
        x = dense(x)
        x = Dropout(recipe.dropout)(x) if recipe.dropout else x
    return EnsembleDense(outputs, recipe.members, shared=False, **_EXACT)(x), []


class Host:
    """Compiled net that trains bags, one after the other, with the same programs.

    Args:
        net: a net with the first weights and the seeds of the first bag.
        recipe: of the net.
        task: of the net.
        steps: of the training of a bag.

    Attributes:
        net: as given.
    """

    def __init__(self, net: Net, recipe: Recipe, task: Task, steps: int) -> None:
        self.net = net
        compiled(net, recipe, task, steps)
        optimizer = net.trained.optimizer
        optimizer.build(net.trained.trainable_variables)
        self._start = [(each, each.numpy()) for each in optimizer.variables]
        self._seeds = _seeds(net)
        # One program for all layers, each time with the weights so far: compiling takes longer than
        # computing what lies behind a layer for nothing.
        before = [x for _, x in net.first]
        self._values: Any = Model(net.trained.inputs, before) if before else None

    def load(self, net: Net, rows: int) -> None:
        """Become like a net of another bag, whose first `fit`, on some rows, is to come."""
        self.net.trained.set_weights(net.trained.get_weights())
        for variable, value in self._start:
            variable.assign(value)
        seeds = dict(zip(self._seeds, _seeds(net), strict=True))
        self.net.trained._executors.draw_from(seeds)
        permutation(rows)  # the first `fit` behind `compile` draws one that it does not use

    def begin(self, inputs: list[Array], random: np.random.RandomState) -> None:
        """Choose first weights of RealMLP by data, layer after layer, each on the values before it.

        Each unit's product gets deviation 1 on a sample of rows, and its bias is minus a random
        mixture of five of its values (he+5; Steinwart, 2019).
        """
        rows = random.permutation(len(inputs[0]))[:_SAMPLE]
        sample = [each[rows] for each in inputs]
        for i, (layer, _) in enumerate(self.net.first):
            x = _all_outputs(self._values, sample)[i].astype(np.float64)
            kernel = random.normal(size=layer.kernel.shape)
            y = x @ kernel
            kernel /= np.maximum(y.std(0), 1e-6 * max(1.0, float(np.abs(y).max(initial=0.0))))
            y = x @ kernel
            units = y.shape[1]
            at = random.randint(len(y), size=(5, units))
            mixture = random.exponential(size=(5, units))
            bias = -(y[at, np.arange(units)] * mixture / mixture.sum(0)).sum(0)
            layer.set_weights([kernel, bias])


def _seeds(net: Net) -> list[int]:
    """Seeds of the layers that draw in training."""
    return [each.seed_generator.seed for each in net.trained.layers if isinstance(each, Dropout)]


def run(model: Any, inputs: list[Array]) -> Array:
    """Outputs of a model for inputs in the dtypes of its own, without the checks of `predict`."""
    return _all_outputs(model, inputs)[0]


def _all_outputs(model: Any, inputs: list[Array]) -> list[Array]:
    model._drop_stale_programs()
    found: list[Array] = model._predictors().run_shared(inputs)
    return found


def run_row(model: Any, inputs: list[Array]) -> Array:
    """Outputs of a model for one row: those of `run`, by the executor for few rows."""
    model._drop_stale_programs()
    found: Array = model._predictors().few.predict(inputs)
    return found


def compiled(net: Net, recipe: Recipe, task: Task, steps: int) -> None:
    """Compile the net that is trained, for a total number of steps."""
    rate: Any = recipe.rate
    if recipe.schedule == "coslog4":
        rate = LogCosineCycles(recipe.rate, decay_steps=steps)
    optimizer = (_RealMLPAdam if recipe.realmlp else Adam)(
        rate,
        beta_2=recipe.beta_2,
        epsilon=1e-8,
        weight_decay=recipe.weight_decay or None,
        rate_factors=_factors(net) if recipe.realmlp else None,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "phase"])
    loss: Any
    if task.quantiles:
        loss = pinball(task.quantiles)
    elif recipe.members:
        loss = mean_crossentropy if task.classes else mean_squares
    elif task.classes:
        loss = losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.smoothing)
    else:
        loss = "mse"
    net.trained.compile(optimizer, loss)


class _RealMLPAdam(Adam):
    """Adam with the decay of each weight as in RealMLP-TD, whose code takes a factor twice."""

    def decay_of(self, variable: Any) -> float:
        """Decay of a weight for the core, which multiplies it by the whole rate."""
        return super().decay_of(variable) * factor_of(_DECAYS, variable)


def _factors(net: Net) -> dict[str, float]:
    """Parts of the rate by weight, as in RealMLP-TD.

    Its kernels are kept times the root of their inputs: a step of Adam changes what they are here
    by so much less.
    """
    kernels = {
        f"^{layer.name}/kernel": 1.0 / math.sqrt(layer.kernel.shape[0]) for layer, _ in net.first
    }
    return {"^front": 6.0, "^pbld|bias|^activation|^monotone": 0.1, **kernels}


def mean_crossentropy(y: Any, logits: Any) -> Any:
    """Cross-entropy of the members' logits, of shape (rows, members, classes), each by itself."""
    each = ops.sum(_for_each(y, logits) * ops.log_softmax(logits, axis=-1), axis=-1)
    return -ops.mean(each, axis=-1)


def _for_each(y: Any, outputs: Any) -> Any:
    """Targets of shape (rows, 1, width), the same for all members."""
    return ops.reshape(y, (-1, 1, outputs.shape[-1]))


def mean_squares(y: Any, outputs: Any) -> Any:
    """Squared error of the members' outputs, of shape (rows, members, targets)."""
    return ops.mean(ops.square(outputs - _for_each(y, outputs)), axis=(1, 2))


def pinball(quantiles: tuple[float, ...]) -> Any:
    """Loss of quantiles, the last axis of outputs, of one net or of each member."""
    q = np.array(quantiles, np.float32)

    def loss(y: Any, outputs: Any) -> Any:
        wrong = ops.reshape(y, (-1, *(1,) * (len(outputs.shape) - 1))) - outputs
        each = ops.maximum(q * wrong, (q - 1.0) * wrong)
        return ops.mean(each, axis=tuple(range(1, len(outputs.shape))))

    return loss


def signs_of(owner: str, monotone: Any, columns: list[Column]) -> dict[int, int]:
    """Signs, 1 or -1, of columns by their numbers.

    Args:
        monotone: {column: sign} with names or numbers of columns, a sign for each column, or None.
        columns: of X.

    Raises:
        ValueError: a column that X does not have or that is not of numbers, or another sign.
    """
    names = [each.name for each in columns]
    if monotone is None:
        return {}
    if hasattr(monotone, "to_dict"):  # a Series by columns
        monotone = monotone.to_dict()
    if not isinstance(monotone, Mapping):
        given = np.asarray(monotone)
        if given.shape != (len(names),):
            what = f"{{column: sign}}, or a sign for each of {len(names)} columns"
            raise expected(owner, "monotone", what, monotone)
        monotone = dict(zip(names, given.tolist(), strict=True))
    found: dict[int, int] = {}
    for key, sign in monotone.items():
        label = str(key) if isinstance(key, int | np.integer) and not isinstance(key, bool) else key
        at = names.index(label) if label in names else key  # a label goes before a place
        if isinstance(at, bool | str) or at not in range(len(names)):
            raise expected(owner, "monotone", f"of columns of X, {names[:8]}", key)
        if isinstance(sign, bool) or not isinstance(sign, Real) or sign not in (-1, 0, 1):
            raise expected(owner, f"monotone of {key!r}", "1, -1 or 0", sign)
        if at in found:
            raise ValueError(
                f"{owner}: monotone must have each column once, got {names[at]!r} twice"
            )
        if sign and columns[at].kind != "number":
            what = f"of numbers, {names[at]} holds values of the kind {columns[at].kind!r}"
            raise ValueError(f"{owner}: monotone must be {what}")
        found[int(at)] = int(float(sign))
    return {at: sign for at, sign in found.items() if sign}
