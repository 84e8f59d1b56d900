"""Instruction sets that are offered: those of the machine."""

from pathlib import Path

from cdl import _core

CPUINFO = Path("/proc/cpuinfo")
NEEDED = {
    "amx": {"amx_tile", "amx_bf16", "amx_int8", "avx512_bf16"},
    "avx512": {"avx512f", "avx512dq", "avx512bw", "avx512vl"},
    "avx2": {"avx2", "fma"},
}


def test_what_the_system_tells_of_the_machine_is_used():
    text = CPUINFO.read_text() if CPUINFO.exists() else ""
    flags = next((set(line.split()) for line in text.splitlines() if "flags" in line), set())
    found = _core.available_isas()
    assert found[-1] == "baseline"
    assert not {isa for isa, needed in NEEDED.items() if needed <= flags} - set(found)
