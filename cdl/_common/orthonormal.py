"""Products and orthonormal columns in float64 that have the same bits on every machine.

Sums of a product of matrices depend on the BLAS and the processor, but not where each number is an
integer and the sum below 2^53: so factors are cut into two integers each, whose products BLAS makes
without rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

_PANEL = 32  # columns that are made orthogonal one by one


def orthonormal(matrix: Doubles) -> Doubles:
    """Q of the decomposition ``matrix = Q R`` whose R has a positive diagonal.

    Args:
        matrix: (n, m) with m <= n, of full rank.

    Returns:
        (n, m), columns orthonormal to about 1e-9: the modified Gram-Schmidt process by panels.
    """
    q = np.array(matrix, np.float64)
    for first in range(0, q.shape[1], _PANEL):
        panel, rest = q[:, first : first + _PANEL], q[:, first + _PANEL :]
        for _ in range(2):  # the second time mends what the first has lost
            _make_orthonormal(panel)
        if rest.size:
            rest -= product(panel, product(panel.T, rest))
    return q


def _make_orthonormal(panel: Doubles) -> None:
    for j in range(panel.shape[1]):
        column, later = panel[:, j], panel[:, j + 1 :]
        column /= np.sqrt(_along(column * column))
        later -= column[:, None] * _along(column[:, None] * later)


def _along(terms: Doubles) -> Any:
    """Sums along the first axis, by halves: the order does not depend on the machine."""
    while len(terms) > 1:
        half = len(terms) // 2
        rest = terms[2 * half :]
        terms = terms[:half] + terms[half : 2 * half]
        if len(rest):
            terms[0] += rest[0]
    return terms[0]


def product(a: NDArray[Any], b: NDArray[Any]) -> Doubles:
    """``a @ b``, to about 2^-38 of the largest terms."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    bits = min(20, (53 - a.shape[1].bit_length()) // 2)
    (high_a, low_a, unit_a), (high_b, low_b, unit_b) = _integers(a, bits), _integers(b, bits)
    found = high_a @ low_b
    found += low_a @ high_b
    found *= 2.0**-bits
    found += high_a @ high_b
    found *= unit_a * unit_b
    return found


def _integers(x: Doubles, bits: int) -> tuple[Doubles, Doubles, float]:
    """Integers within 2^(bits - 1), those of the rest, and the unit of the first."""
    most = np.abs(x).max()
    unit = 2.0 ** (int(np.frexp(most)[1] if np.isfinite(most) else 0) + 1 - bits)
    scaled = x / unit
    high = np.rint(scaled)
    with np.errstate(invalid="ignore"):  # of infinities
        return high, np.rint((scaled - high) * 2.0**bits), unit
