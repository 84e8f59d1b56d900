"""Explanations of a trained model's predictions: attributions, Grad-CAM, importances."""

from cdl._common.public_names import publish
from cdl.explain.attribution import integrated_gradients, saliency
from cdl.explain.grad_cam import grad_cam
from cdl.explain.permutation import Importance, permutation_importance
from cdl.explain.plots import plot_image, plot_importance, plot_sample

__all__ = [
    "Importance",
    "grad_cam",
    "integrated_gradients",
    "permutation_importance",
    "plot_image",
    "plot_importance",
    "plot_sample",
    "saliency",
]

publish(globals())
