"""PyTorch: eager, eager with its fused Adam, and compiled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.harness import cases
from benchmarks.harness.cases import Case, Data

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


def build(case: Case, weights: list[np.ndarray]) -> nn.Sequential:
    """Raw scores: the loss has the softmax."""
    layers: list[nn.Module] = []
    for i, (k, n) in enumerate(case.layers):
        layers += [ACTIVATIONS[case.activation]()] * (i > 0)
        layers.append(nn.Linear(k, n))
    model = nn.Sequential(*layers)
    load_weights(model, weights)
    return model


@torch.no_grad()
def load_weights(model: nn.Sequential, weights: list[np.ndarray]) -> None:
    """Kernels are (k, n) in the cases and (n, k) here."""
    for parameter, value in zip(model.parameters(), weights, strict=True):
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(value.T)))


class Trainer:
    """The loop that every PyTorch tutorial has, over tensors in memory."""

    def __init__(self, case: Case, data: Data, threads: int, variant: str) -> None:
        torch.set_num_threads(threads)
        self.case, self.data = case, data
        self.x = torch.from_numpy(data.x)
        self.y = torch.from_numpy(data.y if data.classes is None else data.classes)
        self.model = build(case, data.weights)
        criterion = nn.MSELoss() if data.classes is None else nn.CrossEntropyLoss()
        self.optimizer = self.make_optimizer(variant)

        def loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return criterion(self.model(x), y)

        self.loss = torch.compile(loss) if variant == "compile" else loss

    def make_optimizer(self, variant: str) -> torch.optim.Optimizer:
        parameters, fused = self.model.parameters(), variant != "eager" or None
        if self.case.optimizer == "sgd":
            return torch.optim.SGD(parameters, cases.RATE, fused=fused)
        betas = (cases.BETA_1, cases.BETA_2)
        return torch.optim.Adam(parameters, cases.RATE, betas, cases.EPSILON, fused=fused)

    def reset(self) -> None:
        load_weights(self.model, self.data.weights)
        self.optimizer.state.clear()

    def train(self, epochs: int, shuffle: bool = True) -> None:
        rows = len(self.x)
        for _ in range(epochs):
            order = torch.randperm(rows) if shuffle else torch.arange(rows)
            for rows_of_batch in order.split(self.case.batch):
                self.optimizer.zero_grad()
                self.loss(self.x[rows_of_batch], self.y[rows_of_batch]).backward()
                self.optimizer.step()

    def weights(self) -> list[np.ndarray]:
        return [parameter.detach().numpy().T for parameter in self.model.parameters()]


def predictors(
    case: Case, weights: list[np.ndarray], threads: int, variant: str
) -> dict[str, Callable]:
    torch.set_num_threads(threads)
    model = build(case, weights).eval()
    if case.loss == "softmax":
        model.append(nn.Softmax(dim=1))
    run = torch.compile(model) if variant == "compile" else model

    @torch.inference_mode()
    def predict(x: np.ndarray) -> np.ndarray:
        return run(torch.from_numpy(x)).numpy()

    return {"predict": predict}


def products(kind: str, a: np.ndarray, b: np.ndarray, threads: int) -> Callable[[], object]:
    """The matrices may be transposed views, as a layer's backward pass has them."""
    torch.set_num_threads(threads)
    left, right = torch.from_numpy(a), torch.from_numpy(b)
    out = torch.empty(a.shape[0], b.shape[1])
    return lambda: torch.mm(left, right, out=out)
