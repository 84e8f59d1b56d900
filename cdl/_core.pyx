# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: embedsignature=False, binding=False
"""_core.pyx - the binding: checks arrays, drops the GIL, turns a status into an exception."""

cimport cython
from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_FULL_RO, PyBUF_SIMPLE
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer
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


include "_core_interface.pxi"
include "_core_tables.pxi"
include "_core_arrays.pxi"
include "_core_definition.pxi"
include "_core_reports.pxi"
include "_core_executor.pxi"
include "_core_updates.pxi"
include "_core_signals.pxi"
include "_core_attributes.pxi"
