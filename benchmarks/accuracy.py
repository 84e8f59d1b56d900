"""The worst error of the core's elementary functions over all floats; their speed.

    python -m benchmarks.accuracy [--isas avx512 avx2 baseline] [--stride 251] [--keep]

Errors are in units of the last place of the exact result, which the C library gives in double
precision; every 251st float is tried, of all sizes, infinities among them. The speed is that of a
loop over 4,096 floats in the L1 cache.
"""

from __future__ import annotations

import argparse
import ctypes

from benchmarks.harness import command, native, records


def names(functions: ctypes.CDLL) -> list[str]:
    found = []
    while (name := functions.function_name(len(found))) is not None:
        found.append(name.decode())
    return found


def measure(options: argparse.Namespace) -> list[dict]:
    """A record for each function and ISA."""
    functions = native.functions()
    found = []
    for i, name in enumerate(names(functions)):
        for isa in options.isas:
            at = ctypes.c_float()
            command.progress(f"{name} {isa}")
            word, stride = isa.encode(), ctypes.c_uint32(options.stride)
            error = functions.function_error(i, word, stride, ctypes.byref(at))
            speed = functions.function_speed(i, word, options.rounds)
            found.append(
                {"function": name, "isa": isa, "ulp": error, "at": at.value, "giga": 1e-9 * speed}
            )
    return found


def tables(found: list[dict]) -> str:
    isas = list(dict.fromkeys(r["isa"] for r in found))
    by = {(r["function"], r["isa"]): r for r in found}
    rows = []
    for name in dict.fromkeys(r["function"] for r in found):
        each = [by[name, isa] for isa in isas]
        worst = max(each, key=lambda r: r["ulp"])
        rows.append(
            [
                name,
                *(f"{r['ulp']:.2f}" for r in each),
                f"{worst['at']:.6g}",
                *(records.number(r["giga"]) for r in each),
            ]
        )
    head = ["function", *(f"{isa}, ulp" for isa in isas), "worst at", *(f"{i}, G/s" for i in isas)]
    title = "### Worst error in units of the last place; giga-results a second, one thread\n"
    return "\n".join([title, records.table(head, rows), ""])


def main(arguments: list[str] | None = None) -> None:
    from cdl import _core

    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    command.add_options(parser, rounds=50, threads=False)
    parser.add_argument("--isas", nargs="+", default=list(_core.available_isas()), metavar="ISA")
    parser.add_argument("--stride", type=int, default=251, metavar="N", help="every N-th float")
    options = parser.parse_args(arguments)
    command.run("accuracy", lambda: measure(options), tables, options)


if __name__ == "__main__":
    main()
