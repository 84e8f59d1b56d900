"""Compatibility with Keras 2: older spellings of today's names.

Functions with short names (`cdl.losses.mse`), arguments that have other names now
(`Dense(output_dim=...)`, `fit(nb_epoch=...)`), and methods that are gone (`predict_classes`).
"""

from __future__ import annotations

import functools
import importlib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from cdl import tree
from cdl._common.errors import step_aside, warn
from cdl._common.public_names import publish
from cdl.data import PyDataset

if TYPE_CHECKING:
    from cdl.callbacks.callback import Callback


__all__ = ["get_value", "int_shape", "set_value"]

Function = TypeVar("Function", bound=Callable[..., Any])

# --- functions ---

_SHORT = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "cosine": "cosine_similarity",
    "cosine_proximity": "cosine_similarity",
    "kullback_leibler_divergence": "kl_divergence",
    "logcosh": "log_cosh",
}
_SHORT |= {name.upper(): function for name, function in _SHORT.items() if len(name) < 5}


def short_names(module: str) -> Callable[[str], Any]:
    """Create the `__getattr__` of `losses` and `metrics` for their short names in Keras 2."""

    def find(name: str) -> Any:
        if name not in _SHORT:
            raise AttributeError(name)
        return getattr(importlib.import_module(module), _SHORT[name])

    return find


# Functions on tensors that `keras.backend` had, where their names in `cdl.ops` are others.
_OF_BACKEND = {
    "pow": "power",
    "constant": "convert_to_tensor",
    "switch": "where",
    "permute_dimensions": "transpose",
}
_SAME = (
    "abs all any arange argmax argmin cast clip concatenate cos cumprod cumsum dot elu equal exp "
    "expand_dims eye flip greater greater_equal hard_sigmoid less less_equal log logsumexp max "
    "maximum mean min minimum moveaxis ndim not_equal one_hot ones ones_like prod relu repeat "
    "reshape round shape sigmoid sign sin softmax softplus softsign sqrt square squeeze stack std "
    "stop_gradient sum tanh tile transpose var zeros zeros_like "
    "binary_crossentropy categorical_crossentropy sparse_categorical_crossentropy"
)


def function_of_backend(name: str) -> Any:
    """Tensor function of `keras.backend`, computed by `cdl.ops` and so compiled.

    Raises:
        AttributeError: there is none of that name.
    """
    if name not in _SAME.split() and name not in _OF_BACKEND:
        raise AttributeError(name)
    return getattr(importlib.import_module("cdl.ops"), _OF_BACKEND.get(name, name))


# --- arguments ---


def renamed(**names: str) -> Callable[[Function], Function]:
    """Decorator of a function or constructor for older names of some arguments.

    Args:
        names: older name = the name now.
    """

    def wrap(function: Function) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for old, new in names.items():
                if old in kwargs:
                    if new in kwargs:
                        what = getattr(function, "__qualname__", "").removesuffix(".__init__")
                        raise ValueError(f"{what}: {new} and {old} are the same argument, got both")
                    kwargs[new] = kwargs.pop(old)
            try:
                return function(*args, **kwargs)
            except BaseException as error:
                step_aside(error)
                raise

        return cast(Function, call)

    return wrap


# --- methods of models, and functions ---


def predict_classes(
    model: Any, x: Any, batch_size: int | None = None, verbose: int | str = 0
) -> Any:
    """Class of each row: the argmax, or whether a single output exceeds 0.5."""
    outputs = model.predict(x, batch_size=batch_size, verbose=verbose)
    if outputs.shape[-1] > 1:
        return outputs.argmax(axis=-1)
    return (outputs > 0.5).astype(np.int32)


def predict_proba(model: Any, x: Any, batch_size: int | None = None, verbose: int | str = 0) -> Any:
    """Alias of `predict` from Keras 2."""
    return model.predict(x, batch_size=batch_size, verbose=verbose)


def fit_generator(
    model: Any,
    generator: Any,
    steps_per_epoch: int | None = None,
    epochs: int = 1,
    verbose: int | str = 1,
    callbacks: Callback | Sequence[Callback] | None = None,
    validation_data: Any = None,
    validation_steps: int | None = None,
    validation_freq: int = 1,
    class_weight: Mapping[int, float] | None = None,
    max_queue_size: int = 10,
    workers: int = 1,
    use_multiprocessing: bool = False,
    shuffle: bool = True,
    initial_epoch: int = 0,
    **older: Any,
) -> Any:
    """Alias of `fit` for a generator, or a PyDataset, which takes the queue and the workers.

    Args:
        generator: yields batches.
        steps_per_epoch: see `fit`.
        epochs: see `fit`.
        verbose: see `fit`.
        callbacks: see `fit`.
        validation_data: see `fit`.
        validation_steps: see `fit`.
        validation_freq: see `fit`.
        class_weight: see `fit`.
        max_queue_size: how many batches of a PyDataset may be ready ahead.
        workers: how many threads make the batches of a PyDataset; a generator is read by one,
            and a warning says so.
        use_multiprocessing: the same with processes; cdl takes threads.
        shuffle: see `fit`.
        initial_epoch: see `fit`.
        older: `nb_epoch` and `nb_val_samples` of Keras 1.
    """
    epochs = older.pop("nb_epoch", epochs)
    _refuse("fit_generator", older)
    options = (max_queue_size, workers, use_multiprocessing)
    with _made_by("fit_generator", generator, *options):
        return model.fit(
            generator,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=class_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_freq=validation_freq,
        )


