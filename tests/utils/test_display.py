"""Text of progress, and the streams that it is drawn on."""

import io
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from cdl import Input, Model, layers
from cdl.callbacks import ProgbarLogger
from cdl.utils import Progbar, display

pytestmark = pytest.mark.usefixtures("clock")  # no time passes but where a test says so


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5000"), (-2.0, "-2.0000"), (0.001, "1.0000e-03"), (0.0, "0.0000e+00"), ("a", "a")],
)
def test_values_read_as_in_keras(value, text):
    assert display.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.2, "2s/step"), (0.0071, "7ms/step"), (0.000413, "413us/step"), (0, "0us/step")],
)
def test_time_for_a_step(seconds, text):
    assert display.per_step(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(5.9, "5s"), (65, "1:05"), (3723, "1:02:03")])
def test_clock(seconds, text):
    assert display.clock(seconds) == text


def text_of(pieces):
    return "".join(text for text, _ in pieces)


def test_line_has_a_bar_of_20_and_the_values(clock):
    start = clock.seconds - 0.021
    line = text_of(display.line(3, 3, start, {"accuracy": 0.26, "loss": 1.47}, bar=True))
    assert line == "3/3 " + "━" * 20 + " 0s 7ms/step - accuracy: 0.2600 - loss: 1.4700"


def test_line_of_unfinished_work_shows_the_time_that_is_left(clock):
    pieces = display.line(1, 11, clock.seconds - 7.05, {}, bar=True)
    assert text_of(pieces).startswith(" 1/11 ")
    assert (" 1:10 ", "bold") in pieces


def test_line_without_a_known_end(clock):
    line = text_of(display.line(3, None, clock.seconds - 2, {}, bar=True))
    assert line.startswith("3/Unknown ")


def epoch_of(logger, epochs=2, verbose=1):
    logger.set_params({"verbose": verbose, "epochs": epochs, "steps": 4})
    logger.on_train_begin()
    logger.on_epoch_begin(0)
    logger.on_progress(4, lambda: {"loss": 0.5})
    logger.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.25})
    logger.on_train_end()


def test_file_gets_one_line_an_epoch(capsys):
    epoch_of(ProgbarLogger())
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Epoch 1/2 - 4/4 - 0s - ")
    assert line.endswith("/step - loss: 0.5000 - val_loss: 0.2500")


def test_single_epoch_is_not_numbered(capsys):
    epoch_of(ProgbarLogger(), epochs=1)
    assert capsys.readouterr().out.startswith("4/4 - 0s - ")


def test_verbose_2_is_a_line_an_epoch(capsys):
    epoch_of(ProgbarLogger(), verbose=2)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Epoch 1/2 - 4/4 - 0s - ")


def test_terminal_gets_a_bar_that_is_drawn_while_it_runs(monkeypatch, clock):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    logger = ProgbarLogger()
    logger.set_params({"verbose": "auto", "epochs": 2, "steps": 4})
    logger.on_train_begin()
    logger.on_epoch_begin(0)
    clock.seconds += 1
    logger.on_progress(1, lambda: {"loss": 0.75})
    drawn = sys.stdout.getvalue()
    logger.on_progress(4, dict)
    logger.on_epoch_end(0, {"loss": 0.5})
    logger.on_train_end()
    assert "Epoch 1/2" in drawn
    assert "loss: 0.7500" in drawn
    assert "━" * 20 in sys.stdout.getvalue().removeprefix(drawn)
    assert "loss: 0.5000" in sys.stdout.getvalue().removeprefix(drawn)


def test_bar_asks_for_values_only_when_it_draws(monkeypatch, clock):
    monkeypatch.setattr(sys, "stdout", Terminal())
    asked = []
    logger = ProgbarLogger()
    logger.set_params({"verbose": 1, "epochs": 1, "steps": 4})
    logger.on_train_begin()
    logger.on_epoch_begin(0)
    for done, passed in enumerate([0.0, 0.04, 0.02, 0.04]):
        clock.seconds += passed
        logger.on_progress(done, lambda done=done: asked.append(done) or {})
    logger.close()
    assert asked == [2]  # after 60 ms; the next drawing is not due 40 ms later


