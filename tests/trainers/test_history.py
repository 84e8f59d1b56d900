"""Names and values in the logs of fit, evaluate and the batch calls."""

import numpy as np
import pytest
from trainers.nets import data, fit, net, still

X, VALUES, LABELS, ONE_HOT = data(20)


def test_history_keys_are_sorted_and_values_are_floats():
    model = net((3, "softmax"))
    model.compile(
        "sgd", "categorical_crossentropy", metrics=["accuracy", "MSE"], weighted_metrics=["MSE"]
    )
    history = model.fit(X, ONE_HOT, epochs=2, validation_split=0.2, verbose=0)
    names = ["MSE", "accuracy", "loss", "val_MSE", "val_accuracy", "val_loss"]
    assert list(history.history) == [*names, "val_weighted_MSE", "weighted_MSE"]
    assert all(type(v) is float for values in history.history.values() for v in values)
    assert history.params == {"verbose": 0, "epochs": 2, "steps": 1}
    assert model.history is history
    assert history.model is model


def test_model_keeps_the_values_of_its_history():
    model = still()
    with pytest.raises(AttributeError, match=r"no history: call fit\(\) first"):
        model.history  # noqa: B018
    fit(model, epochs=2)
    assert model.history.history == {"loss": [3.5, 3.5]}
    assert (model.history.epoch, model.history.params["epochs"]) == ([0, 1], 2)
    assert model.history.model is model


def test_second_fit_goes_on_with_a_new_history():
    model = net((4, "relu"), (2, "linear"))
    model.compile("adam", "mse")
    first = model.fit(X, VALUES, epochs=3, verbose=0, shuffle=False)
    second = model.fit(X, VALUES, epochs=2, verbose=0, shuffle=False)
    assert first is not second
    assert second.history["loss"][0] < first.history["loss"][0]
    assert int(model.optimizer.iterations) == 5


def test_compile_starts_the_optimizer_anew_and_keeps_the_weights():
    model = net((4, "relu"), (2, "linear"))
    model.compile("adam", "mse")
    model.fit(X, VALUES, verbose=0)
    weights, optimizer = model.get_weights(), model.optimizer
    model.compile("adam", "mse")
    assert model.optimizer is not optimizer
    assert np.array_equal(model.get_weights()[0], weights[0])
    model.compile(optimizer, "mae")
    model.fit(X, VALUES, verbose=0)
    assert int(optimizer.iterations) == 2


TWICE = ["weighted_mae", "weighted_mae_1"]  # behind, as Keras has those whose name was taken


@pytest.mark.parametrize(
    ("metrics", "weighted", "names"),
    [
        (["mae", "mae"], ["mae", "mae"], ["mae"] * 4 + ["mae_1", *TWICE]),
        (["acc"], ["ACC"], ["acc", "ACC"]),
        ([["mae", "mse"]], None, ["mae", "mse"]),
        (("mae",), ("mse",), ["mae", "mse"]),
    ],
)
def test_names_of_metrics(metrics, weighted, names):
    model = net((2, "linear"))
    model.compile("sgd", "mse", metrics=metrics, weighted_metrics=weighted)
    values = model.evaluate(X, VALUES, verbose=0)
    by_name = model.evaluate(X, VALUES, verbose=0, return_dict=True)
    assert [by_name[name] for name in ["loss", *names]] == values


def test_loss_and_metrics_may_be_given_by_the_name_of_the_output():
    model = net((2, "linear"))
    name = model.layers[-1].name
    model.compile(
        "sgd", {name: "mse"}, {name: 2.0}, metrics={name: "mae"}, weighted_metrics={name: ["mse"]}
    )
    values = model.evaluate(X, VALUES, verbose=0, return_dict=True)
    assert list(values) == ["loss", "mae", "mse"]
    np.testing.assert_allclose(values["loss"], 2 * values["mse"], rtol=1e-6)


