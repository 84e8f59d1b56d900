# _core_attributes.pxi - attributes that are counted when they are set. Part of _core.pyx.

cdef extern from *:  # of Python.h
    ctypedef struct PyObject
    int PyObject_GenericSetAttr(object of, object name, PyObject *value) except -1

cdef uint64_t _attributes_set = 0  # of all objects, since one knows no other that it is part of
cdef tuple _RULES = ("_regularizer", "_constraint")  # of weights, which get them too


def attributes_set():
    """How often the functions below have set or deleted an attribute that is not `_passing`."""
    return _attributes_set


cdef int _count(self, name, PyObject *value) except -1:
    global _attributes_set
    PyObject_GenericSetAttr(self, name, value)
    if name not in self._passing:
        _attributes_set += 1
    return 0


@cython.binding(True)
def set_and_count(self, name, value):
    """The `__setattr__` of layers, which name attributes that do not count in `_passing`."""
    if (<str>name).endswith(_RULES):
        value = self._ruled(name, value)
    _count(self, name, <PyObject *>value)


@cython.binding(True)
def delete_and_count(self, name):
    """The `__delattr__` of layers."""
    _count(self, name, NULL)
