"""Regression on few rows, by L-BFGS: how far will a disease go within a year?

pip install 'cdl-nn[sklearn]'
python examples/diabetes.py
"""

from __future__ import annotations

from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cdl.sklearn import CDLRegressor


def main() -> float:
    """Return R2 in cross-validation, and print that of a linear model."""
    x, y = load_diabetes(return_X_y=True)
    net = CDLRegressor(
        hidden_layer_sizes=(8,), activation="tanh", solver="lbfgs", alpha=10.0, random_state=0
    )
    scaled = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), net), transformer=StandardScaler()
    )
    linear = cross_val_score(LinearRegression(), x, y, cv=5).mean()
    r2 = cross_val_score(scaled, x, y, cv=5).mean()
    print(f"R2 of a linear model: {linear:.4f}")
    return float(r2)


if __name__ == "__main__":
    print(f"R2: {main():.4f}")
