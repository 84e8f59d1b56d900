"""Names of the functions of a shared library, static ones too, by address (ELF)."""

from __future__ import annotations

import bisect
import struct
from pathlib import Path

SYMTAB, FUNCTION, FILE = 2, 2, 4  # sh_type; types of symbols


class Symbols:
    """Functions of one library as it is mapped into this process."""

    def __init__(self, path: Path) -> None:
        self.base, self.end = mapped(path)
        found = sorted(functions(path.read_bytes()))
        self.starts = [start for start, _, _ in found]
        self.found = found

    def at(self, address: int) -> tuple[str, str] | None:
        """Source file and function around an address; None outside this library."""
        if not self.base <= address < self.end:
            return None
        i = bisect.bisect_right(self.starts, address - self.base) - 1
        if i < 0 or address - self.base >= self.found[i][0] + max(self.found[i][1], 1):
            return None
        return self.found[i][2]


def mapped(path: Path) -> tuple[int, int]:
    """The first and the last address at which a library is mapped."""
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line]
    if not lines:
        raise LookupError(f"{path} is not loaded")
    return int(lines[0].split("-")[0], 16), int(lines[-1].split("-")[1].split()[0], 16)


def functions(elf: bytes) -> list[tuple[int, int, tuple[str, str]]]:
    """(address, size, (file, name)) of every function; files are those of static functions."""
    if elf[:5] != b"\x7fELF\x02":
        raise LookupError("no 64-bit ELF file")
    (offset,) = struct.unpack_from("<Q", elf, 0x28)
    size, count = struct.unpack_from("<HH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, offset + i * size) for i in range(count)]
    found = []
    for _, kind, _, _, at, length, link, _, _, _ in sections:
        if kind != SYMTAB:
            continue
        names = sections[link][4]
        source = ""
        for entry in range(at, at + length, 24):
            name_at, info, _, _, value, extent = struct.unpack_from("<IBBHQQ", elf, entry)
            end = elf.index(b"\0", names + name_at)
            name = elf[names + name_at : end].decode()
            if info & 15 == FILE:
                source = name
            elif info & 15 == FUNCTION and value:
                found.append((value, extent, (source if info >> 4 == 0 else "", name)))
    return found
