"""Common parts of datasets: paths, safe reading, splits, words."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from typing import Any

import numpy as np

from cdl._common.keras_home import in_cache
from cdl._common.validation import is_real
from cdl.config import image_data_format

_ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
# All that a pickle of these files may name; the modules as any version of NumPy calls them.
_ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype")}
_ALLOWED |= {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}


class _Careful(pickle.Unpickler):
    """Unpickler of arrays, dicts, lists, numbers and bytes, which calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"a data set of Keras holds arrays only: refused to load {module}.{name}"
            )
        return super().find_class(module, name)


def cached(path: str, owner: str, origin: str = "", folder: str = "datasets") -> str:
    """Path of a file, or of that name in Keras's cache."""
    if os.path.dirname(path) and os.path.exists(path):
        return path
    name = os.path.basename(path)
    instead = ", or give its path" if owner.endswith("(path)") else ""
    return in_cache(folder, name, origin or _ORIGIN + name, owner, instead)


def word_index(path: str, owner: str) -> Any:
    """Word index of a .json file: the number of each word."""
    with open(cached(path, owner)) as file:
        return json.load(file)


def arrays(path: str) -> dict[str, Any]:
    """Arrays of an .npz file, also those of lists."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                found[name.removesuffix(".npy")] = _array(io.BytesIO(archive.read(name)))
    return found


def _array(file: io.BytesIO) -> Any:
    header = np.lib.format
    version = header.read_magic(file)
    read = header.read_array_header_1_0 if version[0] == 1 else header.read_array_header_2_0
    dtype = read(file)[2]
    if dtype.hasobject:
        return _Careful(file).load()
    file.seek(0)
    return header.read_array(file, allow_pickle=False)


def cifar(path: str, *labels: str) -> tuple[Any, Any]:
    """Images, (n, 32, 32, 3) or in the configured data format, and labels, (n, 1)."""
    with open(path, "rb") as file:
        batch = _Careful(file, encoding="bytes").load()
    x = np.reshape(batch[b"data"], (-1, 3, 32, 32)).astype("uint8")
    y = next(batch[name.encode()] for name in labels if name.encode() in batch)
    if image_data_format() == "channels_last":
        x = x.transpose(0, 2, 3, 1)
    return x, y


def check_split(test_split: float) -> None:
    """Check the fraction of a split; ValueError outside of its range."""
    if not is_real(test_split) or not 0 <= test_split < 1:
        raise ValueError(
            f"Invalid `test_split` argument: {test_split}. It must be between 0 and 1 (exclusive "
            "of 1)."
        )


def shuffled_split(x: Any, y: Any, test_split: float, seed: Any) -> Any:
    """Training and test data: rows shuffled by a seed, the last ones held out."""
    order = np.arange(len(x))
    np.random.RandomState(seed).shuffle(order)
    x, y = x[order], y[order]
    point = int(len(x) * (1 - test_split))
    return (x[:point], y[:point]), (x[point:], y[point:])


def begun(texts: Any, start_char: int | None, index_from: int) -> list[list[int]]:
    """Texts of words with shifted numbers and a start symbol."""
    first = [] if start_char is None else [start_char]
    moved = index_from if start_char is not None or index_from else 0
    return [first + [word + moved for word in text] for text in texts]


def shorter(texts: Any, labels: Any, maxlen: int | None) -> tuple[Any, Any]:
    """Texts of fewer words, with their labels; all if maxlen is None or 0."""
    if not maxlen:
        return texts, labels
    kept = [i for i, text in enumerate(texts) if len(text) < maxlen]
    return [texts[i] for i in kept], [labels[i] for i in kept]


def known_words(
    texts: list[list[int]], num_words: int | None, skip_top: int, oov_char: int | None
) -> list[list[int]]:
    """Texts with rare and frequent words replaced by the number of an unknown one, or left out."""
    limit = num_words or max(max(text) for text in texts)
    if oov_char is None:
        return [[word for word in text if skip_top <= word < limit] for text in texts]
    return [[w if skip_top <= w < limit else oov_char for w in text] for text in texts]


def objects(texts: list[list[int]]) -> Any:
    """Object array of lists."""
    found = np.empty(len(texts), object)
    found[:] = texts
    return found
