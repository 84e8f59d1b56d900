"""The nets of the benchmarks in their sizes, as the benchmarks of cdl train them, on few rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

import cdl
from benchmarks.harness import cases, convnets, sequences
from benchmarks.peers import cdl as dense
from benchmarks.peers import convnets as convolved
from benchmarks.peers import sequences as in_sequence

FLOPS = 1e9  # of a step: a second under an emulator is 2e8
KINDS = (
    (cases.CASES, lambda net: dense.Trainer(net, cases.data(net), 1, "")),
    (convnets.NETS.values(), lambda net: convolved.KerasTrainer(cdl, net)),
    (sequences.NETS.values(), lambda net: in_sequence.KerasTrainer(cdl, net)),
)


def nets(drawn: Callable[..., np.ndarray]) -> dict[str, Callable[[], object]]:
    """Functions by name, which give a model, its data and the rows of a batch.

    Args:
        drawn: gives numbers of a shape, the same on every machine; has a `generator`. The
            benchmarks' own numbers are normal ones, by logarithms of the machine's C library.
    """

    def made(net, trainer):
        batch = max(16, min(net.batch, int(net.batch * FLOPS / net.step_flops)))
        model = trainer(dataclasses.replace(net, batch=batch, steps=1)).model
        model.set_weights([started(w, drawn) for w in model.get_weights()])
        rows, n = batch * 4 // 3, model.output_shape[-1]
        labels = drawn.generator.integers(0, n, rows)
        x, y = drawn(rows, *model.input_shape[1:]), drawn(rows, n)
        if words := getattr(net, "vocabulary", 0):
            x, y = drawn.generator.integers(0, words, x.shape), y > 0
        elif model.loss != "mse" and not model.loss.startswith("mean"):
            y = labels if model.loss.startswith("sparse") else np.eye(n, dtype=np.float32)[labels]
        return model, x, y, batch

    return {
        f"benchmark {net.name}": lambda net=net, trainer=trainer: made(net, trainer)
        for all_of_them, trainer in KINDS
        for net in all_of_them
    }


def started(weight: np.ndarray, drawn: Callable[..., np.ndarray]) -> np.ndarray:
    """A kernel whose outputs are as large as its inputs; ones and zeros stay."""
    if weight.ndim == 1:
        return weight
    inputs = weight[..., 0].size // (convnets.groups(weight.shape) if weight.ndim > 2 else 1)
    return drawn(*weight.shape) / np.float32(np.sqrt(inputs))
