"""`python -m cdl table`: CSVs as people write them, targets, reports, and what it refuses."""

import gzip
import pickle
import re
from datetime import date

import numpy as np
import pytest
from html_page import Page

from cdl.__main__ import main
from cdl._cli import table as table_command

pytest.importorskip("sklearn")
pytest.importorskip("pandas")


@pytest.fixture
def some_csv(tmp_path):
    """CSV of 90 rows: numbers, a category, what follows from them, and a target with a gap."""
    random = np.random.default_rng(0)
    size, color = random.normal(size=90), random.choice(["red", "blue"], 90)
    lines = ["size,color,kind,price"]
    for i, (a, b) in enumerate(zip(size.tolist(), color.tolist(), strict=True)):
        kind = "dear" if a + (b == "red") > 0.5 else "cheap"
        lines.append(f"{a},{b},{'' if i == 3 else kind},{100 * a}")
    (tmp_path / "some.csv").write_text("\n".join(lines))
    return "some.csv"


def test_table_prints_a_score_and_writes_the_estimator(run_python, some_csv, tmp_path):
    told = ("-m", "cdl", "table", some_csv, "--target", "kind", "--recipe", "mlp")
    lines = run_python(*told, "--output", "m.pickle").stdout.splitlines()
    assert lines[0] == "1 rows without kind are left out"
    told = (
        r"accuracy (\d\.\d{3}), .* of five folds, 89 rows x 3 columns; (.*) of the rows are cheap"
    )
    score = re.fullmatch(told, lines[1])
    assert float(score.group(1)) > 0.8 > float(score.group(2)) > 0.5
    assert {line.split()[0] for line in lines[3:6]} == {"size", "color", "price"}
    assert lines[6] == "m.pickle written"
    model = pickle.loads((tmp_path / "m.pickle").read_bytes())
    assert model.classes_.tolist() == ["cheap", "dear"]


def test_table_of_numbers_is_exported(run_python, some_csv, tmp_path):
    told = ("-m", "cdl", "table", some_csv, "--target", "price", "--output", "m.c")
    assert run_python(*told).stdout.startswith("R2 0.9")
    assert "m_predict" in (tmp_path / "m.h").read_text()


