"""Progbar shows steps and values, averaged or as they are."""

import contextlib
import io

import numpy as np
import pytest

from cdl.utils import Progbar


def shown(bar, *updates):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        for update in updates:
            bar.update(*update)
    return out.getvalue()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"stateful_metrics": []}, "1.0000"),
        ({"stateful_metrics": ["value"]}, "2.0000"),
        ({"stateless_metrics": []}, "2.0000"),
        ({"stateless_metrics": ["value"]}, "1.0000"),
    ],
)
def test_values_are_averaged_or_as_they_are(options, expected):
    bar = Progbar(3, interval=0.0, **options)
    text = shown(bar, (1, [("value", 0.0)]), (2, [("value", 2.0)]))
    assert f"value: {expected}" in text.split("\r")[-1]


def test_last_update_ends_the_line():
    text = shown(Progbar(3), (1,), (3, [("a", np.array([1.0, 3.0]))]))
    assert text.endswith("a: 2.0000\n")
    assert "3/3 " in text


@pytest.mark.parametrize("verbose", [1, 2])
def test_target_may_be_0_or_unknown(verbose):
    assert shown(Progbar(0, verbose=verbose), (0, None, True)).endswith("\n")
    assert shown(Progbar(None, verbose=verbose), (5, None, True)).endswith("\n")


def test_silence_and_one_line():
    assert shown(Progbar(2, verbose=0), (1,), (2,)) == ""
    assert shown(Progbar(2, verbose=2), (1,), (2,)).count("\n") == 1


def test_unit_width_and_add(clock):
    bar = Progbar(2, width=6, unit_name="file")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        bar.add(1)
        bar.add(1, [("b", 0.00001)])
    assert "━━━━━━ " in out.getvalue()
    assert "0us/file - b: 1.0000e-05" in out.getvalue()


def test_not_more_is_drawn_than_an_eye_sees(clock):
    bar = Progbar(1000)
    assert shown(bar, *[(i,) for i in range(1, 500)]).count("\r") == 1
    clock.seconds += 0.06
    assert shown(bar, *[(i,) for i in range(500, 1000)]).count("\r") == 1


def test_target_must_be_a_count():
    with pytest.raises(ValueError, match="target must be an int >= 0, got 'a'"):
        Progbar("a")


def test_both_sets_of_names_are_refused():
    with pytest.raises(ValueError, match="Only one of"):
        Progbar(1, stateful_metrics=[], stateless_metrics=[])
