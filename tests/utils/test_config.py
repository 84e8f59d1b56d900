"""utils.Config: values by attribute and by item."""

import pytest

import cdl


def test_attributes_are_items():
    config = cdl.utils.Config(rate=0.5)
    config.units = 3
    config["name"] = "a"
    assert config.rate == config["rate"] == 0.5
    assert list(config) == ["name", "rate", "units"]
    assert len(config) == 3 and "units" in config and config.get("none", 7) == 7
    assert config.as_dict() == {"rate": 0.5, "units": 3, "name": "a"}
    assert config.to_json() == '{"rate": 0.5, "units": 3, "name": "a"}'
    assert repr(config) == "<Config {'rate': 0.5, 'units': 3, 'name': 'a'}>"
    config.update(units=4)
    assert config.pop("units") == 4
    del config["name"]
    assert dict(config.items()) == {"rate": 0.5}
    with pytest.raises(AttributeError, match=r"'rat'.*rate"):
        config.rat  # noqa: B018


def test_a_frozen_one_refuses_changes():
    config = cdl.utils.Config(rate=0.5)
    config.freeze()
    assert config.frozen
    for change in (
        lambda: setattr(config, "rate", 1),
        lambda: config.update(rate=1),
        lambda: config.pop("rate"),
    ):
        with pytest.raises(ValueError, match="frozen"):
            change()
    config.unfreeze()
    config.rate = 1
    assert config.rate == 1
