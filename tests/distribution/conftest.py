"""Results of all cases, by the number of ranks; each job is started once."""

import numpy as np
import pytest

from . import cases, jobs

SIZES = (2, 3)


def found_by(script, tmp_path_factory):
    """The results of a script's ranks, for jobs of all sizes: {size: [arrays of each rank]}."""
    found = {}
    for n in SIZES:
        folder = tmp_path_factory.mktemp(f"of_{n}")
        job = jobs.start(script, n, folder)
        _, errors = job.communicate(timeout=jobs.LONGEST)
        assert job.returncode == 0, errors
        found[n] = [dict(np.load(folder / f"{rank}.npz")) for rank in range(n)]
    return found


@pytest.fixture(scope="package")
def alone():
    """The results of the cases in one process."""
    return cases.results()


@pytest.fixture(scope="package")
def together(tmp_path_factory):
    """The results of the cases of each rank, by the size of the job."""
    return found_by(cases.__file__, tmp_path_factory)
