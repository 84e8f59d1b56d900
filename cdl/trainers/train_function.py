"""TrainFunction: an executor, with the losses and metrics that are Python code.

If all is compiled, `run` is one call of the core for any number of batches. With a loss or a metric
in Python it is a loop over batches, in which the core computes the rest.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common import clock
from cdl._common.validation import check_batches
from cdl._core import Executor
from cdl._tracing.untraced import Untraced
from cdl.distribution.ranks import Ranks, check_no_own_data
from cdl.optimizers.base_optimizer import Optimizer
from cdl.optimizers.python_optimizer import APPLYING, check_overridden
from cdl.random import core_seed
from cdl.trainers.compile_utils import Compiled, Logged, Resolved, plain_value
from cdl.trainers.custom.host_functions import HostFunctions
from cdl.trainers.custom.weight_rules import WeightRules
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.learner import learner
from cdl.trainers.lowering import MODEL_LOSS, Plan
from cdl.trainers.sizes import Form, form_of

# Steps for which the rates of a schedule are computed at once: a few microseconds of NumPy, at most
# 32 KB, however long the epoch is.
_RATES = 8192

_Pass = tuple[Any, int, NDArray[np.int64] | None]
_NOTHING: _Pass = [], 1, None  # a pass without data


class TrainFunction:
    """Runner of a program's batches, in training or in evaluation.

    Args:
        plan: the program and how it is fed.
        resolved: the losses and the metrics, for those in Python.
        compiled: the arguments of `compile`.
        variables: the weights that training changes.
        rows: the largest batch size, until a larger batch comes.
        training: whether `run` trains.
        key: the train function's key in the ExecutorCache.
        only: names of the values that the logs hold, in order; None for all.
        before_step: functions of layers that change their weights before each training step.
        ranks: the processes that share the rows of each batch. Python code between two batches runs
            on all rows in each of them.
    """

    def __init__(
        self,
        plan: Plan,
        resolved: Resolved,
        compiled: Compiled,
        variables: list[Any],
        rows: int,
        training: bool,
        key: Any = None,
        only: list[str] | None = None,
        before_step: Sequence[Callable[[], None]] = (),
        ranks: Ranks | None = None,
    ) -> None:
        optimizer = compiled.optimizer
        if training:
            follows = type(optimizer).follow is Optimizer.follow and not optimizer.whole_batch
            check_overridden(optimizer, "scale_loss", *(() if follows else APPLYING))
        self.plan = plan
        self.training = training
        self.optimizer = optimizer
        self.resolved = resolved
        self.metrics = resolved.metrics + plan.observed
        self.parts = HostFunctions(resolved, plan)
        self._only = only
        one = len(resolved.targets) == 1
        self._plain_metrics = [m for m in resolved.metrics if one or m.name == m.metric.name]
        self._front_metrics = [m for m in resolved.metrics if m not in self._plain_metrics]
        whole = MODEL_LOSS in plan.reports
        self._compiled = compiled
        self._custom_loss = compiled.custom_loss
        self._scaled = not whole  # losses are reported as they count in the whole
        self._any_held = any(each.held for each in self.metrics)
        self._traced = [each.traced for each in resolved.metrics if each.traced is not None]
        constrains = training and not optimizer.gathers
        traces = not resolved.eager
        weight_rules = WeightRules(variables, training, plan.penalized, constrains, traces)
        self._weight_rules = weight_rules
        self._untold = not resolved.eager  # whether something in Python may not have been told of
        self.in_python = bool(self.parts.losses or self.parts.metrics) or weight_rules.in_python
        self._before_step = before_step
        self.in_python |= bool(before_step)
        self.in_python |= (training and optimizer.by_step) or plan.calls is not None
        alone = plan.reports == (0,) and resolved.losses[0].is_whole
        self._is_bare = alone and not (self.in_python or self.metrics or whole or only is not None)
        wants_all = self.in_python or plan.program.calls_python or plan.program.batch_of_states
        wants_all = wants_all or plan.rows is not None
        if wants_all:
            check_no_own_data("the losses, metrics or layers")
        self.ranks = None if wants_all else ranks
        self.key = key
        self._pass = _NOTHING
        self._feeds = [(Arrays._fields.index(s.role), s.number) for s in plan.slots]
        self._variables = variables
        self.batch_of_states = plan.program.batch_of_states
        self._make_executor(rows)
        self._forget()

    def _capacity(self, rows: int) -> int:
        """Rows that an executor for batches of `rows` needs: never fewer than it has."""
        return max(rows, self.executor.rows)

    def _make_executor(self, rows: int) -> None:
        self.grew = True  # its memory, since a cache looked at it
        program, rules = self.plan.program, self._weight_rules.rules
        splits = not self.in_python
        self._changes = self.optimizer.changes
        if self.training:
            after, variables = self._weight_rules.after, self._variables
            self.executor = learner(
                program, rows, self.optimizer, variables, rules, after, splits, self.ranks
            )
        else:
            self.executor = Executor(program, rows, rules=rules, splits=splits, ranks=self.ranks)

    def _forget(self) -> None:
        self._python_penalty = 0.0  # sum over batches of rows times what Python code adds
        # States of executors that became too small.
        self._earlier: list[tuple[float, ...]] = []
        self._earlier_penalty = (0.0, 0.0)
        self._joined: list[tuple[float, ...]] | None = None  # states of all ranks, if known

    def begin(self, arrays: Arrays, batch: int, order: NDArray[np.int64] | None = None) -> None:
        """Start a pass over `arrays` in batches of `batch` rows, in the given order of rows.

        Raises:
            ValueError: layers keep states from batch to batch, of another number of samples.
        """
        check_batches("a run", self.batch_of_states, batch, arrays.samples)
        if self._capacity(batch) != self.executor.rows or self._is_outdated:
            self._remake_executor(self._capacity(batch))
        if self.in_python:
            self.parts.learn_dtypes(arrays.y)
        fed = self._fed(arrays)
        self._pass = fed, batch, order
        self.executor.begin(fed, batch, order)

    def _fed(self, arrays: Arrays) -> list[Any]:
        """Arrays for the program's inputs."""
        parts: tuple[Any, ...] = arrays
        return [parts[part][number] for part, number in self._feeds]

    @property
    def _is_outdated(self) -> bool:
        """Whether an attribute of the optimizer was set after the executor was made."""
        return self.training and self._changes != self.optimizer.changes

    def _remake_executor(self, rows: int) -> None:
        self._earlier, self._earlier_penalty = self._states(), self._penalties()
        self._make_executor(rows)

    def _follow_optimizer(self) -> None:
        """Continue the pass with the optimizer's current attributes."""
        if not self._is_outdated:
            return
        fed, batch, order = self._pass
        at = self.executor.done * batch
        self._remake_executor(self.executor.rows)
        if order is None:
            fed = [each[at:] for each in fed]
        self._pass = fed, batch, None if order is None else order[at:]
        self.executor.begin(*self._pass)

    def takes(self, arrays: Arrays) -> bool:
        """Whether the program is for inputs, targets and weights of such sizes."""
        form: Form = self.key[3]
        takes_sizes = form.inputs is not None
        if not takes_sizes:
            return True
        return form == form_of(arrays, self.resolved, self._custom_loss, takes_sizes).key

    def go_on_from(self, other: Any) -> None:
        """Take over the sums of another train function, of other input sizes, in a pass."""
        self.executor.reset()
        self._earlier, self._earlier_penalty, self._python_penalty = other.sums()
        self.parts.totals = other.parts.totals

    def release(self) -> None:
        """Release the data of the pass."""
        self._pass = _NOTHING
        self.executor.release()

    def reset(self) -> None:
        """Reset loss and metrics."""
        self.executor.reset()
        self._forget()
        for each in self._traced:
            each.reset()
        if self.in_python:
            self.parts.forget()

    def once(self, arrays: Arrays) -> dict[str, Any]:
        """Run one batch alone; its losses and metrics."""
        rows = arrays.samples
        if self.in_python or self.ranks is not None:
            self.reset()
            try:
                self.begin(arrays, rows)
                self.run(1, 0.0)
                return self.results()
            finally:
                self.release()
        if self._capacity(rows) != self.executor.rows or self._is_outdated:
            self._remake_executor(self._capacity(rows))
        self._forget()
        for each in self._traced:
            each.reset()
        fed = self._fed(arrays)
        if not self.training:
            states, penalty = self.executor.once(fed)
        else:
            step = self.optimizer.step
            rate = self.optimizer.rate(step)
            states, penalty = self.executor.once(fed, rate, step, core_seed())
        return self._logs(states, self._penalty(*penalty))

    def run(self, steps: int, seconds: float) -> int:
        """Run up to `steps` batches or for about `seconds`; the number run.

        If this is interrupted, the weights, the optimizer and the metrics are those of the last
        whole batch. Attributes of the optimizer that have been set meanwhile count from here on.
        """
        self._follow_optimizer()
        if self.in_python:
            return self._run_in_python(steps, seconds)
        if not self.training:
            before = self.executor.done
            return self.executor.test(steps, seconds) - before
        return self._train(steps, seconds)

    @property
    def runs_fused(self) -> bool:
        """Whether `run_epochs` applies: no Python between two batches of this model."""
        return self.training and self.optimizer.has_one_rate and self.is_compiled

    @property
    def is_compiled(self) -> bool:
        """Whether no Python runs between two batches."""
        return not (self.in_python or self._traced or self.plan.program.calls_python)

    def run_epochs(
        self, arrays: Arrays, batch: int, orders: NDArray[np.int64], logs: list[dict[str, Any]]
    ) -> None:
        """Run a pass over `arrays` for each row of `orders`, all in one call.

        The results of those that were finished go to `logs`, also if the next one is interrupted.
        """
        self.begin(arrays, batch, orders[0])
        self._forget()
        first = self.optimizer.step
        rate = self.optimizer.rate(first)
        passes: list[Any] = []
        train = self.executor.train_epochs
        try:
            self._learn(lambda: train(orders, rate, first, core_seed(), passes))
        finally:
            logs += [self.logs_of(*each) for each in passes]

    def logs_of(
        self, states: list[tuple[float, ...]], penalty: tuple[float, float]
    ) -> dict[str, Any]:
        """Losses and metrics of an epoch, from results of the core."""
        return self._logs(states, _mean(*penalty))

    def losses_of(self, found: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Losses of epochs, from results of the core; None if the logs have more than these."""
        if not self._is_bare:
            return None
        count = found[..., 1::2]
        means = np.divide(found[..., ::2], count, out=np.zeros_like(count), where=count != 0)
        return np.asarray(means[..., 1] + means[..., 0])

    def _train(self, steps: int, seconds: float) -> int:
        first = self.optimizer.step
        rates = self.optimizer.rates(first, min(steps, _RATES))
        if len(rates) > 1:
            steps = len(rates)
        train = self.executor.train
        return self._learn(lambda: train(steps, seconds, rates, first, core_seed()))

    def _learn(self, run: Callable[[], object]) -> int:
        """Train on some batches in the core, which counts the steps; the number run."""
        executor = self.executor
        before, skipped = executor.done, executor.skipped
        run()
        done = executor.done - before
        if self.optimizer.by_step and done:
            self.optimizer.follow(executor.skipped == skipped)
        return done

    def _run_in_python(self, steps: int, seconds: float) -> int:
        """Run batch by batch, with the Python parts between.

        If the first batch of all fails, its shapes may be at fault, and those of later data right:
        then losses and metrics are traced again.
        """
        try:
            done = self._run_parts(steps, seconds)
        except Exception:
            if not self._compiled.has_run:
                self._compiled.resolved = None
            raise
        self._compiled.has_run = True
        return done

    def _run_parts(self, steps: int, seconds: float) -> int:
        restrained = self._weight_rules.in_python
        end = clock.now() + seconds
        done = 0
        while done < steps and (not done or clock.now() < end):
            for prepare in self._before_step:
                prepare()
            penalty = self._weight_rules.before_step() if restrained else 0.0
            if self.parts.losses or self.plan.calls is not None:
                self._step_in_halves()
            elif self.training:
                self._train(1, 0.0)
            else:
                self.executor.test(1, 0.0)
            if restrained:
                self._python_penalty += penalty * len(self.executor.output(0))
                self._weight_rules.after_step()
            if self.parts.metrics:
                self.parts.update_metrics(self.executor)
            done += 1
            if self._untold:
                self._tell()
        return done

    def _tell(self) -> None:
        """Log, once it has run, that user code runs in Python."""
        self._untold = False
        of_training = (*self.plan.untraced, *self._weight_rules.untraced) if self.training else ()
        for each in (*self.parts.untold, *of_training):
            each.tell()

    @property
    def untraced(self) -> list[Untraced]:
        """User code that runs in Python."""
        hosted = self.plan.program.hosted
        return [*self.parts.untraced, *self.plan.untraced, *hosted, *self._weight_rules.untraced]

    def _step_in_halves(self) -> None:
        """Run one batch, with Python between the forward and the backward pass."""
        executor, optimizer = self.executor, self.optimizer
        step = optimizer.step
        rows = executor.forward(self.training, step, core_seed())
        if self.plan.calls is not None:
            self.plan.calls.run(lambda i: executor.output(i, rows))
        gradients = self.parts.losses_of(executor, rows, self.training)
        scale = self.plan.program.loss_scale
        if scale is not None:
            gradients = [None if each is None else each * float(scale) for each in gradients]
        if self.training:
            rate = optimizer.rate(step)
            self._learn(lambda: executor.backward(gradients, rate, step))
        else:
            executor.skip()

    def outputs(self) -> list[NDArray[np.float32]]:
        """Outputs of the model for the last batch."""
        return [self.executor.output(i) for i in range(len(self.resolved.targets))]

    def results(self, here: bool = False) -> dict[str, Any]:
        """Losses and metrics since `reset`, in the order in which `evaluate` lists them.

        That is the loss; the metrics as `compile` had them; the losses of the outputs, if there are
        several; what traced code shows values; and metrics with an output's name in front, by name.

        Args:
            here: whether of several ranks only this one's rows count, since others are not asked.
        """
        states, penalties = self._states(), self._penalties()
        if self.ranks is not None and not here:
            *states, (total, rows) = self.ranks.total_of([*states, penalties])
            penalties = total, rows
            self._joined = states
        return self._logs(states, self._penalty(*penalties))

    def _logs(self, counted: list[tuple[float, ...]], penalty: float) -> dict[str, Any]:
        """Losses and metrics, from the states of the reports and the mean penalty."""
        if self._is_bare:
            return {"loss": _mean(*counted[0]) + penalty}
        resolved = self.resolved
        states: dict[Any, Any] = dict(zip(self.plan.reports, counted, strict=True))
        if self.in_python:
            states.update(self.parts.totals)
        logs: dict[str, Any] = {"loss": 0.0}
        self._add_metrics(logs, self._plain_metrics, states)
        whole = 0.0
        for i, entry in enumerate(resolved.losses):
            if i in states:
                total, count = states[i]
                value = total / count if count else 0.0
                if self._scaled and entry.scale:  # else the report is of the loss itself
                    whole += value
                    value /= entry.scale
                if entry.logged is not None:
                    logs[entry.logged] = value
        if not self._scaled:
            total, count = states[MODEL_LOSS]
            whole = total / count if count else 0.0
        logs["loss"] = whole + penalty
        self._add_metrics(logs, self.plan.observed, states)
        if self._front_metrics:
            values: dict[str, Any] = {}
            self._add_metrics(values, self._front_metrics, states)
            logs.update(sorted(values.items()))
        if self._only is not None:
            logs = {name: logs[name] for name in self._only if name in logs}
        return logs

    @staticmethod
    def _add_metrics(
        logs: dict[str, Any], metrics: Iterable[Logged], states: dict[Any, Any]
    ) -> None:
        for each in metrics:
            if each.key in states:
                value = each.runs.value_of(states[each.key])
            else:
                value = each.metric.result()
            if isinstance(value, float):
                logs[each.name] = float(value)
            elif isinstance(value, Mapping):
                logs.update({str(key): plain_value(part) for key, part in value.items()})
            else:
                logs[each.name] = plain_value(value)

    def _penalty(self, total: float, rows: float) -> float:
        """Mean over all rows of the regularizers' penalty of their batch."""
        total += self._python_penalty
        if not self.training:  # the weights have been the same all the time
            total += rows * self._weight_rules.penalty()
        return _mean(total, rows)

    def sums(self) -> tuple[list[tuple[float, ...]], tuple[float, float], float]:
        """States of the reports, and penalties with the number of rows, since `reset`."""
        return self._states(), self._penalties(), self._python_penalty

    def _penalties(self) -> tuple[float, float]:
        """Sum of the penalties in the core, and the number of rows."""
        (total, rows), (earlier, before) = self.executor.penalty(), self._earlier_penalty
        return total + earlier, rows + before

    def _states(self) -> list[tuple[float, ...]]:
        """State of each report."""
        states = self.executor.states()
        if not self._earlier:
            return states
        pairs = zip(states, self._earlier, strict=True)
        return [tuple(map(sum, zip(now, before, strict=True))) for now, before in pairs]

    def share_totals(self, only_held: bool = False) -> None:
        """Copy the core's sums to the Metric objects."""
        if only_held and not self._any_held:
            return
        states = dict(zip(self.plan.reports, self._joined or self._states(), strict=True))
        for each in self.metrics:
            if each.key in states and (each.held or not only_held):
                each.runs.load(states[each.key])


def _mean(total: float, rows: float) -> float:
    return float(total / rows) if rows else 0.0
