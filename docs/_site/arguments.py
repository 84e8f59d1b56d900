"""Descriptions of arguments that functions of cdl.ops share with NumPy's, a line for all of them.

Their docstrings give the formula; the pages add those of these lines that a docstring has not.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

COMMON = {
    "N": "rows.",
    "M": "columns; None for as many as rows.",
    "a": "an array, or a symbolic tensor.",
    "alpha": "how steep it is below 0.",
    "approximate": "whether the form with a hyperbolic tangent is computed.",
    "array": "an array, or a symbolic tensor.",
    "atol": "how far apart two numbers may be, at 0.",
    "axes": "the two axes of the plane.",
    "axis": "the axis, or axes, along which it is computed; None for all.",
    "axis1": "the one axis.",
    "axis2": "the other axis.",
    "b": "an array, or a symbolic tensor; of `squareplus` how round the corner is.",
    "base": "the score before anything was shuffled.",
    "data": "an array, or a symbolic tensor, whose rows are put together.",
    "decimals": "digits behind the point.",
    "default_value": "what stands in place of values that are not above the threshold.",
    "drops": "how far the score fell, by name and repetition.",
    "dtype": "of the result; None for that of the operands.",
    "elements": "what the function is called with, along the first axis.",
    "endpoint": "whether `stop` belongs to the result.",
    "equal_nan": "whether NaN equals NaN.",
    "function": "is called with each element.",
    "identifier": "a name, a config, or what is to be found itself.",
    "indices": "positions in the flattened array.",
    "indices_or_sections": "how many equal parts, or the places at which they begin.",
    "k": "which diagonal, 0 the main one; of `rot90` how many quarter turns.",
    "keepdims": "whether reduced axes are kept, of size 1.",
    "limit": "what the absolute value of the result comes near to, and stays below; above 0.",
    "lower": "whether the matrix is a lower triangle.",
    "max_value": "the largest value of the result; None for no limit.",
    "method": 'how values between two samples are found, "linear" unless said otherwise.',
    "n": "rows and columns.",
    "names": "of the columns.",
    "negative_slope": "what values below 0, or below the threshold, are multiplied with.",
    "num": "how many values.",
    "num_segments": "how many segments; None for as many as `segment_ids` names.",
    "offset": "which diagonal, 0 the main one.",
    "q": "which shares of the sorted values lie below the result.",
    "rtol": "how far apart two numbers may be, as a share of the second one.",
    "segment_ids": "for each row the number of its segment.",
    "shape": "a tuple of sizes.",
    "sorted": "whether `segment_ids` ascend.",
    "start": "the first value.",
    "stop": "the last value.",
    "threshold": "where the function changes its form.",
    "upper": "whether the factor is an upper triangle.",
    "value": "what is assigned.",
    "variable": "a symbolic tensor, or an array.",
    "x": "an array, or a symbolic tensor.",
    "x1": "an array, a number or a symbolic tensor.",
    "x2": "the same; shapes broadcast.",
    "xs": "arrays or symbolic tensors.",
    "y": "the same; shapes broadcast.",
}
SHARED = re.compile(
    r"[Ff]urther arguments are those of|[Aa]rguments as in|[Ss]ee `|as in `|same as"
)


def names(thing: Any) -> list[str]:
    """The names of the arguments of a call."""
    try:
        found = inspect.signature(thing).parameters
    except (TypeError, ValueError):
        return []
    return [name for name in found if name not in {"self", "cls", "args", "kwargs", "_cls"}]


def missing(thing: Any, text: str) -> list[str]:
    """Arguments that a docstring neither describes nor leaves to another one."""
    match = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)*)", text + "\n", re.MULTILINE)
    told = set(re.findall(r"\w+", match[1] if match else "")) | set(re.findall(r"`(\w+)`", text))
    return [] if SHARED.search(text) else [name for name in names(thing) if name not in told]


def completed(thing: Any, text: str) -> str:
    """A docstring with the lines that it leaves to the table above."""
    added = [f"    {name}: {COMMON[name]}" for name in missing(thing, text) if name in COMMON]
    if not added:
        return text
    if match := re.search(r"^Args:\n", text, re.MULTILINE):
        return text[: match.end()] + "\n".join(added) + "\n" + text[match.end() :]
    summary, _, rest = text.partition("\n\n")
    return "\n\n".join(filter(None, [summary, "Args:\n" + "\n".join(added), rest]))