def test_rich_is_loaded_only_for_a_bar(run_python):
    run_python(
        """if True:
        import sys
        from cdl.callbacks import ProgbarLogger
        logger = ProgbarLogger()
        logger.set_params({"verbose": 1, "epochs": 2, "steps": 4})
        logger.on_train_begin(); logger.on_epoch_begin(0); logger.on_epoch_end(0, {})
        assert "rich" not in sys.modules
        """
    )


class Notebook:
    """IPython in a kernel: keeps what each of its outputs showed, one after the other."""

    def __init__(self):
        self.outputs = []

    def get_ipython(self):
        return type("ZMQInteractiveShell", (), {})()

    def show(self, data, raw, display_id):
        shown = [data]
        self.outputs.append(shown)
        return SimpleNamespace(update=lambda data, raw: shown.append(data))


@pytest.fixture
def notebook(monkeypatch):
    made = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", made)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=made.show))
    return made


def test_notebook_has_one_output_that_is_replaced(notebook, capsys, clock):
    logger = ProgbarLogger()
    logger.set_params({"verbose": 1, "epochs": 2, "steps": 2})
    logger.on_train_begin()
    for epoch in range(2):
        logger.on_epoch_begin(epoch)
        clock.seconds += 1
        logger.on_progress(1, lambda: {"loss": 0.25, "<b>": 1.0})
        logger.on_progress(2, dict)
        logger.on_epoch_end(epoch, {"loss": 0.5})
    logger.on_train_end()
    (shown,) = notebook.outputs
    assert any("&lt;b&gt;: 1.0000" in each["text/html"] for each in shown)
    lines = shown[-1]["text/plain"].splitlines()
    assert [line[:9] for line in lines] == ["Epoch 1/2", "2/2 ━━━━━", "Epoch 2/2", "2/2 ━━━━━"]
    assert all("loss: 0.5000" in line for line in lines[1::2])
    assert '<span style="color:green">' in shown[-1]["text/html"]
    assert capsys.readouterr().out == ""


def test_notebook_is_sent_no_page_of_a_thousand_lines_while_epochs_pass(notebook, clock):
    logger = ProgbarLogger()
    logger.set_params({"verbose": 1, "epochs": 500, "steps": 2})
    logger.on_train_begin()
    for epoch in range(500):
        logger.on_epoch_begin(epoch)
        clock.seconds += 0.01
        logger.on_epoch_end(epoch, {"loss": 0.5})
    logger.on_train_end()
    ((*early, last),) = notebook.outputs
    assert len(early) <= 101
    assert max(each["text/plain"].count("\n") for each in early) < 20
    assert last["text/plain"].count("\n") == 999


def test_bar_of_the_users_own_loop_is_such_an_output_too(notebook, clock):
    bar = Progbar(3)
    for done in range(1, 4):
        clock.seconds += 1
        bar.update(done, [("loss", 0.5)])
    (shown,) = notebook.outputs
    assert [each["text/plain"][:3] for each in shown[:3]] == ["1/3", "2/3", "3/3"]


def test_a_stream_that_is_none_of_these_is_written_over(capsys, clock):
    bar = Progbar(2)
    for done in (1, 2):
        clock.seconds += 1
        bar.update(done)
    first, second = capsys.readouterr().out.split("\r")[1:]
    assert first.startswith("1/2 ")
    assert second.startswith("2/2 ")
    assert second.endswith("\n")
    assert "\x1b" not in first + second


METRICS = {f"a_long_name_{i}": 0.5 for i in range(6)} | {"accuracy": 0.5, "loss": 0.25}


def terminal_of_80(monkeypatch, columns=80):
    """A terminal of 80 columns as stdout, or of another width."""
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    return sys.stdout


def lines_of(text):
    """The lines on a screen, without escape codes of cursor and colours."""
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text).replace("\r", "\n").splitlines()


