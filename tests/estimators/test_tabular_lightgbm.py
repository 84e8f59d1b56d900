"""Arguments of scripts for LightGBM in estimators of tables: callbacks, metrics, contributions."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.datasets import load_breast_cancer, load_iris

import cdl
from cdl.sklearn import TabularClassifier, TabularRegressor

QUICK = {"recipe": "mlp", "hidden_layer_sizes": (16,), "max_epochs": 12, "random_state": 0}
X, Y = load_breast_cancer(return_X_y=True)
X, Y = X[:200, :4], Y[:200]


class EarlyStopException(Exception):  # noqa: N818 - its name
    """Stand-in for LightGBM's, which is known by its name."""


class Notes:
    """Callback in LightGBM's form, which ends training after so many epochs."""

    def __init__(self, end=1000, order=10):
        self.end, self.order, self.seen = end, order, []

    def __call__(self, env):
        self.seen.append(env)
        if env.iteration + 1 == self.end:
            raise EarlyStopException


def test_functions_for_lightgbm_are_told_each_epoch_and_end_training():
    notes, pair = Notes(end=5), (X[150:], Y[150:])
    model = TabularClassifier(**QUICK)
    model.fit(X[:150], Y[:150], eval_set=[pair], eval_metric="auc", callbacks=[notes])
    assert [env.iteration for env in notes.seen] == [0, 1, 2, 3, 4]
    assert {(env.begin_iteration, env.end_iteration) for env in notes.seen} == {(0, 12)}
    told = [env.evaluation_result_list for env in notes.seen]
    assert [tuple(each[0]) for each in told] == [
        ("valid_0", "auc", score, True) for score in model.validation_scores_[0]
    ]
    assert len(model.validation_scores_[0]) == 5


def test_functions_are_called_in_the_order_that_they_ask_for():
    calls = []
    first, last = Notes(order=1), Notes(order=30)
    for each in (first, last):
        each.seen = type("Seen", (), {"append": lambda _, env, each=each: calls.append(each)})()
    TabularClassifier(**QUICK | {"max_epochs": 1}).fit(X, Y, callbacks=(last, first))
    assert calls == [first, last]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("binary_error", lambda model: 1 - model.score(X[150:], Y[150:])),
        ("binary_logloss", None),
    ],
)
def test_errors_and_losses_are_told_as_such(metric, value):
    notes = Notes()
    model = TabularClassifier(**QUICK)
    model.fit(X[:150], Y[:150], None, (X[150:], Y[150:]), eval_metric=metric, callbacks=notes)
    best = notes.seen[model.best_epochs_[0]].evaluation_result_list[0]
    least = min(env.evaluation_result_list[0].metric_value for env in notes.seen)
    assert (best.metric_name, best.maximize) == (metric, False)
    assert best.metric_value == least > 0
    assert value is None or best.metric_value == pytest.approx(value(model))


def test_metrics_of_numbers_choose_the_epoch():
    x, y = load_iris(return_X_y=True)
    notes = Notes()
    model = TabularRegressor(**QUICK)
    y = y + x[:, 0]
    pair = x[1::2], y[1::2]
    model.fit(x[::2], y[::2], eval_set=pair, eval_metric="mae", callbacks=[notes])
    wrong = np.abs(model.predict(pair[0]) - pair[1]).mean()
    told = [env.evaluation_result_list[0].metric_value for env in notes.seen]
    assert min(told) == pytest.approx(wrong, rel=1e-6)


def test_callbacks_of_cdl_go_along_and_change_no_bit():
    history = cdl.callbacks.History()
    plain = TabularClassifier(**QUICK).fit(X, Y)
    watched = TabularClassifier(**QUICK).fit(X, Y, callbacks=[history, Notes()])
    assert history.history["loss"] == watched.loss_curves_[0] == plain.loss_curves_[0]
    assert np.array_equal(watched.predict_proba(X), plain.predict_proba(X))


def test_without_rows_for_validation_functions_are_told_no_score():
    notes = Notes(end=2)
    TabularClassifier(**QUICK, early_stopping=False).fit(X, Y, callbacks=[notes])
    assert [env.evaluation_result_list for env in notes.seen] == [[], []]


