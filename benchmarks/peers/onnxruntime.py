"""ONNX Runtime, for predictions only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.harness.cases import Case

OPERATORS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def model(case: Case, weights: list[np.ndarray]) -> onnx.ModelProto:
    """Gemm and an activation a layer, as an exporter writes it."""
    nodes, value, last = [], "x", len(case.layers) - 1
    for i in range(len(case.layers)):
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"z{i}"]))
        value = f"z{i}"
        if i < last or case.loss == "softmax":
            kind = OPERATORS[case.activation] if i < last else "Softmax"
            nodes.append(helper.make_node(kind, [value], [f"h{i}"]))
            value = f"h{i}"
    names = [f"{letter}{i}" for i in range(len(case.layers)) for letter in "wb"]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, case.sizes[0]])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [None, case.sizes[-1]])],
        [numpy_helper.from_array(w, name) for w, name in zip(weights, names, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def predictors(
    case: Case, weights: list[np.ndarray], threads: int, variant: str
) -> dict[str, Callable]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model(case, weights).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return {"predict": lambda x: session.run(None, {"x": x})[0]}
