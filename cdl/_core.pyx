# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: embedsignature=False, binding=False
"""_core.pyx - the binding: checks arrays, drops the GIL, turns a status into an exception."""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_FULL_RO, PyBUF_SIMPLE
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

import math
import operator
import os
import time

import numpy as np


cdef extern from "cdl.h" nogil:
    ctypedef enum cdl_status:
        CDL_OK
        CDL_ERR_NO_MEMORY
        CDL_ERR_PROGRAM

    struct cdl_row:
        const char *name
        const char *params
        const char *more
        const char *table
        bint gives_gradient
        bint reports
    bint cdl_table_row(const char *table, int row, cdl_row *out)
    ctypedef bint c_bool "bool"  # Cython's own bint is an int, which a bool * must not point to
    const char *cdl_isa_row(int row, c_bool *runs)
    void cdl_start()
    int cdl_threads_limit()
    int cdl_limit_threads(int most)
    const char *cdl_threads_why()
    bint cdl_has_openmp()
    const char *cdl_compiler()

    struct cdl_array:
        const char *data
        int dtype
        bint swapped
        int n_dims
        size_t shape[9]
        ptrdiff_t strides[9]
    int64_t cdl_check_classes(const cdl_array *array, int64_t classes)

    struct cdl_bits:
        void *state
    void cdl_shuffle(size_t n, int64_t *order, const cdl_bits *bits)

    struct cdl_param:
        float *w
    cdl_status cdl_param_create(size_t rows, size_t cols, bint matrix, cdl_param **out)
    void cdl_param_destroy(cdl_param *param)
    void cdl_param_get(const cdl_param *param, float *array)
    void cdl_param_set(cdl_param *param, const float *array)

    struct cdl_host_call:
        size_t rows
        bint training
        const float *x
        const float *dy
        float *out
    ctypedef int cdl_host_fn(void *who, const cdl_host_call *call) noexcept
    struct cdl_host:
        cdl_host_fn *call
        void *who

    struct cdl_value_def:
        int n_dims
        size_t dims[8]
        bint is_int
    struct cdl_instruction_def:
        int op
        int n_in
        int n_out
        int n_params
        int inputs "in"[4]
        int out[2]
        cdl_param *params[4]
        int trained[4]
        float attributes[8]
        float row_params[4]
        cdl_host host
    struct cdl_trained_def:
        cdl_param *param
        size_t outer
        size_t height
        size_t width
        int group
        cdl_param *slots[3]
        float l1
        float l2
        cdl_param *pull
        float decay
        int constraint
        float low
        float high
        float rate
        cdl_param *average
        cdl_param *accumulated
    struct cdl_rules:
        double clip_value
        double clip_norm
        double global_clip_norm
        double average_momentum
        int64_t overwrite_frequency
        int64_t accumulation_steps
        bint finite_only
    struct cdl_group_def:
        int optimizer
        double hypers[12]
    struct cdl_program_def:
        size_t rows
        bint training
        const char *isa
        int threads
        int n_values
        int n_instructions
        int n_inputs
        int n_outputs
        int n_trained
        const cdl_value_def *values
        const cdl_instruction_def *instructions
        const int *inputs
        const int *outputs
        const cdl_trained_def *trained
        int n_groups
        cdl_group_def groups[2]
        cdl_rules rules
    struct cdl_program:
        pass
    cdl_status cdl_program_create(const cdl_program_def *definition, cdl_program **out, int *fault)
    void cdl_program_destroy(cdl_program *program)
    int cdl_program_threads(const cdl_program *program)
    const char *cdl_program_isa(const cdl_program *program)
    struct cdl_pass:
        const cdl_array *arrays
        const int64_t *order
        size_t rows
        size_t batch
        size_t next
        size_t skipped
        uint64_t seed
        uint64_t iteration
        const float *rates
        size_t n_rates
    void cdl_train(cdl_program *program, cdl_pass *where, size_t steps, double seconds)
    void cdl_test(cdl_program *program, cdl_pass *where, size_t steps, double seconds)
    size_t cdl_forward(cdl_program *program, cdl_pass *where, bint training)
    void cdl_backward(cdl_program *program, cdl_pass *where, const float *gradient)
    void cdl_apply(cdl_program *program, cdl_pass *where, cdl_param **gradients)
    void cdl_predict(cdl_program *program, const cdl_array *arrays, size_t rows, float **outputs)
    int cdl_reports(const cdl_program *program)
    const double *cdl_report(const cdl_program *program, int i, size_t *doubles)
    void cdl_penalty(const cdl_program *program, double *total, double *count)
    void cdl_reset_reports(cdl_program *program)
    void cdl_read_output(const cdl_program *program, int i, size_t rows, float *to)
    void cdl_read_input(const cdl_program *program, int i, size_t rows, void *to)


# ---- tables ------------------------------------------------------------------------------------

class LossRow:
    """A row of losses, metrics or tallies: its parameters, and what its target is."""

    __slots__ = ("params", "target")

    def __init__(self, params, target):
        self.params = params
        self.target = target


class MetricRow(LossRow):
    """A row of the table of metrics."""


