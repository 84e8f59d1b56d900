"""The peers, one module a library. Each offers, as far as it can:

Trainer(case, data, threads, variant): `reset()`, `train(epochs, shuffle)`, `weights()`;
predictors(case, weights, threads, variant): callables by name, from rows to probabilities;
products(kind, a, b, threads): a callable that multiplies two matrices.

Nothing of a library is imported before one of these is called, in a process of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType


@dataclass(frozen=True)
class Peer:
    """A way of training or predicting that is measured."""

    name: str
    module: str  # in this folder
    variant: str = ""
    needs: tuple[str, ...] = ()  # import names

    def missing(self) -> list[str]:
        """The packages that this peer needs and this Python does not have."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def load(self) -> ModuleType:
        return importlib.import_module(f"benchmarks.peers.{self.module}")


PEERS = {
    peer.name: peer
    for peer in [
        Peer("cdl", "cdl"),
        Peer("cdl core", "core"),
        Peer("jax scan", "jax", "scan", ("jax",)),
        Peer("jax step", "jax", "step", ("jax",)),
        Peer("torch", "torch", "eager", ("torch",)),
        Peer("torch fused", "torch", "fused", ("torch",)),
        Peer("torch compile", "torch", "compile", ("torch",)),
        Peer("keras jax", "keras", "jax", ("keras", "jax")),
        Peer("keras torch", "keras", "torch", ("keras", "torch")),
        Peer("keras tensorflow", "keras", "tensorflow", ("keras", "tensorflow")),
        Peer("onnxruntime", "onnxruntime", "", ("onnx", "onnxruntime")),
        Peer("numpy", "numpy"),
        Peer("sklearn", "sklearn", "", ("sklearn",)),
    ]
}
OURS = ("cdl", "cdl core")


def choose(names: list[str] | None, default: list[str]) -> tuple[list[Peer], dict[str, str]]:
    """The peers that can run here, and why the others are left out."""
    unknown = [name for name in names or [] if name not in PEERS]
    if unknown:
        raise SystemExit(f"no peer {unknown[0]!r}; there are: {', '.join(PEERS)}")
    chosen = [PEERS[name] for name in names or default]
    left_out = {p.name: f"{', '.join(p.missing())} not installed" for p in chosen if p.missing()}
    return [peer for peer in chosen if not peer.missing()], left_out


def versions() -> dict[str, str]:
    """Versions of all distributions that a peer may come from, as far as installed."""
    names = ["numpy", "torch", "jax", "jaxlib", "keras", "tensorflow", "scikit-learn"]
    found = {}
    trees = ["lightgbm", "xgboost", "xgboost-cpu", "catboost", "pytabkit"]
    for name in [*names, "onnxruntime", "scipy", *trees]:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
