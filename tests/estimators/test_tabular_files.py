"""Files of estimators of tables: ONNX, C and .keras with the encoding of columns within."""

import ctypes
import pickle
import shutil
import subprocess

import numpy as np
import pytest

pytest.importorskip("sklearn")
pandas = pytest.importorskip("pandas")

from cdl.saving import load_model
from cdl.sklearn import TabularClassifier, TabularRegressor

STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O1", "-shared", "-fPIC"]
N = 120
RNG = np.random.default_rng(0)
SHOPS = [f"shop {i}" for i in range(12)]
NUMBERS = {
    "carat": RNG.lognormal(0, 1, N).astype(np.float32),
    "gaps": np.where(RNG.random(N) > 0.8, np.nan, 1000 + RNG.normal(size=N)).astype(np.float32),
    "v1/v2": RNG.integers(0, 4, N).astype(np.float32),
    "same": np.ones(N, np.float32),
}
DAYS = RNG.integers(17000, 19000, N)
TEXTS = {
    "cut": RNG.choice(["fair", 'ü"?/*\\', ""], N).astype(object),
    "shop": RNG.choice(SHOPS, N).astype(object),
}
FRAME = pandas.DataFrame(
    {**NUMBERS, "day": DAYS.astype("datetime64[D]").astype("datetime64[s]"), **TEXTS}
).assign(nothing=np.nan)
LABELS = np.where(NUMBERS["carat"] * (TEXTS["cut"] == "fair") > 0.5, "dear", "cheap")


def inputs():
    """Inputs of files for the rows of FRAME: numbers and texts, by name."""
    dates = DAYS.astype("datetime64[D]")
    parts = (DAYS, dates.astype("datetime64[M]").astype(int) % 12, (DAYS + 3) % 7, 0 * DAYS)
    days = dict(zip(("days", "month", "weekday", "hour"), parts, strict=True))
    numbers = NUMBERS | {f"day ({name})": each.astype(np.float32) for name, each in days.items()}
    return ({name: each[:, None] for name, each in part.items()} for part in (numbers, TEXTS))


def by_c(path, rows, outputs):
    """Outputs of a C file, whose function tells the codes of categories."""
    numbers, texts = rows
    library = path.with_suffix(".so")
    subprocess.run(["gcc", *STRICT, str(path), "-o", str(library), "-lm"], check=True)
    functions = ctypes.CDLL(str(library))
    functions.m_code.restype = ctypes.c_float
    columns = [*numbers.values()]
    for i, each in enumerate(texts.values(), len(columns)):
        codes = [functions.m_code(ctypes.c_size_t(i), str(v).encode()) for v in each[:, 0]]
        columns.append(np.array(codes, np.float32)[:, None])
    x = np.ascontiguousarray(np.concatenate(columns, 1))
    found = np.full((N, outputs), np.nan, np.float32)
    functions.m_predict(
        ctypes.c_size_t(N), *(a.ctypes.data_as(ctypes.c_void_p) for a in (x, found))
    )
    return found


def by_onnx(path, rows):
    """Outputs of a file in onnxruntime."""
    runtime = pytest.importorskip("onnxruntime")
    return runtime.InferenceSession(str(path)).run(None, rows[0] | rows[1])[0]


def small(kind, recipe, **options):
    members = {"n_members": 3} if recipe == "tabm" else {}
    sizes = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
    return kind(recipe, **sizes, **members, **options)