def test_a_running_bar_shows_the_loss_first_and_whole_values_only(monkeypatch, clock):
    terminal = terminal_of_80(monkeypatch)
    logger = ProgbarLogger()
    logger.set_params({"verbose": 1, "epochs": 1, "steps": 4})
    logger.on_train_begin()
    logger.on_epoch_begin(0)
    clock.seconds += 1
    logger.on_progress(1, lambda: METRICS)
    drawn = max(lines_of(terminal.getvalue()), key=len)
    logger.close()
    assert drawn == "1/4 " + "━" * 20 + " 3s 1s/step - loss: 0.2500 - a_long_name_0: 0.5000 …"


def test_a_finished_bar_is_wrapped_between_its_values(monkeypatch):
    terminal = terminal_of_80(monkeypatch)
    logger = ProgbarLogger()
    logger.set_params({"verbose": 1, "epochs": 1, "steps": 4})
    logger.on_train_begin()
    logger.on_epoch_begin(0)
    logger.on_epoch_end(0, METRICS)
    logger.on_train_end()
    lines = [line for line in lines_of(terminal.getvalue()) if line]
    assert len(lines) > 1 and max(map(len, lines)) <= 80
    assert " - loss: 0.2500" in lines[0]
    assert all(re.fullmatch(r"( - \w+: \d\.\d{4})+", line) for line in lines[1:])
    assert "".join(lines).count(": 0.") == len(METRICS)


def test_a_line_of_a_log_keeps_the_order_of_keras(capsys):
    logger = ProgbarLogger()
    logger.set_params({"verbose": 2, "epochs": 1, "steps": 4})
    logger.on_train_begin()
    logger.on_epoch_begin(0)
    logger.on_epoch_end(0, {"accuracy": 0.5, "loss": 0.25})
    assert capsys.readouterr().out.endswith("- accuracy: 0.5000 - loss: 0.2500\n")


def test_what_runs_within_a_run_is_printed_above_its_bar(monkeypatch, clock):
    terminal = terminal_of_80(monkeypatch)
    outer, inner = ProgbarLogger(), ProgbarLogger()
    for logger in (outer, inner):
        logger.set_params({"verbose": 1, "epochs": 1, "steps": 4})
    outer.on_train_begin()
    outer.on_epoch_begin(0)
    clock.seconds += 1
    outer.on_progress(1, lambda: {"loss": 0.25})
    inner.on_predict_begin()
    inner.on_progress(4, dict)
    inner.on_predict_end()
    outer.on_epoch_end(0, {"loss": 0.5})
    outer.on_train_end()
    lines = [line for line in lines_of(terminal.getvalue()) if line]
    assert "4/4 " + "━" * 20 + " 0s 0us/step" in lines
    assert "loss: 0.5000" in lines[-1]


@pytest.mark.parametrize("columns", [80, 60])
def test_fit_and_summary_fit_the_terminal(monkeypatch, columns):
    terminal = terminal_of_80(monkeypatch, columns)
    a, b = Input((4,), name="an_input_with_quite_a_long_name"), Input((3,))
    joined = layers.Concatenate(name="both_inputs_one_behind_the_other_" * 3)([a, b])
    heads = [layers.Dense(1, name=f"output_number_{i}_of_the_model")(joined) for i in range(3)]
    model = Model([a, b], heads)
    model.compile("adam", "mse", metrics=[["mae", "mse"]] * 3)
    model.summary()
    model.summary(show_trainable=True, expand_nested=True)
    data = np.ones((64, 4), np.float32), np.ones((64, 3), np.float32)
    model.fit(data, [data[0][:, :1]] * 3, validation_split=0.5, epochs=2, verbose=1)
    model.evaluate(data, [data[0][:, :1]] * 3, verbose=1)
    lines = lines_of(terminal.getvalue())
    assert any(line.startswith(" - val_output_number_2") for line in lines)
    assert max(map(len, lines)) <= columns
