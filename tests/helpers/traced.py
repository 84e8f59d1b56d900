"""Functions of symbolic tensors as programs, and their expected results."""

import numpy as np
from programs import predict

from cdl import tree
from cdl._ir.lowering import Lowering
from cdl._tracing import graph as graphs
from cdl._tracing.graph import KerasTensor


def traced(function, arrays, fixed=False):
    """The graph of a function of arrays that have a row for each sample."""
    shapes = [a.shape if fixed else (None, *a.shape[1:]) for a in arrays]
    specs = tuple(KerasTensor(s, a.dtype.name) for s, a in zip(shapes, arrays, strict=True))
    with graphs.scope(False) as own:
        outputs = function(*specs)
    return graphs.Graph(list(specs), outputs, own)


def lowered(graph, arrays):
    """A program that gives the outputs of a graph, each of its own for each sample."""
    program = Lowering()
    values = [program.input(a.shape[1:]) for a in arrays]
    for value in tree.flatten(graph.lower(program, values)):
        program.output(program.broadcast_batch(value))
    return program


def run(function, arrays, fixed=False):
    """The results of a traced function, in the shapes that it has on arrays.

    Args:
        function: of the arrays.
        arrays: with a row for each sample.
        fixed: whether the number of samples is known when it is traced.
    """
    graph = traced(function, arrays, fixed)
    program = lowered(graph, arrays)
    found = predict(program, arrays, rows=len(arrays[0]))
    found = found if isinstance(found, list) else [found]
    results = []
    for spec, y in zip(tree.flatten(graph.outputs), found, strict=True):
        assert isinstance(spec, KerasTensor)
        if not spec.rows_per_sample:
            assert (y == y[:1]).all() or np.isnan(y).any()
            y = y[0]
        elif spec.rows_per_sample > 1:
            y = y.reshape(-1, *y.shape[2:])
        else:
            y = np.moveaxis(y, 0, spec.batch_axis)
        assert y.ndim == len(spec.shape)
        results.append((spec, y))
    return results


def of_samples(function, call):
    """A call of the golden table as a function of its arrays for samples, and these."""
    own = []
    for leaf in tree.flatten([list(call.args), call.kwargs]):
        if type(leaf).__name__ == "Samples" and not any(leaf is each for each in own):
            own.append(leaf)

    def called(*values):
        def filled(leaf):
            return next((v for each, v in zip(own, values, strict=True) if leaf is each), leaf)

        args = [tree.map_structure(filled, arg) for arg in call.args]
        kwargs = {name: tree.map_structure(filled, arg) for name, arg in call.kwargs.items()}
        return function(*args, **kwargs)

    return called, [each.array for each in own]
