"""LambdaCallback: a callback made of functions."""

from collections.abc import Callable
from typing import Any

from cdl.callbacks.callback import Callback

Hook = Callable[..., Any] | None


class LambdaCallback(Callback):
    """Callback made of functions, each given as the hook of its argument's name.

    Hooks of epochs and batches are called with `(epoch, logs)` and `(batch, logs)`, the others with
    `(logs)`. Any hook of Callback can be given by its name. What does not begin with `on_` becomes
    an attribute.

    Args:
        on_epoch_begin: called when an epoch begins.
        on_epoch_end: called when an epoch ends, with its logs.
        on_train_begin: called when `fit` begins.
        on_train_end: called when `fit` ends, with the logs of the last epoch.
        on_train_batch_begin: called before a batch of training.
        on_train_batch_end: called after it, with the logs so far.
        kwargs: other hooks and attributes by name.

    Raises:
        TypeError: if a name begins with `on_` but is no hook, or a hook cannot be called.
    """

    def __init__(
        self,
        on_epoch_begin: Hook = None,
        on_epoch_end: Hook = None,
        on_train_begin: Hook = None,
        on_train_end: Hook = None,
        on_train_batch_begin: Hook = None,
        on_train_batch_end: Hook = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        hooks = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
            **kwargs,
        }
        for name, hook in hooks.items():
            if not name.startswith("on_"):
                setattr(self, name, hook)
                continue
            if not hasattr(Callback, name):
                known = ", ".join(n for n in dir(Callback) if n.startswith("on_"))
                raise TypeError(f"LambdaCallback: {name!r} is no hook; hooks are {known}")
            if hook is None:
                continue
            if not callable(hook):
                raise TypeError(
                    f"LambdaCallback: {name} must be a function, got {type(hook).__name__}"
                )
            # On the instance it hides the class's method, and _overrides() sees it there.
            setattr(self, name, hook)
