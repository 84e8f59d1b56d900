"""Callback in a module that worker processes can import, as they cannot that of a test."""

from cdl import callbacks


class Counting(callbacks.Callback):
    """A callback that logs how many epochs it has seen."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def on_epoch_end(self, epoch, logs=None):
        self.seen += 1
        logs["seen"] = self.seen