def test_table_writes_a_page_that_needs_nothing_beside_it(some_csv, tmp_path, capsys):
    told = ["table", str(tmp_path / some_csv), "--target", "kind", "--recipe", "mlp"]
    assert main([*told, "--report", str(tmp_path / "r.html")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("r.html written")
    text = (tmp_path / "r.html").read_text()
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.elements}
    assert not re.search(r"https?:|url\(|@import", text)
    assert f"<p>{date.today()}. A{lines[1][1:]}.</p>" in text
    rows = [int(each) for each in re.findall(r"<td>[\d.]+</td><td>[\d.]+</td><td>(\d+)</td>", text)]
    assert sum(rows) == 89  # in the bins of probabilities
    table = re.search(r"<td>cheap</td><td>(\d+)</td>.*\n.*<td>dear</td><td>\d+</td><td>(\d+)", text)
    right = re.match(r"accuracy ([\d.]+)", lines[1]).group(1)
    assert abs(sum(map(int, table.groups())) / 89 - float(right)) < 0.01  # folds of 17 and 18 rows
    bars = [float(values["width"]) for tag, values in page.elements if tag == "rect"]
    assert len(bars) == 3 and bars == sorted(bars, reverse=True) and bars[0] == 240
    assert sum(tag == "polyline" for tag, _ in page.elements) == 2


def test_the_page_of_numbers_shows_predictions_for_rows_left_out(tmp_path):
    from cdl._cli import table_page

    class Model:
        feature_importances_ = np.array([-0.1, 0.0])
        loss_curves_, validation_scores_, best_epochs_ = [[2.0, 1.0]], [[-1.0, -3.0]], [0]

        def get_params(self):
            return {"recipe": "<b>", "monotone": None}

    y = np.array([1.0, 2.0, 5.0])
    report = table_page.Report(
        "t", "R2 0.5", [0.5], Model(), ["a<", "b"], y, np.array([1.0, 2.0, 7.0])
    )
    table_page.write(tmp_path / "r.html", report)
    text = (tmp_path / "r.html").read_text()
    page = Page(text)
    assert page.open == []
    assert "a&lt;" in text and "Model(recipe=&#x27;&lt;b&gt;&#x27;)" in text
    assert "<td>99 %</td><td>1.96</td>" in text and "from 1 to 7" in text
    circles = [values for tag, values in page.elements if tag == "circle"]
    assert [(c["cx"], c["cy"]) for c in circles] == [
        ("56.0", "268.0"),
        ("99.3", "224.7"),
        ("316.0", "94.7"),
    ]
    assert re.findall(r"<text[^>]*>([^<]*)", text) == ["1", "7", "1", "7"]
    assert "minus the mean squared error" in text


def test_table_hashes_text_if_told(tmp_path, capsys):
    random = np.random.default_rng(0)
    words = [f"{random.choice(['fine', 'poor'])} item number {i}" for i in range(60)]
    rows = [f"{each},{each.split()[0]}" for each in words]
    (tmp_path / "texts.csv").write_text("\n".join(["said,kind", *rows]))
    told = ["table", str(tmp_path / "texts.csv"), "--target", "kind", "--recipe", "mlp"]
    assert main(told) == 1
    assert "--text hash" in capsys.readouterr().err
    assert main([*told, "--text", "hash"]) == 0
    score = re.match(r"accuracy (\d\.\d{3})", capsys.readouterr().out)
    assert float(score.group(1)) > 0.8


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--target", "kind", "--report", "r.htm"], "--report must end in .html, got 'r.htm'"),
        (["--target", "kind", "--report", "no/r.html"], "--report must be in a folder that"),
        (["--target", "kind", "--leave-out", "kind"], "--leave-out must be other columns than"),
        (["--target", "cost"], "--target must be one of ['size', 'color', 'kind', 'price']"),
        (["--target", "kind", "--output", "m.pb"], "--output must end in .pickle, .keras"),
        (["--target", "kind", "--output", "none/m.c"], "--output must be in a folder that exists"),
        (["--target", "kind", "--task", "numbers"], "y must be numbers"),
    ],
)
def test_table_says_what_does_not_fit_in_a_line(run_python, some_csv, more, said):
    done = run_python("-m", "cdl", "table", some_csv, *more, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("cdl table: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([""] * 36 + ["0", "1"] * 2, "must have a value in 5 rows or more, got 4 in 'y'"),
        (["a"] * 40, "two classes of two rows or more, one of them of 5, got 1 of at most 40 rows"),
        (["a"] + ["b"] * 39, "got 2 of at most 39 rows, such as 'a'"),
        ([f"a{i}" for i in range(40)], "got 40 of at most 1 rows, such as 'a0'"),
        ([f"{i}.5" for i in range(9)], "must have 10 numbers or more, got 9 in 'y'"),
    ],
)
def test_table_names_a_target_that_folds_cannot_have(tmp_path, capsys, values, said):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["x,y", *(f"{i},{each}" for i, each in enumerate(values))]))
    assert main(["table", str(path), "--target", "y", "--recipe", "mlp"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("cdl table: --target must have ") and said in told


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda i: "" if i % 5 == 0 else str(i % 2 == 0), "accuracy "),
        (lambda i: str(10**20 + i * 10**18), "R2 "),
    ],
)
def test_table_takes_truth_values_with_gaps_and_huge_integers(tmp_path, capsys, value, said):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["x,y", *(f"{i},{value(i)}" for i in range(40))]))
    told = ["table", str(path), "--target", "y", "--recipe", "mlp"]
    assert main([*told, "--report", str(tmp_path / "r.html")]) == 0
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sep", "comma", "encoding"), [(";", ",", "cp1252"), ("\t", ".", "utf-8"), (";", ",", "utf-16")]
)
def test_table_reads_csvs_of_spreadsheets(tmp_path, capsys, sep, comma, encoding):
    rows = [f"{i / 8}{sep}{['Köln', 'Bonn'][i % 2]}{sep}{i}.5" for i in range(40)]
    text = "\n".join(
        [f'"Größe{sep}"{sep}Ort{sep}Preis', *(row.replace(".", comma) for row in rows)]
    )
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    told = ["table", str(path), "--target", "Ort", "--recipe", "mlp"]
    assert main(told) == 0
    said = capsys.readouterr().out
    assert f"'sep': {sep!r}" in said
    assert "40 rows x 2 columns" in said
    assert ("'decimal': ','" in said) == (comma == ",")
    assert ("encoding" in said) == (encoding != "utf-8")


