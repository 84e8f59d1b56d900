"""Custom steps of models: `train_step`, `test_step`, `predict_step`.

A custom step takes each batch as NumPy arrays, in the structure of the data given to `fit`.
`CustomSteps` has the interface of a TrainFunction, so that epochs, hooks and validation are shared.
"""

import inspect
import re
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import data, tree
from cdl._common import clock
from cdl._common.naming import FreeNames
from cdl._common.overriding import overrides
from cdl._variables.stepping import recorded
from cdl.data import brief
from cdl.data.texts import array_of, holds_texts
from cdl.distribution.ranks import check_no_own_data
from cdl.trainers.chains.chain import Chain
from cdl.trainers.chains.step_chains import StepChains, is_plain
from cdl.trainers.custom.step_functions import own_function
from cdl.trainers.derivatives import kept_in
from cdl.trainers.signature import TrainableModel
from cdl.utils.tuples import pack_x_y_sample_weight

Array = NDArray[Any]

_STEP_METHODS = {
    "train": ("train_step", "compute_metrics", "make_train_function"),
    "test": ("test_step", "compute_metrics", "make_test_function"),
    "predict": ("predict_step", "make_predict_function"),
}
# Attributes that TensorFlow's GradientTape and PyTorch's autograd look for in a step.
_OF_TAPES = re.compile("has no attribute '(_id|backward|grad|requires_grad_?|zero_grad)'")
_WAY = (
    "with cdl.GradientTape() as tape: loss = self.compute_loss(x, y, self(x, training=True)); then "
    "self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables);"
    " cdl.value_and_grad(function, variables=weights) takes less time"
)


def steps_itself(cls: type, kind: str) -> bool:
    """Whether a model class overrides the step: see Trainer."""
    return overrides(cls, *_STEP_METHODS[kind])


class Nested:
    """Data in the user's structure, one row per sample.

    Args:
        parts: x, y and sample weights, nested; None for absent ones.
        length: length of the tuple that a stream yielded; 0 for the shortest.
    """

    def __init__(self, parts: tuple[Any, Any, Any], length: int = 0) -> None:
        self._parts = parts
        self._length = length
        leaves = [leaf for leaf in tree.flatten(parts) if leaf is not None]
        self.samples = max(map(len, leaves), default=0)  # of a stream they may differ

    def rows(self, start: int, stop: int) -> "Nested":
        """Slice of the rows, as views."""
        return Nested(_mapped(lambda leaf: leaf[start:stop], self._parts))

    def without_weights(self) -> "Nested":
        """Data in which all samples weigh 1."""
        return Nested((*self._parts[:2], None))

    def form(self) -> Any:
        """Structure, shapes and dtypes without rows; None if some are no arrays of numbers."""
        whole = self._whole()
        leaves = tree.flatten(whole)
        if not all(map(is_plain, leaves)):
            return None
        structure = repr(tree.map_structure(lambda leaf: 0, whole))
        return structure, tuple([(leaf.shape[1:], leaf.dtype) for leaf in leaves])

    def leaves(self, start: int, stop: int, cut: bool) -> list[Array]:
        """Arrays in the order of a step's argument.

        Args:
            start: first row.
            stop: row after the last one.
            cut: whether to slice the rows; otherwise whole arrays.
        """
        leaves = tree.flatten(self._whole())
        return [leaf[start:stop] for leaf in leaves] if cut else leaves

    def _whole(self) -> Any:
        return self._parts[: self._length] if self._length else pack_x_y_sample_weight(*self._parts)

    def step(self, rows: Any) -> Any:
        """Argument of a step: those rows, as x, (x, y) or (x, y, sample_weight)."""
        parts = _mapped(lambda leaf: _float32(leaf[rows]), self._parts)
        return parts[: self._length] if self._length else pack_x_y_sample_weight(*parts)


def _mapped(function: Any, structure: Any) -> Any:
    return tree.map_structure(lambda leaf: None if leaf is None else function(leaf), structure)


