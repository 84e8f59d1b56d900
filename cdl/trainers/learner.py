"""Executors that train weights by an optimizer."""

from collections.abc import Mapping, Sequence
from typing import Any

from cdl._core import Executor
from cdl._ir.program import Program
from cdl._tracing.variable import Variable
from cdl.distribution.ranks import Ranks


def learner(
    program: Program,
    rows: int,
    optimizer: Any,
    variables: Sequence[Variable],
    rules: Mapping[str, Any],
    after: Executor | None = None,
    splits: bool = False,
    ranks: Ranks | None = None,
) -> Executor:
    """Executor that trains weights by an optimizer, whose steps it counts.

    Args:
        program: with a loss, or with gradients that are handed to `backward`.
        rows: the most rows of a batch.
        optimizer: built for the weights.
        variables: the weights that are trained.
        rules: what is done around the update, beside the optimizer's arguments.
        after: a program that runs on the weights after each step.
        splits: whether only `train` and `test` are called.
        ranks: the processes that share the rows of each batch.
    """
    if program.loss_scale is not None:
        rules = {**rules, "loss_scale": program.loss_scale.storage}
    executor = Executor(
        program,
        rows,
        training=True,
        optimizer=optimizer.groups(variables),
        rules={**rules, **optimizer.rules(variables)},
        after=after,
        splits=splits,
        ranks=ranks,
    )
    executor.count_in(optimizer.counter)
    return executor