def test_batches_of_many_sizes_train_in_turn():
    model = net((2, "linear"))
    model.compile("sgd", "mse")
    for rows in [*range(1, 15), *range(14, 0, -1)]:
        model.train_on_batch(X[:rows], VALUES[:rows])
        model.predict(X[:rows], rows, verbose=0)
    assert int(model.optimizer.iterations) == 28


@pytest.mark.parametrize(
    ("width", "y", "row"),
    [
        (1, (LABELS > 0).astype(float), "binary_accuracy"),
        (3, LABELS, "kind=sparse_categorical_accuracy"),
        (3, LABELS[:, None], "kind=sparse_categorical_accuracy"),
        (3, ONE_HOT, "kind=categorical_accuracy"),
    ],
)
def test_accuracy_is_chosen_by_shapes(width, y, row):
    model = net((width, "sigmoid"))
    loss = "crossentropy" if width == 3 else "mse"
    model.compile("sgd", loss, metrics=["accuracy"])
    assert list(model.fit(X, y, verbose=0).history) == ["accuracy", "loss"]
    assert row in str(model.program(training=True))


def test_results_are_a_float_a_list_or_a_dict():
    model = net((2, "linear"))
    model.compile("sgd", "mse")
    for method in (model.evaluate, model.train_on_batch, model.test_on_batch):
        quiet = {"verbose": 0} if method == model.evaluate else {}
        assert type(method(X, VALUES, **quiet)) is float
        assert list(method(X, VALUES, return_dict=True, **quiet)) == ["loss"]
    model.compile("sgd", "mse", metrics=["mae"])
    assert [type(v) for v in model.train_on_batch(X, VALUES)] == [float, float]
    assert list(model.test_on_batch(X, VALUES, return_dict=True)) == ["loss", "mae"]


def test_train_on_batch_measures_before_the_step_and_forgets_earlier_batches():
    model, other = net((2, "linear")), net((2, "linear"))
    for each in (model, other):
        each.compile("sgd", "mse")
    expected = other.evaluate(X, VALUES, verbose=0)
    np.testing.assert_allclose(model.train_on_batch(X, VALUES), expected, rtol=1e-6)
    other.fit(X, VALUES, verbose=0, shuffle=False)
    assert np.array_equal(model.get_weights()[0], other.get_weights()[0])
    expected = other.evaluate(X[:3], VALUES[:3], verbose=0)
    np.testing.assert_allclose(model.train_on_batch(X[:3], VALUES[:3]), expected, rtol=1e-6)


def test_class_weights_of_train_on_batch_count():
    model, other = net((3, "softmax")), net((3, "softmax"))
    for each in (model, other):
        each.compile("sgd", "sparse_categorical_crossentropy")
    weights = np.where(LABELS == 1, 2.5, 1.0)
    a = model.train_on_batch(X, LABELS, class_weight={1: 2.5})
    b = other.train_on_batch(X, LABELS, sample_weight=weights)
    assert a == b
    assert np.array_equal(model.get_weights()[0], other.get_weights()[0])


def test_last_values_can_be_asked_for():
    model = net((2, "linear"))
    assert (model.metrics, model.metrics_names, model.compiled) == ([], [], False)
    model.compile("sgd", "mse", metrics=["mae"])
    loss, mae = model.evaluate(X, VALUES, verbose=0)
    assert model.metrics_names == ["loss", "compile_metrics"]
    assert model.get_metrics_result() == {"loss": loss, "mae": mae}
    whole, of_compile = model.metrics
    assert (whole.name, of_compile.name) == ("loss", "compile_metrics")
    np.testing.assert_allclose(float(whole.result()), loss, rtol=1e-6)
    np.testing.assert_allclose(float(of_compile.result()["mae"]), mae, rtol=1e-6)
    assert [float(m.result()) for m in of_compile.metrics] == [of_compile.result()["mae"]]
    model.reset_metrics()
    assert model.get_metrics_result() == {"loss": 0.0, "mae": 0.0}
    assert model.loss == "mse"
