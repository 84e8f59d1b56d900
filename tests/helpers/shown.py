"""Whether a program printed what a page shows: its words exactly, its decimals nearly."""

from __future__ import annotations

import re

NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")


def alike(shown: str, printed: str, relative: float = 0.1, absolute: float = 0.02) -> bool:
    """Whether lines agree: words and integers exactly, decimals nearly, anything at `...`."""
    pattern, sizes = "", []
    for part in re.split(r"(\.\.\.)", shown):
        if part == "...":
            pattern += ".*?"
            continue
        end = 0
        for match in NUMBER.finditer(part):
            pattern += re.escape(part[end : match.start()]) + f"({NUMBER.pattern})"
            sizes.append(match.group())
            end = match.end()
        pattern += re.escape(part[end:])
    match = re.fullmatch(pattern, printed, re.DOTALL)
    if match is None:
        return False
    for wanted, found in zip(sizes, match.groups(), strict=True):
        if "." not in wanted and "e" not in wanted:
            if wanted != found:
                return False
            continue
        a, b = (float(each.replace(",", "")) for each in (wanted, found))
        if abs(a - b) > relative * abs(a) + absolute:
            return False
    return True
