"""CDLClassifier and CDLRegressor: labels, weights, state, bad arguments."""

import copy
import pickle
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score, f1_score, recall_score

import cdl
from cdl.sklearn import CDLClassifier, CDLRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
SMALL = {"hidden_layer_sizes": (10,), "random_state": 0, "learning_rate_init": 0.01}
NAMES = np.array(["setosa", "versicolor", "virginica"])

# --- labels ---


@pytest.mark.parametrize(
    "classes",
    [
        NAMES,
        NAMES.astype(object),
        np.array([-1, 7, 10**12]),
        np.array([0.0, 1.0, 2.0]),
        np.array([3, 1, 2], np.uint8),
    ],
    ids=lambda classes: str(classes.dtype),
)
def test_labels_of_any_dtype_come_back(classes):
    y = classes[Y]
    model = CDLClassifier(**SMALL).fit(X, y)
    np.testing.assert_array_equal(model.classes_, np.unique(classes))
    predicted = model.predict(X)
    assert predicted.dtype == classes.dtype
    assert accuracy_score(y, predicted) > 0.95
    assert model.score(X, y) == accuracy_score(y, predicted)
    assert f1_score(y, predicted, average="macro") > 0.95
    assert recall_score(y, predicted, average="macro") > 0.95


def test_booleans_are_labels():
    y = Y == 2
    model = CDLClassifier(**SMALL).fit(X, y)
    assert model.predict(X).dtype == bool
    assert model.score(X, y) > 0.95


def test_lists_of_rows_and_words_are_data():
    model = CDLClassifier(**SMALL).fit(X.tolist(), NAMES[Y].tolist())
    assert model.predict([[0.0, 0.0, 0.0, 0.0]])[0] in NAMES


def test_probabilities_are_in_the_order_of_classes():
    model = CDLClassifier(**SMALL).fit(X, NAMES[Y])
    p = model.predict_proba(X)
    assert p.shape == (150, 3)
    np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(X))
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(model.predict_log_proba(X), np.log(p))


def test_results_have_the_precision_of_the_rows():
    model = CDLClassifier(**SMALL).fit(X, Y)
    assert model.predict_proba(X).dtype == np.float64
    assert model.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_one_class_is_always_predicted():
    model = CDLClassifier(**SMALL).fit(X, np.full(150, "all"))
    assert set(model.predict(X)) == {"all"}
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((150, 1)))


def test_several_labels_a_row():
    y = np.stack([Y == 0, Y < 2, X[:, 0] > 0], axis=1).astype(int)
    model = CDLClassifier(**SMALL).fit(X, y)
    assert model.predict(X).shape == (150, 3)
    assert model.score(X, y) > 0.9
    assert model.n_outputs_ == 3
    assert model.out_activation_ == "logistic"


def test_several_columns_of_classes_are_refused():
    with pytest.raises(ValueError, match="MultiOutputClassifier"):
        CDLClassifier().fit(X, np.stack([Y, Y], axis=1))


def test_numbers_are_no_labels():
    with pytest.raises(ValueError, match="Unknown label type"):
        CDLClassifier().fit(X, X[:, 0])


# --- weights ---


def outputs(model):
    return model.predict_proba(X) if hasattr(model, "classes_") else model.predict(X)


@pytest.mark.parametrize("cls", [CDLClassifier, CDLRegressor])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_weights_are_repetitions_to_the_last_bit(cls, solver):
    random = np.random.RandomState(0)
    weight = random.randint(0, 4, 80)
    x, y = X[::2][:75], Y[::2][:75]
    weight = weight[:75]
    order = random.permutation(75)
    options = {**SMALL, "solver": solver, "max_iter": 40}
    repeated = cls(**options).fit(x.repeat(weight, axis=0), y.repeat(weight))
    weighted = cls(**options).fit(x[order], y[order], weight[order])
    np.testing.assert_array_equal(outputs(repeated), outputs(weighted))


def test_equal_weights_are_no_weights():
    options = {**SMALL, "batch_size": 32, "max_iter": 5, "alpha": 0.0}
    plain = CDLClassifier(**options).fit(X, Y)
    weighted = CDLClassifier(**options).fit(X, Y, np.full(150, 0.3))
    np.testing.assert_array_equal(outputs(plain), outputs(weighted))


def test_class_weight_is_a_weight_of_rows():
    options = {**SMALL, "batch_size": 32, "max_iter": 5}
    table = {"setosa": 3.0, "virginica": 0.5}
    weight = np.where(Y == 0, 3.0, np.where(Y == 2, 0.5, 1.0))
    one = CDLClassifier(class_weight=table, **options).fit(X, NAMES[Y])
    other = CDLClassifier(**options).fit(X, NAMES[Y], weight)
    np.testing.assert_array_equal(outputs(one), outputs(other))


