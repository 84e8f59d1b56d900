"""A place for `keras.datasets`, whose loaders are not there yet.

Keras's loaders download; cdl's will read a local file that they are given.
"""

from cdl._common.public_names import publish

__all__: list[str] = []

publish(globals())
