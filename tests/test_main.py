"""Commands of `python -m cdl`, as typed into a shell."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from html_page import Page

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")


def test_info_names_what_a_bug_report_needs(run_python):
    lines = run_python("-m", "cdl", "info").stdout.splitlines()
    names = [line.split(":")[0] for line in lines]
    assert " ".join(names) == "version python machine isa threads openmp compiler caches"
    assert re.search(r"\d+\.\d+\.\d+", lines[0])
    assert re.search(r"threads:\s+\d+ \(.+\)", lines[4])


def test_a_command_ends_quietly_where_nobody_reads_on():
    read, write = os.pipe()
    os.close(read)  # as `python -m cdl info | head -1` does, sooner or later
    call = [sys.executable, "-m", "cdl", "info"]
    done = subprocess.run(call, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 1


def test_info_shows_the_caches_that_were_given_or_found(run_python, monkeypatch):
    found = run_python("-m", "cdl", "info").stdout.splitlines()[-1]
    assert re.match(r"caches: +L1 [\d.]+ KB, L2 [\d.]+ [KM]B, L3 [\d.]+ [KM]B \(.+\)$", found)
    monkeypatch.setenv("CDL_CACHE", "32k, 1M,1536K")
    given = run_python("-m", "cdl", "info").stdout.splitlines()[-1]
    assert given == "caches:   L1 32 KB, L2 1 MB, L3 1536 KB (CDL_CACHE)"


@pytest.mark.parametrize(
    "sizes",
    ["48K", "48K,2M", "48K,2M,30M,1", "48K,2M,x", "48K,-2M,30M", "2M,48K,30M", "1K,2M,3M", ",,"],
)
def test_sizes_of_caches_that_make_no_sense_are_refused(run_python, monkeypatch, sizes):
    monkeypatch.setenv("CDL_CACHE", sizes)
    done = run_python("from cdl import _core", check=False)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("ImportError: CDL_CACHE: expected the sizes of L1, L2 and L3")
    assert said.endswith(f"such as 48K,2M,30M, got {sizes!r}")


def test_info_shows_the_isa_that_was_asked_for(run_python, monkeypatch):
    monkeypatch.setenv("CDL_ISA", "baseline")
    assert re.search(r"isa:\s+baseline \(available: ", run_python("-m", "cdl", "info").stdout)


def test_demo_reads_digits_and_draws_them(run_python, tmp_path):
    text = run_python("-m", "cdl", "demo", "--output", "digits.png").stdout
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", text).group(1))
    assert accuracy >= 97
    assert re.search(r"[\d.]+ ms an epoch", text)
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("missing", ["sklearn", "matplotlib"])
def test_demo_without_its_packages_says_what_to_install(run_python, missing):
    done = run_python(
        f"import sys; sys.modules['{missing}'] = None; from cdl.__main__ import main;"
        "sys.exit(main(['demo']))",
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "pip install 'cdl-nn[demo]'" in done.stderr


def test_demo_draws_any_mixture_of_right_and_wrong(tmp_path):
    from cdl._cli import demo

    history = {key: [0.5, 0.4] for key in ("loss", "val_loss", "accuracy", "val_accuracy")}
    labels = np.arange(30) % 10
    for wrong in (0, 3, 30):
        guesses = np.where(np.arange(30) < wrong, (labels + 1) % 10, labels)
        demo.draw(tmp_path / "digits.png", history, np.zeros((30, 64)), labels, guesses)
        assert (tmp_path / "digits.png").stat().st_size > 10_000


def test_bench_prints_a_table_of_this_machine_and_of_what_is_installed(run_python, monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # threads wait long on a busy machine
        monkeypatch.setenv(name, "1")
    lines = run_python("-m", "cdl", "bench", "--seconds", "0.01", "--beside", "sklearn").stdout
    alone, beside = lines.split("beside what is installed")
    assert re.search(r"small 100-64-10 +32 +[\d.,]+ +10.4 +[\d,]+ +[\d.]+ +[\d,]+\n", alone)
    assert re.search(r"Other processes spoil\nthe figures: the load of .+ was \d+\.\d", alone)
    assert re.search(r"large 784-512-512-10 +[\d.,]+ +[\d.,]+ \([\d.]+x\)", beside)
    assert max(map(len, lines.splitlines())) <= 80
    done = run_python("-m", "cdl", "bench", "--beside", "keros", check=False)
    assert done.returncode == 2
    assert "keras" in done.stderr


def test_bench_writes_a_page_that_needs_nothing_beside_it(tmp_path, monkeypatch):
    from cdl._cli import bench

    monkeypatch.setattr(bench, "NETS", bench.NETS[:2])
    monkeypatch.setattr(bench.other_libraries, "steps", lambda peer, _: [30.0, 60.0])
    monkeypatch.setattr(bench, "measure", lambda *_: [10.0, 1e6, 5.0, 2e6])
    bench.run(0.01, ["sklearn"], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.elements}
    assert not re.search(r"https?:|url\(|@import", text)
    bars = [float(values["width"]) for tag, values in page.elements if tag == "rect"]
    longest = 209.0  # Keras on JAX, tiny
    assert bars[:2] == [round(240 * 10 / longest, 1), round(240 * 30 / longest, 1)]
    assert len(bars) == 2 * 4 and "sklearn, here" in text and "3.0x" in text
    assert "<td>small 100-64-10</td><td>32</td><td>10</td>" in text


def test_without_arguments_it_says_what_it_can_do(run_python):
    assert run_python("-m", "cdl").stdout == run_python("-m", "cdl", "--help").stdout


def test_help_shows_the_commands_and_that_scripts_run(run_python):
    text = run_python("-m", "cdl", "--help").stdout
    assert re.findall(r"^    (\w+)  ", text, re.M) == ["info", "demo", "bench", "table"]
    assert "python -m cdl SCRIPT.py" in text
    assert "import cdl as keras" in text
    done = run_python("-m", "cdl", "benhc", check=False)
    assert done.returncode == 2
    assert "COMMAND: invalid choice: 'benhc'" in done.stderr