def test_balanced_classes_weigh_the_same_altogether():
    few = np.r_[0:50, 50:60]
    options = {**SMALL, "max_iter": 20}
    plain = CDLClassifier(**options).fit(X[few], Y[few])
    balanced = CDLClassifier(class_weight="balanced", **options).fit(X[few], Y[few])
    assert outputs(balanced)[:, 1].mean() > outputs(plain)[:, 1].mean()


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(3), r"must have shape \(150,\)"),
        (np.ones((150, 1)), r"must have shape \(150,\)"),
        (np.zeros(150), "not zero"),
        (-np.ones(150), ">= 0"),
        (np.full(150, np.nan), "finite"),
    ],
)
def test_weights_that_are_none_are_refused(weight, message):
    with pytest.raises(ValueError, match=f"CDLClassifier: sample_weight .*{message}"):
        CDLClassifier().fit(X, Y, weight)


# --- state ---


@pytest.mark.parametrize(
    "travel",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
def test_copies_predict_and_go_on_alike(travel):
    model = CDLClassifier(**SMALL)
    for _ in range(3):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    other = travel(model)
    np.testing.assert_array_equal(outputs(model), outputs(other))
    model.partial_fit(X, Y)
    other.partial_fit(X, Y)
    np.testing.assert_array_equal(outputs(model), outputs(other))
    assert other.loss_curve_ == model.loss_curve_


def test_a_clone_has_the_parameters_and_nothing_learned():
    model = CDLClassifier(**SMALL, class_weight="balanced").fit(X, Y)
    other = clone(model)
    assert other.get_params() == model.get_params()
    assert not hasattr(other, "classes_")
    with pytest.raises(NotFittedError):
        other.predict(X)
    with pytest.raises(AttributeError, match=r"call fit\(\) first"):
        other.coefs_  # noqa: B018 - it is a property


def test_the_net_is_a_model_that_can_be_saved(tmp_path):
    model = CDLClassifier(**SMALL).fit(X, NAMES[Y])
    path = tmp_path / "net.keras"
    model.model_.save(path)
    loaded = cdl.saving.load_model(path)
    np.testing.assert_array_equal(
        loaded.predict(X, verbose=0), model.predict_proba(X.astype(np.float32))
    )


def test_weights_can_be_set():
    model = CDLRegressor(**SMALL).fit(X, Y)
    model.coefs_ = [np.zeros_like(w) for w in model.coefs_]
    model.intercepts_ = [np.ones_like(b) for b in model.intercepts_]
    np.testing.assert_array_equal(model.predict(X), np.ones(150))


def test_names_of_columns_are_kept_and_compared():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = CDLClassifier(**SMALL).fit(frame, Y)
    assert list(model.feature_names_in_) == list("abcd")
    assert model.n_features_in_ == 4
    model.predict(frame)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("dcba")])


def test_ctrl_c_keeps_what_has_been_learned(monkeypatch):
    model = CDLClassifier(**SMALL)
    from cdl.sklearn import mlp

    epoch = mlp.Trainer.epoch

    def interrupted(self, *arguments):
        if model.n_iter_ == 3:
            raise KeyboardInterrupt
        return epoch(self, *arguments)

    monkeypatch.setattr(mlp.Trainer, "epoch", interrupted)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model.fit(X, Y)
    assert model.n_iter_ == 3
    assert model.predict(X).shape == (150,)


def test_verbose_prints_a_line_an_epoch(capsys):
    CDLClassifier(**SMALL, verbose=True, max_iter=2).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:19] for line in lines] == ["Iteration 1, loss =", "Iteration 2, loss ="]


def test_silent_by_default(capfd):
    CDLClassifier(**SMALL, max_iter=2).fit(X, Y).predict(X)
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("default")
def test_few_epochs_warn():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\)"):
        CDLClassifier(**SMALL, max_iter=2).fit(X, Y)


def test_fit_forgets_what_was_learned_unless_it_is_a_warm_start():
    model = CDLClassifier(**SMALL, max_iter=3)
    first = outputs(model.fit(X, Y))
    np.testing.assert_array_equal(first, outputs(model.fit(X, Y)))
    assert not np.array_equal(first, outputs(model.set_params(warm_start=True).fit(X, Y)))


def test_global_random_numbers_are_left_alone_with_a_seed():
    import random

    before = random.getstate(), np.random.get_state()[1].copy()
    CDLClassifier(**SMALL, max_iter=2).fit(X, Y)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


# --- arguments ---