def _float32(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def nested(
    x: Any,
    y: Any,
    sample_weight: Any,
    class_weight: Any,
    call: str,
    length: int = 0,
    streams: bool = False,
) -> Nested:
    """Checked data in the user's structure.

    Args:
        call: for errors.
        length: see `Nested`.
        streams: whether it is a batch of a stream, whose arrays may have different lengths, as
            those of labeled and unlabeled rows do.

    Raises:
        ValueError: for arrays of different lengths.
    """
    if sample_weight is not None and class_weight is not None:
        raise ValueError(
            f"{call}: sample_weight and class_weight must not both be given: multiply them yourself"
        )
    names = ("x", "y", "sample_weight")
    parts = [
        arrays_in(part, f"{call}: {name}")
        for part, name in zip((x, y, sample_weight), names, strict=True)
    ]
    if class_weight is not None:
        if not isinstance(parts[1], np.ndarray):
            raise ValueError(f"{call}: y must be one array for class_weight, got {brief(y)}")
        parts[2] = data.of_classes(class_weight, parts[1], f"{call}: class_weight")
        length = length and 3
    arrays = {
        "".join([name, *(f"[{key!r}]" for key in path)]): leaf
        for name, part in zip(names, parts, strict=True)
        for path, leaf in tree.flatten_with_path(part)
    }
    if not streams:
        data.same_rows(arrays, call)
    return Nested((parts[0], parts[1], parts[2]), length)


def arrays_in(structure: Any, name: str) -> Any:
    """Structure with an array for each leaf, of numbers or texts; lists of these are leaves."""
    if isinstance(structure, (list, tuple)) and any(
        hasattr(part, "shape") or isinstance(part, (Mapping, tuple)) for part in structure
    ):
        parts = [arrays_in(part, f"{name}[{i}]") for i, part in enumerate(structure)]
        return parts if isinstance(structure, list) else tuple(parts)
    if isinstance(structure, Mapping):
        return {key: arrays_in(part, f"{name}[{key!r}]") for key, part in structure.items()}
    if holds_texts(structure):
        return array_of(structure, name)
    return None if structure is None else data.as_numeric(structure, name)


class CustomSteps:
    """Runner of a model's custom step, with the interface of a TrainFunction.

    Args:
        model: whose step it is.
        kind: "train" or "test".
    """

    key = (None,)  # no key of an ExecutorCache

    def __init__(self, model: TrainableModel, kind: str) -> None:
        self._model = weakref.ref(model)
        self._kind, self._name = kind, f"{kind}_step"
        check_no_own_data(f"{type(model).__name__}.{self._name}")
        self._check_signature(getattr(model, self._name))
        self._logs: dict[str, Any] = {}
        self._arrays: Nested | None = None
        self._order: Any = None
        self._batch, self._next = 1, 0
        self._form: Any = None  # of the data, if steps of them may be recorded
        self._key: Any = None  # of the chain for the current batches
        self._chain: Chain | None = None
        self._taken: dict[Any, Chain] = {}  # those in use, for whole batches and a short last one
        self._chains = StepChains.of(model._compiled)
        self._is_fed = False  # whether the core gathers the batches
        self._is_alone = False  # whether it runs one batch
        self._is_shown = True  # whether the result of a batch is wanted

    def _check_signature(self, step: Any) -> None:
        """Refuse the form of Keras's steps on JAX, which take and return all states."""
        parameters = inspect.signature(step).parameters.values()
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        names = [p.name for p in parameters if p.kind in kinds and p.default is p.empty]
        if len(names) > 1:
            raise TypeError(
                f"{self._name}: must take (data), got ({', '.join(names)}): steps that take a "
                f"state and return it are for JAX, while here weights are assigned: {_WAY}"
            )

    def begin(self, arrays: Nested, batch: int, order: Any = None) -> None:
        """Start a pass over `arrays` in batches of `batch` rows, in the given order of rows."""
        model = self._model()
        if model is not None and not model._is_unchanged():
            model._drop_stale_programs()
            model._watch_layers()  # so that `trainable_variables` is found once
        self._arrays, self._batch, self._order, self._next = arrays, batch, order, 0
        self._form = arrays.form()
        self._is_fed = False

    def _part(self, rows: int) -> Any:
        """Place of the next rows."""
        part = slice(self._next, self._next + rows)
        return part if self._order is None else self._order[part]

    def run(self, steps: int, seconds: float) -> int:
        """Run up to `steps` batches or for about `seconds`; the number run."""
        assert self._arrays is not None
        end = clock.now() + seconds
        done = in_python = 0
        if self._chain is not None and not self._chain.holds():
            self._give_back()
        self._is_shown = True
        while done < steps and (not done or not self._is_shown or clock.now() < end):
            rows = min(self._batch, self._arrays.samples - self._next)
            self._take(rows)
            chain = self._chain
            left = min(steps - done, (self._arrays.samples - self._next) // rows)
            is_last = done + left == steps  # else a shorter batch follows, whose logs are wanted
            if chain is not None and chain.is_fed and left > (chain.has_calls and is_last):
                ran = self._run_fed(chain, rows, left - (chain.has_calls and is_last), end)
                done += ran
                self._is_shown = is_last or ran < left
                if not self._is_shown:
                    continue
                if not chain.has_calls:
                    self._logs = flat_logs(chain.logs())
            if chain is not None and self._can_run_last(chain):
                self._run_last(chain, rows)
                done += 1
            elif chain is None or not chain.is_fed or chain.has_calls:
                part = self._part(rows)
                self._next += rows
                self._is_fed = False
                self._is_shown = done + 1 == steps or self._chain is None or clock.now() >= end
                in_python += self._key is not None and self._chain is None
                self.step(self._arrays.step(part))
                done += 1
        if in_python and not self._is_alone:
            self._chains.tell(self._model(), self._name, in_python)
        return done

    def once(self, arrays: Nested) -> None:
        """Run one batch alone."""
        self._is_alone = True
        try:
            self.begin(arrays, arrays.samples)
            self.run(1, 0.0)
        finally:
            self.release()

    def _chains_of_pass(self) -> list[Chain | None]:
        """Chains for the whole batches of the pass, if any, and for a shorter last one."""
        assert self._arrays is not None
        n, batch = self._arrays.samples, self._batch
        sizes = [batch] * (n >= batch) + [n % batch] * (n % batch > 0)
        return [self._taken.get((self._name, self._form, rows)) for rows in sizes]

    @property
    def runs_fused(self) -> bool:
        """Whether `run_epochs` applies: batches need no Python but around the last of an epoch."""
        if self._arrays is None or overrides(type(self._model()), "reset_metrics"):
            return False
        return all(
            each is not None and each.is_fed and each.holds() for each in self._chains_of_pass()
        )

    def run_epochs(
        self, arrays: Nested, batch: int, orders: NDArray[np.int64], logs: list[dict[str, Any]]
    ) -> None:
        """Run a pass over `arrays` for each row of `orders`, without Python between batches.

        The results of those that were finished go to `logs`, also if the next one is interrupted.
        """
        self.begin(arrays, batch, orders.ravel())
        chains = [each for each in self._chains_of_pass() if each is not None]
        rows = arrays.samples % batch or batch  # of the last batch
        first = arrays.samples - rows if len(chains) > 1 else 0  # of the rows that it runs
        last = chains[-1]
        leaves = arrays.leaves(0, arrays.samples, cut=False)
        last.begin(leaves, orders[:, first:].ravel())
        if first:
            chains[0].begin(leaves, orders[:, :first].ravel())
        steps = (arrays.samples - first) // rows
        for epoch in range(1, len(orders) + 1):
            if last.metrics is not None:
                self.reset()
            try:
                if first:
                    chains[0].train_to(epoch * (first // batch))
                if last.has_calls:
                    last.train_to(epoch * steps - 1)
                    self._next = epoch * arrays.samples - rows
                    last.finish(self._next_leaves(rows))
                last.train_to(epoch * steps)
            finally:
                if last.done == epoch * steps:  # an interrupt may follow the last batch
                    self._logs = flat_logs(last.logs())
                    logs.append(self.results())

    def _take(self, rows: int) -> None:
        """Use the chain for batches of `rows` rows, if one was recorded."""
        model = self._model()
        compiled = None if model is None else model._compiled
        self._chains = StepChains.of(compiled)
        if self._form is None or compiled is None or compiled.given["run_eagerly"]:
            return
        key = self._name, self._form, rows
        if self._chain is not None and key == self._key:
            return
        chain = self._taken.get(key)
        if (len(self._taken) > 1) if chain is None else (not chain.holds()):
            self._give_back()
        chain = self._taken.get(key) or self._chains.take(key)
        if chain is not None:
            self._taken[key] = chain
        self._key, self._chain, self._is_fed = key, chain, False

    def _give_back(self) -> None:
        for key, chain in self._taken.items():
            self._chains.give_back(key, chain)
        self._taken.clear()
        self._key = self._chain = None

    def _run_fed(self, chain: Chain, rows: int, steps: int, end: float) -> int:
        """Run batches of a size in the core, until some time; the number run."""
        assert self._arrays is not None
        if not self._is_fed or chain.is_outdated():
            stop = self._next + (self._arrays.samples - self._next) // rows * rows
            order = None if self._order is None else self._order[self._next : stop]
            chain.begin(self._arrays.leaves(self._next, stop, order is None), order)
            self._is_fed = True
        before = chain.done
        try:
            chain.train(steps, end - clock.now())
        finally:
            ran = chain.done - before
            self._next += ran * rows
        return ran

    def _can_run_last(self, chain: Chain) -> bool:
        """Whether the core can run the next batch of its pass, and Python the calls around that."""
        return self._is_fed and chain.has_calls and not chain.is_outdated()

    def _run_last(self, chain: Chain, rows: int) -> None:
        """Run the next batch of the core's pass, and keep its logs."""
        before = chain.done
        leaves = self._next_leaves(rows)
        try:
            chain.finish(leaves)
        finally:
            if chain.done > before:
                self._next += rows
                self._logs = flat_logs(chain.logs())

    def _next_leaves(self, rows: int) -> list[Any]:
        """Arrays of the next batch."""
        assert self._arrays is not None
        leaves: list[Any] = tree.flatten(self._arrays.step(self._part(rows)))
        return leaves

    def step(self, batch: Any) -> None:
        """Run one batch, given as the step takes it."""
        model = self._model()
        try:
            with kept_in(self._chains.differentiated):
                logs = self._stepped(model, batch)
        except AttributeError as error:
            if not _OF_TAPES.search(str(error)):
                raise
            raise AttributeError(
                f"{self._name}: cdl computes on arrays, which no other framework can differentiate "
                f"({error}): {_WAY}"
            ) from error
        if logs is not None and not isinstance(logs, Mapping):
            raise TypeError(
                f"{type(model).__name__}: {self._name} must return a dict of logs, got "
                f"{brief(logs)}"
            )
        self._logs = flat_logs(logs or {})

    def _stepped(self, model: Any, batch: Any) -> Any:
        if self._chain is not None:
            return self._chain.once(tree.flatten(batch), self._is_shown)
        function = own_function(model, self._kind)
        step = function or getattr(model, self._name)
        if self._key is None or function is not None:
            return step(batch)
        return self._chains.run(self._key, model, step, (batch,))

    def results(self, here: bool = False) -> dict[str, Any]:
        """Result of the last step, in the order in which `evaluate` lists it.

        All ranks have the same (`here`): each has stepped over the whole batch.
        """
        del here
        model = self._model()
        first = [name for name in names_of(getattr(model, "metrics", ())) if name in self._logs]
        return {name: self._logs[name] for name in (*first, *sorted(self._logs))}

    def reset(self) -> None:
        """Reset the states of the metrics."""
        self._logs = {}
        model = self._model()
        if model is not None:
            model.reset_metrics()

    def release(self) -> None:
        """Release the data of the pass."""
        self._arrays = self._order = None
        for chain in self._taken.values():
            chain.release()
        self._give_back()

    def share_totals(self, only_held: bool = False) -> None:
        """Do nothing: the Metric objects hold their own sums."""


def names_of(metrics: Any) -> list[str]:
    """Names of metrics in logs, and of those within one that holds several."""
    free, names = FreeNames(), []
    for metric in metrics:
        inner = getattr(metric, "metrics", None)
        names += [free.take(each.name) for each in (inner if inner is not None else [metric])]
    return names


def results_of(metrics: Sequence[Any]) -> dict[str, Any]:
    """Values of metrics by name, numbers as floats; the second `mean` is `mean_1`."""
    names, found = FreeNames(), {}
    for each in metrics:
        for name, value in flat({each.name: each.result()}).items():
            found[names.take(name)] = value
    logs: dict[str, Any] = recorded(flat_logs, found)
    return logs


def flat(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Logs without nested dicts."""
    found: dict[str, Any] = {}
    for name, value in logs.items():
        found.update(flat(value) if isinstance(value, Mapping) else {str(name): value})
    return found


def flat_logs(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Logs without nested dicts, numbers as floats."""
    values = flat(logs)
    return {name: value if np.ndim(value) else float(value) for name, value in values.items()}
