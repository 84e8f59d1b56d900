"""A script as people write it: a data frame of 200,000 rows and 30 columns, two epochs of `fit`.

    python -m benchmarks.workflow [--threads 1 2] [--peers cdl ...] [--rounds 1] [--keep]

examples/workflow.py by cdl and, with `import keras` in place of `import cdl as keras`, by Keras:
batch normalization, dropout, AdamW with clipped gradients, AUC, early stopping, batches of 32. Each
round starts a process a peer, in turn, and times `fit` as it is called for the first time, with all
that is then compiled. PyTorch is the loop that its tutorials have, and scikit-learn's AUC.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from statistics import median

from benchmarks import peers
from benchmarks.harness import command, machine, records

SCRIPT = machine.ROOT / "examples" / "workflow.py"
NAMES = ("cdl", "torch", "keras jax", "keras torch", "keras tensorflow")
ROWS, EPOCHS, BATCH = 200_000, 2, 32

FIT = """
import json, sys, time
source = open({script!r}).read().replace("import cdl as keras", "import {api} as keras")
script = {{"__name__": "workflow"}}
exec(compile(source, {script!r}, "exec"), script)
script["keras"].utils.set_random_seed(0)
x, y = script["table"]({rows})
cut = len(x) * 9 // 10
model = script["build"]()
wall, cpu = time.perf_counter(), time.process_time()
script["train"](model, x[:cut], y[:cut], {epochs})
took = {{"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}}
took["auc"] = script["roc_auc_score"](y[cut:], model.predict(x[cut:], verbose=0)[:, 0])
print(json.dumps(took))
"""
TORCH = """
import copy, json, time
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
script = {{"__name__": "workflow"}}
exec(compile(open({script!r}).read(), {script!r}, "exec"), script)
torch.set_num_threads({threads})
torch.manual_seed(0)
x, y = script["table"]({rows})
cut, held = len(x) * 9 // 10, len(x) * 81 // 100
wall, cpu = time.perf_counter(), time.process_time()
x, y = torch.from_numpy(x.to_numpy()), torch.from_numpy(y.to_numpy("float32"))
model = nn.Sequential(
    nn.BatchNorm1d(30), nn.Linear(30, 128), nn.ReLU(), nn.BatchNorm1d(128), nn.Dropout(0.2),
    nn.Linear(128, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Dropout(0.2), nn.Linear(64, 1))
optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-4)
criterion = nn.BCEWithLogitsLoss()

def scores(rows):
    model.eval()
    with torch.no_grad():
        return model(x[rows])[:, 0]

best, kept = 0.0, None
for epoch in range({epochs}):
    model.train()
    order, seen = torch.randperm(held), torch.empty(held)
    for rows in order.split({batch}):
        optimizer.zero_grad()
        found = model(x[rows])[:, 0]
        criterion(found, y[rows]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seen[rows] = found.detach()
    train_auc = roc_auc_score(y[:held], seen)
    auc = roc_auc_score(y[held:cut], scores(slice(held, cut)))
    if auc > best:
        best, kept = auc, copy.deepcopy(model.state_dict())
model.load_state_dict(kept)
took = {{"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}}
took["auc"] = roc_auc_score(y[cut:], scores(slice(cut, len(x))))
print(json.dumps(took))
"""


def run_once(peer: str, threads: int, rows: int) -> dict:
    """Seconds of one `fit` in a process of its own, and the AUC on rows held out."""
    words = {"script": str(SCRIPT), "rows": rows, "epochs": EPOCHS, "batch": BATCH}
    words |= {"threads": threads, "api": "cdl" if peer == "cdl" else "keras"}
    env = machine.environment(threads)
    if peer.startswith("keras"):
        env["KERAS_BACKEND"] = peers.PEERS[peer].variant
    done = subprocess.run(
        [sys.executable, "-c", (TORCH if peer == "torch" else FIT).format(**words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=machine.ROOT,
        env=env,
        preexec_fn=lambda: machine.pin(threads),
    )
    if done.returncode:
        raise SystemExit(f"{peer}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(chosen: list[peers.Peer], options: argparse.Namespace) -> list[dict]:
    """A record for each number of threads and peer."""
    found = []
    for threads in options.threads:
        clock = "cpu" if threads == 1 else "wall"
        took: dict[str, list[dict]] = {peer.name: [] for peer in chosen}
        for _ in range(options.rounds):
            for name, runs in took.items():
                runs.append(run_once(name, threads, options.rows))
                command.progress(f"{threads} {name} {runs[-1]}")
        for name, runs in took.items():
            seconds = [run[clock] for run in runs]
            record = {"threads": threads, "clock": clock, "peer": name, "s": min(seconds)}
            found.append({**record, "median": median(seconds), "auc": runs[-1]["auc"]})
    return found


def tables(found: list[dict]) -> str:
    """Seconds of `fit`, and what the net has learned by then."""
    text = []
    for threads in dict.fromkeys(r["threads"] for r in found):
        mine = [r for r in found if r["threads"] == threads]
        ours = next((r["s"] for r in mine if r["peer"] == "cdl"), None)
        kind = "1 thread, CPU" if threads == 1 else f"{threads} threads, wall clock"
        text.append(f"### {kind} seconds of two epochs, the first call of `fit`\n")
        rows = [
            (r["peer"], f"{r['s']:.2f}", records.ratio(ours and r["s"] / ours), f"{r['auc']:.3f}")
            for r in mine
        ]
        text += [records.table(["peer", "seconds", "of cdl's", "AUC held out"], rows), ""]
    return "\n".join(text)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workflow", description=__doc__)
    command.add_options(parser, rounds=1)
    parser.add_argument("--rows", type=int, default=ROWS, help="default: %(default)s")
    parser.add_argument("--peers", nargs="+", metavar="PEER", help=f"of {', '.join(NAMES)}")
    options = parser.parse_args(arguments)
    chosen, left_out = peers.choose(options.peers, list(NAMES))
    command.run("workflow", lambda: measure(chosen, options), tables, options, left_out)


if __name__ == "__main__":
    main()