BAD = [
    ("hidden_layer_sizes", 0),
    ("hidden_layer_sizes", (10, -1)),
    ("hidden_layer_sizes", "100"),
    ("hidden_layer_sizes", 2.5),
    ("activation", "rellu"),
    ("activation", None),
    ("solver", "adamw"),
    ("alpha", -0.1),
    ("alpha", "0.1"),
    ("batch_size", 0),
    ("batch_size", "all"),
    ("learning_rate", 0.1),
    ("learning_rate_init", 0.0),
    ("power_t", -1),
    ("max_iter", 0),
    ("max_iter", 10.0),
    ("shuffle", "yes"),
    ("tol", -1),
    ("verbose", -1),
    ("verbose", "yes"),
    ("warm_start", None),
    ("momentum", 1.5),
    ("nesterovs_momentum", "no"),
    ("early_stopping", 2),
    ("validation_fraction", 1.0),
    ("beta_1", 1.0),
    ("beta_2", -0.1),
    ("epsilon", 0.0),
    ("n_iter_no_change", 0),
    ("n_iter_no_change", 2.5),
    ("max_fun", 0),
]


@pytest.mark.parametrize("cls", [CDLClassifier, CDLRegressor])
@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_parameters_are_named_by_fit(cls, name, value):
    model = cls(**{name: value})  # which must not raise
    with pytest.raises(ValueError, match=rf"{cls.__name__}: .*{name} must be "):
        model.fit(X, Y)
    assert not hasattr(model, "model_")


def test_bad_loss_is_named():
    with pytest.raises(ValueError, match="CDLRegressor: loss must be one of"):
        CDLRegressor("log_loss").fit(X, Y)
    with pytest.raises(ValueError, match=r"loss, the first argument, must be .* got \(100,\)"):
        CDLRegressor((100,)).fit(X, Y)
    with pytest.raises(ValueError, match="y must be at least 0"):
        CDLRegressor("poisson").fit(X, -Y)


def test_more_activations_than_there_are_in_scikit_learn():
    assert CDLClassifier(**SMALL, activation="gelu").fit(X, Y).score(X, Y) > 0.9


def test_partial_fit_wants_the_classes_first_and_always_the_same():
    model = CDLClassifier(**SMALL)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, Y)
    model.partial_fit(X[:50], Y[:50], classes=[0, 1, 2])
    model.partial_fit(X, Y)
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"classes not in `self\.classes_`"):
        model.partial_fit(X, Y + 1)
    with pytest.raises(ValueError, match="early_stopping"):
        CDLClassifier(early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="class_weight must be a dict"):
        CDLClassifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


def test_warm_start_wants_the_same_classes():
    model = CDLClassifier(**SMALL, warm_start=True, max_iter=2).fit(X, Y)
    with pytest.raises(ValueError, match="same classes as in the previous"):
        model.fit(X[:100], Y[:100])


def test_too_few_rows_for_validation():
    with pytest.raises(ValueError, match=r"validation set is too small, 1 of n_samples = 10"):
        CDLClassifier(early_stopping=True).fit(X[:10], Y[:10])


def test_numbers_beyond_float32_are_refused():
    with pytest.raises(ValueError, match="non-finite"):
        CDLRegressor(**SMALL).fit(X * 1e300, Y)


# --- imports ---


def test_scikit_learn_is_loaded_with_the_first_estimator_only(run_python):
    run_python(
        """if True:
        import sys
        import cdl
        cdl.sklearn, cdl.wrappers
        assert "sklearn" not in sys.modules
        from cdl.sklearn import CDLClassifier
        assert "sklearn" in sys.modules
        """
    )


def test_without_scikit_learn_the_error_says_what_to_install(run_python):
    run_python(
        """if True:
        import sys
        sys.modules["sklearn"] = None
        import cdl.sklearn
        try:
            from cdl.sklearn import CDLClassifier
        except ImportError as error:
            assert "pip install 'cdl-nn[sklearn]'" in str(error), error
        else:
            raise AssertionError
        """
    )


def test_no_module_is_shadowed():
    assert sys.modules["sklearn"].__version__


# --- sparse rows ---


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("early", [False, True])
def test_sparse_rows_train_as_dense_ones(solver, early):
    sparse = pytest.importorskip("scipy.sparse")
    x = np.where(np.abs(X) < 1.0, 0.0, X)
    options = {**SMALL, "solver": solver, "early_stopping": early, "max_iter": 20}
    dense = CDLClassifier(**options).fit(x, Y)
    for kind in (sparse.csr_matrix, sparse.csc_array):
        rows = CDLClassifier(**options).fit(kind(x), Y)
        np.testing.assert_array_equal(rows.predict_proba(kind(x)), dense.predict_proba(x))
