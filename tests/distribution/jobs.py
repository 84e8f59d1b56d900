"""Jobs of several ranks, started by the mpiexec of the interpreter's environment."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MPIEXEC = Path(sys.executable).parent / "mpiexec"
LONGEST = 400  # seconds; a job that takes longer hangs, whatever else the machine does


def start(script, ranks, *arguments, **environment):
    """Start a script on a number of ranks; the Popen of its launcher, with text on both pipes.

    They have the cdl of this process, which may be another build than that of the tree.
    """
    paths = [*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)]
    given = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "",
        **environment,
    }
    given = {name: value for name, value in given.items() if value}
    command = [MPIEXEC, "-n", str(ranks), sys.executable, script, *arguments]
    return subprocess.Popen(
        list(map(str, command)),
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
