"""A step in float32 and in bfloat16: 784-512-512-10, and 1024-4096-4096-1024.

    python -m benchmarks.precision [--threads 1 2] [--peers cdl ...] [--rounds 5] [--keep]

Batches of 128 and 512, Adam. cdl computes by the policy mixed_bfloat16, PyTorch under
torch.autocast with its fused Adam: both keep weights in float32. Every peer trains one epoch first;
its loss on rows that were held out is printed beside its time.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np

from benchmarks.harness import nets
from benchmarks.harness.nets import Net
from benchmarks.harness.worker import Prepared

PEERS = ("cdl", "cdl bfloat16", "torch", "torch bfloat16")
NETS = {
    "mnist": ((784, 512, 512, 10), 128, 40),
    "wide": ((1024, 4096, 4096, 1024), 512, 2),
}


def cdl_net(cdl, low, widths, batch, data) -> Net:
    """cdl by a policy; in a worker, whose policy it is."""
    if low:
        cdl.config.set_dtype_policy("mixed_bfloat16")
    (x, y), (test, target) = data
    model = cdl.Sequential([cdl.Input((widths[0],))])
    for units in widths[1:-1]:
        model.add(cdl.layers.Dense(units, activation="relu"))
    model.add(cdl.layers.Dense(widths[-1]))
    model.compile("adam", "mse")
    return Net(
        lambda n: model.fit(x, y, batch_size=batch, epochs=n, verbose=0, shuffle=False),
        lambda: float(model.evaluate(test, target, batch_size=batch, verbose=0)),
    )


def torch_net(threads, low, widths, batch, data) -> Net:
    """PyTorch, eager, with oneDNN's products."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    x, y, test, target = (torch.from_numpy(each) for part in data for each in part)
    parts: list[nn.Module] = []
    for k, n in itertools.pairwise(widths):
        parts += [nn.Linear(k, n), nn.ReLU()]
    model = nn.Sequential(*parts[:-1])
    for part in model:
        if isinstance(part, nn.Linear):  # as Keras draws weights
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7, fused=True)
    criterion = nn.MSELoss()

    def forward(rows):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            return model(rows)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for at in range(0, len(x), batch):
                optimizer.zero_grad()
                criterion(forward(x[at : at + batch]).float(), y[at : at + batch]).backward()
                optimizer.step()

    def loss() -> float:
        with torch.no_grad():
            return float(criterion(forward(test).float(), target))

    return Net(run, loss)


def prepare(settings: dict) -> Prepared:
    """In a worker: the net after its first epoch."""
    widths, batch, steps = NETS[settings["net"]]
    peer, *low = settings["peer"].split()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2 * batch * steps, widths[0]), np.float32)
    y = np.tanh(x[:, : widths[-1]] + x[:, -widths[-1] :])
    half = len(x) // 2
    data = (x[:half], y[:half]), (x[half:], y[half:])
    return nets.prepare(
        {**settings, "peer": peer}, cdl_net, torch_net, steps, bool(low), widths, batch, data
    )


def measure(threads: int, options: argparse.Namespace) -> list[dict]:
    """A record a net and peer."""
    return [
        {**row, "net": net}
        for net in options.nets
        for row in nets.measure("precision", threads, options, net=net)
    ]


def tables(found: list[dict]) -> str:
    """Milliseconds a step, a table a net."""
    names = list(dict.fromkeys(row["net"] for row in found))
    return "\n".join(
        f"## {net}\n\n"
        + nets.tables([r for r in found if r["net"] == net], "milliseconds", "a step", 1e3)
        for net in names
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which nets; the peers are this benchmark's own."""
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))


if __name__ == "__main__":
    nets.main("precision", __doc__, measure, tables, add_options, PEERS)
