# forms.pxi - forms of objects, by which jobs of train_many are alike. Part of _core.pyx.

cdef enum _way:
    _EQUAL  # to the value
    _FIXED  # the value, which cannot change, or of its repr
    _EMPTY
    _FIRST  # of the Form, and not seen before
    _AGAIN  # the object that was seen in the place of the Form


cdef class Form:
    """Form of an object: its class, and values read from it, of which some have forms themselves.

    thing: the first object of the form. names: of the attributes that are read, all but those
    counted in `others`; None for values that `read` takes out of an object and what was found, or
    that are the elements of a tuple or a list, or keys and values of a dict.
    """

    cdef readonly object thing
    cdef public bint is_noted  # referred to again, by number or identity
    cdef public bint is_bare  # without anything that training changes
    cdef object kind, read
    cdef Py_ssize_t others
    cdef tuple names, kinds, values
    cdef bytes ways

    def __init__(self, thing, tuple names, Py_ssize_t others, read):
        self.thing, self.kind = thing, type(thing)
        self.names, self.others, self.read = names, others, read

    def expect(self, tuple kinds, bytes ways, tuple values):
        """Class of each value that is read, and how it is compared with which."""
        if not len(kinds) == len(ways) == len(values):
            raise ValueError("ways, values: expected one for each of kinds")
        self.kinds, self.ways, self.values = kinds, ways, values

    def fits(self, thing, found):
        """Whether an object has the form, given the objects found so far, which it adds to."""
        return self._fits(thing, found.forms, found)

    cdef bint _fits(self, thing, dict forms, found) except -1:
        cdef dict attributes = None
        cdef tuple read = None
        cdef PyObject *at
        cdef Py_ssize_t i, n = len(self.values)
        if type(thing) is not self.kind:
            return False
        if self.is_noted:
            forms[<size_t><void *>thing] = self
        if self.names is not None:
            attributes = thing.__dict__
            if len(attributes) != n + self.others:
                return False
        else:
            if self.read is not None:
                read = self.read(thing, found)
            else:
                read = tuple(thing)
                if self.kind is dict:
                    read += tuple(thing.values())
            if len(read) != n:
                return False
        for i in range(n):
            if read is not None:
                value = read[i]
            else:
                at = PyDict_GetItemWithError(attributes, self.names[i])
                if at == NULL:
                    return False
                value = <object>at
            if not self._has(i, value, forms, found):
                return False
        return True

    cdef bint _has(self, Py_ssize_t i, value, dict forms, found) except -1:
        """Whether a value is as expected in its place."""
        cdef int way = self.ways[i]
        cdef Form form
        cdef PyObject *known
        expected = self.values[i]
        if type(value) is not self.kinds[i]:
            return False
        if way == _EQUAL:
            return value is expected or value == expected
        if way == _FIXED:
            return value is expected or _is_same(value, expected)
        if way == _EMPTY:
            return not len(value)
        form = expected
        if form.is_bare and value is form.thing:
            return True
        known = PyDict_GetItemWithError(forms, <size_t><void *>value)
        if way == _AGAIN:
            return known == <PyObject *>form
        return known == NULL and form._fits(value, forms, found)


cdef bint _is_same(value, expected) except -1:
    """Whether a float or a tuple, which has the class of what is expected, has its repr."""
    if type(expected) is not tuple:
        return repr(value) == repr(expected)
    if len(value) != len(expected):
        return False
    for mine, its in zip(<tuple>value, <tuple>expected):  # no float of 0 or NaN is in that one
        if mine is not its and (type(mine) is not type(its) or mine != its):
            return False
    return True


def traits_of(variable, found):
    """Values of a weight's Form, which is noted as found."""
    cdef Parameter storage = variable.storage
    found.variables.append(variable)
    return (variable.shape, variable.kept_dtype, variable.trainable, variable.autocast,
            storage.matrix, variable._regularizer, variable._constraint)
