"""Pruned trials of Optuna end their training."""

import copy
import sys

import numpy as np
import pytest

import cdl
from cdl.callbacks import OptunaPruning

optuna = pytest.importorskip("optuna")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)).astype(np.float32)
Y = X[:, :1]
PRUNED, COMPLETE = optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.COMPLETE


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def net(rate):
    model = cdl.Sequential([cdl.Input((3,)), cdl.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(cdl.optimizers.SGD(rate), "mse")
    return model


def study():
    pruner = optuna.pruners.ThresholdPruner(upper=0.6, n_warmup_steps=2)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner)


def test_a_trial_that_promises_little_is_pruned():
    def objective(trial):
        rate = 0.1 if trial.number % 2 else 1e-5
        prune = OptunaPruning(trial)
        try:
            found = net(rate).fit(
                X, Y, validation_split=0.3, epochs=8, callbacks=[prune], verbose=0
            )
        finally:
            assert prune.pruned == (rate < 0.01)
        return found.history["val_loss"][-1]

    done = study()
    done.optimize(objective, n_trials=4)
    assert [trial.state for trial in done.trials] == [PRUNED, COMPLETE] * 2
    assert sorted(done.trials[0].intermediate_values) == [0, 1, 2]
    assert sorted(done.trials[1].intermediate_values) == list(range(8))


def test_trials_in_threads_are_those_of_one_after_the_other():
    def objective(trial):
        rate = [1e-5, 0.05, 0.1][trial.number % 3]
        found = net(rate).fit(
            X, Y, epochs=6, callbacks=[OptunaPruning(trial, "loss")], verbose=0, shuffle=False
        )
        return found.history["loss"][-1]

    studies = [study(), study()]
    for done, jobs in zip(studies, (1, 3), strict=True):
        done.optimize(objective, n_trials=9, n_jobs=jobs)
    values = [
        {t.number: (t.state, t.value, t.intermediate_values) for t in done.trials}
        for done in studies
    ]
    assert values[0] == values[1]
    assert {state for state, *_ in values[0].values()} == {PRUNED, COMPLETE}


def test_a_job_that_is_pruned_ends_early():
    done = study()
    trials = [done.ask() for _ in range(4)]
    watching = [OptunaPruning(trial, "loss") for trial in trials]
    jobs = [
        (net(rate), X, Y, {"callbacks": [watch]})
        for rate, watch in zip((1e-5, 0.1, 1e-5, 0.2), watching, strict=True)
    ]
    histories = cdl.train_many(jobs, epochs=8, workers=2)
    assert [watch.pruned for watch in watching] == [True, False, True, False]
    assert [len(each.epoch) for each in histories] == [3, 8, 3, 8]


def test_one_for_several_jobs_is_refused():
    trial = study().ask()
    with pytest.raises(TypeError, match="of one training"):
        copy.deepcopy(OptunaPruning(trial))
    with pytest.raises(TypeError, match=r"train_many: callbacks .*of one training"):
        cdl.train_many([(net(0.1), X, Y)] * 1, callbacks=[OptunaPruning(trial)])


def test_a_value_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="monitor must be one of 'loss', got 'val_loss'"):
        net(0.1).fit(X, Y, callbacks=[OptunaPruning(study().ask())], verbose=0)


@pytest.mark.parametrize("arguments", [(3,), (None,), ("trial",)])
def test_what_is_no_trial_is_refused(arguments):
    with pytest.raises(TypeError, match="trial must be a trial of Optuna's"):
        OptunaPruning(*arguments)


def test_a_missing_package_is_an_error_that_says_how_to_get_it(monkeypatch):
    class Trial:
        def report(self, value, step):
            pass

        def should_prune(self):
            return True

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'cdl-nn\[optuna\]'"):
        net(0.1).fit(X, Y, callbacks=[OptunaPruning(Trial(), "loss")], verbose=0)
