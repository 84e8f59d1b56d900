"""test_public_names.py - what `cdl` itself offers, and when it is loaded."""

from importlib import metadata

import pytest

import cdl


@pytest.mark.parametrize("name", cdl.__all__)
def test_every_public_name_is_there(name):
    assert getattr(cdl, name) is not None
    assert name in dir(cdl)


def test_version_is_that_of_the_distribution():
    assert cdl.__version__ == metadata.version("cdl-nn")


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'cdl' has no attribute 'Sequentiel'"):
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
        cdl.Sequential([cdl.layers.Dense(3)])
        assert "rich" not in sys.modules
        """
    )
