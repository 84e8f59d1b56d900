"""Names of Keras that cdl lacks raise an error that says what is near."""

import importlib
import re

import pytest
from keras_names import divided, whole

import cdl
from cdl import layers, losses
from cdl._common.missing_names import OF_OTHERS, REASONS, explained

MISSING = divided()[1]


def import_from(module, name):
    exec(f"from {module} import {name}", {})


@pytest.mark.parametrize(("module", "name"), MISSING)
def test_attribute_and_import_tell_what_is_near(module, name):
    home = importlib.import_module(f"cdl.{module}".rstrip("."))
    text = explained(whole(module, name))
    assert text.startswith(f"cdl has no {whole(module, name)}")
    assert not hasattr(home, name)
    with pytest.raises(AttributeError) as caught:
        getattr(home, name)
    assert str(caught.value) == text
    with pytest.raises(ImportError) as caught:
        import_from(home.__name__, name)
    assert (str(caught.value), caught.value.name) == (text, home.__name__)


@pytest.mark.parametrize("pattern", REASONS)
def test_each_reason_is_one_of_something_that_is_missing(pattern):
    names = [whole(*pair) for pair in MISSING]
    assert any(re.fullmatch(pattern, name) for name in names)


@pytest.mark.parametrize(("why", "near"), [*REASONS.values(), *OF_OTHERS.values()])
def test_what_is_said_to_be_near_is_there(why, near):
    assert why or near
    for path in re.findall(
        r"\b((?:layers|ops|utils|losses|callbacks|saving|constraints)\.\w+)", near
    ):
        thing = cdl
        for part in path.split("."):
            thing = getattr(thing, part)


@pytest.mark.parametrize(
    ("module", "name", "text"),
    [
        (
            "cdl.layers",
            "Dens",
            "module 'cdl.layers' has no attribute 'Dens'; did you mean 'Dense'?",
        ),
        ("cdl.layers", "dropout", "did you mean 'Dropout'?"),
        ("cdl.layers", "Adam", "has no attribute 'Adam': it is cdl.optimizers.Adam"),
        ("cdl", "Dense", "module 'cdl' has no attribute 'Dense': it is cdl.layers.Dense"),
        ("cdl", "layer", "did you mean 'Layer'?"),
        ("cdl", "LSTM", "module 'cdl' has no attribute 'LSTM': it is cdl.layers.LSTM"),
        ("cdl.layers", "CuDNNLSTM", "cdl has no layers.CuDNNLSTM: there is no GPU"),
        ("cdl.layers", "MaxPool2d", "did you mean 'MaxPool2D'?"),
        ("cdl.layers", "Linear", "cdl has no layers.Linear. Near: layers.Dense"),
        (
            "cdl.ops",
            "GradientTape",
            "gradients are the core's own. Near: GradientTape, value_and_grad",
        ),
        ("cdl.ops", "gradient", "cdl has no ops.gradient: gradients are the core"),
        (
            "cdl.backend",
            "gradients",
            "Near: GradientTape, value_and_grad and grad; model.gradients(",
        ),
        ("cdl", "gradients", "Near: GradientTape, value_and_grad and grad"),
        ("cdl.losses", "Hubber", "did you mean 'Huber'?"),
        ("cdl.losses", "AUC", "has no attribute 'AUC': it is cdl.metrics.AUC"),
        ("cdl.ops.numpy", "arrange", "did you mean 'arange'?"),
        ("cdl.ops.nn", "sofmax", "did you mean 'softmax'?"),
        ("cdl.sklearn", "CDLClasifier", "did you mean 'CDLClassifier'?"),
        ("cdl.utils", "qqqq", "module 'cdl.utils' has no attribute 'qqqq'"),
    ],
)
def test_other_names_are_told_the_nearest_one_or_its_place(module, name, text):
    with pytest.raises(AttributeError) as caught:
        getattr(importlib.import_module(module), name)
    assert text in str(caught.value)
    with pytest.raises(ImportError) as caught:
        import_from(module, name)
    assert text in str(caught.value)


def test_python_adds_no_suggestion_of_its_own(run_python):
    done = run_python("import cdl; cdl.layers.Dens", check=False)
    assert done.stderr.splitlines()[-1].endswith("; did you mean 'Dense'?")


def test_names_of_keras_2_are_found_as_before():
    assert losses.mse is losses.mean_squared_error
    import_from("cdl.losses", "kld")
    assert cdl.backend.switch is cdl.ops.where


def test_a_file_that_imports_what_is_missing_ends_with_the_text(run_python):
    done = run_python("from cdl.layers import Dense, CuDNNLSTM", check=False)
    assert done.stderr.splitlines()[-1].startswith("ImportError: cdl has no layers.CuDNNLSTM: ")


def test_a_star_import_brings_public_names_only():
    names = {}
    exec("from cdl.layers import *", names)
    assert "Dense" in names and "dense" not in names and "publish" not in names


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: layers.dense(3), "cdl.layers.dense is a module and cannot be called; "
         "did you mean cdl.layers.Dense?"),
        (lambda: layers.lambda_layer(abs), "did you mean cdl.layers.Lambda?"),
        (lambda: layers.einsum_dense("a", 3), "did you mean cdl.layers.EinsumDense?"),
        (cdl.callbacks.early_stopping, "did you mean cdl.callbacks.EarlyStopping?"),
    ],
)  # fmt: skip
def test_a_module_that_is_called_says_which_class_is_meant(call, text):
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value).endswith(text)
