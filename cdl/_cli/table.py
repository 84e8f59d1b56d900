"""`python -m cdl table`: a net for a column of a CSV, its score, and a file of it."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np

_FILES = (".pickle", ".keras", ".onnx", ".c")
_CLASSES = 20  # different whole numbers up to which a target is of classes
_SHOWN = 10  # columns whose importance is printed


def run(data: Path, target: str, task: str | None, recipe: str, output: Path | None) -> int:
    """Print the score of a net by cross validation, train it on all rows, write it.

    Args:
        data: a CSV with names of columns.
        target: name of the column to predict.
        task: "classes" or "numbers"; None tells it by the column.
        recipe: of the estimator.
        output: .pickle, .keras, .onnx or .c, or None.

    Returns:
        The shell's exit status: 1 with a line on stderr for data that do not fit.
    """
    try:
        import pandas
        import sklearn  # noqa: F401 - to say what is missing
    except ModuleNotFoundError as missing:
        return _failed(f"{missing}; try: pip install pandas 'cdl-nn[sklearn]'")
    if output is not None and output.suffix not in _FILES:
        return _failed(f"--output must end in {', '.join(_FILES)}, got {output.name!r}")
    if output is not None and not output.parent.is_dir():
        return _failed(f"--output must be in a folder that exists, got {str(output)!r}")
    try:
        table = pandas.read_csv(data)
        if target not in table:
            return _failed(f"--target must be one of {table.columns.tolist()}, got {target!r}")
        known = table[target].notna()
        if not known.all():
            print(f"{(~known).sum():,} rows without {target} are left out")
        x, y = table[known].drop(columns=target), table[target][known]
        model = _scored(x, y, task or _task_of(y), recipe)
        if output is not None:
            _write(model, output)
            print(f"{output} written")
    except (OSError, ValueError, ImportError) as error:
        return _failed(str(error))
    return 0


def _failed(reason: str) -> int:
    print(f"cdl table: {reason}", file=sys.stderr)
    return 1


def _task_of(y: Any) -> str:
    """Kind of a target: numbers with a fraction, or many different ones, are numbers."""
    if y.dtype.kind not in "iuf":
        return "classes"
    return "classes" if (y % 1 == 0).all() and y.nunique() <= _CLASSES else "numbers"


def _scored(x: Any, y: Any, task: str, recipe: str) -> Any:
    """Estimator trained on all rows, after its score and its importances are printed."""
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score

    from cdl.sklearn import TabularClassifier, TabularRegressor

    is_classes = task == "classes"
    kind: Any = TabularClassifier if is_classes else TabularRegressor
    model = kind(recipe, random_state=0)
    folds = (StratifiedKFold if is_classes else KFold)(5, shuffle=True, random_state=0)
    scores = cross_val_score(model, x, y, cv=folds, error_score="raise")
    print(
        f"{'accuracy' if is_classes else 'R2'} {scores.mean():.3f}, standard deviation "
        f"{scores.std(ddof=1):.3f} of five folds, {len(x):,} rows x {x.shape[1]} columns"
    )
    model.fit(x, y)
    print("importance of columns, by permutation:")
    width = max(map(len, map(str, x.columns)))
    order = np.argsort(-model.feature_importances_, kind="stable")[:_SHOWN]
    for i in order:
        print(f"  {x.columns[i]:<{width}}  {model.feature_importances_[i]:.3f}")
    return model


def _write(model: Any, path: Path) -> None:
    if path.suffix == ".pickle":
        path.write_bytes(pickle.dumps(model))
    else:
        model.export(path)
