"""A step in float32 and in bfloat16: dense nets, one of convolutions, an LSTM and a transformer.

    python -m benchmarks.precision [--threads 1 2] [--peers cdl ...] [--rounds 5] [--keep]

784-512-512-10 and 1024-4096-4096-1024 with batches of 128 and 512; `cifar_vgg` of
`benchmarks.images`; `lstm_big` and `transformer` of `benchmarks.sequences`, and one of 256 columns
and 4 heads of 64. Adam. cdl computes by the policy mixed_bfloat16, PyTorch under
torch.autocast with its fused Adam: both keep weights in float32. Every peer trains one epoch first;
its loss on rows that were held out is printed beside its time.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools

import numpy as np

from benchmarks.harness import convnets, nets, sequences
from benchmarks.harness.nets import Net
from benchmarks.harness.worker import Prepared, Sample
from benchmarks.peers import convnets as conv_peers
from benchmarks.peers import sequences as sequence_peers

PEERS = ("cdl", "cdl bfloat16", "torch", "torch bfloat16")
NETS = {
    "mnist": ((784, 512, 512, 10), 128, 40),
    "wide": ((1024, 4096, 4096, 1024), 512, 2),
}

WIDE = dataclasses.replace(
    sequences.NETS["transformer"], name="transformer_wide", inputs=256, units=64, heads=4,
    batch=16, steps=2, vocabulary=2000,
)  # fmt: skip
LAYERED = {net.name: net for net in (convnets.NETS["cifar_vgg"], WIDE)}
LAYERED |= {name: sequences.NETS[name] for name in ("lstm_big", "transformer")}


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


def layered(settings: dict, low: bool) -> Prepared:
    """A net of other benchmarks; its loss is that on what it was trained on."""
    net = LAYERED[settings["net"]]
    x, y = (convnets if isinstance(net, convnets.Net) else sequences).data(net)
    module = conv_peers if isinstance(net, convnets.Net) else sequence_peers
    if settings["peer"].startswith("torch"):
        import torch

        trainer = module.TorchTrainer(net, settings["threads"], compiled=False)

        def train(epochs: int) -> None:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
                trainer.train(epochs, shuffle=False)
    else:
        import cdl

        if low:
            cdl.config.set_dtype_policy("mixed_bfloat16")
        trainer = module.KerasTrainer(cdl, net)

        def train(epochs: int) -> None:
            trainer.train(epochs, shuffle=False)

    train(1)
    found = trainer.predict(x).astype(np.float64)
    if y.dtype.kind == "i":
        loss = -np.log(found[np.arange(len(y)), y])
    elif net.vocabulary:
        loss = -np.log(np.where(y > 0, found, 1 - found))
    else:
        loss = (found - y) ** 2
    return Prepared({"fit": Sample(train, net.steps, times=1)}, {"loss": float(loss.mean())})


def prepare(settings: dict) -> Prepared:
    """The net of a peer after its first epoch, in a worker."""
    if settings["net"] in LAYERED:
        return layered(settings, settings["peer"].endswith("bfloat16"))
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
    """Add the option for the nets; the peers are this benchmark's own."""
    parser.add_argument("--nets", nargs="+", default=[*NETS, *LAYERED], choices=[*NETS, *LAYERED])


if __name__ == "__main__":
    nets.main("precision", __doc__, measure, tables, add_options, PEERS)