def test_an_error_in_a_callback_leaves_the_estimator_as_before():
    model = TabularClassifier(**QUICK).fit(X, Y)
    before = model.predict_proba(X)

    def fails(env):
        raise RuntimeError("full disk")

    with pytest.raises(RuntimeError, match="full disk"):
        model.fit(X, 1 - Y, callbacks=[fails])
    assert np.array_equal(model.predict_proba(X), before)


def before(env):
    """Callback that runs ahead of an epoch, as LightGBM's reset_parameter."""


before.before_iteration = True


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({}, {"callbacks": [before]}, "callbacks .* give learning_rate"),
        ({}, {"callbacks": ["stop"]}, "callbacks must be callbacks of cdl"),
        ({}, {"callbacks": [Notes]}, "callbacks must be callbacks of cdl"),
        ({"n_bags": 2}, {"callbacks": []}, "callbacks must be None with n_bags > 1"),
        ({}, {"eval_metric": "rmse"}, "eval_metric must be .*'auc'.* 'rmse'"),
        ({}, {"eval_metric": ["auc", "rmse"]}, "eval_metric must be .*'auc'.* 'rmse'"),
        ({}, {"eval_metric": []}, "eval_metric must be"),
        ({}, {"eval_metric": before}, "eval_metric must be .* scoring takes a function"),
    ],
)
def test_what_a_net_cannot_take_is_refused_by_name(options, given, message):
    with pytest.raises(ValueError, match=f"TabularClassifier: {message}"):
        TabularClassifier(**QUICK, **options).fit(X, Y, **given)


def test_the_area_of_several_classes_is_the_mean_of_each_against_the_others():
    from sklearn.metrics import roc_auc_score

    x, y = load_iris(return_X_y=True)
    model = TabularClassifier(**QUICK).fit(x, y, eval_set=(x, y), eval_metric="auc")
    area = roc_auc_score(y, model.predict_proba(x), multi_class="ovr")
    assert max(model.validation_scores_[0]) == pytest.approx(area)


def test_arguments_of_trees_are_told_what_to_give():
    with pytest.raises(TypeError, match="; for 'n_estimators' give max_epochs, for 'num_leaves'"):
        TabularClassifier(n_estimators=500, num_leaves=31)
    with pytest.raises(TypeError, match="; did you mean 'verbose'"):
        TabularRegressor(verbos=1)


def test_contributions_come_with_the_mean_prediction_behind_them():
    model = TabularClassifier(**QUICK).fit(X, Y)
    found = model.predict(X[:3], pred_contrib=True)
    assert found.shape == (3, 5)
    assert np.allclose(found.sum(1), model.predict_proba(X[:3])[:, 1], atol=1e-6)
    assert np.array_equal(found[:, :-1], model.explain(X[:3]).values[..., 1])


def test_contributions_to_several_outputs_lie_side_by_side():
    x, y = load_iris(return_X_y=True)
    model = TabularClassifier(**QUICK).fit(x, y)
    found = model.predict(x[::50], pred_contrib=True)
    assert found.shape == (3, 3 * 5)
    sums = found.reshape(3, 3, 5).sum(2)
    assert np.allclose(sums, model.predict_proba(x[::50]), atol=1e-6)

    numbers = TabularRegressor(**QUICK).fit(x, x[:, :2])
    found = numbers.predict(x[::50], pred_contrib=True)
    assert np.allclose(found.reshape(3, 2, 5).sum(2), numbers.predict(x[::50]), atol=1e-6)
    one = TabularRegressor(**QUICK).fit(x, x[:, 0]).predict(x[:1], pred_contrib=True)
    assert one.shape == (1, 5)


@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_pred_contrib_is_a_truth_value(kind):
    model = kind(**QUICK | {"max_epochs": 1}).fit(X, Y)
    with pytest.raises(ValueError, match="pred_contrib must be"):
        model.predict(X, pred_contrib="yes")


