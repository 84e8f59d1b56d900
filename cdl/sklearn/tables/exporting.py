"""Files of estimators of tables, with the encoding of columns: .keras, C and ONNX."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from cdl._common.optional_imports import needed
from cdl.saving.atomic import checked_path, replacing
from cdl.sklearn.tables import whole
from cdl.sklearn.tables.whole import Bag, Layout

_FORMATS = (".keras", ".c", ".onnx")


def export(owner: str, filepath: Any, names: list[str], bags: list[Bag], finish: Any) -> None:
    """Write what an estimator predicts; see `Tabular.export`.

    Args:
        filepath: the file, whose suffix is the format.
        names: of columns.
        bags: the estimator's.
        finish: from the bags' mean output to what is predicted, on symbolic tensors.

    Raises:
        ValueError: another format, or columns that no format can have.
    """
    path = checked_path(filepath, "export")
    if path.suffix not in _FORMATS:
        raise ValueError(
            f"{owner}: export: filepath must end in .keras, .c or .onnx, got {path.name!r}"
        )
    layout = whole.layout_of(owner, names, [bag.table for bag in bags])
    if path.suffix == ".keras":
        whole.of_columns(layout, bags, finish, path.stem).save(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.name
        whole.of_array(layout, bags, finish, "table").export(plain, verbose=False)
        written = {each.name: each.read_bytes() for each in (plain, plain.with_suffix(".h"))
                   if each.exists()}  # fmt: skip
    if path.suffix == ".onnx":
        written[path.name] = _by_columns(written[path.name], layout)
    else:
        _tell_columns(written, path, layout)
    for name, content in written.items():
        with replacing(path.with_name(name)) as file:
            file.write(content)


def _by_columns(model: bytes, layout: Layout) -> bytes:
    """ONNX model with an input a column: of float32, of strings for categories."""
    onnx = needed("onnx", "onnx", "export to ONNX")
    compose = needed("onnx.compose", "onnx", "export to ONNX")
    helper = onnx.helper
    names = [*layout.numbers, *layout.categories]
    prefix = "cdl/"
    while any(name.startswith(prefix) for name in names):
        prefix = f"_{prefix}"
    found = compose.add_prefix(onnx.load_from_string(model), prefix)
    graph = found.graph
    (columns,), (output,) = graph.input, graph.output
    inputs, nodes, parts = [], [], []
    for name in layout.numbers:
        inputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 1]))
        parts.append(name)
    for k, (name, values) in enumerate(layout.categories.items()):
        inputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.STRING, ["N", 1]))
        parts.append(f"{prefix}code{k}")
        nodes.append(
            helper.make_node(
                "LabelEncoder",
                [name],
                [parts[-1]],
                domain="ai.onnx.ml",
                keys_strings=values,
                values_floats=[float(each) for each in range(1, len(values) + 1)],
                default_float=0.0,
            )
        )
    nodes.append(helper.make_node("Concat", parts, [columns.name], axis=1))
    kept = [*nodes, *graph.node]
    shown = helper.make_tensor_value_info("predictions", onnx.TensorProto.FLOAT, ["N", None])
    shown.type.CopyFrom(output.type)
    while shown.name in names:
        shown.name += "_"
    kept.append(helper.make_node("Identity", [output.name], [shown.name]))
    for field, values in ((graph.node, kept), (graph.input, inputs), (graph.output, [shown])):
        del field[:]
        field.extend(values)
    if layout.categories:
        found.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    serialized: bytes = found.SerializeToString()
    return serialized


def _tell_columns(written: dict[str, bytes], path: Path, layout: Layout) -> None:
    """Add a description of the columns to C, and a function from categories to their codes."""
    header, source = f"{path.stem}.h", path.name
    n = len(layout.numbers)
    lines = [f" * {i}: {_safe(name)}" for i, name in enumerate(layout.numbers)]
    lines += [f" * {i}: {_safe(name)}, a code" for i, name in enumerate(layout.categories, n)]
    about = "\n".join(["/* Columns of a sample; a missing number is NAN, code 0.", *lines, " */\n"])
    text = written[header].decode()
    name = re.search(r"void (\w+)_predict", text)[1]  # type: ignore[index] # it is there
    code = f"float {name}_code(size_t column, const char *value)"
    if layout.categories:
        told = "/* Code of a category in a column; 0 if the model does not know it. */\n"
        text = text.replace("/* The outputs for", f"{told}{code};\n\n/* The outputs for", 1)
        written[source] += _codes(code, layout, n).encode()
        written[source] = written[source].replace(
            b"<stddef.h>\n", b"<stddef.h>\n#include <string.h>\n", 1
        )
    written[header] = text.replace("#ifdef __cplusplus", f"{about}\n#ifdef __cplusplus", 1).encode()


def _codes(code: str, layout: Layout, first: int) -> str:
    """C of the function from categories to codes."""
    lists, cases = [], []
    for i, values in enumerate(layout.categories.values(), first):
        shown = ", ".join(map(_literal, values))
        lists.append(f"static const char *const values{i}[] = {{{shown}, 0}};\n")
        cases.append(f"    case {i}: known = values{i}; break;\n")
    return (
        f"\n{''.join(lists)}\n{code} {{\n"
        "    const char *const *known = 0;\n    size_t i;\n"
        f"    switch (column) {{\n{''.join(cases)}    default: break;\n    }}\n"
        "    for (i = 0; known && known[i]; i++)\n"
        "        if (!strcmp(known[i], value)) return (float)(i + 1);\n    return 0.0f;\n}\n"
    )


def _safe(name: str) -> str:
    """Name within a comment of C."""
    return json.dumps(name).replace("*/", "* /").replace("/*", "/ *").replace("?", "\\u003f")


def _literal(value: str) -> str:
    """String of C in UTF-8, without anything that C reads otherwise."""
    plain = re.compile(rb"[A-Za-z0-9 _.,:;+-]")
    shown = (chr(b) if plain.match(bytes([b])) else f"\\{b:03o}" for b in value.encode())
    return f'"{"".join(shown)}"'
