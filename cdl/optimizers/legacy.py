"""Aliases of the optimizers under `keras.optimizers.legacy` of Keras 2.11."""

from cdl.optimizers import SGD, Adagrad, Adam, Ftrl, RMSprop

__all__ = ["SGD", "Adagrad", "Adam", "Ftrl", "RMSprop"]