def test_callbacks_of_lightgbm_itself_run():
    lightgbm = pytest.importorskip("lightgbm")
    record = {}
    calls = [lightgbm.early_stopping(3), lightgbm.log_evaluation(2)]
    calls.append(lightgbm.record_evaluation(record))
    model = TabularClassifier(**QUICK | {"max_epochs": 100})
    options = {"eval_metric": "binary_logloss", "callbacks": calls}
    model.fit(X[:150], Y[:150], eval_set=[(X[150:], Y[150:])], **options)
    told = record["valid_0"]["binary_logloss"]
    assert told == [-score for score in model.validation_scores_[0]]
    assert int(np.argmin(told)) == model.best_epochs_[0]


def test_a_metric_without_rows_to_score_is_refused():
    with pytest.raises(ValueError, match=r"eval_metric='auc' needs rows to score epochs by"):
        TabularClassifier(**QUICK, early_stopping=False).fit(X, Y, eval_metric="auc")


HELD = [(X[150:], Y[150:]), (X[130:150], Y[130:150]), (X[100:130], Y[100:130], np.arange(1.0, 31))]


def scored(model, x, y, weight=None):
    from sklearn.metrics import log_loss

    return log_loss(y, model.predict_proba(x), labels=[0, 1], sample_weight=weight)


def test_each_pair_is_scored_and_the_first_tells_the_best_epoch():
    notes, alone = Notes(), TabularClassifier(**QUICK)
    model = TabularClassifier(**QUICK)
    given = {"eval_metric": "binary_logloss"}
    model.fit(X[:100], Y[:100], eval_set=HELD, callbacks=[notes], **given)
    alone.fit(X[:100], Y[:100], eval_set=HELD[0], **given)
    assert np.array_equal(model.predict_proba(X), alone.predict_proba(X))
    assert model.validation_scores_ == alone.validation_scores_
    assert list(model.evals_result_) == ["valid_0", "valid_1", "valid_2"]
    for i, (name, found) in enumerate(model.evals_result_.items()):
        values = found["binary_logloss"]
        assert len(values) == 12
        assert values[model.best_epochs_[0]] == pytest.approx(scored(model, *HELD[i]), rel=1e-6)
        told = [env.evaluation_result_list[i] for env in notes.seen]
        assert [tuple(each) for each in told] == [
            (name, "binary_logloss", value, False) for value in values
        ]


def test_rows_of_the_fit_are_called_training_and_do_not_choose_the_epoch():
    x, y = X[:150], Y[:150]
    model, plain = TabularClassifier(**QUICK), TabularClassifier(**QUICK)
    model.fit(x, y, eval_set=[(x, y), (X[150:], Y[150:])])
    plain.fit(x, y, eval_set=(X[150:], Y[150:]))
    assert list(model.evals_result_) == ["training", "valid_1"]
    assert model.validation_scores_[0] == model.evals_result_["valid_1"]["accuracy"]
    assert model.best_epochs_ == plain.best_epochs_
    assert model.evals_result_["training"]["accuracy"][model.best_epochs_[0]] == model.score(x, y)
    model.fit(x, y, eval_set=[(x, y), (X[150:], Y[150:])], eval_names=["mine", "others"])
    assert list(model.evals_result_) == ["mine", "others"]


def test_functions_that_count_rounds_are_not_told_of_rows_that_are_trained_on():
    x, y, notes, stops = X[:150], Y[:150], Notes(), Notes()
    stops.stopping_rounds = 5
    given = {"eval_set": [(x, y), (X[150:], Y[150:])], "callbacks": [notes, stops]}
    TabularClassifier(**QUICK).fit(x, y, **given)
    names = [[each[0] for each in one.seen[-1].evaluation_result_list] for one in (notes, stops)]
    assert names == [["training", "valid_1"], ["valid_1"]]
    alone = Notes(end=2)
    alone.stopping_rounds = 5
    TabularClassifier(**QUICK).fit(x, y, eval_set=[(x, y)], callbacks=[alone])
    assert [each[0] for each in alone.seen[-1].evaluation_result_list] == ["training"]


def test_any_pair_may_end_training_as_in_lightgbm():
    lightgbm = pytest.importorskip("lightgbm")
    model = TabularClassifier(**QUICK | {"max_epochs": 100, "learning_rate": 0.02})
    options = {"eval_metric": "binary_logloss", "callbacks": [lightgbm.early_stopping(3)]}
    model.fit(X[:100], Y[:100], eval_set=HELD, **options)
    since = []
    for found in model.evals_result_.values():
        values = found["binary_logloss"]
        since.append(len(values) - 1 - int(np.argmin(values)))
    assert max(since) == 3


