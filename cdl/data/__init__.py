"""Adapters from data sources to the arrays that the core reads."""

from cdl.data.arrays import arrays_of_weights as arrays_of_weights
from cdl.data.arrays import as_numeric as as_numeric
from cdl.data.arrays import as_rows as as_rows
from cdl.data.arrays import brief as brief
from cdl.data.chunked import ChunkedArrays as ChunkedArrays
from cdl.data.mapped import Mapped as Mapped
from cdl.data.py_dataset import PyDataset as PyDataset
from cdl.data.shapes import batch_of as batch_of
from cdl.data.shapes import fit_classes as fit_classes
from cdl.data.shapes import fit_input as fit_input
from cdl.data.shapes import fit_values as fit_values
from cdl.data.shapes import fits as fits
from cdl.data.shapes import same_rows as same_rows
from cdl.data.streams import Stream as Stream
from cdl.data.streams import is_stream as is_stream
from cdl.data.tables import Table as Table
from cdl.data.weights import of_classes as of_classes
from cdl.data.weights import of_lines as of_lines
from cdl.data.weights import of_samples as of_samples
from cdl.data.windows import Source as Source
