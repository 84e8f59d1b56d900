"""Custom code of users in training: steps, losses, metrics, regularizers, constraints.

steps.py calls `train_step`, `test_step`, `predict_step`; step_functions.py gives them as functions;
losses.py traces `compute_loss` and losses across samples; host_functions.py calls losses, metrics,
regularizers and constraints that cannot be traced; compile_metrics.py is loss and metrics on
arrays, for steps; eager_step.py is `run_eagerly`.
"""
