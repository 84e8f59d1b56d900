"""AMX on a kernel that refuses the use of its tiles, by a filter of system calls."""

import json
import os
import subprocess
import sys
from textwrap import dedent

import pytest
from programs import ISAS

pytestmark = pytest.mark.skipif("amx" not in ISAS, reason="no AMX")

# The filter: if (nr == arch_prctl && first argument == ARCH_REQ_XCOMP_PERM) EPERM, else allow.
REFUSED = dedent("""
    import ctypes, json, struct, sys

    LOAD, EQUAL, GIVE = 0x20, 0x15, 0x06
    steps = [
        (LOAD, 0, 0, 0), (EQUAL, 0, 3, 158),
        (LOAD, 0, 0, 16), (EQUAL, 0, 1, 0x1023),
        (GIVE, 0, 0, 0x50000 | 1), (GIVE, 0, 0, 0x7FFF0000),
    ]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    memory = ctypes.create_string_buffer(code)
    filter = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(memory))
    program = ctypes.create_string_buffer(filter)
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(38, ctypes.c_ulong(1), zero, zero, zero) or libc.prctl(
        22, ctypes.c_ulong(2), ctypes.byref(program), zero, zero
    ):
        sys.exit(77)
    import numpy as np
    import cdl
    from cdl import _core

    cdl.config.set_dtype_policy("mixed_bfloat16")
    cdl.utils.set_random_seed(0)
    net = cdl.Sequential([cdl.Input((8,)), cdl.layers.Dense(32, "relu"), cdl.layers.Dense(3)])
    net.compile("sgd", "mse")
    x = np.linspace(-1, 1, 320, dtype=np.float32).reshape(40, 8)
    losses = net.fit(x, x[:, :3], epochs=5, verbose=0).history["loss"]
    print(json.dumps([_core.info()["isa"], _core.available_isas(), losses]))
""")


def run(**environment):
    return subprocess.run(
        [sys.executable, "-c", REFUSED],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_leave_for_tiles_avx512_multiplies():
    found = run(CDL_ISA="")
    if found.returncode == 77:
        pytest.skip("no filters of system calls")
    assert found.returncode == 0, found.stderr
    isa, isas, losses = json.loads(found.stdout)
    assert isa == "avx512" and "amx" not in isas and "avx2" in isas
    assert losses[-1] < losses[0]


def test_an_instruction_set_that_the_kernel_refuses_is_named():
    found = run(CDL_ISA="amx")
    if found.returncode == 77:
        pytest.skip("no filters of system calls")
    assert found.returncode != 0 and "amx" in found.stderr
