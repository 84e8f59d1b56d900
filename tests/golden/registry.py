"""Golden cases: small functions of a Keras-like module, and how they are run.

A case takes the module under test, real Keras or cdl, and returns a dict of what it saw: arrays,
numbers, strings, lists. The same function runs on both; record.py keeps what Keras gave.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

CASES: dict[str, Callable[[Any], dict[str, Any]]] = {}


def case(area: str, name: str | None = None) -> Callable[..., Any]:
    """A decorator that enters a function as a case."""

    def enter(function: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
        add(area, name or function.__name__, function)
        return function

    return enter


def add(area: str, name: str, function: Callable[[Any], dict[str, Any]]) -> None:
    """Enter a case under ``area/name``, which must be new."""
    key = f"{area}/{name}"
    assert key not in CASES, key
    CASES[key] = function


def label(options: dict[str, Any]) -> str:
    """Options as a part of a case's name."""
    return ",".join(f"{k}={v}" for k, v in options.items()) or "default"


def plain(value: Any) -> Any:
    """A result as NumPy, numbers and text, whatever the backend's arrays are."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "OUS":
        return [plain(v) for v in value.tolist()]
    array = np.asarray(value)
    return array.item() if array.ndim == 0 else array


def run(function: Callable[[Any], dict[str, Any]], module: Any) -> dict[str, Any]:
    """The results of a case by name; an exception is a result too."""
    np.random.seed(1)
    module.utils.set_random_seed(1)
    module.utils.clear_session()
    try:
        return {name: plain(value) for name, value in function(module).items()}
    except Exception as error:
        return {"raises": type(error).__name__, "says": f"{error}"[:200]}


def error_of(call: Callable[[], Any]) -> str:
    """The name of the exception that a call raises, or "none"."""
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return "none"


def config_of(thing: Any) -> str:
    """An object's config as JSON text with sorted keys; dtype policies as their names."""
    return json.dumps(_simple(thing.get_config()), sort_keys=True)


def _simple(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("class_name") == "DTypePolicy":
            return value["config"]["name"]
        return {k: _simple(v) for k, v in value.items() if k != "shared_object_id"}
    if isinstance(value, (list, tuple)):
        return [_simple(v) for v in value]
    if isinstance(value, (np.floating, np.integer)):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return float(f"{value:.6g}")