class TallyRow(LossRow):
    """A row of the table of metrics that count."""


class OptimizerRow:
    """A row of the table of optimizers: names of its hyper-parameters and slots."""

    __slots__ = ("hypers", "slots")

    def __init__(self, hypers, slots):
        self.hypers = hypers
        self.slots = slots


class OpRow:
    """A row of the table of operations.

    Names of attributes and of weights, the table that attribute 0 names a row of, whether the
    first input gets a gradient from it, and whether it has a state that is reported.
    """

    __slots__ = ("attributes", "gives_gradient", "params", "reports", "table")

    def __init__(self, attributes, params, table, gives_gradient, reports):
        self.attributes = attributes
        self.params = params
        self.table = table
        self.gives_gradient = gives_gradient
        self.reports = reports


cdef tuple _names(const char *text):
    return tuple(text.decode().split(",")) if text != NULL and text[0] else ()


cdef list _rows(str table):
    """(name, params, more, table, gives_gradient, reports) of each row."""
    cdef cdl_row row
    cdef bytes name = table.encode()
    found = []
    while cdl_table_row(name, len(found), &row):
        found.append((row.name.decode(), _names(row.params), _names(row.more),
                      row.table.decode() if row.table != NULL else None,
                      bool(row.gives_gradient), bool(row.reports)))
    return found


OPS = {name: OpRow(*row) for name, *row in _rows("ops")}
ACTIVATIONS = {name: params for name, params, *_ in _rows("activations")}
ACTIVATIONS_FROM_Y = {name: more == ("y",) for name, _, more, *_ in _rows("activations")}
LOSSES = {name: LossRow(params, more[0]) for name, params, more, *_ in _rows("losses")}
METRICS = {name: MetricRow(params, more[0]) for name, params, more, *_ in _rows("metrics")}
TALLIES = {name: TallyRow(params, more[0]) for name, params, more, *_ in _rows("tallies")}
OPTIMIZERS = {name: OptimizerRow(params, more) for name, params, more, *_ in _rows("optimizers")}

cdef dict _TABLES = {
    "activations": ACTIVATIONS,
    "losses": {name: row.params for name, row in LOSSES.items()},
    "metrics": {name: row.params for name, row in METRICS.items()},
    "tallies": {name: row.params for name, row in TALLIES.items()},
}
cdef dict _NUMBER = {
    table: {name: i for i, name in enumerate(rows)} for table, rows in _TABLES.items()
}
_NUMBER["ops"] = {name: i for i, name in enumerate(OPS)}
_NUMBER["optimizers"] = {name: i for i, name in enumerate(OPTIMIZERS)}
_NUMBER["dtypes"] = {name: i for i, (name, *_) in enumerate(_rows("dtypes"))}


cdef list _isas():
    cdef c_bool runs = False
    cdef const char *name
    found = []
    while True:
        name = cdl_isa_row(len(found), &runs)
        if name == NULL:
            return found
        found.append((name.decode(), bool(runs)))


ISAS = tuple(name for name, _ in _isas())


def available_isas():
    """Names of the compiled-in ISAs that this machine runs, best first."""
    return tuple(name for name, runs in _isas() if runs)


cdef str _forced_isa():
    forced = os.environ.get("CDL_ISA", "")
    if forced and forced not in available_isas():
        raise ImportError(
            f"CDL_ISA: expected one of {', '.join(available_isas())}, got {forced!r}"
        )
    return forced or available_isas()[0]


cdl_start()
cdef str _default_isa = _forced_isa()


def info():
    """What this build is and what it found: isa, compiler, openmp, threads and why that number."""
    return {
        "isa": _default_isa,
        "compiler": cdl_compiler().decode(),
        "openmp": bool(cdl_has_openmp()),
        "threads": cdl_threads_limit(),
        "threads_reason": cdl_threads_why().decode(),
        "caches": _caches(),
    }


def limit_threads(int most):
    """At most so many threads in what the calling thread builds from now on, 0 for no limit; the
    limit before."""
    return cdl_limit_threads(most)


cdef str _caches():
    found = []
    for name in ("SC_LEVEL1_DCACHE_SIZE", "SC_LEVEL2_CACHE_SIZE", "SC_LEVEL3_CACHE_SIZE"):
        try:
            size = os.sysconf(name)
        except (ValueError, OSError):
            size = 0
        found.append(f"{size // 1024} KB" if size > 0 else "unknown")
    return "L1d {}, L2 {}, L3 {}".format(*found)


cdef int check(cdl_status status, int fault=-1) except -1:
    """Raise what a C status means; every fallible call goes through here."""
    if status == CDL_OK:
        return 0
    if status == CDL_ERR_NO_MEMORY:
        raise MemoryError("cdl: out of memory while building the program")
    raise ValueError(f"cdl: instruction {fault} of the program is not well formed")


cdef tuple _shape(shape, int least, what):
    """The shape as ints; axes of at least `least`, and no more elements than sizes can count."""
    cdef tuple axes = tuple([operator.index(n) for n in shape])
    if any([n < least for n in axes]):
        raise ValueError(f"{what}: expected axes of at least {least}, got shape {axes}")
    if math.prod([max(n, 1) for n in axes]) > 2**46:
        raise MemoryError(f"{what}: no memory holds shape {axes}")
    return axes


