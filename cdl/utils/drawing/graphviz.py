"""Drawings as text in Graphviz's DOT language."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from cdl.utils.drawing.contents import Arrow, Block, printable

HEADER = "#dfe7f1"  # behind the first line of a box
_FONT = 'fontname="Helvetica", fontsize=10'


def source_of(
    name: str, blocks: Sequence[Block], arrows: Sequence[Arrow], settings: Sequence[str]
) -> str:
    """DOT source of blocks and arrows.

    Args:
        name: of the graph.
        blocks: what is in boxes, which are tables, and in frames, which are clusters.
        arrows: from box to box.
        settings: of the graph, such as "rankdir=LR".
    """
    lines = [f"digraph {_quoted(name)} {{", f"  {'; '.join(settings)};"]
    lines += [f"  graph [style=dashed, labeljust=l, {_FONT}];"]
    lines += [f"  node [shape=plain, {_FONT}];", "  edge [arrowsize=0.7];"]
    for block in blocks:
        lines += _described(block, "  ")
    lines += [f"  {_quoted(start)} -> {_quoted(end)};" for start, end in arrows]
    return "\n".join([*lines, "}", ""])


def _described(block: Block, indent: str) -> Iterator[str]:
    if block.within:
        yield f"{indent}subgraph {_quoted(f'cluster_{block.key}')} {{"
        # Graphviz lets arrows run over a label; most go through the middle, so the right half stays
        # free: one letter is some 6 points wide.
        label = html.escape(block.lines[0])
        free = f'<td width="{6 * len(block.lines[0])}"></td>'
        table = f'<table border="0" cellspacing="0"><tr><td>{label}</td>{free}</tr></table>'
        yield f"{indent}  label=<{table}>;"
        for each in block.within:
            yield from _described(each, f"{indent}  ")
        yield f"{indent}}}"
        return
    rows = "".join(
        f"<tr><td{'' if i else f' bgcolor={HEADER!r}'}>{html.escape(line)}</td></tr>"
        for i, line in enumerate(block.lines)
    )
    table = f'<table border="0" cellborder="1" cellspacing="0" cellpadding="4">{rows}</table>'
    yield f"{indent}{_quoted(block.key)} [label=<{table}>];"


def _quoted(text: str) -> str:
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
