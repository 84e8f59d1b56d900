"""Recipes: the constants of nets for tables, with their sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Constants of a recipe.

    Attributes:
        hidden: units of the hidden layers.
        activation: of these.
        rate: learning rate, of Adam.
        schedule: "coslog4" or "constant".
        beta_2: of Adam.
        weight_decay: decoupled, of kernels.
        dropout: behind each hidden layer.
        smoothing: of labels.
        epochs: at most.
        patience: epochs without a better validation score before the end; None for none.
        scaling: of numbers, "robust" or "quantile".
        embedding: numbers of a category's vector.
        members: of TabM; 0 for one net.
        realmlp: whether the net is RealMLP's: PBLD, front scale, parametric activations, rates by
            weight, first weights by data.
    """

    hidden: tuple[int, ...]
    activation: str
    rate: float
    schedule: str = "constant"
    beta_2: float = 0.999
    weight_decay: float = 0.0
    dropout: float = 0.0
    smoothing: float = 0.0
    epochs: int = 256
    patience: int | None = None
    batch: int = 256
    scaling: str = "robust"
    embedding: int = 8
    members: int = 0
    realmlp: bool = False


MOST_FLAGS = 9
"""Categories up to which a column has a flag for each (RealMLP)."""

_REALMLP: dict[str, Any] = {
    "hidden": (256, 256, 256),
    "schedule": "coslog4",
    "beta_2": 0.95,
    "weight_decay": 0.02,
    "dropout": 0.15,
    "realmlp": True,
}
_TABM = Recipe(
    (512, 512, 512), "relu", 2e-3, dropout=0.1, epochs=1000, patience=16, scaling="quantile",
    embedding=16, members=32,
)  # fmt: skip
_MLP = Recipe((256, 256, 256), "relu", 1e-3, patience=40, scaling="quantile")

RECIPES: dict[str, tuple[Recipe, Recipe]] = {
    "realmlp": (
        Recipe(activation="selu", rate=0.04, smoothing=0.1, **_REALMLP),
        Recipe(activation="mish", rate=0.2, **_REALMLP),
    ),
    "tabm": (_TABM, _TABM),
    "mlp": (_MLP, _MLP),
}
"""Recipes by name, for classes and for numbers.

RealMLP: RealMLP-TD of Holzmüller, Grinsztajn and Steinwart, "Better by default" (2024), without its
schedules of dropout and decay; vectors of categories begin with deviation 0.05 (there 1) and flags
are 0 and 1 (there scaled as numbers), which attrition, ames and car prices, looked at with a split
or two each, gave no reason to change. TabM: TabM-D of Gorishniy, Kotelnikov and Babenko, "TabM"
(2024). Both by the table of defaults in the package pytabkit, but for `epochs` of TabM, which has
no limit there. MLP: widths and scaling of the plain net in "Better by default". Rate and patience
of the MLP and the 1,000 epochs of TabM are chosen here, on no data.
"""

OF_TREES = {
    "boosting_type": "recipe",
    "categorical_feature": "columns of type category in X",
    "early_stopping_rounds": "patience",
    "eval_sample_weight": "(X, y, weights) in eval_set",
    "feature_name": "a frame as X",
    "max_depth": "hidden_layer_sizes",
    "monotone_constraints": "monotone",
    "n_estimators": "max_epochs",
    "num_leaves": "hidden_layer_sizes",
    "objective": "quantiles, or nothing",
    "reg_lambda": "weight_decay",
    "subsample": "batch_size",
    "verbosity": "verbose",
}
"""What to give for arguments of boosted trees."""
