# attributes.pxi - attributes that are counted when they are set. Part of _core.pyx.

cdef extern from *:  # of Python.h
    ctypedef struct PyObject
    ctypedef struct PyTypeObject
    ctypedef struct PyMethodDef:
        const char *ml_name
        void *ml_meth
        int ml_flags
        const char *ml_doc
    int METH_FASTCALL
    PyTypeObject *Py_TYPE(PyObject *of)
    object PyDescr_NewMethod(PyTypeObject *of, PyMethodDef *method)
    int PyObject_GenericSetAttr(object of, object name, PyObject *value) except -1
    PyObject *PyDict_GetItemWithError(object of, object key) except? NULL
    bint PyDict_Next(object of, Py_ssize_t *at, PyObject **key, PyObject **value)
    Py_ssize_t PyUnicode_GetLength(object text) except -1
    Py_UCS4 PyUnicode_ReadChar(object text, Py_ssize_t at) except? 0xFFFFFFFF

cdef uint64_t _attributes_set = 0  # of all objects, since one knows no other that it is part of
cdef tuple _RULES = ("_regularizer", "_constraint")  # of weights, which get them too


def attributes_set():
    """How often the functions below have set or deleted an attribute that is not `_passing`."""
    return _attributes_set


@cython.final
cdef class Steady:
    """True while no attribute that counts has been set since `count`; each prediction asks."""

    cdef uint64_t count

    def __init__(self, uint64_t count):
        self.count = count

    def __bool__(self):
        return self.count == _attributes_set


cdef int _count(self, name, PyObject *value, Py_ssize_t length) except -1:
    global _attributes_set
    PyObject_GenericSetAttr(self, name, value)
    # Passing attributes begin with one of these; other names need no look-up.
    if not length or PyUnicode_ReadChar(name, 0) not in u"_hjlos" or name not in self._passing:
        _attributes_set += 1
    return 0


cdef object _set(self, PyObject **args, Py_ssize_t n):
    if n != 2:
        raise TypeError(f"__setattr__ takes a name and a value, got {n} arguments")
    name, value = <object>args[0], <object>args[1]
    cdef Py_ssize_t length = PyUnicode_GetLength(name)
    # Most names end otherwise than "regularizer" and "constraint": no text is compared then.
    if length and PyUnicode_ReadChar(name, length - 1) in u"rt" and (<str>name).endswith(_RULES):
        value = self._ruled(name, value)
    _count(self, name, <PyObject *>value, length)


cdef object _set_setting(self, PyObject **args, Py_ssize_t n):
    if n != 2:
        raise TypeError(f"__setattr__ takes a name and a value, got {n} arguments")
    name = <object>args[0]
    if name in self._settings and self.built:
        self._set_checked(name, <object>args[1])
    else:
        PyObject_GenericSetAttr(self, name, args[1])


# Method descriptors, which Python calls without a tuple of arguments, unlike functions of Cython.
cdef PyMethodDef _SET, _SET_SETTING
_SET.ml_name = _SET_SETTING.ml_name = "__setattr__"
_SET.ml_flags = _SET_SETTING.ml_flags = METH_FASTCALL
_SET.ml_meth, _SET_SETTING.ml_meth = <void *>_set, <void *>_set_setting
_SET.ml_doc = "The `__setattr__` of layers, which name attributes that do not count in `_passing`."
_SET_SETTING.ml_doc = "The `__setattr__` of optimizers, which check `_settings` once built."
set_and_count = PyDescr_NewMethod(<PyTypeObject *>object, &_SET)
set_setting = PyDescr_NewMethod(<PyTypeObject *>object, &_SET_SETTING)


@cython.binding(True)
def delete_and_count(self, name):
    """The `__delattr__` of layers."""
    _count(self, name, NULL, PyUnicode_GetLength(name))


def pairs_by_type(dict attributes, tuple types, bint among, list known=[]):
    """Pairs of name and value whose type is, or is not, `among` up to 8 types, subclasses aside.

    Values that are `known` are left out.
    """
    cdef Py_ssize_t i, at = 0, n = min(len(types), 8)
    cdef PyTypeObject *kinds[8]
    cdef PyObject *name
    cdef PyObject *value
    for i in range(n):
        kinds[i] = <PyTypeObject *>types[i]
    found = []
    while PyDict_Next(attributes, &at, &name, &value):
        i = 0
        while i < n and kinds[i] != Py_TYPE(value):
            i += 1
        if (i < n) != among:
            continue
        for each in known:
            if each is <object>value:
                break
        else:
            found.append((<object>name, <object>value))
    return found


def unchanged(tuple reads):
    """Whether triples of a dict, a name and its value hold, likewise of an object's attribute.

    A name that is not in the dict has the value `unchanged`.
    """
    cdef PyObject *found
    cdef Py_ssize_t i, n = len(reads)
    for i in range(0, n, 3):
        holder, name, value = reads[i], reads[i + 1], reads[i + 2]
        if type(holder) is dict:
            found = PyDict_GetItemWithError(holder, name)
            if found != <PyObject *>value and (found != NULL or value is not unchanged):
                return False
        elif getattr(holder, name) is not value:
            return False
    return True
