"""Program as one file of C99: weights, work space, one function, and its header."""

from __future__ import annotations

import bisect
import heapq
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._ir.instruction import Instruction
from cdl.export import c_integers, c_ops, numbers
from cdl.export.c_formulas import CALLS, HELPERS, number
from cdl.trainers.signature import TrainableModel

# Floats of work space that go on the stack; more are static, so that one call runs at a time.
_MOST_ON_STACK = 16_384

Sizes = list[tuple[str, str, tuple[int, ...]]]


class Text:
    """C text of a program under construction.

    Args:
        program: the program of a model's `predict`.
    """

    def __init__(self, program: Any) -> None:
        self.lines: list[str] = []
        self.tables: list[str] = []
        self.helpers: set[str] = set()
        self._names: dict[int, str] = {}  # C names of values
        self._known: dict[bytes, str] = {}  # of tables, by their contents
        self._weights: dict[int, str] = {}  # of weights
        self.work = _Work(program)
        for k, value in enumerate(program.inputs):
            self._names[id(value)] = f"in{_digit(k, program.inputs)}"

    def write(self, line: str) -> None:
        """Append a line to the function."""
        self.lines.append(f"    {line}")

    def uses(self, formula: str) -> None:
        """Record which helpers a formula calls."""
        for name in re.findall(r"\b(\w+)\(", formula):
            if name in HELPERS:
                self.helpers |= {name, *CALLS.get(name, ())}

    def call(self, name: str, *arguments: Any) -> None:
        """Append the call of a helper."""
        self.uses(f"{name}(")
        self.write(f"{name}({', '.join(map(str, arguments))});")

    def zeros(self, name: str, n: int) -> None:
        """Append code that clears an array."""
        self.write(f"for (i = 0; i < {n}; i++) {name}[i] = 0.0f;")

    def ref(self, value: Any) -> str:
        """C name of a value's array."""
        return self._names.setdefault(id(value), f"v{value.index}")

    def name(self, value: Any, name: str) -> None:
        """Set the name of a value's array."""
        self._names[id(value)] = name

    def weight(self, variable: Any) -> str:
        """C name of a weight's constants."""
        if id(variable) not in self._weights:
            c_integers.refuse_whole(variable)
            self._weights[id(variable)] = self.table(variable.numpy(), about=variable.path)
        return self._weights[id(variable)]

    def bytes_of(self, i: Instruction) -> str:
        """C name of the bytes that an op keeps while it runs."""
        return f"({c_integers.BYTE} *)(work + {self.work.kept[id(i)]})"

    def table(self, values: NDArray[Any], kind: str = "float", about: str = "") -> str:
        """C name of an array of constants; equal ones are there once."""
        whole = np.int8 if kind == c_integers.BYTE else np.int64
        flat = np.asarray(values, np.float32 if kind == "float" else whole).reshape(-1)
        key = kind.encode() + flat.tobytes()
        if key not in self._known:
            name = self._known[key] = f"{'w' if kind == 'float' else 'p'}{len(self._known)}"
            about = re.sub(r"[^\w/. :-]", "_", about)
            said = f" /* {about} {list(np.shape(values))} */" if about else ""
            words = [number(v) if kind == "float" else str(v) for v in flat.tolist()]
            rows = [", ".join(words[at : at + 8]) for at in range(0, len(words), 8)]
            body = ",\n    ".join(rows) or "0"
            self.tables.append(
                f"static const {kind} {name}[{max(1, flat.size)}] = {{{said}\n    {body}\n}};\n"
            )
        return self._known[key]


class _Gaps:
    """Free ranges of a memory without an end."""

    def __init__(self) -> None:
        self._gaps: list[tuple[float, float]] = [(0, math.inf)]  # from, to; in order, none touch

    def take(self, size: int) -> int:
        """Allocate the lowest range that is large enough."""
        at = next(k for k, (start, end) in enumerate(self._gaps) if size <= end - start)
        start, end = self._gaps[at]
        self._gaps[at : at + 1] = [(start + size, end)] if start + size < end else []
        return int(start)

    def give(self, start: float, end: float) -> None:
        """Free a range again."""
        at = bisect.bisect(self._gaps, (start, end))
        if self._gaps[at][0] == end:
            end = self._gaps.pop(at)[1]
        if at and self._gaps[at - 1][1] == start:
            at -= 1
            start = self._gaps.pop(at)[0]
        self._gaps.insert(at, (start, end))


