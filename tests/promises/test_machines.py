"""Equal bits on every machine: instruction sets, sizes of caches, and NumPy's own choices.

`make arm` runs this file with CDL_OTHERS, commands that start Python with another build of cdl.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cdl import _core
from cdl._common import elementary

SCRIPT = Path(__file__).parents[1] / "helpers" / "nets_of_all_kinds.py"
# The baseline has no fused multiply-adds.
FUSED = [isa for isa in _core.available_isas() if isa != "baseline"] or ["baseline"]
FEATURES = np._core._multiarray_umath.__cpu_features__
OTHER_NUMPY = [n for n in np._core._multiarray_umath.__cpu_dispatch__ if FEATURES[n]]
SMALL = {"CDL_CACHE": "32K,256K,3M", "OMP_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"}
MACHINES = [{"CDL_ISA": isa} for isa in FUSED[1:]]
MACHINES += [{"CDL_ISA": FUSED[-1], "NPY_DISABLE_CPU_FEATURES": " ".join(OTHER_NUMPY), **SMALL}]
OTHERS = [{"python": command} for command in os.environ.get("CDL_OTHERS", "").splitlines()]


def learned(python: str = sys.executable, **environment: str) -> dict[str, str]:
    """The hash of each net that a process of its own has trained."""
    command = [*shlex.split(python), "-W", "error", str(SCRIPT)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def here():
    return learned(CDL_ISA=FUSED[0])


def test_nets_of_all_kinds_have_bits_of_their_own(here):
    # Aliases; Tversky's defaults are Dice, and class numbers learn as rows of zeros and a one.
    twice = ("ops.", "activation", "loss Tversky", "loss Sparse")
    names = [name for name in here if not name.startswith(twice)]
    assert len(names) > 65
    assert len({here[name] for name in names}) == len(names)
    assert len(here) > 150


@pytest.mark.timeout(7200 if OTHERS else 600)  # an emulator takes a hundred times as long
@pytest.mark.parametrize(
    "machine", MACHINES + OTHERS, ids=lambda machine: "-".join(machine.values())
)
def test_nets_of_all_kinds_learn_the_same_bits_on_another_machine(machine, here):
    there = learned(**machine)
    assert [name for name in here if here[name] != there[name]] == []


@pytest.mark.parametrize("name", ["exponential", "logarithm", "cosine"])
def test_functions_out_of_sums_and_products_are_those_of_numpy(name):
    ends = {"exponential": (-800, 700), "logarithm": (1e-300, 40), "cosine": (-np.pi, np.pi)}
    x = np.linspace(*ends[name], 10_001)
    numpys = {"exponential": np.exp, "logarithm": np.log, "cosine": np.cos}[name](x)
    np.testing.assert_allclose(getattr(elementary, name)(x), numpys, rtol=3e-15, atol=5e-16)


def test_powers_out_of_sums_and_products_are_those_of_c():
    bases = [0.0, 0.0, 0.96, 2.0, -2.0, -2.0, -2.0, 5.0, 1e-30]
    exponents = [0.0, 2.5, 1000.0, -0.5, 3.0, 2.0, 0.5, 0.0, 20.0]
    wanted = [1.0, 0.0, 0.96**1000, 0.5**0.5, -8.0, 4.0, np.nan, 1.0, 0.0]
    np.testing.assert_allclose(elementary.power(bases, exponents), wanted, rtol=1e-14)