@pytest.mark.parametrize(
    ("start", "reason"), [(b"PK\3\4", "a file of Excel or a zip"), (b"a\0b", "no text")]
)
def test_table_refuses_what_is_no_csv(tmp_path, capsys, start, reason):
    (tmp_path / "t.csv").write_bytes(start)
    assert main(["table", str(tmp_path / "t.csv"), "--target", "a"]) == 1
    assert reason in capsys.readouterr().err


def test_table_reads_dates_and_leaves_out_what_it_is_told(tmp_path, capsys):
    days = [f"2024-0{1 + i % 9}-1{i % 10}" for i in range(40)]
    rows = [f"{i},u{i:04},{day},,{i % 2}" for i, day in enumerate(days)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["id,uid,when,none,y", *rows]))
    told = ["table", str(path), "--target", "y", "--recipe", "mlp"]
    assert main(told) == 1
    assert "X: uid must be of numbers, dates or categories" in capsys.readouterr().err
    assert main([*told, "--leave-out", "uid"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "none left out, without a value\nwhen is read as dates\nid counts rows: "
    )
    assert "40 rows x 2 columns" in said
    assert main([*told, "--leave-out", "uid", "idd"]) == 1
    assert "--leave-out must be one of ['id', 'uid'," in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "behind", "said"),
    [("", ",", ""), ("r,", "", "fields ahead of the first column")],
)
def test_table_takes_rows_of_more_fields_than_names(tmp_path, capsys, before, behind, said):
    rows = [f"{before}{i % 7}.5,{'ab'[i % 7 > 3]},{i % 3}{behind}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["x,y,z", *rows]))
    told = ["table", str(tmp_path / "t.csv"), "--target", "y", "--recipe", "mlp"]
    assert main(told) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(said or "accuracy") and "40 rows x 2 columns" in shown
    assert {line.split()[0] for line in shown.splitlines()[-2:]} == {"x", "z"}


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("{d}/{m}/2024", "when is read as dates, the day first"),
        ("{m}/{d}/2024 9:05", "when is read as dates, the month first"),
        ("{m}.{m}.2024", "when is read as dates, the day first"),
        ("{m}/{m}/2024", "when stays text: '1/1/2024' may begin with the day or with the month"),
    ],
)
def test_table_reads_dates_that_do_not_begin_with_the_year(capsys, form, said):
    pandas = pytest.importorskip("pandas")
    texts = [form.format(d=1 + i % 28, m=1 + i % 2) for i in range(40)]
    found = table_command._with_dates(pandas.DataFrame({"when": [None, *texts]}))["when"]
    assert capsys.readouterr().out == f"{said}\n"
    assert pandas.isna(found[0])
    if "stays" in said:
        assert found[1:].tolist() == texts
    else:
        assert found[1:].dt.month.tolist() == [1 + i % 2 for i in range(40)]
        assert found[1:].dt.hour.unique().tolist() == [9 if "9:05" in form else 0]


def test_table_reads_no_words_as_dates(tmp_path, capsys):
    rows = [f"{['now', 'today'][i % 2]},{i % 2}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["when,y", *rows]))
    assert main(["table", str(tmp_path / "t.csv"), "--target", "y", "--recipe", "mlp"]) == 0
    assert capsys.readouterr().out.startswith("accuracy 1.000")


def test_table_refuses_a_target_that_two_columns_have(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["y,x,y", *(f"{i % 2},{i},{i % 2}" for i in range(40))]))
    assert main(["table", str(path), "--target", "y"]) == 1
    assert "--target must be one column, got 'y' 2 times" in capsys.readouterr().err