# ---- arrays ------------------------------------------------------------------------------------

cdef dict _DTYPE_OF_FORMAT = {
    "?": "bool", "e": "float16", "f": "float32", "d": "float64", "g": "longdouble",
}
cdef dict _INTEGERS = {
    ("i", 1): "int8", ("i", 2): "int16", ("i", 4): "int32", ("i", 8): "int64",
    ("u", 1): "uint8", ("u", 2): "uint16", ("u", 4): "uint32", ("u", 8): "uint64",
}
cdef dict _format_cache = {}


cdef tuple _dtype(str text, Py_ssize_t size):
    """(number of the dtype, bytes swapped?) of a format; TypeError for what is no real number."""
    cdef str code = text.lstrip("<>=@!|^")
    cdef bint swapped = text[:1] in ("<>"[np.little_endian], "!"[:np.little_endian] or "-")
    name = _DTYPE_OF_FORMAT.get(code)
    if name is None and code in ("b", "h", "i", "l", "q", "n"):
        name = _INTEGERS.get(("i", size))
    if name is None and code in ("B", "H", "I", "L", "Q", "N"):
        name = _INTEGERS.get(("u", size))
    if name is None:
        raise TypeError(f"expected an array of real numbers, got buffer format {text!r}")
    return _NUMBER["dtypes"][name], swapped


cdef int _describe(Py_buffer *view, cdl_array *array) except -1:
    cdef str text
    cdef int d
    if view.ndim < 1 or view.ndim > 9:
        raise ValueError(f"expected an array of 1 to 9 axes, got {view.ndim}")
    if view.format != NULL and view.format[0] == c"f" and view.format[1] == 0:
        array.dtype = _float32
        array.swapped = False
    else:
        text = view.format.decode() if view.format != NULL else "B"
        known = _format_cache.get((text, view.itemsize))
        if known is None:
            known = _format_cache[(text, view.itemsize)] = _dtype(text, view.itemsize)
        array.dtype = known[0]
        array.swapped = known[1]
    array.data = <const char *>view.buf
    array.n_dims = view.ndim
    for d in range(view.ndim):
        array.shape[d] = <size_t>view.shape[d]
        array.strides[d] = view.strides[d]
    return 0


cdef int _float32 = _NUMBER["dtypes"]["float32"]


cdef class _Arrays:
    """The caller's arrays of one run, held while it lasts."""

    cdef Py_buffer views[8]
    cdef cdl_array arrays[8]
    cdef int n
    cdef size_t rows

    def __cinit__(self, arrays):
        self.n = 0
        for array in arrays:
            if self.n == 8:
                raise ValueError("expected at most 8 arrays")
            PyObject_GetBuffer(array, &self.views[self.n], PyBUF_FULL_RO)
            self.n += 1
            _describe(&self.views[self.n - 1], &self.arrays[self.n - 1])
        self.rows = self.arrays[0].shape[0] if self.n else 0

    def __dealloc__(self):
        cdef int i
        for i in range(self.n):
            PyBuffer_Release(&self.views[i])


def check_classes(array, int64_t n_classes):
    """Number of the first label (in C order) that is no integer in [0, n_classes), or -1."""
    cdef _Arrays held = _Arrays([array])
    cdef int64_t found
    with nogil:
        found = cdl_check_classes(&held.arrays[0], n_classes)
    return found


def permutation(Py_ssize_t n, bits):
    """What np.random.permutation(n) returns if its bit generator is `bits`, in half the time."""
    cdef const cdl_bits *drawn = <const cdl_bits *>PyCapsule_GetPointer(
        bits.capsule, b"BitGenerator")
    cdef Py_buffer view
    order = np.empty(n, np.int64)
    PyObject_GetBuffer(order, &view, PyBUF_WRITABLE)
    with bits.lock, nogil:
        cdl_shuffle(n, <int64_t *>view.buf, drawn)
    PyBuffer_Release(&view)
    return order


cdef float *_floats(array, Py_ssize_t n, bint writable, Py_buffer *view) except NULL:
    """The memory of a contiguous float32 array of n elements."""
    PyObject_GetBuffer(array, view,
                       PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0))
    if view.len != n * 4 or view.format[0] != c"f":
        PyBuffer_Release(view)
        raise ValueError(f"expected a float32 array of {n} elements")
    return <float *>view.buf


# ---- weights -----------------------------------------------------------------------------------

def _parameter_of(shape, matrix, values):
    """A Parameter as it was pickled."""
    parameter = Parameter(shape, matrix)
    parameter.set(values)
    return parameter


