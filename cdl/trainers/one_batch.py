"""One batch: train_on_batch and test_on_batch, and results as Keras returns them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cdl._common.validation import check_batches
from cdl.trainers import arguments, not_finite, together
from cdl.trainers.compile_utils import Logged
from cdl.trainers.custom.steps import CustomSteps, nested, steps_itself
from cdl.trainers.data_adapter import training_data
from cdl.trainers.epoch_iterator import in_order
from cdl.trainers.signature import TrainableModel


def on_batch(
    model: TrainableModel,
    kind: str,
    x: Any,
    y: Any,
    sample_weight: Any,
    class_weight: Any,
    return_dict: Any,
) -> Any:
    """Train or evaluate on one batch: all of `train_on_batch` and `test_on_batch`."""
    call = f"{kind}_on_batch"
    compiled = model._compiled_for(call, trains=kind == "train")
    if type(return_dict) is not bool:
        return_dict = arguments.switch(return_dict, f"{call}: return_dict")
    if steps_itself(type(model), kind):
        return _custom_on_batch(model, kind, (x, y, sample_weight), class_weight, return_dict)
    trains = kind == "train"
    arrays = training_data(model, compiled, x, y, sample_weight, class_weight, call, trains=trains)
    rows = arrays.samples
    train_function: Any = model._train_function(compiled, kind, arrays, rows)
    try:
        check_batches(call, train_function.batch_of_states, rows, rows)
        if trains:
            together.begin_batches(model, rows)
            not_finite.look_before(model, again=False)
        results = train_function.once(arrays)
        if not math.isfinite(results["loss"]) and not compiled.told_not_finite:
            not_finite.tell(model, compiled, arrays, results["loss"], call)
    finally:
        model._give_back(train_function)
        train_function.share_totals(only_held=True)
        if model._last_train_function is not train_function:
            model._last_train_function = train_function
    return returned(results, return_dict, train_function)


def _custom_on_batch(
    model: TrainableModel,
    kind: str,
    parts: tuple[Any, Any, Any],
    class_weight: Mapping[int, float],
    return_dict: bool,
) -> Any:
    """Train or evaluate on one batch by the model's custom step."""
    batch = nested(*parts, class_weight, f"{kind}_on_batch")
    steps = CustomSteps(model, kind)
    model._last_train_function = steps
    steps.reset()
    steps.once(batch)
    return returned(steps.results(), return_dict, steps)


def returned(results: dict[str, float], return_dict: bool, train_function: Any) -> Any:
    """Results as Keras returns them: a float, a list with the loss first, or a dict by name."""
    if return_dict:
        return in_order(results)
    resolved = None if isinstance(train_function, CustomSteps) else train_function.resolved
    if resolved is None:
        values = in_list(results, ())
    elif resolved.repeated:
        losses = list(dict.fromkeys(each.logged for each in resolved.losses))
        each = in_list({name: name for name in results}, resolved.metrics, losses)
        values = [results[name] for name in each for _ in range(resolved.repeated.get(name, 1))]
    else:
        values = in_list(results, resolved.metrics)
    return values[0] if len(values) == 1 else values


def in_list(
    results: dict[str, Any], metrics: Sequence[Logged], losses: Sequence[str | None] = ()
) -> list[Any]:
    """Results in the order of Keras: by names of metrics and losses, then other names.

    If two metrics share a name, the value of the first is listed twice, and that of the second at
    the end.
    """
    names = [each.metric.name for each in metrics]
    if len(set(names)) == len(names):  # as nearly always: `Counter` would cost a batch 5 %
        return list(results.values())
    counts = Counter(names)
    if not any(counts[name] > 1 for name in results):
        return list(results.values())
    names = ["loss", *names, *(name for name in losses if name is not None)]
    rest = sorted(results.keys() - names)
    return [results[name] for name in (*names, *rest) if name in results]
