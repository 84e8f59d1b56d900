"""Config: named values that can be frozen."""

from __future__ import annotations

import json
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any

from cdl._common.errors import hint


class Config:
    """Dict with attribute access, `config.rate` for `config["rate"]`, which can be frozen.

    Args:
        kwargs: the first names and values.
    """

    _config: dict[str, Any]
    _frozen: bool

    def __init__(self, **kwargs: Any) -> None:
        object.__setattr__(self, "_config", kwargs)
        object.__setattr__(self, "_frozen", False)

    @property
    def frozen(self) -> bool:
        """Whether changes are refused."""
        return self._frozen

    def freeze(self) -> None:
        """Refuse changes from now on, with a ValueError."""
        object.__setattr__(self, "_frozen", True)

    def unfreeze(self) -> None:
        """Allow changes again after `freeze`."""
        object.__setattr__(self, "_frozen", False)

    def _check(self) -> None:
        if self._frozen:
            raise ValueError("Cannot mutate attribute(s) because the config is frozen.")

    def as_dict(self) -> dict[str, Any]:
        """Copy of the values as a dict."""
        return dict(self._config)

    def to_json(self) -> str:
        """Values as a JSON string."""
        return json.dumps(self._config)

    def keys(self) -> KeysView[str]:
        """View of the names."""
        return self._config.keys()

    def values(self) -> ValuesView[Any]:
        """View of the values."""
        return self._config.values()

    def items(self) -> ItemsView[str, Any]:
        """View of pairs of a name and its value."""
        return self._config.items()

    def pop(self, *args: Any) -> Any:
        """Remove a name and return its value, as `dict.pop`."""
        self._check()
        return self._config.pop(*args)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several values, as `dict.update`."""
        self._check()
        self._config.update(*args, **kwargs)

    def get(self, keyname: str, value: Any = None) -> Any:
        """Value of a name, or a default, as `dict.get`."""
        return self._config.get(keyname, value)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __getattr__(self, name: str) -> Any:
        if name == "_config" or name not in self._config:
            near = "" if name == "_config" else hint([name], self._config)
            raise AttributeError(f"Unknown attribute: '{name}'.{near}")
        return self._config[name]

    def __setitem__(self, key: str, item: Any) -> None:
        self._check()
        self._config[key] = item

    def __getitem__(self, key: str) -> Any:
        return self._config[key]

    def __delitem__(self, key: str) -> None:
        self._check()
        del self._config[key]

    def __repr__(self) -> str:
        return f"<Config {self._config}>"

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._config))

    def __len__(self) -> int:
        return len(self._config)

    def __contains__(self, item: object) -> bool:
        return item in self._config