cdef class Parameter:
    """The memory of one weight; `matrix` (of two axes) lies in panels for matrix products."""

    cdef cdl_param *param
    cdef readonly tuple shape
    cdef readonly bint matrix
    cdef Py_ssize_t size

    def __cinit__(self, shape, bint matrix=False):
        cdef size_t rows = 1, cols = 1
        self.shape = _shape(shape, 0, "weight")
        self.matrix = matrix
        if matrix:
            rows, cols = self.shape
        else:
            for n in self.shape:
                cols *= n
        self.size = <Py_ssize_t>(rows * cols)
        check(cdl_param_create(rows, cols, matrix, &self.param))

    def __dealloc__(self):
        cdl_param_destroy(self.param)

    def __reduce__(self):
        """To be pickled and copied with its values."""
        return _parameter_of, (self.shape, bool(self.matrix), self.get())

    def get(self):
        """A fresh float32 array."""
        cdef Py_buffer view
        array = np.empty(self.shape, np.float32)
        if self.size:
            cdl_param_get(self.param, _floats(array, self.size, True, &view))
            PyBuffer_Release(&view)
        return array

    def set(self, array):
        """All values from an array of the same number of elements."""
        cdef Py_buffer view
        array = np.ascontiguousarray(array, np.float32)
        if array.size != self.size:
            raise ValueError(f"expected an array of shape {self.shape}, got {array.shape}")
        if self.size:
            cdl_param_set(self.param, _floats(array, self.size, False, &view))
            PyBuffer_Release(&view)


# ---- programs ----------------------------------------------------------------------------------

cdef dict _defined(program):
    """The values by id; ValueError unless each is given once, and before it is read."""
    given = {id(v): v for v in program.inputs}
    for k, i in enumerate(program.instructions):
        if not 1 <= len(i.inputs) <= 4 or len(i.outputs) > 2:
            raise ValueError(f"instruction {k}: expected 1 to 4 inputs, at most 2 outputs: {i!r}")
        if not i.outputs and not (i.op in OPS and OPS[i.op].reports):
            raise ValueError(f"instruction {k}: expected an output: {i!r}")
        for v in i.inputs:
            if id(v) not in given:
                raise ValueError(f"instruction {k}: nothing before it gives {v!r}: {i!r}")
        for v in i.outputs:
            if id(v) in given:
                raise ValueError(f"instruction {k}: {v!r} is given a second time: {i!r}")
            given[id(v)] = v
    if len(program.outputs) > 8:
        raise ValueError(f"expected at most 8 outputs, got {len(program.outputs)}")
    for v in program.outputs:
        if id(v) not in given:
            raise ValueError(f"nothing gives output {v!r}")
    for i in program.reports:
        if not any([i is j for j in program.instructions]):
            raise ValueError(f"report {i!r} is no instruction of the program")
    return given


cdef _check_gradients(program):
    """ValueError where two instructions give one value a gradient: a fork must stand between."""
    readers = {id(v): 0 for i in program.instructions for v in i.outputs}
    for i in program.givers():
        if id(i.inputs[0]) in readers:
            readers[id(i.inputs[0])] += 1
            if readers[id(i.inputs[0])] > 1:
                raise ValueError(f"{i.inputs[0]!r} has two readers that give it a gradient")


cdef list _groups(optimizer):
    """(row, hyper-parameters, slots by variable) of each group of variables that learn alike."""
    return optimizer if isinstance(optimizer, list) else [optimizer] if optimizer else []


cdef cdl_param *_slot(str name, Parameter slot, Parameter weight) except? NULL:
    """The memory of a slot: one element for each of a weight, or for each row or column."""
    if name not in ("row", "column"):
        return _beside(slot, weight)
    *outer, width = weight.shape
    wanted = tuple(outer if name == "row" else outer[:len(outer) - 1] + [width])
    if slot.matrix or slot.shape != wanted:
        raise ValueError(f"optimizer: expected a slot of shape {wanted}, got {slot.shape}")
    return slot.param


cdef cdl_param *_beside(Parameter other, Parameter weight) except? NULL:
    """The memory of what is kept for each element of a weight; NULL for None."""
    if other is None:
        return NULL
    if other.shape != weight.shape or other.matrix != weight.matrix:
        raise ValueError(f"optimizer: expected a slot of shape {weight.shape}, got {other.shape}")
    return other.param


cdef class _Host:
    """A Python function within a program: what the core calls, and the error that it raised."""

    cdef object function, error
    cdef tuple x_shape, y_shape

    def __cinit__(self, function, x, y):
        self.function = function
        self.x_shape = x.shape
        self.y_shape = y.shape

    cdef int run(self, const cdl_host_call *call) except -1:
        cdef Py_buffer view
        x = _copy_of(call.x, (call.rows, *self.x_shape))
        shape = self.x_shape if call.dy != NULL else self.y_shape
        if call.dy == NULL:
            out = self.function.forward(x, bool(call.training))
        else:
            dy = _copy_of(call.dy, (call.rows, *self.y_shape))
            out = self.function.backward(x, dy, bool(call.training))
        out = np.ascontiguousarray(out, np.float32)
        if out.shape != (call.rows, *shape):
            raise ValueError(f"expected an array of shape {(call.rows, *shape)}, got {out.shape}")
        memcpy(call.out, _floats(out, out.size, False, &view), <size_t>out.nbytes)
        PyBuffer_Release(&view)
        return 0


cdef object _copy_of(const float *values, shape):
    cdef Py_buffer view
    array = np.empty(shape, np.float32)
    memcpy(_floats(array, array.size, True, &view), values, <size_t>array.nbytes)
    PyBuffer_Release(&view)
    return array