def evaluate_generator(
    model: Any,
    generator: Any,
    steps: int | None = None,
    callbacks: Callback | Sequence[Callback] | None = None,
    max_queue_size: int = 10,
    workers: int = 1,
    use_multiprocessing: bool = False,
    verbose: int | str = 0,
) -> Any:
    """Alias of `evaluate` for a generator; see `fit_generator`."""
    options = (max_queue_size, workers, use_multiprocessing)
    with _made_by("evaluate_generator", generator, *options):
        return model.evaluate(generator, steps=steps, callbacks=callbacks, verbose=verbose)


def predict_generator(
    model: Any,
    generator: Any,
    steps: int | None = None,
    callbacks: Callback | Sequence[Callback] | None = None,
    max_queue_size: int = 10,
    workers: int = 1,
    use_multiprocessing: bool = False,
    verbose: int | str = 0,
) -> Any:
    """Alias of `predict` for a generator; see `fit_generator`."""
    options = (max_queue_size, workers, use_multiprocessing)
    with _made_by("predict_generator", generator, *options):
        return model.predict(generator, steps=steps, callbacks=callbacks, verbose=verbose)


def compiled_loss(
    model: Any,
    y: Any,
    y_pred: Any,
    sample_weight: Any = None,
    regularization_losses: Sequence[Any] | None = None,
) -> Any:
    """Loss of a batch in a `train_step` for Keras 2; see `compute_loss`.

    Args:
        y: the targets.
        y_pred: what the model has put out.
        sample_weight: weights of samples.
        regularization_losses: what is added to the loss of `compile`; None for `losses`.
    """
    of_compile = _of_compile(model, "compiled_loss")
    if regularization_losses is None:
        loss = model.compute_loss(y=y, y_pred=y_pred, sample_weight=sample_weight)
    else:
        own = of_compile.compute_loss(y, y_pred, sample_weight)
        loss = functools.reduce(operator.add, regularization_losses, 0.0 if own is None else own)
    of_compile.loss.update_state(loss, sample_weight=len(tree.flatten(y_pred)[0]))
    return loss


def compiled_metrics(model: Any) -> Any:
    """Metrics of `compile` as one, to be updated in a `train_step` for Keras 2."""
    return _of_compile(model, "compiled_metrics").metrics


def _of_compile(model: Any, call: str) -> Any:
    return model._loss_and_metrics(model._compiled_for(call))


@contextmanager
def _made_by(
    call: str, generator: Any, max_queue_size: int, workers: int, use_multiprocessing: bool
) -> Iterator[None]:
    """Context in which a PyDataset has those options; a warning for other data."""
    given = {"workers": (workers, 1), "use_multiprocessing": (use_multiprocessing, False)}
    given["max_queue_size"] = (max_queue_size, 10)
    options = {name: value for name, (value, default) in given.items() if value != default}
    if not isinstance(generator, PyDataset):
        if workers > 1 or use_multiprocessing:
            what = "workers" if workers > 1 else "use_multiprocessing"
            warn(
                f"{call}: {what}={options[what]!r} has no effect, since an object of type "
                f"{type(generator).__name__} is read by one thread: a PyDataset has workers"
            )
        yield
        return
    before = {name: getattr(generator, name) for name in options}
    try:
        for name, value in options.items():
            setattr(generator, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(generator, name, value)


def _refuse(call: str, arguments: dict[str, Any]) -> None:
    if arguments:
        raise TypeError(f"{call}: arguments not recognized: {arguments}")


def get_value(x: Any) -> Any:
    """Value of a variable, an array or a number."""
    array = np.asarray(x)
    return array[()] if not array.ndim else array.copy()


def set_value(x: Any, value: Any) -> None:
    """Assign a value to a variable, such as a weight or an optimizer's learning rate.

    Raises:
        TypeError: it is no variable.
    """
    if not hasattr(x, "assign"):
        raise TypeError(f"set_value: x must be a variable, got {type(x).__name__}")
    x.assign(value)


def int_shape(x: Any) -> tuple[int | None, ...]:
    """Shape of an array, a variable or an Input."""
    return tuple(x.shape)


publish(globals())
