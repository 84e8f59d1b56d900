"""csrc/ops/ops.def says what each op reads, takes and gives; all that is said again agrees."""

import re
from pathlib import Path

import pytest

from cdl._core import OPS

FOLDER = Path(__file__).parents[2] / "csrc" / "ops"
# A name, [a name], or a name... for several; each part a list of them.
NAMES = r"(?:\[?\w+(?:\.\.\.)?\]?(?:, \[?\w+(?:\.\.\.)?\]?)*)?"
SIGNATURE = re.compile(rf"{NAMES}(?:; ?{NAMES}){{0,3}} ->(?: {NAMES})?")
ENUM = re.compile(
    r"^enum \{([^}]*)\};\s*/\* (numbers|attributes|params)(?: of (\w+))?\b", re.MULTILINE
)
AXIS = ("outer", "n", "inner")  # which lines.h reads


def source_of(op: str) -> str:
    """The one file that defines an op: its own, or that of its family."""
    texts = [path.read_text() for path in FOLDER.glob("*.c")]
    (found,) = [text for text in texts if f"const struct cdl_op cdl_op_{op} = {{" in text]
    return found


@pytest.mark.parametrize("op", OPS)
def test_an_op_has_a_signature_a_meaning_and_a_file(op):
    assert SIGNATURE.fullmatch(OPS[op].signature)
    assert OPS[op].meaning
    assert source_of(op)


@pytest.mark.parametrize("op", OPS)
def test_enums_of_an_op_are_in_the_order_of_its_signature(op):
    text, row = source_of(op), OPS[op]
    numbers = tuple(n for n in (*row.numbers, *filter(None, (row.tail,))) if n not in AXIS)
    names = {"numbers": numbers, "attributes": row.attributes, "params": row.params}
    for members, what, of in ENUM.findall(text):
        if of not in ("", op):
            continue
        found = [m.split("=")[0].strip().lower() for m in members.split(",") if " N_" not in m]
        if of:  # where two ops of a file differ, members of one begin with its last word
            found = [m.removeprefix(f"{of.split('_')[-1]}_") for m in found]
        assert tuple(m for m in found if m != "run") == names.pop(what)
    assert "attributes" not in names or not row.attributes or "->attribute[" not in text
    assert "params" not in names or not row.params or "->param[" not in text
    assert "numbers" not in names or not row.numbers or "->numbers[" not in text


def test_a_signature_tells_weights_numbers_and_attributes_from_what_has_any_length():
    conv, norm, softmax = OPS["conv"], OPS["batch_norm"], OPS["softmax"]
    assert conv.params == ("kernel", "bias", "gamma", "beta", "mean", "variance")
    assert (conv.numbers, conv.tail, conv.data) == (("activation", "groups"), "window", "epsilon")
    assert (norm.numbers, norm.attributes) == (("frozen",), ("momentum", "epsilon"))
    assert (norm.tail, norm.data) == ("", "renorm")
    assert softmax.params == softmax.numbers == softmax.attributes == ()


def test_the_binding_has_room_for_what_signatures_name():
    """Arrays of the binding are as long as the enums of the core say, which one row exhausts."""
    source = (FOLDER / "op.h").read_text()
    most = {k: int(n) for k, n in re.findall(r"CDL_MAX_(\w+) = (\d+)", source)}
    assert max(len(row.params) for row in OPS.values()) == most["PARAMS"]
    assert max(len(row.attributes) for row in OPS.values()) <= most["ATTRIBUTES"]


def test_an_op_is_compared_by_address_in_its_own_file_alone():
    for path in sorted(FOLDER.parent.rglob("*.[ch]")):
        text = path.read_text()
        for op in re.findall(r"[!=]= &cdl_op_(\w+)", text):
            assert f"const struct cdl_op cdl_op_{op} = {{" in text, (path.name, op)


def test_an_op_has_few_flags():
    """Properties of a few ops are their role; properties that exclude each other are an enum."""
    body = (FOLDER / "op.h").read_text().split("struct cdl_op {")[1].split("\n};")[0]
    flags = re.findall(r"^    bool (\w+);", body, re.MULTILINE)
    assert len(flags) <= 9, flags