cdef int _call_host(void *who, const cdl_host_call *call) noexcept with gil:
    cdef _Host host = <_Host>who
    try:
        host.run(call)
        return 1
    except BaseException as error:
        host.error = error
        return 0


cdef class _Definition:
    """A program as the core wants it described: cdl_program_def and what it points to."""

    cdef cdl_program_def definition
    cdef list keep, hosts

    def __cinit__(self, program, size_t rows, bint training, optimizer, dict rules, str isa,
                  int threads):
        memset(&self.definition, 0, sizeof(self.definition))
        self.keep = []
        self.hosts = []
        self.definition.rows = rows
        self.definition.training = training
        self.definition.threads = threads
        name = (isa or _default_isa).encode()
        self.keep.append(name)
        self.definition.isa = name
        number = self._values(program)
        learning = self._learning(program, optimizer, rules)
        if training:
            _check_gradients(program)
        self._optimizer(program, optimizer, rules)
        self._instructions(program, number, learning)

    cdef void *_memory(self, size_t bytes):
        block = bytearray(bytes + 8)
        self.keep.append(block)
        cdef unsigned char[::1] view = block
        return <void *>&view[0]

    cdef dict _values(self, program):
        used = _defined(program)
        number = {key: k for k, key in enumerate(used)}
        cdef cdl_value_def *values = <cdl_value_def *>self._memory(
            len(used) * sizeof(cdl_value_def))
        for k, v in enumerate(used.values()):
            if len(v.shape) > 8:
                raise ValueError(f"expected at most 8 axes a sample, got shape {v.shape}")
            values[k].n_dims = len(v.shape)
            values[k].is_int = v.dtype == "int32"
            for d, n in enumerate(_shape(v.shape, 1, f"value {v!r}")):
                values[k].dims[d] = n
        cdef int *inputs = <int *>self._memory(len(program.inputs) * sizeof(int))
        for k, v in enumerate(program.inputs):
            inputs[k] = number[id(v)]
        cdef int *outputs = <int *>self._memory(len(program.outputs) * sizeof(int))
        for k, v in enumerate(program.outputs):
            outputs[k] = number[id(v)]
        self.definition.n_values = len(used)
        self.definition.values = values
        self.definition.n_inputs = len(program.inputs)
        self.definition.inputs = inputs
        self.definition.n_outputs = len(program.outputs)
        self.definition.outputs = outputs
        return number

    cdef list _learning(self, program, optimizer, dict rules):
        """The variables that learn; without an optimizer those whose penalty the loss counts."""
        slots = {}
        for _, _, of_group in _groups(optimizer):
            slots.update(of_group)
        if optimizer is None:
            slots = rules.get("penalties", {})
        return [v for v in program.variables if v in slots]

    cdef _optimizer(self, program, optimizer, dict rules):
        learning = self._learning(program, optimizer, rules)
        cdef cdl_trained_def *trained = <cdl_trained_def *>self._memory(
            len(learning) * sizeof(cdl_trained_def))
        self.definition.n_trained = len(learning)
        self.definition.trained = trained
        for k, variable in enumerate(learning):
            self._trained(&trained[k], variable, optimizer, rules)
        if optimizer is None:
            return
        groups = _groups(optimizer)
        if len(groups) > 2:
            raise ValueError(f"optimizer: expected at most 2 groups, got {len(groups)}")
        self.definition.n_groups = len(groups)
        for g, (row, hypers, _) in enumerate(groups):
            self.definition.groups[g].optimizer = _NUMBER["optimizers"][row]
            for k, name in enumerate(OPTIMIZERS[row].hypers):
                self.definition.groups[g].hypers[k] = hypers[name]
        cdef cdl_rules *to = &self.definition.rules
        to.clip_value = rules.get("clipvalue") or 0.0
        to.clip_norm = rules.get("clipnorm") or 0.0
        to.global_clip_norm = rules.get("global_clipnorm") or 0.0
        to.average_momentum = rules.get("ema_momentum") or 0.0
        to.overwrite_frequency = rules.get("ema_overwrite_frequency") or 0
        to.accumulation_steps = rules.get("gradient_accumulation_steps") or 0
        to.finite_only = rules.get("finite_only") or False

    cdef int _trained(self, cdl_trained_def *to, variable, optimizer, dict rules) except -1:
        cdef Parameter storage = variable.storage
        to.param = storage.param
        *_, height, width = (1, 1) + storage.shape
        to.height, to.width = height, width
        to.outer = storage.size // max(1, height * width)
        to.l1, to.l2 = rules.get("penalties", {}).get(variable, (0.0, 0.0))
        decay = rules.get("weight_decay") or 0.0
        to.decay = decay.get(variable, 0.0) if isinstance(decay, dict) else decay
        to.pull = _beside(rules.get("pulls", {}).get(variable), storage)
        kind, limits = rules.get("constraints", {}).get(variable, (None, (0.0, 0.0, 0.0)))
        to.constraint = {None: 0, "non_negative": 1, "norm": 2}[kind]
        to.low, to.high, to.rate = limits
        for g, (row, _, slots) in enumerate(_groups(optimizer)):
            if variable not in slots:
                continue
            to.group = g
            if len(slots[variable]) != len(OPTIMIZERS[row].slots):
                raise ValueError(f"{row}: expected slots {OPTIMIZERS[row].slots}")
            for s, (name, slot) in enumerate(zip(OPTIMIZERS[row].slots, slots[variable])):
                to.slots[s] = _slot(name, slot, storage)
        if optimizer is None:
            return 0
        to.average = _beside(rules.get("averages", {}).get(variable), storage)
        to.accumulated = _beside(rules.get("accumulators", {}).get(variable), storage)
        return 0

    cdef _instructions(self, program, dict number, list learning):
        cdef cdl_instruction_def *list_ = <cdl_instruction_def *>self._memory(
            len(program.instructions) * sizeof(cdl_instruction_def))
        order = {id(v): k for k, v in enumerate(learning)}
        for k, i in enumerate(program.instructions):
            self._instruction(&list_[k], i, number, order)
        self.definition.n_instructions = len(program.instructions)
        self.definition.instructions = list_

    cdef int _instruction(self, cdl_instruction_def *to, i, dict number, dict order) except -1:
        cdef Parameter storage
        row = OPS[i.op]
        to.op = _NUMBER["ops"][i.op]
        to.n_in = len(i.inputs)
        to.n_out = len(i.outputs)
        to.n_params = len(row.params)
        for j, v in enumerate(i.inputs):
            to.inputs[j] = number[id(v)]
        for j, v in enumerate(i.outputs):
            to.out[j] = number[id(v)]
        for j in range(len(row.params)):
            to.trained[j] = -1
            variable = i.params[j] if j < len(i.params) else None
            if variable is not None:
                storage = variable.storage
                to.params[j] = storage.param
                to.trained[j] = order.get(id(variable), -1)
        given = dict(i.attributes)
        if i.op == "host":
            host = _Host(given.pop("function"), i.inputs[0], i.outputs[0])
            self.hosts.append(host)
            to.host.call = _call_host
            to.host.who = <void *>host
        for j, name in enumerate(row.attributes):
            if j == 0 and row.table:
                kind = given.pop(name, "linear")
                to.attributes[0] = _NUMBER[row.table][kind]
                if i.op == "dense" and not ACTIVATIONS_FROM_Y[kind]:
                    raise ValueError(f"dense: the slope of {kind} needs more than its value")
                for q, param in enumerate(_TABLES[row.table][kind]):
                    to.row_params[q] = given.pop(param)
            else:
                to.attributes[j] = given.pop(name)
        if given:
            raise ValueError(f"{i.op}: unknown attributes {sorted(given)}")
        return 0


