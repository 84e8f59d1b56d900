"""engine.py - Engine: one executor, and beside it the losses and metrics written in Python.

As long as all is compiled, `run` is one call of the core for as many batches as it gets. A loss or
a metric in Python makes it a loop over batches, in which the core still does everything else.
"""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl import losses, metrics
from cdl._core import Executor
from cdl.models.compiled import Compiled, Settled
from cdl.models.lowering import Plan
from cdl.models.restraints import Restraints
from cdl.random import core_seed

# Rates of a schedule are made for so many steps at a time: a few microseconds of NumPy, and at
# most 32 KB, however long the epoch is.
_RATES = 8192


class Arrays(NamedTuple):
    """Checked data, a row a sample: what programs are fed from."""

    x: NDArray[Any]
    y: NDArray[Any] | None
    weight: NDArray[Any] | None

    def rows(self, start: int, stop: int) -> "Arrays":
        """A part of it, as views."""
        y, weight = self.y, self.weight
        return Arrays(
            self.x[start:stop],
            None if y is None else y[start:stop],
            None if weight is None else weight[start:stop],
        )


class Engine:
    """Runs the batches of one program, in training or in evaluation.

    Args:
        plan: the program and how it is fed.
        settled: the loss and the metrics, for those in Python.
        compiled: what the model was compiled with.
        variables: the weights that training changes.
        rows: the most rows of a batch, until a larger one comes.
        training: whether `run` trains.
        key: by which Machines knows it.
    """

    def __init__(
        self,
        plan: Plan,
        settled: Settled,
        compiled: Compiled,
        variables: list[Any],
        rows: int,
        training: bool,
        key: Any = None,
    ) -> None:
        optimizer = compiled.optimizer
        self.plan = plan
        self.training = training
        self.optimizer = optimizer
        self.scale = compiled.scale
        self.loss: Any = settled.loss
        self.metrics = settled.metrics
        self.python_loss = self.loss is not None and not losses.is_compiled(self.loss)
        self.python_metrics = [
            each for each in self.metrics if not metrics.is_compiled(each.metric)
        ]
        self._any_held = any(each.held for each in self.metrics)
        restraints = self._restraints = Restraints(variables, training)
        self.in_python = self.python_loss or bool(self.python_metrics) or restraints.in_python
        self.in_python |= training and optimizer.by_step
        self.key = key
        self._done = 0  # batches of the pass
        self._y_dtype = np.dtype(np.float32)
        self._options: dict[str, Any] = {"training": training, "rules": restraints.rules}
        if training:
            self._options["optimizer"] = optimizer.groups(variables)
            self._options["rules"].update(optimizer.rules(variables))
        self._make_executor(rows)

    def _make_executor(self, rows: int) -> None:
        self.executor = Executor(self.plan.program, rows, **self._options)
        self._forget()

    def _forget(self) -> None:
        self._loss_total = self._loss_count = 0.0
        self._python_penalty = 0.0  # sum over batches of rows times what Python code adds
        # States of executors that became too small.
        self._earlier: list[tuple[float, ...]] = []
        self._earlier_penalty = (0.0, 0.0)

    def begin(self, arrays: Arrays, batch: int, order: NDArray[np.int64] | None = None) -> None:
        """Start a pass over `arrays` in batches of `batch` rows, in the given order of rows."""
        if batch > self.executor.rows:
            earlier, loss = self._states(), (self._loss_total, self._loss_count)
            (total, rows), (t, n) = self.executor.penalty(), self._earlier_penalty
            self._make_executor(batch)
            self._earlier, (self._loss_total, self._loss_count) = earlier, loss
            self._earlier_penalty = (total + t, rows + n)
        if arrays.y is not None:
            self._y_dtype = arrays.y.dtype
        fed = [getattr(arrays, slot.role) for slot in self.plan.slots]
        self.executor.begin(fed, batch, order)
        self._done = 0

    def release(self) -> None:
        """Let go of the data."""
        nothing = [np.empty((0, *slot.shape), np.float32) for slot in self.plan.slots]
        self.executor.begin(nothing, 1)

    def reset(self) -> None:
        """Forget what loss and metrics have added up."""
        self.executor.reset()
        self._forget()
        for each in self.python_metrics:
            each.metric.reset_state()

    def run(self, steps: int, seconds: float) -> int:
        """Run up to `steps` batches or for about `seconds`; returns how many it was.

        If this is interrupted, the weights, the optimizer and the metrics are those of the last
        whole batch.
        """
        if self.in_python:
            return self._run_in_python(steps, seconds)
        if not self.training:
            before, self._done = self._done, self.executor.test(steps, seconds)
            return self._done - before
        return self._train(steps, seconds)

    def _train(self, steps: int, seconds: float) -> int:
        optimizer, executor = self.optimizer, self.executor
        first = optimizer.step
        rates = optimizer.rates(first, min(steps, _RATES))
        if len(rates) > 1:
            steps = len(rates)
        before = done = self._done
        skipped = executor.skipped
        try:
            done = executor.train(steps, seconds, rates, first, core_seed())
        except BaseException:
            # Ctrl-C comes after the core has returned and before `done` is bound: ask it again.
            done = executor.train(0, 0.0, rates, first, core_seed())
            raise
        finally:
            self._done = done
            self._follow(first, done - before, executor.skipped - skipped)
        return done - before

    def _follow(self, first: int, batches: int, skipped: int) -> None:
        """Tell the optimizer what it has made of so many batches, after its step `first`."""
        self.optimizer.step = first + batches - skipped
        if self.optimizer.by_step and batches:
            self.optimizer.follow(skipped == 0)

    def _run_in_python(self, steps: int, seconds: float) -> int:
        """The same batch by batch, with the Python parts between."""
        restrained = self._restraints.in_python
        end = time.perf_counter() + seconds
        done = 0
        while done < steps and (not done or time.perf_counter() < end):
            penalty = self._restraints.before_step() if restrained else 0.0
            if self.python_loss:
                self._step_with_python_loss()
            elif self.training:
                self._train(1, 0.0)
            else:
                self._done = self.executor.test(1, 0.0)
            if restrained:
                self._python_penalty += penalty * len(self.executor.output(0))
                self._restraints.after_step()
            if self.python_metrics:
                self._update_metrics()
            done += 1
        return done

    def _step_with_python_loss(self) -> None:
        executor, optimizer = self.executor, self.optimizer
        step = optimizer.step
        rows = executor.forward(self.training, step, core_seed())
        y, weight = self._targets(rows)
        prediction = executor.output(0, rows)
        mean = self.loss.reduction in ("mean", "sum_over_batch_size")
        weight = _masked(weight, self._mask(rows), mean)
        value = self.scale * float(np.mean(self.loss(y, prediction, weight)))
        if self.training:
            gradient = losses.numeric_gradient(self.loss, y, prediction, weight)
            rate = float(optimizer.rates(step, 1)[0])
            skipped = executor.skipped
            executor.backward((self.scale * gradient).astype(np.float32), rate, step)
            self._follow(step, 1, executor.skipped - skipped)
        else:
            executor.skip()
        self._done += 1
        self._loss_total += rows * value
        self._loss_count += rows

    def _update_metrics(self) -> None:
        y, weight = self._targets()
        if self._y_dtype.kind in "iub":
            y = y.astype(self._y_dtype)  # class numbers are still good to index with
        prediction, mask = self.executor.output(0), self._mask()
        for each in self.python_metrics:
            own = weight if each.weighted else None
            if each.metric.heeds_masks:
                own = _masked(own, mask)
            if each.weighted or own is not None:
                each.metric.update_state(y, prediction, sample_weight=own)
            else:
                each.metric.update_state(y, prediction)

    def _targets(self, rows: int | None = None) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """y and the weights of the last batch, as the core gathered them."""
        y: NDArray[Any] | None = None
        weight: NDArray[Any] | None = None
        for i, slot in enumerate(self.plan.slots):
            if slot.role == "weight":
                weight = self.executor.batch(i, rows)  # likewise the last one
            elif slot.role == "y" and slot.dtype == "float32":
                y = self.executor.batch(i, rows)  # the last one is that of the user's own shape
        assert y is not None
        return y, weight

    def _mask(self, rows: int | None = None) -> NDArray[Any] | None:
        """Which lines of the last batch's predictions count, 1 or 0; None for all."""
        if len(self.plan.program.outputs) < 2:
            return None
        mask: NDArray[Any] = self.executor.output(1, rows)[..., 0]
        return mask

    def results(self) -> dict[str, Any]:
        """Loss and metrics since `reset`: the loss, then the metrics as compile had them."""
        states = dict(zip(self.plan.reports, self._states(), strict=True))
        total, count = states.get("loss", (self._loss_total, self._loss_count))
        logs: dict[str, Any] = {"loss": (total / count if count else 0.0) + self._penalty()}
        for each in self.metrics:
            if each.name in states:
                value = each.metric.value_of(states[each.name])
            else:
                value = each.metric.result()
            parts = value if isinstance(value, Mapping) else {each.name: value}
            logs.update({str(key): _plain(part) for key, part in parts.items()})
        return logs

    def _penalty(self) -> float:
        """The mean over all rows of what regularizers add to the loss of their batch."""
        total, rows = self.executor.penalty()
        total, rows = total + self._earlier_penalty[0], rows + self._earlier_penalty[1]
        total += self._python_penalty
        if not self.training:  # the weights have been the same all the time
            total += rows * self._restraints.penalty()
        return float(total / rows) if rows else 0.0

    def _states(self) -> list[tuple[float, ...]]:
        """The state of each report."""
        states = self.executor.states()
        if not self._earlier:
            return states
        pairs = zip(states, self._earlier, strict=True)
        return [tuple(map(sum, zip(now, before, strict=True))) for now, before in pairs]

    def share_totals(self, only_held: bool = False) -> None:
        """Give the Metric objects what the core added up for them, for who looks at them."""
        if only_held and not self._any_held:
            return
        states = dict(zip(self.plan.reports, self._states(), strict=True))
        for each in self.metrics:
            if each.name in states and (each.held or not only_held):
                each.metric.load(states[each.name])


def _plain(value: Any) -> Any:
    """A metric's value as the logs have it: a float, or an array if it is several numbers."""
    return float(value) if np.ndim(value) == 0 else value


def _masked(
    weight: NDArray[Any] | None, mask: NDArray[Any] | None, mean: bool = False
) -> NDArray[Any] | None:
    """Weights with 0 where a mask has 0; for a mean, so large that it is one over the others."""
    if mask is None:
        return weight
    if mean:
        mask = mask * (mask.size / max(float(mask.sum()), 1.0))
    if weight is None:
        return mask
    wide = weight.reshape(weight.shape + (1,) * (mask.ndim - weight.ndim))
    product: NDArray[Any] = wide * mask
    return product
