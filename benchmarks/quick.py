"""Instructions of a fixed set of calls, against those that are committed.

    python -m benchmarks.quick [--update] [--tolerance 3]

Time is noise on a busy machine; a count of instructions is not. A process under valgrind's
callgrind makes each call some times, on the AVX2 kernels and on one thread, and the counts are
compared with instructions.json. Another Python, NumPy or compiler counts differently: what the
committed counts were made with stands in the file.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import machine, native, records

COMMITTED = machine.ROOT / "benchmarks" / "instructions.json"


def calls() -> dict[str, tuple[int, Callable[[], object]]]:
    """The calls by name, and how often each is made."""
    import numpy as np

    from benchmarks.harness import cases

    made = {}
    for name, rows, n in (("tiny", 512, 2), ("seed", 512, 2), ("tabular", 512, 1)):
        model, x, y = prepared(*cases.find([name]), rows)
        made[f"{name}: fit, an epoch of {rows} rows"] = n, fit(model, x, y)
    model, x, y = prepared(*cases.find(["seed"]), 512)
    wide = x.astype(np.float64)
    made |= {
        "seed: fit, float64, 512 rows": (2, fit(model, wide, y)),
        "seed: evaluate 512 rows": (2, lambda: model.evaluate(x, y, verbose=0)),
        "seed: train_on_batch": (20, lambda: model.train_on_batch(x[:32], y[:32])),
        "seed: test_on_batch": (20, lambda: model.test_on_batch(x[:32], y[:32])),
        "seed: predict 1 row": (50, lambda: model.predict(x[:1], verbose=0)),
        "seed: predict_on_batch 1 row": (50, lambda: model.predict_on_batch(x[:1])),
        "seed: model(x) 1 row": (50, lambda: model(x[:1])),
        "seed: predict 32 rows": (20, lambda: model.predict(x[:32], verbose=0)),
        "seed: predict 512 rows": (5, lambda: model.predict(x, verbose=0)),
        "seed: build, compile, first step": (1, lambda: prepared(*cases.find(["seed"]), 32)),
    }
    return made | single_steps() | beside_nodes()


def single_steps() -> dict[str, tuple[int, Callable[[], object]]]:
    """Calls of one step of a net of control, in each way in."""
    import numpy as np

    import cdl
    from benchmarks.harness import cases

    model, x, y = prepared(*cases.find(["17-64-64-1/64/relu/mse/adam"]), 64)
    weights, optimizer = model.trainable_variables, cdl.optimizers.Adam()
    pair = cdl.value_and_grad(
        lambda x, y: cdl.ops.mean(cdl.ops.square(model(x) - y)), variables=weights
    )
    gradients = pair(x, y)[1]

    class Own(cdl.Model):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def call(self, x):
            return self.net(x)

    own, row = Own(), np.array(x[:1])
    return {
        "control: train_on_batch": (20, lambda: model.train_on_batch(x, y)),
        "control: fit, one batch": (
            10,
            lambda: model.fit(x, y, batch_size=64, verbose=0),
        ),
        "control: value_and_grad": (20, lambda: pair(x, y)),
        "control: optimizer.apply": (20, lambda: optimizer.apply(gradients, weights)),
        "control: own(x) 1 row": (50, lambda: own(row)),
    }


def beside_nodes() -> dict[str, tuple[int, Callable[[], object]]]:
    """Calls of a net beside 1,000 small nodes without samples, which cost the same for any rows."""
    import numpy as np

    import cdl
    from cdl import ops

    class Chain(cdl.Model):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.w = cdl.layers.Dense(4), self.add_weight(shape=(3, 3), name="w")

        def call(self, x):
            h = self.w
            for _ in range(250):
                h = ops.matmul(ops.tanh(h + 0.001), self.w) * 0.5
            return self.net(x) + ops.sum(h)

    model, x = Chain(), np.zeros((1000, 4), np.float32)
    model.compile("sgd", "mse")
    model.train_on_batch(x, x)
    return {
        "nodes: predict_on_batch 1 row": (2, lambda: model.predict_on_batch(x[:1])),
        "nodes: predict_on_batch 1,000 rows": (2, lambda: model.predict_on_batch(x)),
        "nodes: train_on_batch 1 row": (2, lambda: model.train_on_batch(x[:1], x[:1])),
        "nodes: train_on_batch 1,000 rows": (2, lambda: model.train_on_batch(x, x)),
    }


def fit(model, x, y) -> Callable[[], object]:
    return lambda: model.fit(x, y, batch_size=32, shuffle=False, verbose=0)


def prepared(case, rows: int):
    """A model that has made its first step, and data."""
    import numpy as np

    import cdl
    from benchmarks.harness import cases
    from benchmarks.peers import keras

    rng = np.random.default_rng(0)
    model = keras.build(cdl, case, cases.weights(case, rng))
    softmax = case.loss == "softmax"
    loss = "categorical_crossentropy" if softmax else "mean_squared_error"
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"] if softmax else None)
    x = rng.standard_normal((rows, case.sizes[0]), np.float32)
    y = np.eye(case.sizes[-1], dtype=np.float32)[rng.integers(0, case.sizes[-1], rows)]
    model.train_on_batch(x[:32], y[:32])
    return model, x, y


def inside() -> None:
    """Count each call under callgrind three times, without the garbage collector.

    The clock, which goes fifty times too fast here, neither cuts an epoch nor asks for signals.
    """
    from cdl import _core
    from cdl.trainers import epoch_iterator

    epoch_iterator.SLICE = 1e9
    _core.answer_signals(every=1e9)
    marks = native.callgrind_marks()
    for name, (times, call) in calls().items():
        call()
        gc.collect()
        gc.disable()
        for _ in range(3):
            marks.mark_start()
            for _ in range(times):
                call()
            marks.mark_end(f"{times} {name}".encode())
        gc.enable()


def count() -> dict[str, int]:
    """Instructions a call, by name: the least of three, since Python adapts code as it runs."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**machine.environment(1), "CDL_ISA": "avx2"}
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "-q"]
        command += [f"--callgrind-out-file={folder}/out"]
        command += [sys.executable, "-m", "benchmarks.quick", "--inside"]
        done = subprocess.run(
            command, env=env, cwd=machine.ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"the calls failed under valgrind:\n{done.stderr}")
        found: dict[str, int] = {}
        for path in sorted(Path(folder).glob("out.*"), key=lambda p: int(p.suffix[1:])):
            text = path.read_text()
            mark = re.search(r"^desc: Trigger: Client Request: (\d+) (.*)$", text, re.MULTILINE)
            total = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
            if mark and total:
                each = round(int(total[1]) / int(mark[1]))
                found[mark[2]] = min(each, found.get(mark[2], each))
    return found


