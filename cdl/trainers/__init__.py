"""Training, evaluation and prediction of models: `compile`, `fit`, `evaluate`, `predict`.

Who owns what on the way of a batch, from the user's call to the core:

- trainer.py: the public methods and their docstrings; it hands each call on.
- arguments.py: counts, switches and splits, each checked before anything runs.
- data_adapter.py: x, y and weights in whatever form, checked against the model: `Arrays`. A model
  that is not built is built here.
- compile_arguments.py: losses, weights and metrics as nested structures, output by output.
- compile_utils.py: what `compile` was given, resolved once the shapes of the outputs are known:
  the loss and the metrics of each output.
- executor_cache.py: train functions, kept for later calls, by form of the data (sizes.py).
- lowering.py: the model, its losses and metrics as a program of the core.
- train_function.py: one executor of such a program.
- epoch_iterator.py: which rows come next, in which order, from arrays or from a stream.
- fit_loop.py: epochs, callbacks, validation, time slices, Ctrl-C.
- one_batch.py: `train_on_batch` and `test_on_batch`, and results as Keras returns them.
- state.py: what a model remembers of all this from one call to the next.

`predict` goes from trainer.py to predict.py, and to the core. What users override runs
from custom/. vjp.py gives derivatives, to gradients.py (of the compiled loss) and derivatives.py
(of functions; custom/reads.py tells what these depend on); many/ trains many models at once;
signature.py is a model as all of these see it: flat lists of inputs and outputs.
"""