cdef class Executor:
    """A lowered program and its memory for batches of up to `rows` rows.

    One call at a time: predict() from several threads works on copies that share the weights; a
    second training call meanwhile is an error.
    """

    cdef cdl_program *program
    cdef cdl_pass where
    cdef _Arrays held
    cdef object order, rates, source, made_of
    cdef Py_buffer order_view
    cdef bint has_order, busy, training
    cdef list shapes, input_shapes, input_dtypes, report_rows, spare, learning, hosts
    cdef readonly size_t rows
    cdef readonly int threads
    cdef readonly str isa

    def __cinit__(self, program, size_t rows, *, bint training=False, optimizer=None, rules=None,
                  isa=None, int threads=0):
        cdef int fault = -1
        if rows < 1:
            raise ValueError("rows must be at least 1")
        if isa is not None and isa not in available_isas():
            raise ValueError(f"isa: expected one of {', '.join(available_isas())}, got {isa!r}")
        cdef _Definition definition = _Definition(
            program, rows, training, optimizer, rules or {}, isa, threads)
        cdef cdl_status status = cdl_program_create(&definition.definition, &self.program, &fault)
        check(status, fault)
        self.hosts = definition.hosts
        self.training = training
        self.made_of = (program, rows, isa, threads)
        self.source = [v.storage for v in program.variables], optimizer, rules
        self.rows = rows
        self.threads = cdl_program_threads(self.program)
        self.isa = cdl_program_isa(self.program).decode()
        self.shapes = [v.shape for v in program.outputs]
        self.input_shapes = [v.shape for v in program.inputs]
        self.input_dtypes = [np.int32 if v.dtype == "int32" else np.float32 for v in program.inputs]
        scores = [i for i in program.instructions if OPS[i.op].reports]
        self.report_rows = [next(k for k, i in enumerate(scores) if i is report)
                            for report in program.reports]
        self.learning = [v.storage for v in definition._learning(program, optimizer, rules or {})]
        self.spare = []

    def __dealloc__(self):
        if self.has_order:
            PyBuffer_Release(&self.order_view)
        cdl_program_destroy(self.program)

    cdef int _enter(self) except -1:
        if self.busy:
            raise RuntimeError("this model is already training or evaluating in another thread")
        self.busy = True
        return 0

    cdef int _raise(self) except -1:
        """Raises what a Python function within the program has raised."""
        cdef _Host host
        for host in self.hosts:
            if host.error is not None:
                error, host.error = host.error, None
                raise error
        return 0

    cdef int _check_training(self) except -1:
        if not self.training:
            raise ValueError("this executor was made to predict: training=True is missing")
        return 0

    cdef int _check_read(self, int i, list of, size_t rows) except -1:
        if i < 0 or i >= len(of):
            raise IndexError(f"expected a number in [0, {len(of)}), got {i}")
        if rows > self.rows:
            raise ValueError(f"rows: expected at most {self.rows}, got {rows}")
        return 0

    cdef int _check(self, _Arrays held) except -1:
        """The core reads sizes that are stated once, by the program: arrays must agree."""
        cdef int i, d
        cdef size_t size
        if held.n != len(self.input_shapes):
            raise ValueError(f"expected {len(self.input_shapes)} arrays, got {held.n}")
        for i in range(held.n):
            size = 1
            for d in range(1, held.arrays[i].n_dims):
                size *= held.arrays[i].shape[d]
            want = 1
            for n in self.input_shapes[i]:
                want *= n
            if size != <size_t>want:
                raise ValueError(f"array {i}: expected {want} elements a row, got {size}")
            if held.arrays[i].shape[0] < held.rows:
                raise ValueError(
                    f"array {i}: expected {held.rows} rows, got {held.arrays[i].shape[0]}")
        return 0

    def predict(self, arrays):
        """Outputs for all rows: a float32 array (rows, *shape), or a list of several."""
        cdef Executor other
        cdef _Arrays held
        # In training all threads share the memory of `rows` rows, and a step may come meanwhile.
        if self.busy or self.training:
            if self.spare:
                other = self.spare.pop()
            else:
                program, rows, isa, threads = self.made_of
                other = Executor(program, rows, isa=isa, threads=threads)
            try:
                return other.predict(arrays)
            finally:
                self.spare.append(other)
        self.busy = True
        try:
            held = _Arrays(arrays)
            self._check(held)
            outputs = [np.empty((held.rows, *shape), np.float32) for shape in self.shapes]
            self._predict(held, outputs)
        finally:
            self.busy = False
        return outputs[0] if len(outputs) == 1 else outputs

    cdef int _predict(self, _Arrays held, list outputs) except -1:
        cdef Py_buffer views[8]
        cdef float *to[8]
        cdef size_t sizes[8]
        cdef cdl_array arrays[8]
        cdef size_t done = 0, rows, chunk = self.rows * 16
        cdef int i, n = len(outputs), opened = 0
        cdef double before
        if held.rows == 0:
            return 0
        try:
            for i in range(n):
                to[i] = _floats(outputs[i], outputs[i].size, True, &views[i])
                sizes[i] = outputs[i].size // held.rows
                opened += 1
            for i in range(held.n):
                arrays[i] = held.arrays[i]
            while done < held.rows:
                # Pieces, so that Ctrl-C is heard: from 16 blocks of rows up to some 40 ms, since
                # each piece wakes the threads and waits for the last of them.
                rows = min(chunk, held.rows - done)
                before = time.perf_counter() if rows < held.rows else 0.0
                with nogil:
                    cdl_predict(self.program, arrays, rows, to)
                self._raise()
                done += rows
                if done < held.rows:
                    if time.perf_counter() - before < 0.02:
                        chunk *= 2
                    for i in range(n):
                        to[i] += rows * sizes[i]
                    for i in range(held.n):
                        arrays[i].data += <ptrdiff_t>rows * arrays[i].strides[0]
                    PyErr_CheckSignals()
        finally:
            for i in range(opened):
                PyBuffer_Release(&views[i])
        return 0

    def begin(self, arrays, size_t batch, order=None):
        """Starts a pass over the arrays, `batch` rows at a time, in the order of row numbers."""
        if batch < 1 or batch > self.rows:
            raise ValueError(f"batch must be in [1, {self.rows}], got {batch}")
        cdef _Arrays held = _Arrays(arrays)
        self._check(held)
        if order is not None:
            order = np.array(order, np.int64, order="C")  # ours: what is checked here stays true
            if order.size and (order.min() < 0 or order.max() >= <int64_t>held.rows):
                raise ValueError("order: expected row numbers of the arrays")
        self._enter()
        try:
            self.where.order = NULL
            if self.has_order:
                PyBuffer_Release(&self.order_view)
                self.has_order = False
            self.where.rows = held.rows
            if order is not None:
                PyObject_GetBuffer(order, &self.order_view, PyBUF_SIMPLE)
                self.has_order = True
                self.where.order = <const int64_t *>self.order_view.buf
                self.where.rows = order.size
            self.held = held
            self.where.arrays = held.arrays
            self.where.batch = batch
            self.where.next = self.where.skipped = 0
        finally:
            self.busy = False

    def train(self, size_t steps, double seconds, rates, uint64_t iteration, uint64_t seed):
        """Up to `steps` batches or about `seconds`; the number of batches done since begin()."""
        cdef Py_buffer view
        rates = np.ascontiguousarray(rates, np.float32)
        self._check_training()
        if not rates.size:
            raise ValueError("rates: expected at least one")
        self._enter()
        try:
            self.where.rates = _floats(rates, rates.size, False, &view)
            self.where.n_rates = rates.size
            self.where.iteration = iteration
            self.where.seed = seed
            try:
                with nogil:
                    cdl_train(self.program, &self.where, steps, seconds)
                self._raise()
            finally:
                PyBuffer_Release(&view)
        finally:
            self.busy = False
        return self.where.next

    def test(self, size_t steps, double seconds):
        """As train(), without backward and update."""
        self._enter()
        try:
            with nogil:
                cdl_test(self.program, &self.where, steps, seconds)
            self._raise()
        finally:
            self.busy = False
        return self.where.next

    def forward(self, bint training, uint64_t iteration=0, uint64_t seed=0):
        """The next batch forward; its number of rows, 0 at the end of the pass."""
        cdef size_t rows
        self._enter()
        try:
            self.where.iteration = iteration
            self.where.seed = seed
            with nogil:
                rows = cdl_forward(self.program, &self.where, training)
            self._raise()
        finally:
            self.busy = False
        return rows

    def skip(self):
        """Goes on to the next batch after forward() without backward()."""
        self.where.next += 1

    def backward(self, gradient, float rate, uint64_t iteration):
        """From the gradient of the loss by output 0: backward, update, next batch."""
        cdef Py_buffer view
        cdef size_t rows = self._live()
        gradient = np.ascontiguousarray(gradient, np.float32)
        self._check_training()
        size = rows
        for n in self.shapes[0]:
            size *= n
        self._enter()
        try:
            self.where.iteration = iteration
            self.where.rates = &rate
            self.where.n_rates = 1
            _floats(gradient, size, False, &view)
            try:
                with nogil:
                    cdl_backward(self.program, &self.where, <const float *>view.buf)
                self._raise()
            finally:
                PyBuffer_Release(&view)
        finally:
            self.busy = False

    def apply(self, gradients, float rate, uint64_t iteration):
        """One step from a Parameter with the gradient of each trained variable, in their order."""
        cdef Parameter gradient
        self._check_training()
        if [(g.shape, g.matrix) for g in gradients] != [(w.shape, w.matrix) for w in self.learning]:
            raise ValueError(f"expected gradients of shapes {[w.shape for w in self.learning]}")
        block = bytearray(8 * len(gradients) + 8)
        cdef unsigned char[::1] view = block
        cdef cdl_param **params = <cdl_param **>&view[0]
        for k, gradient in enumerate(gradients):
            params[k] = gradient.param
        self._enter()
        try:
            self.where.iteration = iteration
            self.where.rates = &rate
            self.where.n_rates = 1
            with nogil:
                cdl_apply(self.program, &self.where, params)
        finally:
            self.busy = False

    @property
    def skipped(self):
        """Batches since begin() that changed nothing, by the rule finite_only."""
        return self.where.skipped

    cdef size_t _live(self):
        """Rows of the batch that a forward() has just run."""
        cdef size_t start = self.where.next * self.where.batch
        return min(self.where.batch, self.where.rows - start) if start < self.where.rows else 0

    cdef size_t _last(self):
        """Rows of the last batch: that of forward(), or the one that train() or test() finished."""
        cdef size_t start
        if self.where.next == 0:
            return self._live()
        start = (self.where.next - 1) * self.where.batch
        return min(self.where.batch, self.where.rows - start)

    def output(self, int i=0, rows=None):
        """Rows of output i of the last batch: of train()/test(), or `rows` after forward()."""
        cdef Py_buffer view
        cdef size_t n = self._last() if rows is None else rows
        self._check_read(i, self.shapes, n)
        array = np.empty((n, *self.shapes[i]), np.float32)
        cdl_read_output(self.program, i, n, _floats(array, array.size, True, &view))
        PyBuffer_Release(&view)
        return array

    def batch(self, int i, rows=None):
        """Rows of input i of the last batch, as output() counts them."""
        cdef Py_buffer view
        cdef size_t n = self._last() if rows is None else rows
        self._check_read(i, self.input_shapes, n)
        array = np.empty((n, *self.input_shapes[i]), self.input_dtypes[i])
        PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        cdl_read_input(self.program, i, n, view.buf)
        PyBuffer_Release(&view)
        return array

    def reset(self):
        """Zeroes the accumulators."""
        cdl_reset_reports(self.program)

    def states(self):
        """The accumulated numbers of each report of the program, as tuples of floats."""
        cdef size_t n = 0, k
        cdef const double *state
        found = []
        for row in self.report_rows:
            state = cdl_report(self.program, row, &n)
            found.append(tuple([state[k] for k in range(n)]))
        return found

    def totals(self):
        """(total, count) of each report of the program."""
        return [state[:2] for state in self.states()]

    def penalty(self):
        """(sum over batches of rows * penalty of the weights, rows), which the loss counts too."""
        cdef double total = 0, count = 0
        cdl_penalty(self.program, &total, &count)
        return total, count

    def results(self):
        """total / count of each report of the program; 0.0 where the count is 0."""
        return [total / count if count else 0.0 for total, count in self.totals()]