class _Work:
    """Memory plan of values that are no constants; those that live at different times share it."""

    def __init__(self, program: Any) -> None:
        self._root: dict[int, Any] = {}  # of values that are another one's array
        self._lives: dict[int, list[int]] = {}  # first and last instruction
        self._values: dict[int, Any] = {}
        self.places: dict[int, int] = {}
        self.kept: dict[int, int] = {}  # of bytes that instructions keep while they run
        self.size = 0
        self._sizes: dict[int, int] = {}  # in the order of first instructions
        for at, i in enumerate(program.instructions):
            # An op reads at 2 at and writes then and at 2 at + 1; but one that brings its only line
            # to bytes first has no need of it when it writes.
            keeps = c_integers.keeps_bytes(i)
            early = keeps and math.prod(i.inputs[0].shape[:-1]) == 1
            for v in i.inputs:
                self._live(self.root(v), 2 * at + 1 - early)
            if keeps:
                self._lives[id(i)] = [2 * at, 2 * at + 1]
                self._sizes[id(i)] = c_integers.bytes_of_line(i)
            for v in i.outputs:
                if i.op in numbers.SAME:
                    self._root[id(v)] = self.root(i.inputs[0])
                elif i.op not in ("param", "constant"):
                    self._live(v, 2 * at + early)
                    self._values[id(v)] = v
                    self._sizes[id(v)] = math.prod(v.shape)
        for v in program.outputs:
            self._live(self.root(v), 2 * len(program.instructions))
        self._place()

    def root(self, value: Any) -> Any:
        """Value whose array another one shares."""
        return self._root.get(id(value), value)

    def _live(self, value: Any, at: int) -> None:
        life = self._lives.setdefault(id(value), [at, at])
        life[1] = at

    def _place(self) -> None:
        gaps = _Gaps()
        living: list[tuple[int, int, int]] = []  # a heap: last instruction, from, to
        for key, size in self._sizes.items():
            first, last = self._lives[key]
            while living and living[0][0] < first:
                gaps.give(*heapq.heappop(living)[1:])
            at = gaps.take(size)
            heapq.heappush(living, (last, at, at + size))
            (self.places if key in self._values else self.kept)[key] = at
            self.size = max(self.size, at + size)

    def declarations(self, text: Text) -> list[str]:
        """Lines that declare the arrays."""
        return [
            f"float *const {text.ref(self._values[key])} = work + {at};"
            for key, at in self.places.items()
        ]


def source_of(
    program: Any, stem: str, model: TrainableModel, rows: Sequence[tuple[int, ...]] | None = None
) -> tuple[str, str]:
    """C file and header of a program.

    Args:
        program: that of a model's `predict`.
        stem: the name of the file, of which that of the function is made.
        rows: the shapes of its inputs, if the program may read them in other ones.

    Raises:
        ValueError: an op that cannot be exported, or a name of the file that C cannot include.
    """
    if re.search(r'["\\\n]', stem):
        raise ValueError(f"export: filepath must have a name that C can include, got {stem!r}")
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    name = f"_{name}" if name[:1].isdigit() else name
    text = Text(program)
    for i in program.instructions:
        if i.op not in c_ops.ROWS:
            raise numbers.refusal(i.op, "C", i.attributes.get("function"))
        for v in i.outputs:
            if i.op in numbers.SAME:
                text.name(v, text.ref(i.inputs[0]))
            elif i.op == "param":
                text.name(v, text.weight(i.params[0]))
            elif i.op == "constant":
                text.name(v, text.table(np.asarray(i.data)))
        text.write(f"/* {_comment(repr(i))} */")
        c_ops.ROWS[i.op](text, i)
    for k, v in enumerate(program.outputs):
        out = f"out{_digit(k, program.outputs)}"
        text.write(f"for (i = 0; i < {math.prod(v.shape)}; i++) {out}[i] = {text.ref(v)}[i];")
    sizes = _sizes(program, rows or [tuple(v.shape) for v in program.inputs])
    return _file(program, text, name, stem, sizes), _header(program, text, name, model, sizes)


def _digit(k: int, values: list[Any]) -> str:
    return str(k) if len(values) > 1 else ""


