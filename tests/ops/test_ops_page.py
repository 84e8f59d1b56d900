"""docs/ops.md says of each operation what the tables and programs say."""

import pytest
from ops_page import PAGE, function_rows, page


def test_the_page_of_operations_is_what_the_tables_say():
    if page() != PAGE.read_text():
        pytest.fail("python tests/helpers/ops_page.py writes another docs/ops.md")


def test_elementwise_chains_are_one_pass():
    rows = {row[0].strip("`"): row for rows in function_rows().values() for row in rows}
    for name in ("add", "hypot", "logaddexp", "nan_to_num", "heaviside", "sinc", "where", "clip"):
        assert rows[name][2] in ("map", "activation"), rows[name]
    assert sum(row[3] == "yes" for row in rows.values()) > 100
