"""What `python -m cdl bench` does: how fast a few nets train and predict here."""

from collections.abc import Sequence

from cdl._cli import info
from cdl._cli import peers as other_libraries
from cdl._cli.peers import NETS, data_of, least
from cdl.layers import Dense, Input
from cdl.models import Sequential


def build(widths: tuple[int, ...]) -> Sequential:
    """A compiled classifier."""
    model = Sequential([Input((widths[0],))])
    for width in widths[1:-1]:
        model.add(Dense(width, activation="relu"))
    model.add(Dense(widths[-1], activation="softmax"))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def measure(widths: tuple[int, ...], batch: int, rows: int, seconds: float) -> list[float]:
    """Microseconds a step, rows a second in training; microseconds a row, rows a second after."""
    x, y = data_of(widths, rows)
    model = build(widths)
    model.fit(x[:batch], y[:batch], batch_size=batch, verbose=0)
    epoch = least(lambda: model.fit(x, y, batch_size=batch, verbose=0), seconds)
    one = least(lambda: model.predict(x[:1], verbose=0), seconds / 4)
    every = least(lambda: model.predict(x, verbose=0), seconds / 4)
    return [1e6 * epoch * batch / rows, rows / epoch, 1e6 * one, rows / every]


def run(seconds: float = 1.0, beside: Sequence[str] | None = None) -> int:
    """Print a line a net, what it was measured on, and how long others take.

    Args:
        seconds: to measure each net.
        beside: other libraries; None takes all that are installed.
    """
    print(info.report())
    print("\nAdam, float32, with accuracy; the least of many runs")
    head = ("net", "batch", "us/step", "rows/s trained", "us to predict 1", "rows/s predicted")
    print(f"{head[0]:<26}{head[1]:>6}{head[2]:>10}{head[3]:>16}{head[4]:>17}{head[5]:>18}")
    own = []
    for name, widths, batch, rows in NETS:
        step, trained, one, predicted = measure(widths, batch, rows, seconds)
        own.append(step)
        print(
            f"{_label(name, widths):<26}{batch:>6}{step:>10,.2f}{trained:>16,.0f}{one:>17.2f}"
            f"{predicted:>18,.0f}"
        )
    peers = other_libraries.installed() if beside is None else list(beside)
    if peers:
        print("\nus/step beside what is installed, and how many times as long it takes", flush=True)
        columns = {peer: other_libraries.steps(peer, seconds) for peer in peers}
        print(f"{'net':<26}{'cdl':>10}" + "".join(f"{peer:>20}" for peer in columns))
        for k, (name, widths, _, _) in enumerate(NETS):
            cells = [
                "failed" if found is None else f"{found[k]:,.1f} ({found[k] / own[k]:.1f}x)"
                for found in columns.values()
            ]
            print(
                f"{_label(name, widths):<26}{own[k]:>10,.2f}" + "".join(f"{c:>20}" for c in cells)
            )
    return 0


def _label(name: str, widths: tuple[int, ...]) -> str:
    return f"{name} {'-'.join(map(str, widths))}"
