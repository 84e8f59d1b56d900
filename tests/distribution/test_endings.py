"""A job ends on all ranks, with words and a code, and never hangs; files are whole."""

import os
import re
import signal
import time

import numpy as np
import pytest

import cdl

from . import jobs, scenarios


def end_of(way, folder, ranks=2, **environment):
    """Code, stdout and stderr of a job; no process of it is left."""
    job = jobs.start(scenarios.__file__, ranks, way, folder, **environment)
    out, errors = job.communicate(timeout=jobs.LONGEST)
    assert processes_of(folder) == []
    return job.returncode, out, errors


def processes_of(folder):
    """The processes of a job that still run after a moment, by the folder in their command."""
    for _ in range(100):
        found = []
        for number in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{number}/cmdline", "rb") as file:
                    command = file.read()
                with open(f"/proc/{number}/stat") as file:
                    is_zombie = file.read().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue
            if os.fsencode(folder) in command and not is_zombie:
                found.append(int(number))
        if not found:
            break
        time.sleep(0.05)
    return found


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("an exception", r"rank 1 of 2 on \S+ has ended by OSError(.*\n)*.*no space left"),
        ("an exception outside", r"OSError: outside\n.*rank 1 of 2 on \S+ has ended by OSError"),
        ("sys.exit", r"rank 1 of 2 on \S+ has ended by SystemExit"),
        ("sys.exit outside", r"rank 0 of 2 on \S+ waits for rank 1 which left"),
        (
            "stopped",
            r"rank 0 of 2 on \S+ has waited \d+ s in call \d+ for rank 1\n(.*\n)*.*the job ends",
        ),
    ],
)
def test_one_rank_ends_the_job(way, words, tmp_path):
    # Only a rank that is stopped is waited for: one that is slow to start ends no job.
    seconds = "2" if way == "stopped" else "200"
    code, _, errors = end_of(way, tmp_path, CDL_DISTRIBUTION_TIMEOUT=seconds)
    assert code != 0
    assert re.search(words, errors), errors


@pytest.fixture(scope="module")
def backup(tmp_path_factory):
    """The folder of a job whose rank 1 was killed after the second epoch."""
    folder = tmp_path_factory.mktemp("killed")
    code, out, errors = end_of("killed", folder, ranks=3)
    assert code != 0
    assert "KILLED BY SIGNAL" in out + errors or "Killed" in out + errors
    return folder


def test_a_killed_job_leaves_whole_files(backup):
    last = cdl.models.load_model(backup / "last.keras")
    assert int(last.optimizer.iterations) in (7, 14)  # of the first or the second epoch


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_killed_job_goes_on_with_another_number_of_ranks(backup, ranks):
    code, _, errors = end_of("goes on", backup, ranks)
    assert code == 0, errors
    wanted = scenarios.train().get_weights()
    found = np.load(backup / f"{ranks}.npz")
    for name, want in zip(found.files, wanted, strict=True):
        assert np.abs(found[name] - want).max() <= 3e-4 * np.abs(want).max()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_mpiexec_interrupts_all_ranks_after_the_same_batch(number, tmp_path):
    job = jobs.start(scenarios.__file__, 2, "interrupted", tmp_path)
    assert "READY" in job.stdout.readline()
    job.send_signal(number)
    out, errors = job.communicate(timeout=jobs.LONGEST)
    found = re.findall(r"interrupted (\d) (\d+)", out)
    assert sorted(rank for rank, _ in found) == ["0", "1"], errors
    assert len({steps for _, steps in found}) == 1
    assert job.returncode != 0
    saved = cdl.models.load_model(tmp_path / "interrupted.keras")
    assert int(saved.optimizer.iterations) == int(found[0][1])
    assert processes_of(tmp_path) == []


def test_ranks_that_were_started_differently_are_told_so(tmp_path):
    code, out, errors = end_of("refused", tmp_path)
    assert code == 0, errors
    for wanted in (
        "rows, rank {}: fit: all ranks must have the same rows: rank 0 has 200, rank 1 190",
        "values, rank {}: fit: all ranks must have the same data: rank 0 has ",
        "batch size, rank {}: fit: all ranks must have the same batch size: rank 0 has 32, rank 1 ",
        "epochs, rank {}: fit: all ranks must have the same epochs: rank 0 has range(0, 4), rank 1",
        "weights, rank {}: fit: after epoch 2 the weights of rank 1 are not those of rank 0",
        "evaluate, rank {}: evaluate: all ranks must have the same data: rank 0 has ",
        "layers, rank {}: fit: all ranks must have the same layers: rank 0 has ['Sequential', 'De",
        "predict, rank {}: predict: all ranks must have the same rows: rank 0 has 20, rank 1 10",
        "validation, rank {}: fit: all ranks must have the same validation_data: rows: rank 0 h",
        "a call, rank {}: rank 0 is at the end of epoch 2, rank 1 at the beginning of evaluate",
        "weights, rank {}: True",
    ):
        for rank in range(2):
            assert wanted.format(rank) in out, out
    assert "a fault, rank 0: rank 1 has found a fault in its rows" in out
    assert re.search(r"a fault, rank 1: .*: expected numbers in \[0, 4\), got 9 in row 40", out)


def test_one_rank_may_have_a_callback_that_sees_batches(tmp_path):
    code, out, errors = end_of("hooked", tmp_path)
    assert code == 0, errors
    assert "rank 0: {'train': 0, 'test': 0, 'predict': 0}" in out
    assert "rank 1: {'train': 42, 'test': 49, 'predict': 7}" in out, out


def test_files_and_lines_are_written_once(tmp_path):
    code, out, errors = end_of("written", tmp_path)
    assert code == 0, errors
    names = sorted(os.listdir(tmp_path))
    assert names == sorted(
        [*(f"at-{i}.keras" for i in range(1, 7)), "log.csv", "saved-0.keras", "saved-0.weights.h5"]
    )
    assert len((tmp_path / "log.csv").read_text().splitlines()) == scenarios.EPOCHS + 1
    assert len(re.findall(r"^Epoch \d/6 - ", out, re.MULTILINE)) == scenarios.EPOCHS
    assert len(re.findall(r"val_loss", out)) == scenarios.EPOCHS
