"""The files of recorded results: one compressed archive an area, arrays and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

RECORDED = Path(__file__).parent / "recorded"


def save(area: str, results: dict[str, dict[str, Any]]) -> None:
    """Write an area's results: arrays one after the other, all else as JSON."""
    arrays: list[Any] = []

    def pack(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(value.astype("float32") if value.dtype == np.float64 else value)
            return {"array": len(arrays) - 1}
        if isinstance(value, dict):
            return {"dict": {k: pack(v) for k, v in value.items()}}
        if isinstance(value, list):
            return [pack(v) for v in value]
        return value

    text = json.dumps({key: {n: pack(v) for n, v in seen.items()} for key, seen in results.items()})
    RECORDED.mkdir(exist_ok=True)
    stored = {str(i): array for i, array in enumerate(arrays)}
    np.savez_compressed(
        RECORDED / f"{area}.npz", cases=np.frombuffer(text.encode(), np.uint8), **stored
    )


def load(area: str) -> dict[str, dict[str, Any]]:
    """An area's results, {} if there are none."""
    path = RECORDED / f"{area}.npz"
    if not path.exists():
        return {}
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    cases = json.loads(arrays.pop("cases").tobytes())

    def unpack(value: Any) -> Any:
        if isinstance(value, dict):
            if "array" in value:
                return arrays[str(value["array"])]
            return {k: unpack(v) for k, v in value["dict"].items()}
        if isinstance(value, list):
            return [unpack(v) for v in value]
        return value

    return {key: {n: unpack(v) for n, v in seen.items()} for key, seen in cases.items()}


def differences(before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> Iterator[str]:
    """A line for each quantity that is new, gone or another than before."""
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old is None or new is None:
            yield f"{key}: {'new' if old is None else 'gone'}"
            continue
        for name in sorted({*old, *new}):
            if not _same(old.get(name), new.get(name)):
                yield f"{key}: {name} was {old.get(name)!r:.80}, is {new.get(name)!r:.80}"


def _same(a: Any, b: Any) -> bool:
    lists = isinstance(a, list) and isinstance(b, list)
    if lists and any(isinstance(each, np.ndarray) for each in a):  # of several shapes
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, (np.ndarray, float, list)) and isinstance(b, (np.ndarray, float, list)):
        try:
            if np.shape(a) != np.shape(b):
                return False
            return np.allclose(
                np.asarray(a, float), np.asarray(b, float), rtol=1e-5, atol=1e-6, equal_nan=True
            )
        except (TypeError, ValueError):
            pass
    return bool(np.all(a == b)) if not isinstance(a, dict) else a == b
