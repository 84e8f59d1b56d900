"""Names that `cdl` itself offers, and the time at which each is loaded."""

import importlib
import inspect
import pkgutil
from importlib import metadata

import pytest
from keras_names import MODULES, divided, whole

import cdl


@pytest.mark.parametrize("name", cdl.__all__)
def test_every_public_name_is_there(name):
    assert getattr(cdl, name) is not None
    assert name in dir(cdl)


def public_modules():
    """All of Keras's that there are, and cdl's own."""
    names = {name for name in MODULES if name}
    names |= {name for name in cdl.__all__ if inspect.ismodule(getattr(cdl, name))}
    return ["cdl", *(f"cdl.{name}" for name in sorted(names))]


@pytest.mark.parametrize("name", public_modules())
def test_a_module_lists_its_public_names_only(name):
    module = importlib.import_module(name)
    assert dir(module) == sorted({*dir(module)})
    assert dir(module) == sorted(getattr(module, "__all__", dir(module)))
    modules = {each.partition(".")[2] for each in public_modules()}
    for each in dir(module):
        value = getattr(module, each)
        assert not each.startswith("_") or each == "__version__"
        if inspect.ismodule(value):
            public = {*modules, "optimizers.legacy", *(whole(*pair) for pair in divided()[0])}
            assert f"{name}.{each}".removeprefix("cdl.") in public
        elif inspect.isclass(value) or inspect.isfunction(value):
            assert value.__module__.partition(".")[0] == "cdl"


def test_version_is_that_of_the_distribution():
    assert cdl.__version__ == metadata.version("cdl-nn")


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(
        AttributeError,
        match="module 'cdl' has no attribute 'Sequentiel'; did you mean 'Sequential'",
    ):
        cdl.Sequentiel  # noqa: B018


def test_names_are_those_of_their_modules():
    from cdl.layers import Layer
    from cdl.models import Sequential

    assert cdl.Sequential is Sequential
    assert cdl.layers.Layer is cdl.Layer is Layer


def test_import_loads_no_module_of_its_own(run_python):
    run_python(
        """if True:
        import sys, cdl
        assert [name for name in sys.modules if name.startswith("cdl.")] == []
        import cdl.applications, cdl.sklearn, cdl.tree
        assert "inspect" not in sys.modules
        cdl.Sequential([cdl.layers.Dense(3)])
        assert "rich" not in sys.modules
        """
    )


def test_no_class_hides_the_module_in_which_classes_are():
    # dill, which Hugging Face's datasets import, finds modules as attributes of their packages;
    # joblib, beside it, then could not write what has an initializer.
    for found in pkgutil.walk_packages(cdl.__path__, "cdl."):
        package, _, name = found.name.rpartition(".")
        if name != "__main__":
            importlib.import_module(found.name)
            assert not inspect.isclass(getattr(importlib.import_module(package), name)), found.name
