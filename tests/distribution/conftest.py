"""Results of all cases, by the number of ranks; each job is started once."""

import numpy as np
import pytest

from . import cases, jobs

SIZES = (2, 3)


@pytest.fixture(scope="package")
def alone():
    """What one process computes."""
    return cases.results()


@pytest.fixture(scope="package")
def together(tmp_path_factory):
    """What each rank of a job has, by the size of the job."""
    folders = {n: tmp_path_factory.mktemp(f"of_{n}") for n in SIZES}
    found = {}
    for n, folder in folders.items():
        job = jobs.start(cases.__file__, n, folder)
        _, errors = job.communicate(timeout=jobs.LONGEST)
        assert job.returncode == 0, errors
        found[n] = [dict(np.load(folder / f"{rank}.npz")) for rank in range(n)]
    return found
