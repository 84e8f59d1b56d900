"""The optimizers under the name that Keras 2.11 gave the older ones: the same classes."""

from cdl.optimizers import SGD, Adagrad, Adam, Ftrl, RMSprop

__all__ = ["SGD", "Adagrad", "Adam", "Ftrl", "RMSprop"]
