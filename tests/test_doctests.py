"""Public names have examples, in docstrings or beside them: they run, and give what they show."""

import doctest
import inspect

import numpy as np
import pytest

pytest.importorskip("sklearn")

import api_examples
import named_examples
import reference

import cdl


def described():
    """Each public class, function and method, by the name that its page has."""
    for entry in reference.entries():
        yield entry.whole, entry.thing
        if inspect.isclass(entry.thing):
            for name in reference.methods(entry.thing):
                yield f"{entry.whole}.{name}", getattr(entry.thing, name)


NAMES = dict(described())
IN_DOCSTRINGS = {name: thing for name, thing in NAMES.items() if ">>> " in (thing.__doc__ or "")}
WITH_EXAMPLES = {*IN_DOCSTRINGS, *named_examples.examples()}
PAGES = sorted(path.stem for path in named_examples.FOLDER.glob("*.pycon"))


# Methods that readers look up in the reference.
LOOKED_UP = {
    "cdl.models.Model": "compile compute_loss evaluate export fit get_layer load_weights predict "
    "predict_on_batch save save_weights summary test_on_batch to_json train_on_batch train_step",
    "cdl.models.Sequential": "add pop",
    "cdl.layers.Layer": "add_loss add_weight build compute_output_shape count_params from_config "
    "get_config get_weights quantize set_weights stateless_call",
    "cdl.layers.TextVectorization": "adapt get_vocabulary set_vocabulary",
    "cdl.layers.StringLookup": "adapt get_vocabulary",
    "cdl.metrics.Metric": "reset_state result update_state",
    "cdl.optimizers.Optimizer": "apply_gradients learning_rate",
    "cdl.callbacks.Callback": "on_epoch_end on_train_batch_end",
    "cdl.callbacks.History": "plot to_pandas",
    "cdl.sklearn.CDLClassifier": "fit partial_fit predict predict_proba",
    "cdl.utils.FeatureSpace": "adapt get_encoded_features get_inputs",
}


def test_methods_that_people_look_up_have_an_example():
    wanted = {f"{cls}.{name}" for cls, names in LOOKED_UP.items() for name in names.split()}
    assert wanted <= WITH_EXAMPLES


def test_every_public_class_and_function_has_an_example():
    without = [entry.whole for entry in reference.entries() if entry.whole not in WITH_EXAMPLES]
    assert not without, "each needs a section in docs/api_examples/PAGE.pycon"


def test_the_examples_beside_are_of_public_names():
    assert set(PAGES) <= set(reference.pages())
    assert set(named_examples.examples()) <= set(NAMES)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_give_what_they_show(page, tmp_path, monkeypatch):
    for names, example in named_examples.sections(
        (named_examples.FOLDER / f"{page}.pycon").read_text()
    ):
        folder = tmp_path / names[0]
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("KERAS_HOME", str(folder))
        assert not api_examples.differences(example, names[0])
        used = names[0].rpartition(".")[2]  # others that it serves are called alike
        assert used in example, f"the example of {names[0]} does not use it"


@pytest.mark.parametrize("name", sorted(IN_DOCSTRINGS))
def test_an_example_gives_what_it_shows(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = inspect.getdoc(IN_DOCSTRINGS[name])
    test = doctest.DocTestParser().get_doctest(text, {"cdl": cdl, "np": np}, name, name, 0)
    told = []
    doctest.DocTestRunner().run(test, out=told.append)
    assert not told, "".join(told)