def _comment(words: str) -> str:
    """Text that is safe in a comment: neither its end nor anything but ASCII."""
    plain = words.encode("ascii", "replace").decode().replace("*/", "* /").replace("/*", "/ *")
    plain = re.sub(r"[\x00-\x1f\\?]", "_", plain)
    return plain if len(plain) <= 80 else f"{plain[:77]}..."


def _arguments(program: Any) -> list[str]:
    parts = [f"const float *in{_digit(k, program.inputs)}" for k in range(len(program.inputs))]
    return parts + [f"float *out{_digit(k, program.outputs)}" for k in range(len(program.outputs))]


def _sizes(program: Any, inputs: Sequence[tuple[int, ...]]) -> Sizes:
    """Name, macro and shape of each array that the function takes."""
    outputs = [tuple(v.shape) for v in program.outputs]
    found = []
    for kind, macro, shapes in (("in", "INPUT", list(inputs)), ("out", "OUTPUT", outputs)):
        for k, shape in enumerate(shapes):
            end = _digit(k, shapes)
            found.append((f"{kind}{end}", f"{macro}{end}", shape))
    return found


def _file(program: Any, text: Text, name: str, stem: str, sizes: Sizes) -> str:
    work = text.work
    static = "static " if work.size > _MOST_ON_STACK else ""
    named = "static void one(" + ", ".join(_arguments(program)) + ") {"
    body = [named]
    if work.size:
        body += [f"    {static}float work[{work.size}];"]
        body += [f"    {line}" for line in work.declarations(text)]
    arguments = [a for a, macro, _ in sizes if macro.startswith("INPUT")]
    read = re.findall(r"\bin\d*\b", "\n".join(text.lines))
    unread = [f"    (void){a};" for a in arguments if a not in read]
    uses_j = any(re.search(r"\bj\b", line) for line in text.lines)
    body += [f"    size_t i{', j' if uses_j else ''};", *unread, *text.lines, "}", ""]
    steps = [f"{a} + s * {math.prod(shape)}" for (a, _, shape) in sizes]
    body += [
        f"void {name}_predict(size_t n, {', '.join(_arguments(program))}) {{",
        "    size_t s;",
        f"    for (s = 0; s < n; s++) one({', '.join(steps)});",
        "}",
        "",
    ]
    helpers = [HELPERS[each] for each in HELPERS if each in text.helpers]
    return "\n".join(
        [
            f"/* {name}.c - a model: its weights and its predictions, in C99.",
            " *",
            " * Written by cdl. Compile it with any C99 compiler, and link with -lm.",
            " */",
            "#include <math.h>",
            "#include <stddef.h>",
            "",
            f'#include "{stem}.h"',
            "",
            *text.tables,
            *(each.strip("\n") + "\n" for each in helpers),
            *body,
        ]
    )


def _labels(model: TrainableModel, count: int) -> list[str]:
    """Names of the model's inputs and outputs, if they tell more than their order."""
    infos = [info for kind in ("input", "output") for info in numbers.infos(model, kind)]
    names = [str(info.name) for info in infos]
    return [f", {_comment(name)}" for name in names] if len(names) == count > 2 else [""] * count


def _header(program: Any, text: Text, name: str, model: TrainableModel, sizes: Sizes) -> str:
    upper, title = name.upper(), model.name
    macros = [
        f"#define {upper}_{macro} {math.prod(shape)} "
        f"/* floats of a sample of {a}{label}: {list(shape)} */"
        for (a, macro, shape), label in zip(sizes, _labels(model, len(sizes)), strict=True)
    ]
    size = 4 * text.work.size
    where = (
        f"It takes some {size} bytes of stack and allocates nothing; it may run in many threads."
    )
    if text.work.size > _MOST_ON_STACK:
        where = f"It has {size} bytes of static memory: one call at a time. It allocates nothing."
    return "\n".join(
        [
            f"/* {name}.h - predictions of the model {_comment(title)}. Written by cdl. */",
            f"#ifndef {upper}_H",
            f"#define {upper}_H",
            "",
            "#include <stddef.h>",
            "",
            *macros,
            "",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
            "/* The outputs for n samples, which lie one behind the other, as do the outputs.",
            f" * {where} */",
            f"void {name}_predict(size_t n, {', '.join(_arguments(program))});",
            "",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "",
            f"#endif /* {upper}_H */",
            "",
        ]
    )
