"""The benchmarks still start, and what they compare does the same work."""

import re
import shutil
import subprocess
import sys

import pytest

NAMES = (
    *("training", "inference", "images", "sequences", "matmul", "kernels", "startup"),
    *(
        "memory",
        "concurrency",
        "many",
        "distribution",
        "one_model",
        "estimators",
        "tables",
        "growth",
        "builds",
        "quick",
        "phases",
        "custom_loss",
        "precision",
        "workflow",
    ),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_tells_its_options(name, run_python, root):
    done = run_python("-m", f"benchmarks.{name}", "--help", cwd=root)
    assert f"python -m benchmarks.{name}" in done.stdout


@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on PATH")
def test_the_harness_around_the_core_fits_its_headers(root):
    command = ["cc", "-std=c11", "-fsyntax-only", "-w", f"-I{root}/csrc"]
    command.append(str(root / "benchmarks/native/core.c"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.measures
@pytest.mark.skipif(sys.platform != "linux", reason="its timer is Linux's")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on PATH")
def test_phases_find_products_loss_and_update(run_python, root):
    done = run_python("-m", "benchmarks.phases", "--cases", "seed", "--seconds", "0.3", cwd=root)
    shares = dict(re.findall(r"^\| ([\w ,]+?) +\| +([\d.]+)%? \|$", done.stdout, re.MULTILINE))
    for phase in ("forward products", "weight gradients", "optimizer", "loss"):
        assert int(shares[phase]) > 0, done.stdout


@pytest.mark.measures
@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on PATH")
def test_cdl_and_numpy_reach_the_same_loss(run_python, root):
    peers = ["cdl", "cdl core", "numpy"]
    words = ["--cases", "tiny", "100-64-10/32/tanh/mse/sgd", "--threads", "1", "--rounds", "1"]
    words += ["--seconds", "0.001", "--peers", *peers]
    done = run_python("-m", "benchmarks.training", *words, cwd=root)
    assert "left out" not in done.stdout, done.stdout
    assert ", the others'" not in done.stdout, done.stdout
    assert "of the roofline" in done.stdout


@pytest.mark.measures
@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on PATH")
def test_recurrent_nets_predict_alike_in_cdl_and_onnx_runtime(run_python, root):
    words = ["--nets", "gru", "transformer", "--threads", "1", "--rounds", "1"]
    words += ["--seconds", "0.001"]
    words += ["--peers", "cdl", "onnxruntime"]
    done = run_python("-m", "benchmarks.sequences", *words, cwd=root)
    assert "differ" not in done.stdout, done.stdout
    assert "cdl / best peer" in done.stdout, done.stdout


@pytest.mark.measures
@pytest.mark.skipif(shutil.which("cc") is None, reason="no cc on PATH")
def test_nets_of_convolutions_predict_alike_in_cdl_and_onnx_runtime(run_python, root):
    words = ["--nets", "small_cnn", "--threads", "1", "--rounds", "1", "--seconds", "0.001"]
    done = run_python("-m", "benchmarks.images", *words, "--peers", "cdl", "onnxruntime", cwd=root)
    assert "differ" not in done.stdout, done.stdout
    assert "cdl / best peer" in done.stdout, done.stdout
