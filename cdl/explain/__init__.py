"""Explanations of a trained model's predictions: attributions, Grad-CAM, importances."""

from cdl._common.public_names import publish as _publish
from cdl.explain.attribution import integrated_gradients as integrated_gradients
from cdl.explain.attribution import saliency as saliency
from cdl.explain.grad_cam import grad_cam as grad_cam
from cdl.explain.permutation import Importance as Importance
from cdl.explain.permutation import permutation_importance as permutation_importance
from cdl.explain.plots import plot_image as plot_image
from cdl.explain.plots import plot_importance as plot_importance
from cdl.explain.plots import plot_sample as plot_sample

_publish(globals())
