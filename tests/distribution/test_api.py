"""Keras's names for distribution, in one process and on ranks."""

import os
import re

import pytest

import cdl
from cdl import distribution

from . import jobs


@pytest.fixture(autouse=True)
def none_is_left():
    yield
    distribution.set_distribution(None)


def test_one_process_is_a_job_of_one_rank():
    there = distribution.DataParallel()
    assert distribution.distribution() is None
    distribution.set_distribution(there)
    assert distribution.distribution() is there
    assert (there.num_processes, there.num_model_replicas, there.num_data_shards) == (1, 1, 1)
    assert (there.data_shard_id, there.batch_dim_name) == (0, "batch")
    assert distribution.list_devices() == distribution.list_devices("CPU") == ["cpu:0"]
    assert distribution.list_devices("gpu") == []
    assert distribution.get_device_count() == 1
    assert there.device_mesh.devices.tolist() == ["cpu:0"]


def test_how_data_are_shared_may_be_set_later():
    there = distribution.DataParallel()
    distribution.set_distribution(there)
    there.auto_shard_dataset = False
    assert distribution.distribution() is there
    assert there.auto_shard_dataset is False


def test_a_scope_ends():
    with distribution.DataParallel().scope():
        assert distribution.distribution() is not None
    assert distribution.distribution() is None


def test_the_line_without_mpiexec_imports_no_mpi(run_python):
    code = (
        "import sys, cdl; cdl.distribution.initialize();"
        "cdl.distribution.set_distribution(cdl.distribution.DataParallel());"
        "assert 'mpi4py' not in sys.modules"
    )
    run_python("-c", code)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: distribution.set_distribution("data"), "must be a DataParallel or None, got str"),
        (lambda: distribution.DataParallel(devices=["cpu:1"]), "devices must be all ranks"),
        (lambda: distribution.DataParallel(device_mesh=3), "must be a DeviceMesh, got int"),
        (
            lambda: distribution.DataParallel(distribution.DeviceMesh([1, 1], ["a", "b"])),
            "device_mesh must have one axis",
        ),
        (lambda: distribution.DataParallel(auto_shard_dataset="no"), "must be True or False, got"),
        (
            lambda: distribution.DataParallel(auto_shard_dataset=False, reproducible=True),
            "reproducible=True needs auto_shard_dataset=True",
        ),
        (lambda: distribution.DeviceMesh([], []), "must not be empty"),
        (lambda: distribution.DeviceMesh([1], ["a", "b"]), "must be of one length"),
        (lambda: distribution.DeviceMesh([2], ["a"]), "wants 2 devices, got 1"),
        (lambda: distribution.initialize("10.0.0.1:80"), "job_addresses must be None"),
        (lambda: distribution.initialize(num_processes=2), "num_processes must be the 1"),
        (lambda: distribution.initialize(process_id=1), "process_id must be this process's rank"),
    ],
)
def test_what_cannot_be_honoured_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_launcher_without_mpi4py_names_the_extra(run_python, monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    code = (
        "import sys; sys.modules['mpi4py'] = None\n"
        "import cdl\n"
        "try: cdl.distribution.DataParallel()\n"
        "except ImportError as error: print(error)"
    )
    assert "pip install 'cdl-nn[mpi]'" in run_python("-c", code).stdout


def test_the_launcher_of_another_mpi_is_told_from_ones_own(run_python, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "import cdl\n"
        "try: cdl.distribution.DataParallel()\n"
        "except ValueError as error: print(error)"
    )
    assert "of which mpi4py sees 1: mpiexec is that of another MPI" in run_python("-c", code).stdout


def test_a_time_out_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("CDL_DISTRIBUTION_TIMEOUT", "soon")
    from cdl.distribution import api

    with pytest.raises(ValueError, match="must be seconds above 0, got 'soon'"):
        api._timeout()


def test_info_says_who_the_ranks_are(root):
    job = jobs.start("-m", 2, "cdl", "info", OMP_NUM_THREADS="")
    out, errors = job.communicate(timeout=jobs.LONGEST)
    assert job.returncode == 0, errors
    assert len(re.findall(r"^isa:", out, re.MULTILINE)) == 1
    found = re.findall(r"^rank \d: +rank (\d) of 2 on \S+, threads: (\d+)$", out, re.MULTILINE)
    assert [rank for rank, _ in found] == ["0", "1"]
    cores = len(os.sched_getaffinity(0))
    assert sum(int(threads) for _, threads in found) <= max(cores, 2)


def test_the_example_trains_on_two_ranks(root):
    job = jobs.start(root / "examples/digits_ranks.py", 2)
    out, errors = job.communicate(timeout=jobs.LONGEST)
    assert job.returncode == 0, errors
    assert re.fullmatch(r"2 process\(es\): 0\.9\d+ of new images right\n", out), out


def test_other_threads_train_on_their_own():
    from cdl.distribution import ranks

    distribution.set_distribution(distribution.DataParallel())
    assert ranks.current() is None
    assert cdl.train_many([]) == []