def made_with() -> dict[str, object]:
    facts = machine.facts()
    names = ("python", "compiler", "commit", "date")
    return {**{name: facts[name] for name in names}, "numpy": facts["versions"]["numpy"]}


def compare(found: dict[str, int], tolerance: float) -> int:
    """Prints a line a call; how many became slower by more than the tolerance."""
    kept = json.loads(COMMITTED.read_text()) if COMMITTED.exists() else {"calls": {}}
    rows, slower = [], 0
    for name, now in found.items():
        before = kept["calls"].get(name)
        change = now / before - 1 if before else 0.0
        slower += change > tolerance
        word = "new" if before is None else "slower" if change > tolerance else ""
        word = word or ("faster" if change < -tolerance else "same")
        rows.append([name, f"{before:,}" if before else "-", f"{now:,}", f"{change:+.1%}", word])
    print(records.table(["instructions of a call", "committed", "now", "change", ""], rows))
    for gone in kept["calls"].keys() - found.keys():
        print(f"- {gone}: committed, but not called any more")
    now, then = made_with(), kept.get("made_with", {})
    for name in ("python", "numpy", "compiler"):
        if name in then and then[name] != now[name]:
            print(f"- committed with {name} {then[name]}, now {now[name]}: counts may differ")
    return slower


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quick",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--update", action="store_true", help="write instructions.json")
    parser.add_argument("--tolerance", type=float, default=3, help="percent; default: %(default)s")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        inside()
        return 0
    if not shutil.which("valgrind") or native.callgrind_marks() is None:
        print("bench-quick needs valgrind and its headers (Debian, Ubuntu: apt install valgrind)")
        return 0 if os.environ.get("CI") else 1
    found = count()
    slower = compare(found, options.tolerance / 100)
    if options.update:
        text = json.dumps({"made_with": made_with(), "calls": found}, indent=2)
        COMMITTED.write_text(text + "\n")
        return 0
    if slower:
        print(
            f"{slower} calls became slower; if that is right: python -m benchmarks.quick --update"
        )
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