@pytest.mark.parametrize(
    ("recipe", "task"),
    [
        ("realmlp", "calibrated"),
        ("realmlp", "bags"),
        ("realmlp", "numbers"),
        ("mlp", "bags"),
        ("mlp", "quantiles"),
        ("tabm", "numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*missing values only")
def test_files_take_columns_and_predict_the_same(recipe, task, tmp_path):
    if task in ("calibrated", "bags"):
        options = {"calibrate": True} if task == "calibrated" else {"n_bags": 2}
        model = small(TabularClassifier, recipe, **options).fit(FRAME, LABELS)
        expected = model.predict_proba(FRAME)
    else:
        quantiles = (0.1, 0.5, 0.9) if task == "quantiles" else None
        model = small(TabularRegressor, recipe, quantiles=quantiles)
        model.fit(FRAME, 3 * NUMBERS["carat"])
        expected = model.predict_quantiles(FRAME) if quantiles else model.predict(FRAME)[:, None]
    rows = tuple(inputs())
    close = {"rtol": 1e-5, "atol": 1e-5}
    model.export(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    named = {name.replace("/", "_"): each for name, each in (rows[0] | rows[1]).items()}
    np.testing.assert_allclose(loaded.predict(named, verbose=0), expected, **close)
    if shutil.which("gcc"):
        model.export(tmp_path / "m.c")
        np.testing.assert_allclose(
            by_c(tmp_path / "m.c", rows, expected.shape[1]), expected, **close
        )
    if recipe == "realmlp" or task == "bags":
        pytest.importorskip("onnx")
        model.export(tmp_path / "m.onnx")
        np.testing.assert_allclose(by_onnx(tmp_path / "m.onnx", rows), expected, **close)


@pytest.mark.parametrize("recipe", ["mlp", "realmlp"])
def test_files_predict_the_same_for_numbers_that_float32_rounds(recipe, tmp_path):
    columns = {"tied": RNG.integers(0, 9, N) / 10, "warm": np.round(290 + RNG.normal(size=N), 1)}
    x = pandas.DataFrame(columns)
    model = small(TabularRegressor, recipe).fit(x, x["tied"] + x["warm"] % 1)
    model.export(tmp_path / "m.keras")
    rows = {name: x[[name]].to_numpy() for name in columns}
    found = load_model(tmp_path / "m.keras").predict(rows, verbose=0)
    np.testing.assert_allclose(found[:, 0], model.predict(x), rtol=1e-5, atol=1e-5)
    one_by_one = [*(model.predict(x[i : i + 1])[0] for i in range(9))]
    np.testing.assert_array_equal(one_by_one, model.predict(x)[:9])


@pytest.mark.parametrize("recipe", ["mlp", "realmlp"])
@pytest.mark.parametrize("low", [0, 1])
def test_numbers_of_a_small_range_stay_apart(recipe, low):
    x = low + (np.arange(N) % 2 * 1e-12)[:, None]
    model = small(TabularClassifier, recipe).fit(x, np.arange(N) % 2)
    a, b = model.predict_proba(x[:2])[:, 0]
    assert abs(a - b) > 1e-3


def test_an_export_leaves_the_estimator_as_it_was(tmp_path):
    x = FRAME[["carat", "shop"]]
    model = small(TabularClassifier, "realmlp", n_bags=2).fit(x, LABELS)
    before = model.predict_proba(x)
    for _ in range(2):
        model.export(tmp_path / "m.keras")
    np.testing.assert_array_equal(model.predict_proba(x), before)
    again = pickle.loads(pickle.dumps(model))
    again.export(tmp_path / "m.c")
    np.testing.assert_array_equal(again.predict_proba(x), before)


def test_categories_may_be_called_as_unknown_ones(tmp_path):
    x = pandas.DataFrame({"cut": np.where(LABELS == "dear", "[UNK]", "fair").astype(object)})
    model = small(TabularClassifier, "mlp").fit(x, LABELS)
    model.export(tmp_path / "m.keras")
    found = load_model(tmp_path / "m.keras").predict({"cut": x.to_numpy()}, verbose=0)
    np.testing.assert_allclose(found, model.predict_proba(x), atol=1e-6)


def test_columns_may_be_named_as_parts_of_onnx(tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    names = {"carat": "cdl/columns", "cut": "cdl/code0", "v1/v2": "predictions"}
    x = FRAME[[*names]].rename(columns=names)
    model = small(TabularClassifier, "realmlp").fit(x, LABELS)
    model.export(tmp_path / "m.onnx")
    rows = {new: (NUMBERS | TEXTS)[old][:, None] for old, new in names.items()}
    found = runtime.InferenceSession(str(tmp_path / "m.onnx")).run(None, rows)[0]
    np.testing.assert_allclose(found, model.predict_proba(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("columns", [["shop"], ["same"], ["same", "cut"]])
def test_files_of_tables_with_few_kinds_of_columns(columns, tmp_path):
    model = small(TabularClassifier, "realmlp").fit(FRAME[columns], LABELS)
    model.export(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    numbers, texts = inputs()
    rows = {name: (numbers | texts)[name] for name in columns}
    found = loaded.predict(rows, verbose=0)
    np.testing.assert_allclose(found, model.predict_proba(FRAME[columns]), atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*missing values only")
def test_what_no_file_can_have_is_refused(tmp_path):
    x = FRAME[["carat", "day"]]
    model = small(TabularClassifier, "mlp").fit(x, LABELS)
    with pytest.raises(ValueError, match=r"export: filepath must end in \.keras, \.c or \.onnx"):
        model.export(tmp_path / "m.pb")
    texts = x.assign(name=[f"name {i}" for i in range(N)])
    with pytest.raises(ValueError, match="got text that is hashed in name"):
        small(TabularClassifier, "mlp", text="hash").fit(texts, LABELS).export(tmp_path / "m.c")
    with pytest.raises(ValueError, match=r"names of their own, got 'day \(days\)' twice"):
        small(TabularClassifier, "mlp").fit(
            x.rename(columns={"carat": "day (days)"}), LABELS
        ).export(tmp_path / "m.c")
    with pytest.raises(ValueError, match="X must have had a column with a value"):
        small(TabularClassifier, "mlp").fit(FRAME[["nothing"]], LABELS).export(tmp_path / "m.c")
    with pytest.raises(ValueError, match="y must have values and ranges that float32 has"):
        small(TabularRegressor, "mlp").fit(x, 1e300 * DAYS).export(tmp_path / "m.c")
    for recipe in ("mlp", "realmlp"):
        huge = small(TabularClassifier, recipe).fit(1e300 * x[["carat"]].astype(float), LABELS)
        with pytest.raises(ValueError, match="X must have values and ranges that float32 has"):
            huge.export(tmp_path / "m.c")
    assert not list(tmp_path.iterdir())
