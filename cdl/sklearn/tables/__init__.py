"""Estimators for tables as they come: columns, recipes, nets, training."""
