"""`python -m cdl table`: a net for a column of a CSV, its score, and files of it."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import pickle
import re
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cdl._cli import table_page

_FILES = (".pickle", ".keras", ".onnx", ".c")
_CLASSES = 20  # different whole numbers up to which a target is of classes
_FOLDS = 5
_SHOWN = 10  # columns whose importance is printed
_NONE = ("-", "\u2013", "\u2014")  # dashes, where all else in a column is numbers
_SAMPLE = 1 << 16  # bytes of a file that tell how it is written


class Job(NamedTuple):
    """Arguments of the command.

    Attributes:
        data: a CSV with names of columns.
        target: name of the column to predict.
        leave_out: names of columns that are not read.
        task: "classes" or "numbers"; None tells it by the column.
        recipe: of the estimator.
        text: "refuse" or "hash", of the estimator.
        output: .pickle, .keras, .onnx or .c, or None.
        report: .html, or None.
    """

    data: Path
    target: str
    leave_out: list[str]
    task: str | None
    recipe: str
    text: str
    output: Path | None
    report: Path | None


def run(job: Job) -> int:
    """Print the score of a net by cross validation, train it on all rows, write it.

    Returns:
        The shell's exit status: 1 with a line on stderr for data that do not fit.
    """
    data, target, output, report = job.data, job.target, job.output, job.report
    try:
        import pandas
        import sklearn  # noqa: F401 - to say what is missing
    except ModuleNotFoundError as missing:
        return _failed(f"{missing}; try: pip install pandas 'cdl-nn[sklearn]'")
    if output is not None and output.suffix not in _FILES:
        return _failed(f"--output must end in {', '.join(_FILES)}, got {output.name!r}")
    if report is not None and report.suffix != ".html":
        return _failed(f"--report must end in .html, got {report.name!r}")
    for option, path in (("--output", output), ("--report", report)):
        if path is not None and not path.parent.is_dir():
            return _failed(f"{option} must be in a folder that exists, got {str(path)!r}")
    try:
        form = csv_form(data)
        if form:
            print(f"{data.name} is read with {form}")
        table = pandas.read_csv(data, na_values="?", **form)
        if not isinstance(table.index, pandas.RangeIndex):  # more fields in a row than names
            if table.iloc[:, -1].isna().all():  # of a delimiter behind each row
                table = pandas.read_csv(data, na_values="?", index_col=False, **form)
            else:
                print("fields ahead of the first column, which have no name, are left out")
        names = [str(name).strip() for name in table]
        if len(set(names)) == len(names):
            table.columns = names
        for option, name in (("--target", target), *(("--leave-out", n) for n in job.leave_out)):
            if name not in table:
                return _failed(f"{option} must be one of {table.columns.tolist()}, got {name!r}")
        if target in job.leave_out:
            return _failed(f"--leave-out must be other columns than --target, got {target!r}")
        header = pandas.read_csv(data, header=None, nrows=1, dtype=str, **form).iloc[0]
        header = header.astype(str).str.strip().tolist()
        if header.count(target) > 1:  # of which pandas names the others anew
            return _failed(
                f"--target must be one column, got {target!r} {header.count(target)} times"
            )
        known = table[target].notna()
        if known.sum() < _FOLDS:
            return _failed(
                f"--target must have a value in {_FOLDS} rows or more, got {known.sum()} in "
                f"{target!r}"
            )
        if not known.all():
            print(f"{(~known).sum():,} rows without {target} are left out")
        table = _with_numbers(table[known].copy(), form.get("decimal", "."))
        x = _with_dates(table.drop(columns=[target, *job.leave_out]))
        if x.empty:
            return _failed(f"data must have a column with a value besides {target!r}")
        y = table[target].infer_objects()
        if pandas.api.types.infer_dtype(y) == "integer":  # beyond 64 bits
            y = y.astype(np.float64 if y.dtype == object else y.dtype)
        found = _scored(x, y, job)
        if output is not None:
            _write(found.model, output)
            print(f"{output} written")
        if report is not None:
            table_page.write(report, found)
            print(f"{report} written")
    except (OSError, ValueError, ImportError, EOFError, lzma.LZMAError, zlib.error) as error:
        told, text, _ = str(error).strip().partition("; make numbers or dates of it")
        return _failed(told + (text and "; --leave-out it, or give --text hash"))
    return 0


def _with_numbers(table: Any, decimal: str) -> Any:
    """Columns of texts such as 1,234.5, $3 or 7 % as numbers; what is done is printed."""
    sign = r"[$€£]?\s?"
    for name in table.select_dtypes(exclude=["number", "bool"]):
        known = table[name].dropna()
        texts = known.astype(str).str.strip()
        cells = texts[~texts.isin(_NONE)].str.replace("\u2212", "-")  # the sign of minus
        for point in (decimal, "." if decimal == "," else ","):  # a column may have its own
            group = rf"[{',' if point == '.' else '.'}' \u00a0\u202f]"
            plain = rf"(?:[1-9]\d{{0,2}}(?:{group}\d{{3}})+|\d+)(?:{re.escape(point)}\d+)?"
            if len(cells) and cells.str.fullmatch(rf"{sign}-?{sign}{plain}\s?[%$€£]?").all():
                found = cells.str.replace(rf"{group}(?=\d{{3}})|[$€£%\s]", "", regex=True)
                found = found.str.replace(point, ".").astype(np.float64)
                table[name] = found.reindex(table.index)
                print(f"{name} is read as numbers, such as {found.iloc[0]:g} for {cells.iloc[0]!r}")
                if len(cells) < len(texts):
                    print(f"{len(texts) - len(cells):,} dashes of {name} are read as missing")
                break
        else:
            if all(isinstance(each, str) for each in known) and (texts != known).any():
                table[name] = texts.reindex(table.index)
                print(f"{name} is read without the spaces around its texts")
    return table


def _with_dates(x: Any) -> Any:
    """Columns with a value, those of dates, ISO 8601 or 31/12/2026, as dates; it prints which."""
    import pandas

    empty = x.columns[x.isna().all()]
    if len(empty):
        print(f"{', '.join(empty)} left out, without a value")
    x = x.drop(columns=empty)
    for name in x.select_dtypes(exclude=["number", "bool"]):
        if not x[name].dropna().astype(str).str.match(r"\d{4}").all():  # "now" would be a date
            x[name] = _with_days(name, x[name])
            continue
        with contextlib.suppress(TypeError, ValueError):
            x[name] = pandas.to_datetime(x[name], format="ISO8601", utc=True)
            print(f"{name} is read as dates")
    for name in x.select_dtypes("integer"):
        if len(x) > 1 and (x[name].diff()[1:] == 1).all():
            print(f"{name} counts rows: --leave-out {name} if it tells nothing of new ones")
    return x


def _with_days(name: str, column: Any) -> Any:
    """Column with texts such as 31/12/2026, 31.12.2026 or 12/31/2026 9:30 as dates.

    One of them must tell days from months: a column in which all might be either stays text.
    """
    import pandas

    texts = column.dropna().astype(str).str.strip()
    found = texts.str.extract(r"^(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(\s\d{1,2}:\d{2}(?::\d{2})?)?$")
    if not len(texts) or found[1].isna().any():
        return column
    days_first = (found[1] == ".").all() or (found[0].astype(int) > 12).any()
    if not days_first and not (found[2].astype(int) > 12).any():
        print(f"{name} stays text: {texts.iloc[0]!r} may begin with the day or with the month")
        return column
    day, month = (found[0], found[2]) if days_first else (found[2], found[0])
    iso = found[3] + "-" + month.str.zfill(2) + "-" + day.str.zfill(2) + found[4].fillna("")
    try:
        dates = pandas.to_datetime(iso, format="mixed", utc=True)
    except ValueError:
        return column
    print(f"{name} is read as dates, the {'day' if days_first else 'month'} first")
    return dates.reindex(column.index)


def csv_form(data: Path) -> dict[str, Any]:
    """Arguments of pandas' `read_csv` for a file that has no commas between fields, or no UTF-8.

    The delimiter is the one that comes most often in the header, of commas, semicolons, tabs and
    bars, or that of a first line `sep=;`; numbers may have decimal commas where it is none. What is
    no UTF-8 counts as Windows' western encoding, which has the letters of Latin-1.

    Raises:
        ValueError: a file of Excel, or one that is no text.
    """
    if data.suffix in (".zip", ".zst"):  # which pandas unpacks
        return {}
    with _opened(data) as file:
        sample = file.read(_SAMPLE)
    if sample[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise ValueError(
            f"data must be a CSV, got a file of Excel or a zip, {data.name!r}: save it as CSV"
        )
    form: dict[str, Any] = {}
    if sample[:2] in (b"\xff\xfe", b"\xfe\xff"):
        form["encoding"] = "utf-16"
    elif b"\0" in sample:
        raise ValueError(f"data must be a CSV, got bytes that are no text in {data.name!r}")
    elif not _is_utf8(data):
        form["encoding"] = "cp1252"
    lines = sample.decode(form.get("encoding", "utf-8"), "replace").splitlines()[:-1] or [""]
    header = re.sub(r'"[^"]*"', "", lines[0])
    sep = max(",;\t|", key=header.count)  # the first of those that come as often
    told = re.fullmatch(r"\ufeff?sep=(.)", lines[0])  # a line that Excel reads, ahead of the names
    if told:
        form["skiprows"], sep = 1, told.group(1)
    if f"{sep} " in header:
        form["skipinitialspace"] = True
    if sep != ",":
        form["sep"] = sep
        fields = [each.strip().strip('"') for line in lines[1:] for each in line.split(sep)]
        groups = any(re.fullmatch(r"-?\d{1,3}(,\d{3})+(,\d{3}|\.\d+)", each) for each in fields)
        decimal = r"-?(\d+|\d{1,3}(\.\d{3})+),\d+"
        if not groups and any(re.fullmatch(decimal, each) for each in fields):
            form["decimal"] = ","
    return form


def _opened(data: Path) -> Any:
    """File of bytes, unpacked if its name says so."""
    unpack: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return unpack.get(data.suffix, open)(data, "rb")


def _is_utf8(data: Path) -> bool:
    try:
        with io.TextIOWrapper(_opened(data), encoding="utf-8") as file:
            while file.read(_SAMPLE):
                pass
    except UnicodeDecodeError:
        return False
    return True


def _failed(reason: str) -> int:
    print(f"cdl table: {reason}", file=sys.stderr)
    return 1


def _task_of(y: Any) -> str:
    """Kind of a target: numbers with a fraction, or many different ones, are numbers."""
    if y.dtype.kind not in "iuf":
        return "classes"
    return "classes" if (y % 1 == 0).all() and y.nunique() <= _CLASSES else "numbers"


def _labels(y: Any) -> Any:
    """Different values of a target of classes, two of which are in all parts for training."""
    labels, counts = np.unique(y, return_counts=True)
    if np.count_nonzero(counts > 1) < 2 or counts.max() < _FOLDS:
        import pandas

        texts = y[pandas.to_numeric(y, errors="coerce").isna()].tolist() if y.dtype != bool else []
        few = f"; it holds numbers but for {texts[0]!r}" if 0 < len(texts) < len(y) / 2 else ""
        raise ValueError(
            f"--target must have two classes of two rows or more, one of them of {_FOLDS}, got "
            f"{len(labels)} of at most {counts.max()} rows, such as {labels.tolist()[0]!r}{few}"
        )
    return labels


def _scored(x: Any, y: Any, job: Job) -> table_page.Report:
    """Estimator trained on all rows, after its score and its importances are printed."""
    from sklearn.base import clone
    from sklearn.model_selection import KFold, StratifiedKFold

    from cdl.sklearn import TabularClassifier, TabularRegressor

    is_classes = (job.task or _task_of(y)) == "classes"
    if not is_classes and len(y) < 2 * _FOLDS:  # R2 of one row is NaN
        raise ValueError(
            f"--target must have {2 * _FOLDS} numbers or more, got {len(y)} in {job.target!r}"
        )
    kind: Any = TabularClassifier if is_classes else TabularRegressor
    model = kind(job.recipe, text=job.text, random_state=0)
    folds = (StratifiedKFold if is_classes else KFold)(_FOLDS, shuffle=True, random_state=0)
    labels = _labels(y) if is_classes else None
    scores, outputs = [], np.zeros((len(y), 1 if labels is None else len(labels)))
    for inside, outside in folds.split(x, y):
        net = clone(model).fit(x.iloc[inside], y.iloc[inside])
        scores.append(float(net.score(x.iloc[outside], y.iloc[outside])))
        if labels is None:
            outputs[outside, 0] = net.predict(x.iloc[outside])
        else:  # a fold may lack a class
            at = np.searchsorted(labels, net.classes_)
            outputs[np.ix_(outside, at)] = net.predict_proba(x.iloc[outside])
    sentence = (
        f"{'accuracy' if is_classes else 'R2'} {np.mean(scores):.3f}, standard deviation "
        f"{np.std(scores, ddof=1):.3f} of five folds, {len(x):,} rows x {x.shape[1]} columns"
    )
    if is_classes:
        most, part = y.mode()[0], y.value_counts(normalize=True).max()
        sentence += f"; {part:.3f} of the rows are {most}"
    print(sentence)
    model.fit(x, y)
    print("importance of columns, by permutation:")
    names = [*map(str, x.columns)]
    width = max(map(len, names))
    order = np.argsort(-model.feature_importances_, kind="stable")[:_SHOWN]
    for i in order:
        print(f"  {names[i]:<{width}}  {model.feature_importances_[i]:.3f}")
    title, found = f"{job.target} of {job.data.name}", outputs if is_classes else outputs[:, 0]
    return table_page.Report(title, sentence, scores, model, names, y.to_numpy(), found)


def _write(model: Any, path: Path) -> None:
    if path.suffix == ".pickle":
        path.write_bytes(pickle.dumps(model))
    else:
        model.export(path)
