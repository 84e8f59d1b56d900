"""Mutated files are read, or are errors that name them: no crash, hang or hunger."""

import random
import warnings

import numpy as np
import pytest
from saving.exchange import RECORDED, custom_objects
from saving.fuzz import config, mutant

import cdl
from cdl.layers import Dense, Dropout, Input
from cdl.models import Sequential, load_model
from cdl.saving import random_state

FILES = ("batch_normalization.keras", "normalization.keras", "restrained.keras", "nested.keras")
FILES += ("nested.h5",)


def read_mutants(path, seeds, of=FILES):
    """Read the mutants of some seeds; returns how many were refused."""
    objects, refused = custom_objects(cdl), 0
    for name in of:
        data, path = (RECORDED / name).read_bytes(), path.with_suffix(name[name.index(".") :])
        for seed in seeds:
            path.write_bytes(mutant(seed, data))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    load_model(path, objects)
            except (ValueError, OSError) as error:
                refused += 1
                assert str(path) in str(error), f"{name} {seed}: {error}"
            except Exception as error:
                raise AssertionError(f"{name} {seed}: {type(error).__name__}: {error}") from error
    return refused


def test_hundred_mutants_are_read_or_refused(tmp_path):
    assert 40 < read_mutants(tmp_path / "mutant.keras", range(20)) < 100


def test_random_states_are_read_or_refused_and_the_generators_draw_on():
    model = Sequential([Input((3,)), Dropout(0.5), Dense(1)])
    model.compile("sgd", "mse")
    good, refused = random_state.written(model).encode(), 0
    before = cdl.random.state()
    try:
        for seed in range(300):
            try:
                random_state.read(model, config(random.Random(seed), good))
            except ValueError:
                refused += 1
            else:
                model._random_state[0].restore()
                np.random.random(700)
                np.random.normal(size=3)
                random.gauss()
    finally:
        cdl.random.set_state(before)
    assert 50 < refused < 250


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_thousand_mutants_are_read_or_refused(tmp_path):
    assert 800 < read_mutants(tmp_path / "mutant.keras", range(1000, 1400)) < 2000


@pytest.mark.slow
@pytest.mark.measures
@pytest.mark.timeout(600)
def test_no_mutant_takes_more_than_500_mb(run_python, root, tmp_path):
    run_python(
        f"""if True:
        import sys
        sys.path[:0] = [{str(root / "tests")!r}, {str(root / "tests" / "helpers")!r}, {str(root)!r}]
        import resource
        from pathlib import Path
        from saving.test_fuzz import read_mutants
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        read_mutants(Path({str(tmp_path)!r}, "mutant.keras"), range(2000, 2100))
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert more < 500 * 1024, more
        """,
        timeout=500,
    )
