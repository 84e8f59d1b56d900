"""TerminateOnNaN: end `fit` when the loss is not finite."""

import math

from cdl._common.validation import flag
from cdl.callbacks.callback import Callback, Logs
from cdl.utils.display import say


class TerminateOnNaN(Callback):
    """Stop training after the first batch with a NaN or infinite loss.

    It looks at each batch, so the core comes back to Python after each of them.

    Args:
        raise_error: whether to raise RuntimeError, which leaves out `on_train_end`, instead of
            ending the training as usual.
    """

    _of_one_fit = True

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = flag("TerminateOnNaN", "raise_error", raise_error)

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Check the loss after a batch."""
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(
                f"NaN or Inf loss encountered at batch {batch}: the loss is {loss}. "
                "Training ends at once"
            )
        say(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
