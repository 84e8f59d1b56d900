# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: embedsignature=False, binding=False
"""_core.pyx - the binding: checks arrays, drops the GIL, turns a status into an exception."""

cimport cython
from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_FULL_RO, PyBUF_SIMPLE
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport fmax, fmin, hypot
from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

import itertools
import math
import operator
import os
import re
import threading

import numpy as np


include "_binding/interface.pxi"
include "_binding/tables.pxi"
include "_binding/arrays.pxi"
include "_binding/definition.pxi"
include "_binding/reports.pxi"
include "_binding/executor.pxi"
include "_binding/chain.pxi"
include "_binding/members.pxi"
include "_binding/updates.pxi"
include "_binding/signals.pxi"
include "_binding/attributes.pxi"
include "_binding/forms.pxi"
include "_binding/rows.pxi"
