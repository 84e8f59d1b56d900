"""Churn with costs: which customers of a telephone company should get an offer?

7,043 customers of the R package modeldata, 27 % of whom left: contracts and services are
categories, total charges are missing for some. An offer costs 60 and keeps two in five of those who
would leave; a kept customer pays for twelve months more, half of which is profit. So an offer pays
off above a probability that differs by customer, and probabilities must be right, not only their
order: `calibrate=True` divides logits by a temperature. LightGBM with its defaults stands beside,
and for both the rule that most people use, a probability above one half.

    pip install 'cdl-nn[sklearn]' rdata lightgbm
    python examples/churn.py --library DIR

DIR holds R packages: `apt-get install r-cran-modeldata` fills the one that is the default.
"""

from __future__ import annotations

import argparse
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split

from cdl.sklearn import TabularClassifier

OFFER, KEPT, PART, MONTHS = 60.0, 0.4, 0.5, 12  # cost, part that is kept, profit of a fee, months


def load(library: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Customers, and whether each left, from the database of an R package."""
    import rdata

    folder = Path(library) / "modeldata" / "data"
    index = rdata.conversion.convert(rdata.parser.parse_file(folder / "Rdata.rdx"))["variables"]
    begin, length = (int(each) for each in index["wa_churn"])
    chunk = (folder / "Rdata.rdb").read_bytes()[begin : begin + length][5:]  # behind size and kind
    data = lzma.decompress(chunk, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6}])
    table = rdata.conversion.convert(rdata.parser.parse_data(data))
    x = table.drop(columns="churn")
    x = x.astype(dict.fromkeys(x.select_dtypes(exclude="number"), "category"))
    return x.astype(dict.fromkeys(x.select_dtypes("number"), "float64")), table["churn"] == "Yes"


def profits(left: np.ndarray, offered: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Profit by customer of offers to some, on average over who accepts."""
    return np.where(offered, left * KEPT * value - OFFER, 0.0)


def trees(x: pd.DataFrame, y: np.ndarray, new: pd.DataFrame) -> np.ndarray:
    """Probabilities by LightGBM with its defaults."""
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(random_state=0, n_jobs=1, verbose=-1).fit(x, y)
    return model.predict_proba(new)[:, 1]


def draw(left: np.ndarray, value: np.ndarray, found: dict[str, np.ndarray], file: str) -> None:
    """Draw profit by offers, with the number by costs, and how often customers left."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, layout="constrained")
    axes[1].plot([0, 0.9], [0, 0.9], color="gray", linewidth=1)
    for name, p in found.items():
        expected = p * KEPT * value - OFFER
        order = np.argsort(-expected)
        earned = np.cumsum(profits(left, np.ones(len(left), bool), value)[order])
        (line,) = axes[0].plot(np.arange(1, len(left) + 1), earned, label=name)
        axes[0].plot(
            (expected > 0).sum(), earned[(expected > 0).sum() - 1], "o", c=line.get_color()
        )
        came, said = calibration_curve(left, p, n_bins=8, strategy="quantile")
        axes[1].plot(said, came, "o-", label=name)
    axes[0].set(title="Profit by offers", xlabel="offers")
    axes[0].legend()
    axes[1].set(title="Calibration", xlabel="predicted probability", ylabel="part that left")
    figure.savefig(file)


def main(
    library: str = "/usr/lib/R/site-library", epochs: int = 256, picture: str | None = None
) -> float:
    """Train on three quarters, and return the profit by customer on the others."""
    x, y = load(library)
    old, new, y_old, y_new = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    left, value = y_new.to_numpy(), MONTHS * PART * new["monthly_charges"].to_numpy()
    model = TabularClassifier(
        "mlp", max_epochs=epochs, scoring="neg_log_loss", calibrate=True, random_state=0, n_bags=3
    )
    model.fit(old, y_old)
    found = {
        "TabularClassifier": model.predict_proba(new)[:, 1],
        "LightGBM": trees(old, y_old, new),
    }
    best = {}
    for name, p in found.items():
        print(f"{name:<17} AUC {roc_auc_score(left, p):.3f}, log loss {log_loss(left, p):.3f}")
        for rule, offered in (("by costs", p * KEPT * value > OFFER), ("above 0.5", p > 0.5)):
            earned = profits(left, offered, value).mean()
            best.setdefault(name, earned)
            print(f"  {rule:<9} {offered.sum():>4} offers, {earned:>6.2f} a customer")
    for rule, offered in (("to all", left >= 0), ("if known", left & (KEPT * value > OFFER))):
        earned = profits(left, offered, value).mean()
        print(f"  {rule:<9} {offered.sum():>4} offers, {earned:>6.2f} a customer")
    if picture is not None:
        draw(left, value, found, picture)
    return float(best["TabularClassifier"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", default="/usr/lib/R/site-library")
    parser.add_argument("--epochs", type=int, default=256)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
