"""feeds.py - from what the user hands in to a checked feed, with the engine that runs it."""

from typing import Any

from cdl import data
from cdl.models.arrays import Arrays, like_first, training_data
from cdl.models.compiled import Compiled
from cdl.models.loops import ArrayFeed, Feed, StreamFeed
from cdl.models.own_steps import Nested, nested, steps_itself

DEFAULT_BATCH = 32
AnyArrays = Arrays | Nested


def for_step(
    model: Any,
    compiled: Compiled,
    kind: str,
    parts: tuple[Any, Any, Any],
    class_weight: Any,
    call: str,
    batch: int | None = None,
) -> AnyArrays:
    """x, y and weights as the model's step takes them: checked, or in the structure they have.

    Args:
        model: the model.
        compiled: what it was compiled with.
        kind: "train" or "test".
        parts: x, y and the sample weights.
        class_weight: {class: weight}, or None.
        call: how errors call the place.
        batch: rows of a batch, for the shape of a model that the data build.
    """
    if steps_itself(type(model), kind):
        return nested(*parts, class_weight, call)
    return training_data(model, compiled, *parts, class_weight, call, batch, trains=kind == "train")


def refuse_beside_stream(call: str, source: Any, **given: Any) -> None:
    """ValueError for an argument that only arrays take, if it is given."""
    kind = "a PyDataset" if isinstance(source, data.PyDataset) else "a generator"
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{call}: {name} must not be given when x is {kind}, got "
                f"{data.brief(value)}: let it be part of the batches"
            )


def stream_feed(
    model: Any,
    compiled: Compiled,
    source: Any,
    call: str,
    kind: str,
    steps: int | None,
    *,
    shuffle: bool = False,
    class_weight: Any = None,
    in_fit: bool = False,
    validating: bool = False,
) -> Feed:
    """A feed of the batches of a generator, a PyDataset or another iterable.

    Args:
        model: the model; it is built by the first batch if it is not.
        compiled: what it was compiled with.
        source: what gives the batches.
        call: how errors call the place.
        kind: "train" or "test".
        steps: batches of an epoch, None for all that there are.
        shuffle: whether a PyDataset is read in a new order in each epoch.
        class_weight: {class: weight}, or None.
        in_fit: whether a generator that ends early is an error.
        validating: whether this is the validation of a fit, which starts at the first batch.
    """
    own = steps_itself(type(model), kind)
    fresh = compiled.settled is None and not own
    stream = data.Stream(source, call if validating else f"{call}: x", shuffle)
    if stream.is_dataset and not len(stream) and steps is None and source.num_batches is None:
        raise ValueError(f"{call}: the number of steps must be given for a PyDataset without end")
    if not fresh:
        stream.end_epoch()  # as Keras does, which resets what it reads from

    def checked(batch: tuple[Any, ...]) -> AnyArrays:
        x, y, weight = (*batch, None, None)[:3]
        where = f"{call}: batch {stream.current}"
        if own:
            return nested(x, y, weight, class_weight, where, 0 if stream.bare else len(batch))
        return training_data(
            model, compiled, x, y, weight, class_weight, where, trains=kind == "train"
        )

    first = checked(stream.peek())
    engine = model._engine(compiled, kind, first, first.samples)
    if stream.is_dataset and fresh:
        # As Keras does, which first builds with one batch of an epoch of its own.
        stream.end_epoch()
        stream.rewind()

    def check(batch: tuple[Any, ...]) -> AnyArrays:
        arrays = checked(batch)
        if isinstance(arrays, Arrays) and isinstance(first, Arrays):
            like_first(arrays, first, stream.name, stream.current)
        return arrays

    return StreamFeed(engine, stream, check, steps, restart=validating, in_fit=in_fit)


def array_feed(
    model: Any,
    compiled: Compiled,
    arrays: AnyArrays,
    kind: str,
    batch: int,
    steps: int | None,
    **options: Any,
) -> ArrayFeed:
    """A feed of checked arrays in batches of at most `batch` rows; for `options` see ArrayFeed."""
    batch = min(batch, arrays.samples)
    return ArrayFeed(model._engine(compiled, kind, arrays, batch), arrays, batch, steps, **options)