def test_bags_are_scored_each_by_itself_on_the_same_pairs():
    model = TabularClassifier(**QUICK, n_bags=2, n_jobs=2)
    model.fit(X[:100], Y[:100], eval_set=HELD[:2])
    assert list(model.evals_result_) == ["valid_0", "valid_1"]
    assert model.evals_result_["valid_0"]["accuracy"] == model.validation_scores_[0]


def test_without_pairs_the_rows_set_apart_are_recorded():
    model = TabularClassifier(**QUICK).fit(X, Y)
    assert model.evals_result_ == {"valid_0": {"accuracy": model.validation_scores_[0]}}
    assert TabularClassifier(**QUICK, early_stopping=False).fit(X, Y).evals_result_ == {}


@pytest.mark.parametrize("names", ["ab", ["a"], ["a", "a"], ["a", 1], ["a", "b", "c"], 3])
def test_names_of_pairs_are_strings_that_differ(names):
    with pytest.raises(ValueError, match="eval_names must be a list of 2 names"):
        TabularClassifier(**QUICK).fit(X, Y, eval_set=HELD[:2], eval_names=names)
    with pytest.raises(ValueError, match="eval_names must be None without eval_set"):
        TabularClassifier(**QUICK).fit(X, Y, eval_names=names)


@pytest.mark.parametrize("given", [[], [(X, Y), X], [(X,)], [[X]], X, {"a": (X, Y)}])
def test_something_else_than_pairs_is_refused(given):
    with pytest.raises(ValueError, match=r"eval_set must be a pair \(X, y\), or a list of pairs"):
        TabularClassifier(**QUICK).fit(X, Y, eval_set=given)


def test_pairs_may_be_lists_and_stand_in_a_tuple():
    pairs, model = [(X[:50], Y[:50]), (X[50:], Y[50:])], TabularClassifier(**QUICK)
    wanted = model.fit(X, Y, eval_set=pairs, eval_metric="auc").evals_result_
    for given in (tuple(pairs), [*map(list, pairs)]):
        assert model.fit(X, Y, eval_set=given, eval_metric=["auc"]).evals_result_ == wanted


@pytest.mark.parametrize("found", [None, np.ones(3), "x"])
def test_a_score_that_is_no_number_is_named(found):
    def score(estimator, x, y):
        return found

    with pytest.raises(TypeError, match="scoring must give a number, got "):
        TabularClassifier(**QUICK, scoring=score).fit(X, Y)


def test_several_metrics_are_told_and_the_first_chooses():
    notes, names = Notes(), ["binary_logloss", "auc"]
    model, alone = TabularClassifier(**QUICK), TabularClassifier(**QUICK)
    model.fit(X[:100], Y[:100], eval_set=HELD[:2], eval_metric=names, callbacks=[notes])
    alone.fit(X[:100], Y[:100], eval_set=HELD[:2], eval_metric=names[:1])
    assert np.array_equal(model.predict_proba(X), alone.predict_proba(X))
    told = [each[:2] for each in notes.seen[-1].evaluation_result_list]
    assert told == [(name, metric) for name in ("valid_0", "valid_1") for metric in names]
    assert model.best_iteration_ == model.best_epochs_[0] + 1
    assert {name: list(found) for name, found in model.best_score_.items()} == {
        name: names for name in ("valid_0", "valid_1")
    }
    for (x, y), found in zip(HELD[:2], model.best_score_.values(), strict=True):
        assert found["binary_logloss"] == pytest.approx(scored(model, x, y), rel=1e-6)
    assert not hasattr(TabularClassifier(), "best_iteration_")


def test_arguments_of_lightgbms_fit_are_told_what_to_give():
    for given, told in (("categorical_feature", "columns of type"), ("eval_sample_weight", "")):
        with pytest.raises(TypeError, match=f"; for '{given}' give {told}"):
            TabularClassifier(**QUICK).fit(X, Y, **{given: [0]})
