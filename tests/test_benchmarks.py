"""The benchmarks still start, and what they compare does the same work."""

import json
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


def test_a_stopped_run_of_tables_goes_on(run_python, root, tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    told = ["-m", "benchmarks.tables", "--cases", "iris", "--output", str(tmp_path / "r.jsonl")]
    told += ["--methods", "HistGradientBoosting", "sklearn MLP", "--resume", "--splits"]
    run_python(*told, "1", cwd=root)
    first = (tmp_path / "r.jsonl").read_text()
    done = run_python(*told, "2", cwd=root)
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    assert first == "".join(f"{line}\n" for line in lines[:3])
    assert [json.loads(line).get("split") for line in lines] == [None, 0, 0, 1, 1]
    assert re.search(r"^\| iris +\| +112 x 4 \| +2 \| +0\.9\d\d ±", done.stdout, re.MULTILINE)


def test_scores_of_tables_are_normalized_split_by_split():
    pytest.importorskip("scipy")
    from benchmarks.harness import scores

    given = {"a": [0.9, 0.5], "b": [0.8, 0.7], "c": [0.7, 0.5, 0.1]}
    found = [
        {"case": "pima", "method": name, "split": i, "accuracy": value}
        for name, values in given.items()
        for i, value in enumerate(values)
    ]
    each = scores.normalized(found, list(given), scores.score)
    assert each["pima"] == pytest.approx({"a": 0.5, "b": 0.75, "c": 0.0})
    assert scores.half_width([0.0, 1.0]) == pytest.approx(12.7062 * 0.5, rel=1e-4)


def test_names_beside_marks_of_a_chart_do_not_overlap():
    from benchmarks.harness import svg

    given = {name: (0.1 * 1.3**i, 0.5 + 0.01 * i, 0.1) for i, name in enumerate(["a", "b", "cdl"])}
    text = svg.points("title", given)
    places = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*>(a|b|cdl)</text>', text)
    boxes = [(float(x), float(y), 7 * len(name)) for x, y, name in places]
    assert len(boxes) == 3 and text.count("<circle") == 3
    for i, (x, y, width) in enumerate(boxes):
        others = boxes[:i] + boxes[i + 1 :]
        assert all(abs(y - b) >= 12 or x >= a + w or a >= x + width for a, b, w in others)
