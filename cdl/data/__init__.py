"""Adapters from data sources to the arrays that the core reads."""

from cdl.data.arrays import arrays_of_weights, as_numeric, as_rows, brief
from cdl.data.chunked import ChunkedArrays
from cdl.data.mapped import Mapped
from cdl.data.py_dataset import PyDataset
from cdl.data.shapes import fit_classes, fit_input, fit_values, fits, same_rows
from cdl.data.streams import Stream, is_stream
from cdl.data.tables import Table
from cdl.data.weights import of_classes, of_lines, of_samples
from cdl.data.windows import Source

__all__ = [
    "ChunkedArrays",
    "Mapped",
    "PyDataset",
    "Source",
    "Stream",
    "Table",
    "arrays_of_weights",
    "as_numeric",
    "as_rows",
    "brief",
    "fit_classes",
    "fit_input",
    "fits",
    "fit_values",
    "is_stream",
    "of_classes",
    "of_lines",
    "of_samples",
    "same_rows",
]
