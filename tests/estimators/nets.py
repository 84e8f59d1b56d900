"""nets.py - functions that make models for the wrappers; here so that processes can import them."""

from cdl.layers import Dense, Dropout, Input
from cdl.models import Sequential


def net(X, y, loss, units=(20,), activation="softmax", dropout=0.0):
    """A net whose input and output fit the data."""
    hidden = [Dense(width, "relu") for width in units]
    last = [Dropout(dropout), Dense(y.shape[1], activation)]
    model = Sequential([Input((X.shape[1],)), *hidden, *last])
    model.compile(loss=loss, optimizer="rmsprop")
    return model