def test_table_reads_files_with_a_line_for_excel_and_marks_for_missing_values(tmp_path, capsys):
    path = tmp_path / "t.csv"
    rows = [f"{'?' if i % 5 == 0 else i};{i % 2}" for i in range(40)]
    path.write_text("\n".join(["sep=;", "x;y", *rows]))
    told = ["table", str(path), "--target", "y", "--recipe", "mlp"]
    assert main(told) == 0
    assert "40 rows x 1 columns" in capsys.readouterr().out
    assert main([*told, "--leave-out", "x"]) == 1
    assert "must have a column with a value besides 'y'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cells", "sep", "said"),
    [
        (["1,000", "2,500.5", "7"], ";", "a is read as numbers, such as 1000 for '1,000'"),
        (["1.000,5", "2.500,0", "7"], ";", "a is read as numbers, such as 1000.5 for '1.000,5'"),
        (["5%", "12.5 %", "-3%"], ",", "a is read as numbers, such as 5 for '5%'"),
        (["$3.5", "-$2", "$1 200"], ",", "a is read as numbers, such as 3.5 for '$3.5'"),
        (['"0,126"', '"-0,132"', '"1.200,5"'], ",", "such as 0.126 for '0,126'"),
        (['"0,5"', '"7"', '"-1,25"'], ";", "'decimal': ','"),
        (["-", "\u22123.5", "2"], ",", "dashes of a are read as missing"),
    ],
)
def test_table_reads_numbers_as_people_write_them(tmp_path, capsys, monkeypatch, cells, sep, said):
    rows = [f"{cells[i % 3]}{sep}{'xy'[i % 2]}" for i in range(40)]
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress("\n".join([f"a{sep} y ", *rows]).encode()))
    seen, scored = [], table_command._scored

    def noted(x, y, job):
        seen.append(x["a"].tolist())
        return scored(x, y, job)

    monkeypatch.setattr(table_command, "_scored", noted)
    assert main(["table", str(path), "--target", "y", "--recipe", "mlp"]) == 0
    assert said in capsys.readouterr().out
    plain = {"1,000": 1000, "2,500.5": 2500.5, "1.000,5": 1000.5, "2.500,0": 2500, "5%": 5}
    plain |= {"12.5 %": 12.5, "-3%": -3, "$3.5": 3.5, "-$2": -2, "$1 200": 1200, "7": 7}
    plain |= {'"0,126"': 0.126, '"-0,132"': -0.132, '"1.200,5"': 1200.5}
    plain |= {'"0,5"': 0.5, '"7"': 7, '"-1,25"': -1.25}
    plain |= {"-": np.nan, "\u22123.5": -3.5, "2": 2}
    np.testing.assert_array_equal(seen[0], [plain[cells[i % 3]] for i in range(40)])


def test_table_leaves_out_spaces_around_texts_and_rows_behind_the_last(tmp_path, capsys):
    rows = [f"{i}.5,{'xy'[i % 2]}{' ' * (i % 3)}" for i in range(40)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["a,y", *rows, "Total: 40 rows"]))
    assert main(["table", str(path), "--target", "y", "--recipe", "mlp"]) == 0
    said = capsys.readouterr().out
    assert "a is read as numbers, such as 0.5" in said
    assert "y is read without the spaces around its texts" in said


def test_table_names_a_file_that_ends_too_early(tmp_path, capsys):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,y\n1,x\n" * 50)[:-9])
    assert main(["table", str(path), "--target", "y"]) == 1
    assert "ended before the end" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("a", "such as '1/2/'; --leave-out it, or give --text hash"),
        ("b", "of at most 1 rows, such as '0'; it holds numbers but for 'n/k'"),
    ],
)
def test_table_says_which_option_helps(tmp_path, capsys, column, said):
    rows = [f"1/2/{i or ''},{'n/k' if i == 7 else i},{i % 2}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *rows]))
    target = "y" if column == "a" else "b"
    assert main(["table", str(tmp_path / "t.csv"), "--target", target, "--recipe", "mlp"]) == 1
    assert said in capsys.readouterr().err
