"""Suggestions for an unknown name among the known ones."""

from __future__ import annotations

from collections.abc import Iterable

# Names that other libraries, older versions and textbooks have for what is here by another one.
OTHER_NAMES = {
    "acc": "accuracy",
    "bce_loss": "binary_crossentropy",
    "ce": "categorical_crossentropy",
    "cross_entropy": "categorical_crossentropy",
    "gaussian": "random_normal",
    "glorot": "glorot_uniform",
    "he": "he_normal",
    "kaiming": "he_normal",
    "kaiming_normal": "he_normal",
    "kaiming_uniform": "he_uniform",
    "l1": "mean_absolute_error",
    "l1_loss": "mean_absolute_error",
    "l2": "mean_squared_error",
    "l2_loss": "mean_squared_error",
    "lecun": "lecun_normal",
    "log_loss": "binary_crossentropy",
    "logistic": "sigmoid",
    "lrelu": "leaky_relu",
    "mse_loss": "mean_squared_error",
    "nll": "sparse_categorical_crossentropy",
    "nll_loss": "sparse_categorical_crossentropy",
    "period": "save_freq",
    "rmse": "root_mean_squared_error",
    "roc_auc": "auc",
    "smooth_l1": "huber",
    "xavier": "glorot_uniform",
    "xavier_normal": "glorot_normal",
    "xavier_uniform": "glorot_uniform",
}
_LONGEST = 100  # letters of a name that are looked at


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name that is meant by another one, None if none is near; case is nothing.

    What other libraries call it comes first, then what differs by the fewest letters, of which an
    ending that was left out is one, then the shortest name that begins alike.
    """
    import difflib

    pool: dict[str, list[str]] = {}
    for each in sorted(known, reverse=True):  # 'mse' before 'MSE'
        pool.setdefault(each.lower(), []).append(each)
    asked = str(name)[:_LONGEST].strip()
    wanted = asked.lower()
    found = next((each for each in (OTHER_NAMES.get(wanted), wanted) if each in pool), None)
    if found is None:
        close = difflib.get_close_matches(wanted, pool, 5)
        found = min(close, key=lambda e: e.startswith(wanted) or edits(wanted, e), default=None)
    if found is None and len(wanted) > 1:
        begin = [each for each in pool if each.startswith(wanted)]
        found = min(begin, key=len, default=None)
    return None if found is None else min(pool[found], key=lambda each: edits(asked, each))


def edits(a: str, b: str) -> int:
    """Edit distance: letters inserted, deleted, changed or swapped with the next one."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        two_before, before, row = before, row, [i]
        for j, other in enumerate(b, 1):
            fewest = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (one != other))
            if i > 1 and j > 1 and one == b[j - 2] and a[i - 2] == other:
                fewest = min(fewest, two_before[j - 2] + 1)
            row.append(fewest)
    return row[-1]
